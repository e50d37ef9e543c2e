#include "node/recordings/gzip_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/size.h"

#define IN_SIZE ((size_t)1 << 17)
#define GZIP_WINDOW (16 + MAX_WBITS) /* zlib's word for a gzip header and trailer */

static int damaged(struct nx_error *err) {
  return nx_fail(err, NX_E_FORMAT, "is damaged (gzip): copy the file again");
}

static int too_early(struct nx_error *err) {
  return nx_fail(err, NX_E_FORMAT, "ends too early: copy the file again");
}

/* At most size bytes; 0 at the end of the file. */
static ssize_t read_some(int fd, uint64_t offset, void *out, size_t size) {
  ssize_t n;
  do
    n = pread(fd, out, size, (off_t)offset);
  while (n < 0 && errno == EINTR);
  return n;
}

int nx_gzip_open(int fd, struct nx_gzip_file *out, struct nx_error *err) {
  uint8_t head[2];
  *out = (struct nx_gzip_file){.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)};
  if (out->fd < 0)
    return nx_fail_errno(err, errno, "open the image");
  ssize_t n = read_some(out->fd, 0, head, sizeof head);
  if (n < 0)
    return nx_fail_errno(err, errno, "read");
  out->packed = n == 2 && head[0] == 0x1f && head[1] == 0x8b;
  if (!out->packed)
    return 0;
  out->in = malloc(IN_SIZE);
  if (out->in && inflateInit2(&out->stream, GZIP_WINDOW) == Z_OK)
    return 0;
  free(out->in);
  out->in = NULL;
  return nx_fail(err, NX_E_NOMEM, "gzip: out of memory");
}

void nx_gzip_finish(struct nx_gzip_file *file) {
  if (file->in)
    inflateEnd(&file->stream);
  free(file->in);
  if (file->fd >= 0)
    close(file->fd);
  *file = (struct nx_gzip_file){.fd = -1};
}

/* False: the file is at its end. */
static int fill(struct nx_gzip_file *file, bool *more_out, struct nx_error *err) {
  *more_out = file->stream.avail_in > 0;
  if (*more_out)
    return 0;
  ssize_t n = read_some(file->fd, file->offset, file->in, IN_SIZE);
  if (n < 0)
    return nx_fail_errno(err, errno, "read at byte %llu", (unsigned long long)file->offset);
  file->offset += (uint64_t)n;
  file->stream.next_in = file->in;
  file->stream.avail_in = (uInt)n;
  *more_out = n > 0;
  return 0;
}

/* Behind a member comes another, or what is no member and is overlooked, as gzip(1) does. */
static int next_member(struct nx_gzip_file *file, struct nx_error *err) {
  bool more;
  int r = fill(file, &more, err);
  if (r < 0)
    return r;
  file->ended = !more || file->stream.next_in[0] != 0x1f;
  return file->ended || inflateReset(&file->stream) == Z_OK ? 0 : damaged(err);
}

/* The next size bytes. */
static int unpack(struct nx_gzip_file *file, void *out, size_t size, struct nx_error *err) {
  for (uint8_t *to = out; size;) {
    bool more;
    if (file->ended)
      return too_early(err);
    int r = fill(file, &more, err);
    if (r < 0)
      return r;
    if (!more)
      return too_early(err);
    uInt room = (uInt)NX_MIN(size, (size_t)1 << 30);
    file->stream.next_out = to;
    file->stream.avail_out = room;
    int z = inflate(&file->stream, Z_NO_FLUSH);
    size_t n = room - file->stream.avail_out;
    to += n;
    size -= n;
    file->at += n;
    if (z == Z_STREAM_END)
      r = next_member(file, err);
    else if (z != Z_OK)
      return z == Z_MEM_ERROR ? nx_fail(err, NX_E_NOMEM, "gzip: out of memory") : damaged(err);
    if (r < 0)
      return r;
  }
  return 0;
}

static int begin_anew(struct nx_gzip_file *file, struct nx_error *err) {
  file->offset = file->at = 0;
  file->ended = false;
  file->stream.avail_in = 0;
  return inflateReset(&file->stream) == Z_OK ? 0 : damaged(err);
}

int nx_gzip_read(struct nx_gzip_file *file, uint64_t at, void *out, size_t size,
                 struct nx_error *err) {
  uint8_t passed[16384];
  if (!file->packed) {
    for (uint8_t *to = out; size;) {
      ssize_t n = read_some(file->fd, at, to, size);
      if (n <= 0)
        return n < 0 ? nx_fail_errno(err, errno, "read at byte %llu", (unsigned long long)at)
                     : too_early(err);
      to += n;
      at += (uint64_t)n;
      size -= (size_t)n;
    }
    return 0;
  }
  int r = at < file->at ? begin_anew(file, err) : 0;
  while (!r && file->at < at)
    r = unpack(file, passed, (size_t)NX_MIN(at - file->at, (uint64_t)sizeof passed), err);
  return r < 0 ? r : unpack(file, out, size, err);
}
