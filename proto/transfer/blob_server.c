#include "proto/transfer/blob_server.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/size.h"
#include "proto/codec/codec_model.h"

#define AHEAD (4 * NX_CHUNK_SIZE)

struct nx_blob_server {
  struct nx_blob_source source;
  struct nx_rpc_worker *worker;
};

/* One fetch; owned by the worker's thread. */
struct fetch {
  struct nx_blob_server *server;
  bool asked, done;
  int fd;
  uint64_t offset, total;
};

static void refuse(struct fetch *fetch, struct nx_rpc_call *call, const struct nx_error *err) {
  fetch->done = true;
  nx_rpc_call_finish(call, nx_rpc_status_of_code(err->code), err->text);
}

static int read_fully(int fd, uint64_t offset, uint8_t *out, size_t size, struct nx_error *err) {
  for (size_t done = 0; done < size;) {
    ssize_t n = pread(fd, out + done, size - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "read a blob");
    if (!n)
      return nx_fail(err, NX_E_IO, "a blob became shorter while it was sent");
    done += (size_t)n;
  }
  return 0;
}

static int send_chunk(struct fetch *fetch, struct nx_rpc_call *call, uint8_t *room,
                      struct nx_error *err) {
  size_t size = (size_t)NX_MIN((uint64_t)NX_CHUNK_SIZE, fetch->total - fetch->offset);
  struct nx_blob_chunk chunk = {
      .total = fetch->total, .offset = fetch->offset, .data = nx_bytes(room, size)};
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  int r = read_fully(fetch->fd, fetch->offset, room, size, err);
  if (!r)
    r = nx_blob_chunk_encode(&chunk, &message, err);
  if (!r)
    r = nx_rpc_call_send(call, &message, err);
  fetch->offset += size;
  return r;
}

/* Sends until enough is on its way, or all. */
static void send_more(struct fetch *fetch, struct nx_rpc_call *call) {
  struct nx_error err = {0};
  _cleanup_free_ uint8_t *room = NULL;
  bool first = fetch->offset == fetch->total; /* nothing is left: one empty chunk says so */
  if (fetch->done || !fetch->asked)
    return;
  room = malloc(NX_CHUNK_SIZE);
  if (!room) {
    nx_fail(&err, NX_E_NOMEM, "the coordinator is out of memory: try again");
    refuse(fetch, call, &err);
    return;
  }
  while ((first || fetch->offset < fetch->total) && nx_rpc_call_queued(call) < AHEAD) {
    int r = send_chunk(fetch, call, room, &err);
    first = false;
    if (r == NX_E_PEER) { /* gone: on_closed follows */
      fetch->done = true;
      return;
    }
    if (r < 0) {
      refuse(fetch, call, &err);
      return;
    }
  }
  if (fetch->offset == fetch->total) {
    fetch->done = true;
    nx_rpc_call_finish(call, NX_RPC_OK, NULL);
  }
}

static int begin(struct fetch *fetch, struct nx_bytes message, struct nx_error *err) {
  struct nx_blob_request request;
  const struct nx_blob_source *source = &fetch->server->source;
  int r = nx_blob_request_decode(message, &request, err);
  if (!r)
    r = source->open(source->context, &request.hash, &fetch->fd, &fetch->total, err);
  if (!r && request.offset > fetch->total)
    r = nx_fail(err, NX_E_INVALID, "the offset %llu lies behind the blob's end at %llu",
                (unsigned long long)request.offset, (unsigned long long)fetch->total);
  fetch->offset = request.offset;
  return r;
}

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct fetch *fetch = context;
  struct nx_error err = {0};
  if (fetch->asked || fetch->done)
    return;
  if (begin(fetch, message, &err) < 0) {
    refuse(fetch, call, &err);
    return;
  }
  fetch->asked = true;
  send_more(fetch, call);
}

static void on_half_closed(void *context, struct nx_rpc_call *call) {
  struct fetch *fetch = context;
  struct nx_error err = {0};
  if (fetch->asked || fetch->done)
    return;
  nx_fail(&err, NX_E_INVALID, "nothing was asked for");
  refuse(fetch, call, &err);
}

static void on_writable(void *context, struct nx_rpc_call *call) {
  send_more(context, call);
}

static void on_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  struct fetch *fetch = context;
  (void)call, (void)status, (void)text;
  if (fetch->fd >= 0)
    close(fetch->fd);
  free(fetch);
}

enum nx_rpc_status nx_blob_server_accept(struct nx_blob_server *server, struct nx_rpc_call *call,
                                         struct nx_rpc_handlers *handlers_out,
                                         void **call_context_out, const char **text_out) {
  static const struct nx_rpc_handlers handlers = {on_message, on_half_closed, on_writable,
                                                  on_closed};
  struct fetch *fetch = calloc(1, sizeof *fetch);
  if (!fetch || nx_rpc_worker_attach(server->worker, &handlers, fetch, handlers_out,
                                     call_context_out, NULL) < 0) {
    free(fetch);
    *text_out = "the coordinator is out of memory: try again";
    return NX_RPC_RESOURCE_EXHAUSTED;
  }
  fetch->server = server;
  fetch->fd = -1;
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}

int nx_blob_server_create(const struct nx_blob_source *source, struct nx_rpc_worker *worker,
                          struct nx_blob_server **server_out, struct nx_error *err) {
  struct nx_blob_server *server = calloc(1, sizeof *server);
  if (!server)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the blob server");
  *server = (struct nx_blob_server){*source, worker};
  *server_out = server;
  return 0;
}

void nx_blob_server_destroy(struct nx_blob_server *server) {
  free(server);
}
