/* Round/Upload: a masked vector coming in.
 *
 *   node                    transport      round thread             files thread
 *    header ───────────────► pieces ─────► may it? which spool? ─┐
 *    ◄── what is held of it (protocol 2, an upload that broke) ───┤
 *    chunk, chunk, … ──────► pieces ───────────────────────────► write, hash, add to the sum
 *                                          into the round ◄───── whole, on disk
 *    ◄──────────────────────────────────── receipt
 *
 * The next chunk is asked for while at most CHUNKS_AHEAD wait to be dealt with: TLS goes on
 * while files are written, and an upload in progress holds a few chunks. When many come in at once
 * there is always another one to read from, and each holds fewer. */
#include <stdlib.h>

#include "coordinator/coordinator_internal.h"

#define CHUNKS_AHEAD 4
#define CHUNKS_ALL 32 /* in all uploads together, beyond one each */

/* May one more chunk be read now that `waiting` of this upload wait? */
static bool may_read_on(struct nx_stream *stream, unsigned waiting) {
  unsigned n = NX_MAX(atomic_load(&stream->coordinator->n_uploads), 1u);
  return waiting < NX_MIN(CHUNKS_AHEAD, NX_MAX(CHUNKS_ALL / n, 1u));
}

static void acknowledge(struct nx_stream *stream) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_upload_receipt receipt = {.accepted = stream->announced.bytes,
                                      .root = stream->announced.root};
  struct nx_error err = {0};
  if (nx_upload_receipt_encode(&receipt, &bytes, &err) < 0) {
    nx_stream_refuse(stream, &err);
    return;
  }
  nx_stream_send(stream, &bytes);
  nx_rpc_call_finish(stream->call, NX_RPC_OK, NULL);
}

/* Round thread: the upload is whole. It may have come too late, or for the second time; what
 * fails after that is ours to mend. */
static void count_in(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  const struct nx_upload_spool *spool;
  struct nx_bytes header = nx_buffer_view(&stream->header);
  struct nx_error err = {0};
  (void)bytes;
  if (!nx_stream_is_welcome(stream))
    return;
  int r = c->run ? nx_training_run_check_upload(c->run, stream->member, header, &spool,
                                                &stream->announced, nx_clock_monotonic(), &err)
                 : nx_fail(&err, NX_E_STATE, "no run is under way");
  if (r < 0) {
    nx_stream_refuse(stream, &err);
    return;
  }
  if (r == 0)
    r = nx_training_run_uploaded(c->run, stream->member, header, stream->announced.bytes,
                                 &stream->announced.root, nx_clock_monotonic(), &err);
  if (r < 0) {
    nx_stream_refuse(stream, &err);
    nx_coordinator_fail(c, &err);
    return;
  }
  acknowledge(stream);
  nx_progress_changed(c);
}

/* What a member may not send is in both logs; a member cannot fill them: a stream that was
 * refused is over, and the round takes one upload of each. */
static void note_refusal(struct nx_coordinator *c, const struct nx_stream *stream,
                         const struct nx_error *why) {
  struct nx_error err = {0};
  NX_LOG(NX_LOG_WARNING, "upload.refused", NX_U64("member", stream->member),
         NX_STR("why", why->text));
  if (NX_AUDIT_APPEND(c->audit, &err, "upload.refused", NX_AUDIT_UINT("member", stream->member),
                      NX_AUDIT_STR("why", why->text)) < 0)
    nx_coordinator_fail(c, &err);
}

/* Files thread. */
static int write_chunk(struct nx_stream *stream, struct nx_bytes bytes, struct nx_error *err) {
  struct nx_upload_part part;
  int r = nx_upload_part_decode(bytes, NULL, &part, err);
  if (r < 0)
    return r;
  if (part.is_header)
    return nx_fail(err, NX_E_PROTOCOL, "a second header in one upload");
  if ((r = nx_upload_writer_write(stream->writer, part.offset, part.data, err)) < 0)
    return r;
  if (nx_upload_writer_size(stream->writer) < stream->announced.bytes)
    return 0;
  r = nx_upload_writer_commit(stream->writer, &stream->announced.root, err);
  return r < 0 ? r : 1;
}

static void take_chunk(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  struct nx_error err = {0};
  if (stream->over || atomic_load(&stream->closed) || !nx_stream_is_welcome(stream))
    return; /* and after a few more no other is asked for */
  int r = write_chunk(stream, bytes, &err);
  stream->over = r != 0;
  nx_stream_moves(stream);
  atomic_fetch_sub(&stream->ahead, 1);
  if (r == 0) {
    nx_rpc_call_receive(stream->call);
  } else if (r == 1) {
    nx_task_post(c->round_box, stream, nx_bytes(NULL, 0), count_in);
  } else {
    note_refusal(c, stream, &err);
    nx_stream_refuse(stream, &err);
  }
}

