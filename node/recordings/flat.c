#include "node/recordings/flat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/size.h"

#define CHUNK ((size_t)1 << 17) /* bytes a read */
#define TILE ((size_t)1 << 14)  /* bytes that stay in the first cache while channels are taken */

size_t nx_flat_width(enum nx_flat_type type) {
  static const size_t widths[] = {
      [NX_FLAT_I16] = 2, [NX_FLAT_I32] = 4, [NX_FLAT_F32] = 4, [NX_FLAT_F64] = 8,
      [NX_FLAT_U8] = 1,  [NX_FLAT_I8] = 1,  [NX_FLAT_U16] = 2, [NX_FLAT_I64] = 8,
  };
  return widths[type];
}

int nx_flat_open(struct nx_flat *flat, int fd, bool *truncated_out, struct nx_error *err) {
  struct stat status;
  flat->fd = fd;
  if (fstat(fd, &status))
    return nx_fail_errno(err, errno, "look at the samples");
  uint64_t frame = (uint64_t)flat->n_channels * nx_flat_width(flat->type);
  uint64_t size = (uint64_t)status.st_size;
  uint64_t there = frame && size > flat->offset ? (size - flat->offset) / frame : 0;
  *truncated_out = flat->n_samples > there || (!flat->n_samples && frame && size > flat->offset &&
                                               (size - flat->offset) % frame);
  if (flat->n_samples > there && flat->by_channel)
    return nx_fail(err, NX_E_FORMAT, "the samples are cut off: copy the file again");
  if (!flat->n_samples || flat->n_samples > there)
    flat->n_samples = there;
  return 0;
}

static double value_at(enum nx_flat_type type, const uint8_t *p) {
  int16_t i16;
  uint16_t u16;
  int32_t i32;
  int64_t i64;
  float f32;
  double f64;
  switch (type) {
  case NX_FLAT_I16:
    memcpy(&i16, p, sizeof i16);
    return i16;
  case NX_FLAT_U16:
    memcpy(&u16, p, sizeof u16);
    return u16;
  case NX_FLAT_I32:
    memcpy(&i32, p, sizeof i32);
    return i32;
  case NX_FLAT_I64:
    memcpy(&i64, p, sizeof i64);
    return (double)i64;
  case NX_FLAT_F32:
    memcpy(&f32, p, sizeof f32);
    return f32;
  case NX_FLAT_F64:
    memcpy(&f64, p, sizeof f64);
    return f64;
  case NX_FLAT_U8:
    return *p;
  case NX_FLAT_I8:
    return (int8_t)*p;
  }
  return 0;
}

static void decode(enum nx_flat_type type, const uint8_t *bytes, size_t stride, size_t n,
                   double gain, float *out) {
  switch (type) { /* the two that matter get a loop of their own */
  case NX_FLAT_I16:
    for (size_t i = 0; i < n; i++)
      out[i] = (float)(gain * value_at(NX_FLAT_I16, bytes + i * stride));
    return;
  case NX_FLAT_F32:
    if (gain == 1 && stride == sizeof *out) {
      memcpy(out, bytes, n * sizeof *out);
      return;
    }
    for (size_t i = 0; i < n; i++)
      out[i] = (float)(gain * value_at(NX_FLAT_F32, bytes + i * stride));
    return;
  default:
    for (size_t i = 0; i < n; i++)
      out[i] = (float)(gain * value_at(type, bytes + i * stride));
  }
}

static int fill(struct nx_flat *flat, uint64_t offset, size_t size, struct nx_error *err) {
  if (size > flat->buffer_size) {
    uint8_t *grown = realloc(flat->buffer, size);
    if (!grown)
      return nx_fail(err, NX_E_NOMEM, "samples: out of memory");
    flat->buffer = grown;
    flat->buffer_size = size;
  }
  const struct nx_recording view = {.fd = flat->fd};
  return nx_recording_pread(&view, flat->offset + offset, flat->buffer, size, err);
}

static int read_by_channel(struct nx_flat *flat, const uint32_t *channels, size_t n_channels,
                           uint64_t first, size_t n, float *out, struct nx_error *err) {
  size_t width = nx_flat_width(flat->type), most = CHUNK / width;
  for (size_t c = 0; c < n_channels; c++)
    for (size_t done = 0, now; done < n; done += now) {
      now = NX_MIN(most, n - done);
      int r = fill(flat, (channels[c] * flat->n_samples + first + done) * width, now * width, err);
      if (r < 0)
        return r;
      decode(flat->type, flat->buffer, width, now, flat->gains ? flat->gains[channels[c]] : 1,
             out + c * n + done);
    }
  return 0;
}

static int read_by_sample(struct nx_flat *flat, const uint32_t *channels, size_t n_channels,
                          uint64_t first, size_t n, float *out, struct nx_error *err) {
  size_t width = nx_flat_width(flat->type), frame = width * flat->n_channels;
  size_t most = NX_MAX(CHUNK / frame, (size_t)1);
  for (size_t done = 0, now; done < n; done += now) {
    now = NX_MIN(most, n - done);
    int r = fill(flat, (first + done) * frame, now * frame, err);
    if (r < 0)
      return r;
    size_t tile = NX_MAX(TILE / frame, (size_t)16);
    for (size_t i = 0; i < now; i += tile)
      for (size_t c = 0; c < n_channels; c++)
        decode(flat->type, flat->buffer + i * frame + channels[c] * width, frame,
               NX_MIN(tile, now - i), flat->gains ? flat->gains[channels[c]] : 1,
               out + c * n + done + i);
  }
  return 0;
}

int nx_flat_read(struct nx_flat *flat, const uint32_t *channels, size_t n_channels, uint64_t first,
                 size_t n, float *out, struct nx_error *err) {
  return flat->by_channel ? read_by_channel(flat, channels, n_channels, first, n, out, err)
                          : read_by_sample(flat, channels, n_channels, first, n, out, err);
}

void nx_flat_finish(struct nx_flat *flat) {
  if (flat->fd >= 0)
    close(flat->fd);
  free(flat->gains);
  free(flat->buffer);
  memset(flat, 0, sizeof *flat);
  flat->fd = -1;
}
