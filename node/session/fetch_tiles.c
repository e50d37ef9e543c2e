#include "node/session/fetch_tiles.h"

#include "common/clock.h"
#include "proto/codec/methods.h"

#define PATIENCE (60 * NX_SECOND)
#define TILE_MESSAGE_CAP ((size_t)1 << 20)

static int add_tile(struct nx_bytes message, struct nx_arena *arena, struct nx_spot_check *check,
                    struct nx_error *err) {
  struct nx_tile tile;
  nx_arena_reset(arena);
  int r = nx_tile_decode(message, arena, &tile, err);
  return r < 0 ? r : nx_spot_check_add(check, tile.id, tile.tile, tile.data, &tile.path, err);
}

static int receive_all(struct nx_transfer *stream, struct nx_spot_check *check,
                       struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  int r = nx_arena_create(4 * TILE_MESSAGE_CAP, &arena, err);
  while (r == 0) {
    message.size = 0;
    r = nx_transfer_receive(stream, &message, err);
    if (r == 0)
      r = add_tile(nx_buffer_view(&message), arena, check, err);
  }
  return r == NX_TRANSFER_END ? 0 : r;
}

int nx_fetch_tiles(struct nx_rpc_client *client, const struct nx_tile_request *request,
                   const struct nx_stop *stop, struct nx_spot_check *check, struct nx_error *err) {
  _cleanup_(nx_transfer_closep) struct nx_transfer *stream = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  int r = nx_tile_request_encode(request, &message, err);
  if (r == 0)
    r = nx_transfer_open(client, NX_METHOD_ROUND_FETCH_TILES, PATIENCE, stop, &stream, err);
  if (r == 0)
    r = nx_transfer_send(stream, &message, err);
  if (r == 0) {
    nx_transfer_end(stream);
    r = receive_all(stream, check, err);
  }
  return r < 0 ? nx_error_prefix(err, r, "fetch tiles") : 0;
}
