/* Blob/Fetch and Round/FetchTiles: what members fetch, paced by how fast they take it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/coordinator_internal.h"

#define AHEAD ((size_t)1 << 20)     /* bytes that may wait in one call */
#define AHEAD_ALL ((size_t)8 << 20) /* in all of them together, beyond one piece each */
#define CHUNK_LEAST ((size_t)32 << 10)

static void end(struct nx_stream *stream, const struct nx_error *err) {
  stream->sending = false;
  if (err)
    nx_stream_refuse(stream, err);
  else
    nx_rpc_call_finish(stream->call, NX_RPC_OK, NULL);
}

/* Nobody gets a piece on more calls than these: each piece may never be read. */
static int begin(struct nx_coordinator *c, struct nx_stream *stream, struct nx_error *err) {
  unsigned most = stream->member ? NX_FETCHES_MOST : NX_FETCHES_OTHERS;
  stream->sending = stream->fetches = true;
  atomic_fetch_add(&c->n_fetches, 1);
  return atomic_fetch_add(&c->n_fetching[stream->member], 1) < most
             ? 0
             : nx_fail(err, NX_E_LIMIT, "too many fetches at once: " NX_RPC_TRY_LATER);
}

/* May another piece as large as the last one wait in this call? A thousand fetches at once get a
 * piece each, a few get more. */
static bool has_room(struct nx_stream *stream) {
  size_t n = NX_MAX(atomic_load(&stream->coordinator->n_fetches), 1u);
  size_t queued = nx_rpc_call_queued(stream->call);
  return !queued || queued + stream->piece <= NX_MIN(AHEAD, AHEAD_ALL / n);
}

/* Sends pieces until enough wait in the call or there are no more. */
static void send_pieces(struct nx_stream *stream,
                        int (*next)(struct nx_stream *stream, struct nx_buffer *out,
                                    struct nx_error *err)) {
  while (stream->sending && !atomic_load(&stream->closed) && has_room(stream)) {
    _cleanup_(nx_buffer_finish) struct nx_buffer piece = {0};
    struct nx_error err = {0};
    int r = next(stream, &piece, &err);
    if (r <= 0) {
      end(stream, r < 0 ? &err : NULL);
      return;
    }
    stream->piece = piece.size;
    nx_stream_send(stream, &piece);
  }
}

/* --- blobs ---------------------------------------------------------------------------- */

/* Smaller when many fetch at once. */
static size_t chunk_size(const struct nx_coordinator *c) {
  size_t n = NX_MAX(atomic_load(&c->n_fetches), 1u);
  return NX_MAX(NX_MIN(NX_CHUNK_SIZE, AHEAD_ALL / n), CHUNK_LEAST);
}

/* 1: the next chunk is in out; 0: all were sent. */
static int next_chunk(struct nx_stream *stream, struct nx_buffer *out, struct nx_error *err) {
  uint64_t rest = stream->blob.size - stream->offset;
  struct nx_blob_chunk chunk = {.total = stream->blob.size, .offset = stream->offset};
  if (!rest && stream->next_tile)
    return 0;
  stream->next_tile = 1; /* an empty rest is told once */
  size_t n = (size_t)NX_MIN(rest, (uint64_t)chunk_size(stream->coordinator));
  _cleanup_free_ uint8_t *data = malloc(n + 1);
  if (!data)
    return nx_fail(err, NX_E_NOMEM, "send a blob");
  int r = nx_blob_file_read(&stream->blob, stream->offset, data, n, err);
  chunk.data = nx_bytes(data, n);
  if (r < 0 || (r = nx_blob_chunk_encode(&chunk, out, err)) < 0)
    return r;
  stream->offset += n;
  return 1;
}

static void send_blob(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  (void)c, (void)bytes;
  send_pieces(stream, next_chunk);
}

