#include "common/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/size.h"

void nx_cleanup_free(void *pointer_to_pointer) {
  free(*(void **)pointer_to_pointer);
}

void nx_cleanup_fd(int *fd) {
  if (*fd >= 0)
    close(*fd);
}

void nx_cleanup_file(void *pointer_to_file) {
  FILE *file = *(FILE **)pointer_to_file;
  if (file)
    fclose(file);
}

void nx_buffer_init(struct nx_buffer *buffer, size_t cap) {
  *buffer = (struct nx_buffer){.cap = cap};
}

void nx_buffer_finish(struct nx_buffer *buffer) {
  free(buffer->data);
  *buffer = (struct nx_buffer){.cap = buffer->cap};
}

void nx_buffer_wipe(struct nx_buffer *buffer) {
  if (buffer->data)
    explicit_bzero(buffer->data, buffer->allocated);
  nx_buffer_finish(buffer);
}

int nx_buffer_reserve(struct nx_buffer *buffer, size_t more, struct nx_error *err) {
  size_t cap = buffer->cap ? buffer->cap : NX_BUFFER_CAP, need;
  if (!nx_size_add(buffer->size, more, &need) || need > cap)
    return nx_fail(err, NX_E_LIMIT, "buffer would exceed its cap of %zu bytes", cap);
  if (need <= buffer->allocated)
    return 0;
  size_t grown = NX_MAX(need, NX_MIN(cap, buffer->allocated + buffer->allocated / 2 + 64));
  /* Not realloc: it could leave a copy of secret bytes behind unwiped. */
  uint8_t *data = malloc(grown);
  if (!data)
    return nx_fail(err, NX_E_NOMEM, "out of memory for %zu bytes", grown);
  if (buffer->size)
    memcpy(data, buffer->data, buffer->size);
  if (buffer->data)
    explicit_bzero(buffer->data, buffer->size);
  free(buffer->data);
  buffer->data = data;
  buffer->allocated = grown;
  return 0;
}

int nx_buffer_append(struct nx_buffer *buffer, const void *data, size_t size,
                     struct nx_error *err) {
  if (!size)
    return 0;
  int r = nx_buffer_reserve(buffer, size, err);
  if (r < 0)
    return r;
  memcpy(buffer->data + buffer->size, data, size);
  buffer->size += size;
  return 0;
}

int nx_buffer_append_u32(struct nx_buffer *buffer, uint32_t value, struct nx_error *err) {
  uint8_t le[4];
  nx_store_le32(le, value);
  return nx_buffer_append(buffer, le, sizeof le, err);
}

int nx_buffer_append_u64(struct nx_buffer *buffer, uint64_t value, struct nx_error *err) {
  uint8_t le[8];
  nx_store_le64(le, value);
  return nx_buffer_append(buffer, le, sizeof le, err);
}

struct nx_bytes nx_reader_take(struct nx_reader *reader, size_t size) {
  if (reader->failed || size > reader->rest.size) {
    reader->failed = true;
    return (struct nx_bytes){0};
  }
  struct nx_bytes taken = {reader->rest.data, size};
  reader->rest.data += size;
  reader->rest.size -= size;
  return taken;
}

uint32_t nx_reader_u32(struct nx_reader *reader) {
  struct nx_bytes b = nx_reader_take(reader, 4);
  return reader->failed ? 0 : nx_load_le32(b.data);
}

uint64_t nx_reader_u64(struct nx_reader *reader) {
  struct nx_bytes b = nx_reader_take(reader, 8);
  return reader->failed ? 0 : nx_load_le64(b.data);
}

void nx_hex_encode(const uint8_t *data, size_t size, char *out) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < size; i++) {
    out[2 * i] = digits[data[i] >> 4];
    out[2 * i + 1] = digits[data[i] & 15];
  }
  out[2 * size] = 0;
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

int nx_hex_decode(const char *hex, uint8_t *out, size_t size, struct nx_error *err) {
  if (strlen(hex) != 2 * size)
    return nx_fail(err, NX_E_FORMAT, "expected %zu hex digits, got %zu", 2 * size, strlen(hex));
  for (size_t i = 0; i < size; i++) {
    int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0)
      return nx_fail(err, NX_E_FORMAT, "character %zu is not a hex digit",
                     2 * i + (high < 0 ? 1 : 2));
    out[i] = (uint8_t)(high << 4 | low);
  }
  return 0;
}
