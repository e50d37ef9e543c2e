/* Recorded calls: what a program said over its connections, in the order it said it, as
 * recording.c writes it and neurox-live-fuzz and test-older-peer.c read it. A file is a row of
 *
 *     stream u32 | length of path u32 | length of message u32 | path | message
 *
 * little-endian; messages of one stream have its number. What is recorded here are test
 * federations' messages only. */
#pragma once

#include <stdint.h>
#include <stdlib.h>

#include "common/bytes.h"
#include "common/file.h"

#define RECORDED_MOST 4096
#define RECORDED_CAP ((size_t)64 << 20)

struct recorded {
  uint32_t stream;
  struct nx_bytes path, message;
};

struct recording {
  struct nx_buffer bytes;
  struct recorded *messages;
  size_t n;
};

/* Views into bytes. False: it is not such a file. */
static inline bool recording_parse(struct recording *recording) {
  const uint8_t *at = recording->bytes.data, *end = at + recording->bytes.size;
  recording->messages = calloc(RECORDED_MOST, sizeof *recording->messages);
  if (!recording->messages)
    abort();
  while (end - at >= 12 && recording->n < RECORDED_MOST) {
    uint64_t path = nx_load_le32(at + 4), message = nx_load_le32(at + 8);
    if (path + message > (uint64_t)(end - at) - 12)
      return false;
    recording->messages[recording->n++] =
        (struct recorded){.stream = nx_load_le32(at),
                          .path = nx_bytes(at + 12, (size_t)path),
                          .message = nx_bytes(at + 12 + path, (size_t)message)};
    at += 12 + path + message;
  }
  return at == end || recording->n == RECORDED_MOST;
}

static inline bool recording_read(const char *path, struct recording *out, struct nx_error *err) {
  *out = (struct recording){0};
  return nx_file_read(path, RECORDED_CAP, &out->bytes, err) == 0 && recording_parse(out);
}

static inline void recording_finish(struct recording *recording) {
  free(recording->messages);
  nx_buffer_finish(&recording->bytes);
}
