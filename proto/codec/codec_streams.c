/* Round/Upload and Round/FetchTiles: parts of streams, not signed by themselves. */
#include "common/size.h"
#include "proto/codec/codec_members.h"
#include "proto/codec/codec_round.h"
#include "round.pb-c.h"

#define PART_CAP (NX_UPLOAD_CHUNK_CAP + 256)

int nx_upload_part_encode(const struct nx_upload_part *m, struct nx_buffer *out,
                          struct nx_error *err) {
  Neurox__V1__UploadChunk chunk = NEUROX__V1__UPLOAD_CHUNK__INIT;
  Neurox__V1__UploadPart wire;
  neurox__v1__upload_part__init(&wire);
  if (m->is_header) {
    wire.part_case = NEUROX__V1__UPLOAD_PART__PART_HEADER;
    wire.header = nx_codec_field(m->header.data, m->header.size);
    wire.resume = m->resume;
  } else {
    chunk.offset = m->offset;
    chunk.data = nx_codec_field(m->data.data, m->data.size);
    wire.part_case = NEUROX__V1__UPLOAD_PART__PART_CHUNK;
    wire.chunk = &chunk;
  }
  return nx_codec_pack(&wire.base, out, err);
}

int nx_upload_part_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_upload_part *out,
                          struct nx_error *err) {
  Neurox__V1__UploadPart *wire;
  int r = nx_wire_unpack(&neurox__v1__upload_part__descriptor, "upload part", bytes, PART_CAP,
                         arena, &wire, err);
  if (r < 0)
    return r;
  *out = (struct nx_upload_part){0};
  switch (wire->part_case) {
  case NEUROX__V1__UPLOAD_PART__PART_HEADER:
    out->is_header = true;
    out->resume = wire->resume;
    out->header = nx_bytes(wire->header.data, wire->header.len);
    return 0;
  case NEUROX__V1__UPLOAD_PART__PART_CHUNK:
    if (!wire->chunk->data.len || wire->chunk->data.len > NX_UPLOAD_CHUNK_CAP)
      return nx_fail(err, NX_E_PROTOCOL, "upload part: chunk of %zu bytes; 1..%zu are allowed",
                     wire->chunk->data.len, NX_UPLOAD_CHUNK_CAP);
    if (wire->chunk->offset > UINT64_MAX - wire->chunk->data.len)
      return nx_fail(err, NX_E_PROTOCOL, "upload part: offset overflows");
    out->offset = wire->chunk->offset;
    out->data = nx_bytes(wire->chunk->data.data, wire->chunk->data.len);
    return 0;
  default:
    return nx_fail(err, NX_E_PROTOCOL, "upload part: neither header nor chunk");
  }
}

int nx_upload_receipt_encode(const struct nx_upload_receipt *m, struct nx_buffer *out,
                             struct nx_error *err) {
  Neurox__V1__UploadReceipt wire = NEUROX__V1__UPLOAD_RECEIPT__INIT;
  wire.accepted = m->accepted;
  wire.root = nx_wire_hash(&m->root);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_upload_receipt_decode(struct nx_bytes bytes, struct nx_arena *arena,
                             struct nx_upload_receipt *out, struct nx_error *err) {
  Neurox__V1__UploadReceipt *wire;
  int r = nx_wire_unpack(&neurox__v1__upload_receipt__descriptor, "upload receipt", bytes, 4096,
                         arena, &wire, err);
  if (r < 0)
    return r;
  out->accepted = wire->accepted;
  return nx_codec_fixed(wire->root, &out->root, 32, "upload receipt root", err);
}

int nx_tile_request_encode(const struct nx_tile_request *m, struct nx_buffer *out,
                           struct nx_error *err) {
  Neurox__V1__TileRequest wire = NEUROX__V1__TILE_REQUEST__INIT;
  wire.round = m->round;
  wire.attempt = m->attempt;
  wire.t3 = nx_wire_hash(&m->t3);
  wire.n_tiles = m->n;
  wire.tiles = (uint64_t *)(uintptr_t)m->tiles;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_tile_request_decode(struct nx_bytes bytes, struct nx_arena *arena,
                           struct nx_tile_request *out, struct nx_error *err) {
  Neurox__V1__TileRequest *wire;
  int r = nx_wire_unpack(&neurox__v1__tile_request__descriptor, "tile request", bytes,
                         NX_TILES_MAX * 11 + 256, arena, &wire, err);
  if (r < 0)
    return r;
  if (!wire->n_tiles || wire->n_tiles > NX_TILES_MAX)
    return nx_fail(err, NX_E_PROTOCOL, "tile request: %zu tiles; 1..%d are allowed", wire->n_tiles,
                   NX_TILES_MAX);
  *out = (struct nx_tile_request){
      .round = wire->round, .attempt = wire->attempt, .tiles = wire->tiles, .n = wire->n_tiles};
  return nx_codec_fixed(wire->t3, &out->t3, 32, "tile request t3", err);
}

int nx_tile_encode(const struct nx_tile *m, struct nx_buffer *out, struct nx_error *err) {
  ProtobufCBinaryData path[NX_MERKLE_PATH_MAX];
  Neurox__V1__Tile wire = NEUROX__V1__TILE__INIT;
  wire.id = m->id;
  wire.tile = m->tile;
  wire.data = nx_codec_field(m->data.data, m->data.size);
  wire.n_path = NX_MIN(m->path.n, (size_t)NX_MERKLE_PATH_MAX);
  for (size_t i = 0; i < wire.n_path; i++)
    path[i] = nx_wire_hash(&m->path.hashes[i]);
  wire.path = path;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_tile_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_tile *out,
                   struct nx_error *err) {
  Neurox__V1__Tile *wire;
  uint32_t last = 0;
  int r = nx_wire_unpack(&neurox__v1__tile__descriptor, "tile", bytes, PART_CAP, arena, &wire, err);
  if (r < 0 || (r = nx_wire_next_id("tile", wire->id, &last, err)) < 0)
    return r;
  if (wire->n_path > NX_MERKLE_PATH_MAX)
    return nx_fail(err, NX_E_PROTOCOL, "tile: proof of %zu hashes", wire->n_path);
  out->id = wire->id;
  out->tile = wire->tile;
  out->data = nx_bytes(wire->data.data, wire->data.len);
  out->path.n = wire->n_path;
  for (size_t i = 0; i < wire->n_path; i++)
    if ((r = nx_codec_fixed(wire->path[i], &out->path.hashes[i], 32, "tile path", err)) < 0)
      return r;
  return 0;
}
