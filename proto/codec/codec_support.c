#include "proto/codec/codec_support.h"

static void *arena_alloc(void *arena, size_t size) {
  return nx_arena_alloc(arena, 1, size ? size : 1);
}

static void arena_free(void *arena, void *pointer) {
  (void)arena;
  (void)pointer;
}

int nx_codec_unpack(const ProtobufCMessageDescriptor *descriptor, struct nx_bytes bytes, size_t cap,
                    struct nx_arena *arena, const char *what, void *message_out,
                    struct nx_error *err) {
  ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
  ProtobufCMessage **message = message_out;
  *message = NULL;
  if (bytes.size > cap)
    return nx_fail(err, NX_E_LIMIT, "%s of %zu bytes: at most %zu are taken", what, bytes.size,
                   cap);
  *message = protobuf_c_message_unpack(descriptor, &allocator, bytes.size, bytes.data);
  if (!*message)
    return nx_fail(err, NX_E_PROTOCOL, "%s: %zu bytes that are no such message, or too many parts",
                   what, bytes.size);
  return 0;
}

int nx_codec_pack(const ProtobufCMessage *message, struct nx_buffer *out, struct nx_error *err) {
  size_t size = protobuf_c_message_get_packed_size(message);
  int r = nx_buffer_reserve(out, size, err);
  if (r < 0)
    return r;
  if (size)
    protobuf_c_message_pack(message, out->data + out->size);
  out->size += size;
  return 0;
}

int nx_codec_fixed(ProtobufCBinaryData field, void *out, size_t size, const char *what,
                   struct nx_error *err) {
  if (field.len != size)
    return nx_fail(err, NX_E_PROTOCOL, "%s is %zu bytes long, not %zu", what, field.len, size);
  memcpy(out, field.data, size);
  return 0;
}

/* Length of the UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates), or 0. */
static size_t utf8_length(const unsigned char *s) {
  size_t n = s[0] < 0x80   ? 1
             : s[0] < 0xc2 ? 0
             : s[0] < 0xe0 ? 2
             : s[0] < 0xf0 ? 3
             : s[0] < 0xf5 ? 4
                           : 0;
  for (size_t i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80)
      return 0;
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
      (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
    return 0;
  return n;
}

static bool printable(const char *text) {
  const unsigned char *s = (const unsigned char *)text;
  while (*s) {
    size_t n = utf8_length(s);
    bool control = s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && n == 2 && s[1] < 0xa0);
    if (!n || control)
      return false;
    s += n;
  }
  return true;
}

static int check_text(const char *text, size_t size, const char *what, int code,
                      struct nx_error *err) {
  if (strnlen(text, size) == size)
    return nx_fail(err, code, "%s is longer than %zu characters", what, size - 1);
  if (!printable(text))
    return nx_fail(err, code, "%s holds characters that cannot be printed", what);
  return 0;
}

int nx_codec_text(const char *field, char *out, size_t size, const char *what,
                  struct nx_error *err) {
  int r = check_text(field, size, what, NX_E_PROTOCOL, err);
  if (!r)
    memcpy(out, field, strlen(field) + 1);
  return r;
}

int nx_codec_check_text(const char *text, size_t size, const char *what, struct nx_error *err) {
  return check_text(text, size, what, NX_E_INVALID, err);
}

int nx_codec_hash(ProtobufCBinaryData field, struct nx_hash *out, const char *what,
                  struct nx_error *err) {
  *out = (struct nx_hash){0};
  return field.len ? nx_codec_fixed(field, out->bytes, sizeof out->bytes, what, err) : 0;
}
