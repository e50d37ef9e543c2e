#include "proto/codec/codec_wire.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static bool take_varint(struct nx_bytes *rest, uint64_t *value) {
  *value = 0;
  for (unsigned shift = 0; shift < 64 && rest->size; shift += 7) {
    uint8_t byte = *rest->data;
    rest->data++;
    rest->size--;
    if (shift == 63 && byte > 1)
      return false;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return true;
  }
  return false;
}

static bool take_bytes(struct nx_bytes *rest, uint64_t size, struct nx_bytes *out) {
  if (size > rest->size)
    return false;
  *out = nx_bytes(rest->data, (size_t)size);
  rest->data += size;
  rest->size -= (size_t)size;
  return true;
}

static bool take_value(struct nx_bytes *rest, unsigned type, struct nx_wire_value *value) {
  uint64_t size;
  switch (type) {
  case VARINT:
    return take_varint(rest, &value->number);
  case FIXED64:
    return take_bytes(rest, 8, &value->bytes);
  case FIXED32:
    return take_bytes(rest, 4, &value->bytes);
  case BYTES:
    value->is_bytes = true;
    return take_varint(rest, &size) && take_bytes(rest, size, &value->bytes);
  default:
    return false;
  }
}

int nx_wire_next(struct nx_bytes *rest, struct nx_wire_value *value, struct nx_error *err) {
  uint64_t tag;
  *value = (struct nx_wire_value){0};
  if (!rest->size)
    return 0;
  if (!take_varint(rest, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
    return nx_fail(err, NX_E_PROTOCOL, "a field without a valid tag");
  value->field = (uint32_t)(tag >> 3);
  if (!take_value(rest, tag & 7, value))
    return nx_fail(err, NX_E_PROTOCOL, "field %u is cut short", value->field);
  return 1;
}

size_t nx_wire_varint(uint64_t value, uint8_t *out) {
  size_t n = 0;
  while (value >= 0x80) {
    out[n++] = (uint8_t)(value | 0x80);
    value >>= 7;
  }
  out[n++] = (uint8_t)value;
  return n;
}