static void open_blob(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  struct nx_blob_request request;
  struct nx_error err = {0};
  if (!nx_stream_is_welcome(stream))
    return;
  int r = nx_blob_request_decode(bytes, &request, &err);
  if (r == 0)
    r = nx_model_registry_open(&c->registry, &request.hash, &stream->blob, &err);
  if (r == NX_E_NOT_FOUND)
    r = nx_fail(&err, NX_E_NOT_FOUND, "there is no blob of that hash here");
  if (r == 0 && request.offset > stream->blob.size)
    r = nx_fail(&err, NX_E_PROTOCOL, "the blob ends before that offset");
  if (r < 0) {
    end(stream, &err);
    return;
  }
  stream->offset = request.offset;
  if (begin(c, stream, &err) < 0)
    end(stream, &err);
  send_pieces(stream, next_chunk);
}

static void on_blob_request(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct nx_stream *stream = context;
  (void)call;
  nx_task_post(stream->coordinator->files_box, stream, message, open_blob);
}

static void on_blob_writable(void *context, struct nx_rpc_call *call) {
  struct nx_stream *stream = context;
  (void)call;
  nx_stream_moves(stream);
  nx_task_post(stream->coordinator->files_box, stream, nx_bytes(NULL, 0), send_blob);
}

/* Somebody asks: the stream, and its first message. */
static enum nx_rpc_status open_stream(void *context, struct nx_rpc_call *call, const char *method,
                                      void **call_context_out, const char **text_out) {
  struct nx_stream *stream;
  enum nx_rpc_status status = nx_stream_admit(context, call, method, &stream, text_out);
  if (status != NX_RPC_OK)
    return status;
  *call_context_out = stream;
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}

enum nx_rpc_status nx_blob_open(void *context, struct nx_rpc_call *call,
                                struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                const char **text_out) {
  static const struct nx_rpc_handlers handlers = {.on_message = on_blob_request,
                                                  .on_writable = on_blob_writable,
                                                  .on_closed = nx_stream_closed};
  *handlers_out = handlers;
  return open_stream(context, call, NX_METHOD_BLOB_FETCH, call_context_out, text_out);
}

/* --- the audit log, for whoever audits ---------------------------------------------------- */

/* As it is now; an entry that is being written may be cut, which its reader takes for the end. */
static int open_log_file(struct nx_coordinator *c, const char *name, struct nx_blob_file *out,
                         struct nx_error *err) {
  static const char *const names[] = {"public.key", "checkpoints.log", "entries.log"};
  char path[NX_PATH_SIZE];
  struct stat status;
  bool known = false;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(names); i++)
    known = known || !strcmp(names[i], name);
  if (!known)
    return nx_fail(err, NX_E_NOT_FOUND, "the audit log has no such file");
  if (snprintf(path, sizeof path, "%s/audit/%s", c->federation->home, name) >= (int)sizeof path)
    return nx_fail(err, NX_E_LIMIT, "path is too long");
  out->fd = open(path, O_RDONLY | O_CLOEXEC);
  if (out->fd < 0 || fstat(out->fd, &status))
    return nx_fail(err, NX_E_IO, "the audit log cannot be read");
  out->size = (uint64_t)status.st_size;
  return 0;
}

/* Files thread. */
static void open_log(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_admin_request request;
  struct nx_error err = {0};
  if (!nx_stream_is_welcome(stream))
    return;
  int r = nx_arena_create(NX_ADMIN_ARENA, &arena, &err);
  if (r == 0)
    r = nx_admin_request_decode(bytes, arena, &request, &err);
  if (r == 0)
    r = open_log_file(c, request.reason, &stream->blob, &err);
  if (r < 0) {
    end(stream, &err);
    return;
  }
  if (begin(c, stream, &err) < 0)
    end(stream, &err);
  send_pieces(stream, next_chunk);
}

static void on_log_request(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct nx_stream *stream = context;
  (void)call;
  nx_task_post(stream->coordinator->files_box, stream, message, open_log);
}

