/* Streams and tasks: how what arrives on a transport thread reaches the thread that owns it. */
#include <stdlib.h>
#include <unistd.h>

#include "coordinator/coordinator_internal.h"

static void free_stream(struct nx_stream *stream) {
  atomic_fetch_sub(&stream->coordinator->n_streams[stream->member], 1);
  if (stream->fetches) {
    atomic_fetch_sub(&stream->coordinator->n_fetches, 1);
    atomic_fetch_sub(&stream->coordinator->n_fetching[stream->member], 1);
  }
  if (stream->uploads)
    atomic_fetch_sub(&stream->coordinator->n_uploads, 1);
  nx_upload_writer_destroy(stream->writer);
  nx_buffer_finish(&stream->header);
  nx_blob_file_close(&stream->blob);
  free(stream->opened);
  free(stream->tiles);
  nx_rpc_call_unref(stream->call);
  free(stream);
}

struct nx_stream *nx_stream_ref(struct nx_stream *stream) {
  atomic_fetch_add(&stream->references, 1);
  return stream;
}

void nx_stream_unref(struct nx_stream *stream) {
  if (stream && atomic_fetch_sub(&stream->references, 1) == 1)
    free_stream(stream);
}

enum nx_rpc_status nx_stream_create(struct nx_coordinator *c, struct nx_rpc_call *call,
                                    uint32_t member, struct nx_stream **stream_out,
                                    const char **text_out) {
  /* One member, or everybody without a certificate together, cannot take all there is. */
  bool crowded = atomic_fetch_add(&c->n_streams[member], 1) >= NX_STREAMS_MOST;
  struct nx_stream *stream = crowded ? NULL : calloc(1, sizeof *stream);
  if (!stream) {
    atomic_fetch_sub(&c->n_streams[member], 1);
    *text_out =
        crowded ? "too many calls at once: " NX_RPC_TRY_LATER : "out of memory: " NX_RPC_TRY_LATER;
    return NX_RPC_RESOURCE_EXHAUSTED;
  }
  atomic_init(&stream->references, 1);
  stream->coordinator = c;
  stream->call = nx_rpc_call_ref(call);
  stream->member = member;
  stream->blob.fd = -1;
  *stream_out = stream;
  return NX_RPC_OK;
}

enum nx_rpc_status nx_stream_open_anyone(struct nx_coordinator *c, struct nx_rpc_call *call,
                                         struct nx_stream **stream_out, const char **text_out) {
  return nx_stream_create(c, call, 0, stream_out, text_out);
}

void nx_stream_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  struct nx_stream *stream = context;
  (void)call, (void)status, (void)text;
  atomic_store(&stream->closed, true);
  nx_stream_unref(stream);
}

void nx_stream_refuse(struct nx_stream *stream, const struct nx_error *err) {
  nx_rpc_call_finish(stream->call, nx_rpc_status_of_code(err->code), err->text);
}

void nx_stream_send(struct nx_stream *stream, struct nx_buffer *message) {
  if (nx_rpc_call_send(stream->call, message, NULL) < 0)
    nx_rpc_call_cancel(stream->call);
}

void nx_stream_moves(struct nx_stream *stream) {
  atomic_store(&stream->coordinator->moved[stream->member & 0xff], nx_clock_monotonic());
}

/* --- tasks --------------------------------------------------------------------------- */

void nx_task_destroy(void *memory) {
  struct nx_task *task = memory;
  nx_stream_unref(task->stream);
  if (task->message)
    nx_buffer_finish(&task->bytes);
  nx_buffer_wipe(&task->bytes);
  nx_rpc_message_destroy(task->message);
  free(task);
}

void nx_task_run_next(struct nx_task *task) {
  if (task->message && nx_rpc_message_append(task->message, &task->bytes, NULL) < 0)
    nx_rpc_call_cancel(task->stream->call);
  else
    task->run(task->coordinator, task->stream, nx_buffer_view(&task->bytes));
  nx_task_destroy(task);
}

/* Takes the message over. */
static int post(struct nx_coordinator *c, struct nx_mailbox *box, struct nx_stream *stream,
                struct nx_bytes bytes, struct nx_rpc_message *message, nx_task_run run) {
  struct nx_task *task = calloc(1, sizeof *task);
  if (!task) {
    nx_rpc_message_destroy(message);
    return NX_E_NOMEM;
  }
  task->run = run;
  task->coordinator = c;
  task->stream = stream ? nx_stream_ref(stream) : NULL;
  task->message = message;
  int r = bytes.size ? nx_buffer_append(&task->bytes, bytes.data, bytes.size, NULL) : 0;
  if (r == 0)
    r = nx_mailbox_post(box, task);
  if (r < 0)
    nx_task_destroy(task);
  return r;
}

void nx_task_post(struct nx_mailbox *box, struct nx_stream *stream, struct nx_bytes bytes,
                  nx_task_run run) {
  if (post(stream->coordinator, box, stream, bytes, NULL, run) < 0)
    nx_rpc_call_cancel(stream->call);
}

void nx_task_post_message(struct nx_mailbox *box, struct nx_stream *stream,
                          struct nx_rpc_message *message, nx_task_run run) {
  if (post(stream->coordinator, box, stream, nx_bytes(NULL, 0), message, run) < 0)
    nx_rpc_call_cancel(stream->call);
}

void nx_task_post_bytes(struct nx_coordinator *c, struct nx_mailbox *box, struct nx_bytes bytes,
                        nx_task_run run) {
  post(c, box, NULL, bytes, NULL, run);
}

void nx_task_post_plain(struct nx_coordinator *c, struct nx_mailbox *box, nx_task_run run) {
  post(c, box, NULL, nx_bytes(NULL, 0), NULL, run);
}
