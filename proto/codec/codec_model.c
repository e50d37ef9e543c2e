#include "proto/codec/codec_model.h"

#include "proto/codec/codec_wire.h"

enum { REQUEST_HASH = 1, REQUEST_OFFSET = 2 };
enum { CHUNK_TOTAL = 1, CHUNK_OFFSET = 2, CHUNK_DATA = 3 };
enum { TAG_VARINT = 0, TAG_BYTES = 2 };

static size_t put_tag(uint32_t field, unsigned type, uint8_t *out) {
  return nx_wire_varint((uint64_t)field << 3 | type, out);
}

static size_t put_number(uint32_t field, uint64_t value, uint8_t *out) {
  size_t n = put_tag(field, TAG_VARINT, out);
  return n + nx_wire_varint(value, out + n);
}

static int wrong_field(const struct nx_wire_value *value, const char *what, struct nx_error *err) {
  return nx_fail(err, NX_E_PROTOCOL, "%s: field %u is of the wrong type", what, value->field);
}

int nx_blob_request_encode(const struct nx_blob_request *m, struct nx_buffer *out,
                           struct nx_error *err) {
  uint8_t bytes[2 + NX_HASH_SIZE + 1 + NX_WIRE_VARINT_MAX];
  size_t n = put_tag(REQUEST_HASH, TAG_BYTES, bytes);
  n += nx_wire_varint(NX_HASH_SIZE, bytes + n);
  memcpy(bytes + n, m->hash.bytes, NX_HASH_SIZE);
  n += NX_HASH_SIZE;
  n += put_number(REQUEST_OFFSET, m->offset, bytes + n);
  return nx_buffer_append(out, bytes, n, err);
}

int nx_blob_request_decode(struct nx_bytes bytes, struct nx_blob_request *out,
                           struct nx_error *err) {
  struct nx_wire_value value;
  bool has_hash = false;
  int r;
  *out = (struct nx_blob_request){0};
  while ((r = nx_wire_next(&bytes, &value, err)) > 0) {
    if (value.field == REQUEST_HASH) {
      if (!value.is_bytes || value.bytes.size != NX_HASH_SIZE)
        return nx_fail(err, NX_E_PROTOCOL, "blob request: its hash is not 32 bytes");
      memcpy(out->hash.bytes, value.bytes.data, NX_HASH_SIZE);
      has_hash = true;
    } else if (value.field == REQUEST_OFFSET) {
      if (value.is_bytes || value.bytes.data)
        return wrong_field(&value, "blob request", err);
      out->offset = value.number;
    }
  }
  if (r < 0)
    return nx_error_prefix(err, r, "blob request");
  return has_hash ? 0 : nx_fail(err, NX_E_PROTOCOL, "blob request without a hash");
}

static int check_chunk(const struct nx_blob_chunk *m, int code, struct nx_error *err) {
  if (m->data.size > NX_CHUNK_CAP)
    return nx_fail(err, code, "chunk of %zu bytes; at most %zu are taken", m->data.size,
                   NX_CHUNK_CAP);
  if (m->offset > m->total || m->data.size > m->total - m->offset)
    return nx_fail(err, code, "chunk reaches behind the end of its blob");
  if (!m->data.size && m->offset != m->total)
    return nx_fail(err, code, "empty chunk before the end of its blob");
  return 0;
}

int nx_blob_chunk_encode(const struct nx_blob_chunk *m, struct nx_buffer *out,
                         struct nx_error *err) {
  uint8_t head[3 * (1 + NX_WIRE_VARINT_MAX)];
  int r = check_chunk(m, NX_E_INVALID, err);
  if (r < 0)
    return r;
  size_t n = put_number(CHUNK_TOTAL, m->total, head);
  n += put_number(CHUNK_OFFSET, m->offset, head + n);
  n += put_tag(CHUNK_DATA, TAG_BYTES, head + n);
  n += nx_wire_varint(m->data.size, head + n);
  r = nx_buffer_reserve(out, n + m->data.size, err);
  if (!r)
    r = nx_buffer_append(out, head, n, err);
  return r < 0 ? r : nx_buffer_append(out, m->data.data, m->data.size, err);
}

int nx_blob_chunk_decode(struct nx_bytes bytes, struct nx_blob_chunk *out, struct nx_error *err) {
  struct nx_wire_value value;
  int r;
  *out = (struct nx_blob_chunk){0};
  while ((r = nx_wire_next(&bytes, &value, err)) > 0) {
    bool is_number = !value.is_bytes && !value.bytes.data;
    if (value.field < CHUNK_TOTAL || value.field > CHUNK_DATA)
      continue;
    if (is_number != (value.field != CHUNK_DATA) || value.is_bytes == is_number)
      return wrong_field(&value, "chunk", err);
    if (value.field == CHUNK_TOTAL)
      out->total = value.number;
    else if (value.field == CHUNK_OFFSET)
      out->offset = value.number;
    else
      out->data = value.bytes;
  }
  return r < 0 ? nx_error_prefix(err, r, "chunk") : check_chunk(out, NX_E_PROTOCOL, err);
}
