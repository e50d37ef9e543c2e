/* What every codec does with bytes of a peer: unpack them into an arena under a cap, and
 * check what fields say. Used by proto/codec alone: protobuf-c types do not leave it.
 *
 * An unpacked message lives in the arena, byte fields included, so a decoder's views into
 * it are valid until the arena is reset or destroyed. The arena's own cap bounds what many
 * small submessages may blow up to. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "common/arena.h"
#include "common/bytes.h"
#include "common/error.h"
#include "crypto/hash.h"

/* Unpacks into *(Neurox__V1__… **)message_out, which is never freed. NX_E_LIMIT (more than
 * cap bytes) or NX_E_PROTOCOL (not such a message, or more parts than the arena takes).
 * `what` names the message in errors. */
int nx_codec_unpack(const ProtobufCMessageDescriptor *descriptor, struct nx_bytes bytes, size_t cap,
                    struct nx_arena *arena, const char *what, void *message_out,
                    struct nx_error *err);
/* Appends the encoding. NX_E_NOMEM or NX_E_LIMIT. */
int nx_codec_pack(const ProtobufCMessage *message, struct nx_buffer *out, struct nx_error *err);

static inline struct nx_bytes nx_codec_view(ProtobufCBinaryData field) {
  return nx_bytes(field.data, field.len);
}
static inline ProtobufCBinaryData nx_codec_field(const void *data, size_t size) {
  /* An empty field is not encoded; protobuf-c never writes through data. */
  return (ProtobufCBinaryData){size, (uint8_t *)(uintptr_t)data};
}

/* Copies a field that must be exactly size bytes long; else NX_E_PROTOCOL. */
int nx_codec_fixed(ProtobufCBinaryData field, void *out, size_t size, const char *what,
                   struct nx_error *err);
/* Copies a text of at most size - 1 bytes: UTF-8 without control characters (a peer must not
 * write escape sequences to a terminal). NX_E_PROTOCOL. */
int nx_codec_text(const char *field, char *out, size_t size, const char *what,
                  struct nx_error *err);
/* As nx_codec_text() checks, for texts we send: NX_E_INVALID. */
int nx_codec_check_text(const char *text, size_t size, const char *what, struct nx_error *err);

/* A hash that may be missing: an empty field is the zero hash, and the other way. */
int nx_codec_hash(ProtobufCBinaryData field, struct nx_hash *out, const char *what,
                  struct nx_error *err);
static inline ProtobufCBinaryData nx_codec_hash_field(const struct nx_hash *hash) {
  return nx_codec_field(hash->bytes, nx_hash_is_zero(hash) ? 0 : sizeof hash->bytes);
}
/* protobuf-c takes strings as char *, and only reads them when it packs. */
static inline char *nx_codec_string(const char *text) {
  return (char *)(uintptr_t)text;
}
