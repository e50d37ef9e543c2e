/* Packing: what every codec of this folder does with protobuf-c. Messages are unpacked
 * into an arena (whose cap bounds what hostile bytes can make us allocate) and packed
 * straight into a buffer. Private to proto/codec. Any thread. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/bytes.h"
#include "crypto/hash.h"

/* NX_E_LIMIT above cap bytes, NX_E_PROTOCOL when they are not such a message (or the arena
 * is full). name: "M1", for the error. */
int nx_codec_unpack(const ProtobufCMessageDescriptor *descriptor, const char *name,
                    struct nx_bytes bytes, size_t cap, struct nx_arena *arena, void *message_out,
                    struct nx_error *err);
int nx_codec_pack(const ProtobufCMessage *message, struct nx_buffer *out, struct nx_error *err);

/* Copies a field of exactly `size` bytes; NX_E_PROTOCOL names message and field otherwise. */
int nx_codec_fixed(const char *name, const char *field, ProtobufCBinaryData data, void *out,
                   size_t size, struct nx_error *err);
/* n * size zeroed bytes, never NULL for n = 0; NX_E_NOMEM. */
int nx_codec_array(struct nx_arena *arena, size_t n, size_t size, void *array_out,
                   struct nx_error *err);
/* 1..255 and above *last, which it then becomes. */
int nx_codec_next_id(const char *name, uint32_t id, uint32_t *last, struct nx_error *err);
/* A sentence, cut to its buffer, control characters replaced: it may end in a log. */
void nx_codec_sentence(const char *text, char *out, size_t size);

static inline ProtobufCBinaryData nx_codec_data(const void *data, size_t size) {
  return (ProtobufCBinaryData){size, (uint8_t *)(uintptr_t)data};
}
static inline ProtobufCBinaryData nx_codec_hash(const struct nx_hash *hash) {
  return nx_codec_data(hash->bytes, sizeof hash->bytes);
}