/* Whole since an earlier stream, of which the round did not hear any more. */
static void find_whole(struct nx_coordinator *c, struct nx_stream *stream,
                       const struct nx_upload_spool *spool, struct nx_error *err) {
  struct nx_hash root;
  if (nx_upload_spool_root(spool, stream->member, &root, err) < 0) {
    nx_stream_refuse(stream, err);
  } else if (!nx_hash_equal(&root, &stream->announced.root)) {
    nx_fail(err, NX_E_PROTOCOL, "other bytes of yours are here already under the same keys");
    nx_stream_refuse(stream, err);
  } else {
    count_in(c, stream, nx_bytes(NULL, 0));
  }
}

/* Files thread: what is here of it already, so that it need not come again. */
static void take_up(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  struct nx_upload_receipt held = {0};
  struct nx_error err = {0};
  (void)c, (void)bytes;
  if (atomic_load(&stream->closed) || !nx_stream_is_welcome(stream))
    return;
  if (nx_upload_writer_take_up(stream->writer, &held.accepted, &held.root, &err) < 0 ||
      nx_upload_receipt_encode(&held, &message, &err) < 0) {
    nx_stream_refuse(stream, &err);
    return;
  }
  if (held.accepted)
    NX_LOG(NX_LOG_INFO, "upload.taken_up", NX_U64("member", stream->member),
           NX_U64("held", held.accepted), NX_U64("bytes", stream->announced.bytes));
  nx_stream_send(stream, &message);
  nx_rpc_call_receive(stream->call);
}

static int read_header(struct nx_stream *stream, struct nx_bytes bytes, bool *resume_out,
                       struct nx_error *err) {
  struct nx_upload_part part;
  int r = nx_upload_part_decode(bytes, NULL, &part, err);
  if (r < 0)
    return r;
  if (!part.is_header)
    return nx_fail(err, NX_E_PROTOCOL, "an upload begins with its header");
  *resume_out = part.resume;
  return nx_buffer_append(&stream->header, part.header.data, part.header.size, err);
}

/* Round thread. */
static void take_header(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  const struct nx_upload_spool *spool = NULL;
  struct nx_error err = {0};
  bool resume = false;
  int r = read_header(stream, bytes, &resume, &err);
  if (r == 0)
    r = c->run
            ? nx_training_run_check_upload(c->run, stream->member, nx_buffer_view(&stream->header),
                                           &spool, &stream->announced, nx_clock_monotonic(), &err)
            : nx_fail(&err, NX_E_STATE, "no run is under way");
  if (r == NX_ROUND_UPLOAD_HELD) {
    acknowledge(stream);
    return;
  }
  if (r == 0)
    r = nx_upload_writer_create(spool, stream->member, nx_training_run_sum(c->run), &stream->writer,
                                &err);
  if (r == 0) {
    stream->uploads = true;
    atomic_fetch_add(&c->n_uploads, 1);
  }
  if (r == 0 && resume)
    nx_task_post(c->files_box, stream, nx_bytes(NULL, 0), take_up);
  else if (r == 0)
    nx_rpc_call_receive(stream->call);
  else if (r == NX_E_EXISTS && spool)
    find_whole(c, stream, spool, &err);
  else
    nx_stream_refuse(stream, &err);
}

static void on_taken(void *context, struct nx_rpc_call *call, struct nx_rpc_message *message) {
  struct nx_stream *stream = context;
  if (!stream->writer) {
    nx_task_post_message(stream->coordinator->round_box, stream, message, take_header);
    return;
  }
  bool more = may_read_on(stream, atomic_fetch_add(&stream->ahead, 1) + 1);
  nx_task_post_message(stream->coordinator->files_box, stream, message, take_chunk);
  if (more)
    nx_rpc_call_receive(call);
}

enum nx_rpc_status nx_upload_open(void *context, struct nx_rpc_call *call,
                                  struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                  const char **text_out) {
  struct nx_stream *stream;
  enum nx_rpc_status status =
      nx_stream_admit(context, call, NX_METHOD_ROUND_UPLOAD, &stream, text_out);
  if (status != NX_RPC_OK)
    return status;
  *handlers_out = (struct nx_rpc_handlers){.on_taken = on_taken, .on_closed = nx_stream_closed};
  *call_context_out = stream;
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}
