#include "crypto/audit_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_AHEAD ((size_t)256 << 10)

int nx_stream_open(struct nx_stream *stream, const char *path, size_t capacity,
                   struct nx_error *err) {
  *stream = (struct nx_stream){.fd = open(path, O_RDONLY | O_CLOEXEC)};
  if (stream->fd < 0)
    return nx_fail_errno(err, errno, "open %s", path);
  stream->capacity = capacity > READ_AHEAD ? capacity : READ_AHEAD;
  stream->buffer = malloc(stream->capacity);
  if (!stream->buffer) {
    nx_stream_finish(stream);
    return nx_fail(err, NX_E_NOMEM, "out of memory to read %s", path);
  }
  return 0;
}

void nx_stream_finish(struct nx_stream *stream) {
  if (stream->fd >= 0)
    close(stream->fd);
  free(stream->buffer);
  *stream = (struct nx_stream){.fd = -1};
}

/* Until n bytes are there or the file ends. */
static int fill(struct nx_stream *stream, size_t n, struct nx_error *err) {
  if (stream->end - stream->begin >= n)
    return 0;
  memmove(stream->buffer, stream->buffer + stream->begin, stream->end - stream->begin);
  stream->end -= stream->begin;
  stream->begin = 0;
  while (stream->end < n && !stream->at_eof) {
    ssize_t got = read(stream->fd, stream->buffer + stream->end, stream->capacity - stream->end);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return nx_fail_errno(err, errno, "read");
    stream->at_eof = got == 0;
    stream->end += (size_t)got;
  }
  return 0;
}

static int need(struct nx_stream *stream, size_t n, struct nx_error *err) {
  int r = fill(stream, n, err);
  if (r < 0 || stream->end - stream->begin >= n)
    return r;
  return stream->end == stream->begin ? NX_STREAM_END : NX_STREAM_TORN;
}

static void advance(struct nx_stream *stream, size_t n) {
  stream->begin += n;
  stream->offset += n;
}

int nx_stream_take(struct nx_stream *stream, size_t n, struct nx_bytes *out, struct nx_error *err) {
  int r = need(stream, n, err);
  if (r)
    return r;
  *out = nx_bytes(stream->buffer + stream->begin, n);
  advance(stream, n);
  return 0;
}

int nx_stream_record(struct nx_stream *stream, uint32_t cap, size_t tail, struct nx_bytes *body_out,
                     const uint8_t **tail_out, struct nx_error *err) {
  int r = need(stream, 4, err);
  if (r)
    return r;
  uint32_t size = nx_load_le32(stream->buffer + stream->begin);
  if (size == 0 || size > cap)
    return nx_fail(err, NX_E_FORMAT, "a length of %u is impossible", size);
  if ((r = need(stream, 4 + size + tail, err)))
    return r;
  *body_out = nx_bytes(stream->buffer + stream->begin + 4, size);
  *tail_out = body_out->data + size;
  advance(stream, 4 + size + tail);
  return 0;
}
