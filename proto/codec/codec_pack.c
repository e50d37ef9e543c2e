#include "proto/codec/codec_pack.h"

#include <string.h>

#include "common/size.h"

static void *arena_alloc(void *arena, size_t size) {
  return nx_arena_alloc(arena, 1, size);
}

static void arena_free(void *arena, void *memory) {
  (void)arena;
  (void)memory;
}

int nx_codec_unpack(const ProtobufCMessageDescriptor *descriptor, const char *name,
                    struct nx_bytes bytes, size_t cap, struct nx_arena *arena, void *message_out,
                    struct nx_error *err) {
  if (bytes.size > cap)
    return nx_fail(err, NX_E_LIMIT, "%s of %zu bytes exceeds %zu", name, bytes.size, cap);
  ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
  ProtobufCMessage *message =
      protobuf_c_message_unpack(descriptor, &allocator, bytes.size, bytes.data);
  if (!message)
    return nx_fail(err, NX_E_PROTOCOL, "%s: %zu bytes are not such a message", name, bytes.size);
  *(ProtobufCMessage **)message_out = message;
  return 0;
}

int nx_codec_pack(const ProtobufCMessage *message, struct nx_buffer *out, struct nx_error *err) {
  size_t size = protobuf_c_message_get_packed_size(message);
  int r = nx_buffer_reserve(out, size + 1, err); /* + 1: never a NULL to pack into */
  if (r < 0)
    return r;
  out->size += protobuf_c_message_pack(message, out->data + out->size);
  return 0;
}

int nx_codec_fixed(const char *name, const char *field, ProtobufCBinaryData data, void *out,
                   size_t size, struct nx_error *err) {
  if (data.len != size)
    return nx_fail(err, NX_E_PROTOCOL, "%s: %s has %zu bytes instead of %zu", name, field, data.len,
                   size);
  memcpy(out, data.data, size);
  return 0;
}

int nx_codec_array(struct nx_arena *arena, size_t n, size_t size, void *array_out,
                   struct nx_error *err) {
  void *array = nx_arena_alloc(arena, n ? n : 1, size);
  if (!array)
    return nx_fail(err, NX_E_NOMEM, "no room for a list of %zu", n);
  *(void **)array_out = array;
  return 0;
}

int nx_codec_next_id(const char *name, uint32_t id, uint32_t *last, struct nx_error *err) {
  if (id > 255 || id <= *last)
    return nx_fail(err, NX_E_PROTOCOL,
                   "%s: member %u after %u; ids are 1..255, ascending, none twice", name, id,
                   *last);
  *last = id;
  return 0;
}

void nx_codec_sentence(const char *text, char *out, size_t size) {
  size_t n = strnlen(text, size - 1);
  for (size_t i = 0; i < n; i++)
    out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
  out[n] = 0;
}
