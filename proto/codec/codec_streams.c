/* Round/Upload and Round/FetchTiles: parts of streams, not signed by themselves. */
#include "common/size.h"
#include "proto/codec/codec_members.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_wire.h"
#include "round.pb-c.h"

#define PART_CAP (NX_UPLOAD_CHUNK_CAP + 256)

enum { PART_HEADER = 1, PART_CHUNK = 2, PART_RESUME = 3, CHUNK_OFFSET = 1, CHUNK_DATA = 2 };
enum { VARINT = 0, LENGTH = 2 }; /* wire types */

static size_t put_field(uint8_t *out, unsigned field, unsigned type, uint64_t value) {
  out[0] = (uint8_t)(field << 3 | type);
  return 1 + nx_wire_varint(value, out + 1);
}

/* The bytes of a chunk are copied once, behind what stands before them. */
int nx_upload_part_encode(const struct nx_upload_part *m, struct nx_buffer *out,
                          struct nx_error *err) {
  uint8_t head[3 * (1 + NX_WIRE_VARINT_MAX)], inner[2 * (1 + NX_WIRE_VARINT_MAX)];
  uint8_t tail[1 + NX_WIRE_VARINT_MAX];
  struct nx_bytes middle = m->is_header ? m->header : m->data;
  size_t n, n_tail = 0;
  if (m->is_header) {
    n = put_field(head, PART_HEADER, LENGTH, middle.size);
    n_tail = m->resume ? put_field(tail, PART_RESUME, VARINT, 1) : 0;
  } else {
    size_t n_inner = m->offset ? put_field(inner, CHUNK_OFFSET, VARINT, m->offset) : 0;
    n_inner += put_field(inner + n_inner, CHUNK_DATA, LENGTH, middle.size);
    n = put_field(head, PART_CHUNK, LENGTH, n_inner + middle.size);
    memcpy(head + n, inner, n_inner);
    n += n_inner;
  }
  int r = nx_buffer_reserve(out, n + middle.size + n_tail, err);
  if (r < 0 || (r = nx_buffer_append(out, head, n, err)) < 0 ||
      (r = nx_buffer_append(out, middle.data, middle.size, err)) < 0)
    return r;
  return nx_buffer_append(out, tail, n_tail, err);
}

static int wrong_part(uint32_t field, struct nx_error *err) {
  return nx_fail(err, NX_E_PROTOCOL, "upload part: field %u is not what it should be", field);
}

static bool is_varint(const struct nx_wire_value *value) {
  return !value->is_bytes && !value->bytes.data;
}

static int read_chunk(struct nx_bytes bytes, struct nx_upload_part *out, struct nx_error *err) {
  struct nx_wire_value value;
  int r;
  while ((r = nx_wire_next(&bytes, &value, err)) > 0) {
    if (value.field != CHUNK_OFFSET && value.field != CHUNK_DATA)
      continue;
    if (value.field == CHUNK_DATA ? !value.is_bytes : !is_varint(&value))
      return wrong_part(value.field, err);
    if (value.field == CHUNK_DATA)
      out->data = value.bytes;
    else
      out->offset = value.number;
  }
  return r < 0 ? nx_error_prefix(err, r, "upload part") : 0;
}

static int check_chunk(const struct nx_upload_part *part, struct nx_error *err) {
  if (!part->data.size || part->data.size > NX_UPLOAD_CHUNK_CAP)
    return nx_fail(err, NX_E_PROTOCOL, "upload part: chunk of %zu bytes; 1..%zu are allowed",
                   part->data.size, NX_UPLOAD_CHUNK_CAP);
  if (part->offset > UINT64_MAX - part->data.size)
    return nx_fail(err, NX_E_PROTOCOL, "upload part: offset overflows");
  return 0;
}

/* Header or chunk: the one that comes last, as protobuf has it for a oneof. */
int nx_upload_part_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_upload_part *out,
                          struct nx_error *err) {
  struct nx_wire_value value;
  bool is_chunk = false, resume = false;
  int r;
  (void)arena;
  *out = (struct nx_upload_part){0};
  if (bytes.size > PART_CAP)
    return nx_fail(err, NX_E_LIMIT, "upload part of %zu bytes: at most %zu are taken", bytes.size,
                   PART_CAP);
  while ((r = nx_wire_next(&bytes, &value, err)) > 0) {
    if (value.field < PART_HEADER || value.field > PART_RESUME)
      continue;
    if (value.field == PART_RESUME ? !is_varint(&value) : !value.is_bytes)
      return wrong_part(value.field, err);
    if (value.field == PART_RESUME) {
      resume = value.number != 0;
    } else if (value.field == PART_HEADER) {
      *out = (struct nx_upload_part){.is_header = true, .header = value.bytes};
      is_chunk = false;
    } else {
      if (!is_chunk) /* a second one is merged with the first */
        *out = (struct nx_upload_part){0};
      is_chunk = true;
      if ((r = read_chunk(value.bytes, out, err)) < 0)
        return r;
    }
  }
  if (r < 0)
    return nx_error_prefix(err, r, "upload part");
  if (out->is_header)
    out->resume = resume;
  else if (!is_chunk)
    return nx_fail(err, NX_E_PROTOCOL, "upload part: neither header nor chunk");
  return is_chunk ? check_chunk(out, err) : 0;
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
