/* Bulk chunks are read and written by hand: their bytes are not copied on the way in, and
 * one copy is made on the way out. The protobuf wire format (varints, tags), for the two
 * kinds of field that chunks have. Private to proto/codec. */
#pragma once

#include "common/bytes.h"

struct nx_wire_value {
  uint32_t field;
  bool is_bytes;
  uint64_t number;       /* varint and fixed fields */
  struct nx_bytes bytes; /* length-delimited fields; a view */
};

/* The next field, moving *rest behind it. 1: there was one; 0: the end; NX_E_PROTOCOL. */
int nx_wire_next(struct nx_bytes *rest, struct nx_wire_value *value, struct nx_error *err);

#define NX_WIRE_VARINT_MAX 10
/* Bytes written to out, which has room for NX_WIRE_VARINT_MAX. */
size_t nx_wire_varint(uint64_t value, uint8_t *out);
