/* Audit stream: length-prefixed records of a file, read forward through one buffer. Internal. */
#pragma once

#include "common/bytes.h"

#define NX_STREAM_END 1  /* the file ends between records */
#define NX_STREAM_TORN 2 /* the file ends inside a record */

struct nx_stream {
  int fd; /* owned */
  uint8_t *buffer;
  size_t capacity, begin, end;
  uint64_t offset; /* in the file, of buffer[begin] */
  bool at_eof;
};

/* capacity: the largest record with prefix and tail. A zeroed stream has fd 0: set fd -1. */
int nx_stream_open(struct nx_stream *stream, const char *path, size_t capacity,
                   struct nx_error *err);
void nx_stream_finish(struct nx_stream *stream);
/* The next n bytes as they are; NX_STREAM_END or NX_STREAM_TORN when there are fewer. */
int nx_stream_take(struct nx_stream *stream, size_t n, struct nx_bytes *out, struct nx_error *err);
/* u32 size | body | tail bytes: gives body and tail, valid until the next call. A size of 0
 * or above cap is NX_E_FORMAT. Unless it returns 0 the stream stays where it was. */
int nx_stream_record(struct nx_stream *stream, uint32_t cap, size_t tail, struct nx_bytes *body_out,
                     const uint8_t **tail_out, struct nx_error *err);
