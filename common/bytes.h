/* Bytes: growable capped buffers, a bounds-checked reader, little-endian at rest, hex. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/error.h"

/* A view: owns nothing. */
struct nx_bytes {
  const uint8_t *data;
  size_t size;
};

static inline struct nx_bytes nx_bytes(const void *data, size_t size) {
  return (struct nx_bytes){data, size};
}

/* Growable; owns data. Zero-initialise for the default cap of NX_BUFFER_CAP bytes. */
#define NX_BUFFER_CAP ((size_t)64 << 20)

struct nx_buffer {
  uint8_t *data;
  size_t size;
  size_t allocated;
  size_t cap; /* 0 means NX_BUFFER_CAP */
};

void nx_buffer_init(struct nx_buffer *buffer, size_t cap);
void nx_buffer_finish(struct nx_buffer *buffer); /* frees; zeroed buffers are fine */
void nx_buffer_wipe(struct nx_buffer *buffer);   /* zeroes the bytes, then frees */
/* Both return 0, NX_E_NOMEM or NX_E_LIMIT (the cap). */
int nx_buffer_reserve(struct nx_buffer *buffer, size_t more, struct nx_error *err);
int nx_buffer_append(struct nx_buffer *buffer, const void *data, size_t size, struct nx_error *err);
int nx_buffer_append_u32(struct nx_buffer *buffer, uint32_t value, struct nx_error *err);
int nx_buffer_append_u64(struct nx_buffer *buffer, uint64_t value, struct nx_error *err);

static inline struct nx_bytes nx_buffer_view(const struct nx_buffer *buffer) {
  return (struct nx_bytes){buffer->data, buffer->size};
}

static inline void nx_store_le32(uint8_t out[4], uint32_t v) {
  for (int i = 0; i < 4; i++)
    out[i] = (uint8_t)(v >> (8 * i));
}
static inline void nx_store_le64(uint8_t out[8], uint64_t v) {
  for (int i = 0; i < 8; i++)
    out[i] = (uint8_t)(v >> (8 * i));
}
static inline uint16_t nx_load_le16(const uint8_t in[2]) {
  return (uint16_t)(in[0] | in[1] << 8);
}
static inline uint32_t nx_load_le32(const uint8_t in[4]) {
  return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}
static inline uint64_t nx_load_le64(const uint8_t in[8]) {
  return (uint64_t)nx_load_le32(in) | (uint64_t)nx_load_le32(in + 4) << 32;
}

/* Reads forward through a view; once a read fails every later one fails too. */
struct nx_reader {
  struct nx_bytes rest;
  bool failed;
};

static inline struct nx_reader nx_reader(struct nx_bytes bytes) {
  return (struct nx_reader){bytes, false};
}
struct nx_bytes nx_reader_take(struct nx_reader *reader, size_t size); /* {NULL,0} on failure */
uint32_t nx_reader_u32(struct nx_reader *reader);                      /* 0 on failure */
uint64_t nx_reader_u64(struct nx_reader *reader);

/* out holds 2 * size + 1 characters. */
void nx_hex_encode(const uint8_t *data, size_t size, char *out);
/* Exactly 2 * size hex digits, either case; NX_E_FORMAT otherwise. */
int nx_hex_decode(const char *hex, uint8_t *out, size_t size, struct nx_error *err);