enum nx_rpc_status nx_log_open(void *context, struct nx_rpc_call *call,
                               struct nx_rpc_handlers *handlers_out, void **call_context_out,
                               const char **text_out) {
  static const struct nx_rpc_handlers handlers = {
      .on_message = on_log_request, .on_writable = on_blob_writable, .on_closed = nx_stream_closed};
  *handlers_out = handlers;
  return open_stream(context, call, NX_METHOD_ADMIN_LOG, call_context_out, text_out);
}

/* --- tiles for spot checks -------------------------------------------------------------- */

/* Tile by tile, and of each tile every member of U3. */
static int next_tile(struct nx_stream *stream, struct nx_buffer *out, struct nx_error *err) {
  const struct nx_opened_attempt *opened = stream->opened;
  size_t which = stream->next_tile / opened->n_members;
  if (which >= stream->n_tiles)
    return 0;
  _cleanup_(nx_buffer_finish) struct nx_buffer data = {0};
  struct nx_tile tile = {.id = opened->members[stream->next_tile % opened->n_members],
                         .tile = stream->tiles[which]};
  int r = nx_upload_spool_tile(&opened->spool, tile.id, tile.tile, &data, &tile.path, err);
  tile.data = nx_buffer_view(&data);
  if (r < 0 || (r = nx_tile_encode(&tile, out, err)) < 0)
    return r;
  stream->next_tile++;
  return 1;
}

static void send_tiles(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  (void)c, (void)bytes;
  send_pieces(stream, next_tile);
}

static int copy_request(struct nx_stream *stream, const struct nx_tile_request *request,
                        const struct nx_opened_attempt *opened, struct nx_error *err) {
  stream->opened = malloc(sizeof *stream->opened);
  stream->tiles = calloc(request->n, sizeof *stream->tiles);
  if (!stream->opened || !stream->tiles)
    return nx_fail(err, NX_E_NOMEM, "send tiles");
  *stream->opened = *opened;
  memcpy(stream->tiles, request->tiles, request->n * sizeof *stream->tiles);
  stream->n_tiles = request->n;
  return 0;
}

/* Round thread: is that the attempt that was opened? */
static void open_tiles(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_tile_request request;
  struct nx_error err = {0};
  const struct nx_opened_attempt *opened = c->run ? nx_training_run_opened(c->run) : NULL;
  if (!nx_stream_is_welcome(stream))
    return;
  int r = nx_arena_create(NX_SESSION_ARENA, &arena, &err);
  if (r == 0)
    r = nx_tile_request_decode(bytes, arena, &request, &err);
  if (r == 0 && (!opened || opened->round != request.round || opened->attempt != request.attempt ||
                 !nx_hash_equal(&opened->t3, &request.t3) || !opened->n_members))
    r = nx_fail(&err, NX_E_NOT_FOUND, "the uploads of that attempt are not here (any more)");
  if (r == 0)
    r = copy_request(stream, &request, opened, &err);
  if (r < 0) {
    end(stream, &err);
    return;
  }
  if (begin(c, stream, &err) < 0)
    end(stream, &err);
  nx_task_post(c->files_box, stream, nx_bytes(NULL, 0), send_tiles);
}

static void on_tile_request(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct nx_stream *stream = context;
  (void)call;
  nx_task_post(stream->coordinator->round_box, stream, message, open_tiles);
}

static void on_tiles_writable(void *context, struct nx_rpc_call *call) {
  struct nx_stream *stream = context;
  (void)call;
  nx_stream_moves(stream);
  nx_task_post(stream->coordinator->files_box, stream, nx_bytes(NULL, 0), send_tiles);
}

enum nx_rpc_status nx_tiles_open(void *context, struct nx_rpc_call *call,
                                 struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                 const char **text_out) {
  static const struct nx_rpc_handlers handlers = {.on_message = on_tile_request,
                                                  .on_writable = on_tiles_writable,
                                                  .on_closed = nx_stream_closed};
  *handlers_out = handlers;
  return open_stream(context, call, NX_METHOD_ROUND_FETCH_TILES, call_context_out, text_out);
}
