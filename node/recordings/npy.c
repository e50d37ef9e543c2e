/* npy: a NumPy array (format 1.0 to 3.0) of numbers, one or two dimensions, little-endian.
 * A vector is one channel; a matrix is [channels][samples] when it has more columns than
 * rows, else [samples][channels]. The file says nothing of rates or units: they come from a
 * sidecar (sidecar.h), else the rate is 1 Hz and there is no unit. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/flat.h"
#include "node/recordings/sidecar.h"

#define HEADER_CAP 65536

struct shape {
  uint64_t rows, columns; /* a vector: 1 row */
  bool fortran;
};

static bool probe_npy(const char *path, const uint8_t *head, size_t size) {
  (void)path;
  return size >= 10 && !memcmp(head, "\x93NUMPY", 6);
}

static int read_header(const struct nx_recording *recording, char *text, uint64_t *data_out,
                       struct nx_error *err) {
  uint8_t head[12];
  int r = nx_recording_pread(recording, 0, head, sizeof head, err);
  if (r < 0)
    return r;
  size_t start = head[6] == 1 ? 10 : 12;
  size_t size = (size_t)head[8] | (size_t)head[9] << 8;
  if (head[6] > 1)
    size |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
  if (head[6] < 1 || head[6] > 3 || size == 0 || size >= HEADER_CAP)
    return nx_fail(err, NX_E_FORMAT, "npy header of version %d and %zu bytes: save the array again",
                   head[6], size);
  r = nx_recording_pread(recording, start, text, size, err);
  text[size] = 0;
  *data_out = start + size;
  return r;
}

static int parse_type(const char *text, enum nx_flat_type *type_out, struct nx_error *err) {
  static const struct {
    const char *name;
    enum nx_flat_type type;
  } types[] = {{"'<f8'", NX_FLAT_F64}, {"'<f4'", NX_FLAT_F32}, {"'<i2'", NX_FLAT_I16},
               {"'<i4'", NX_FLAT_I32}, {"'<i8'", NX_FLAT_I64}, {"'|u1'", NX_FLAT_U8},
               {"'|i1'", NX_FLAT_I8},  {"'<u2'", NX_FLAT_U16}};
  const char *key = strstr(text, "'descr'"), *value = key ? strchr(key, ':') : NULL;
  if (value)
    value += 1 + strspn(value + 1, " ");
  for (size_t i = 0; value && i < NX_ARRAY_LENGTH(types); i++)
    if (!strncmp(value, types[i].name, strlen(types[i].name))) {
      *type_out = types[i].type;
      return 0;
    }
  return nx_fail(err, NX_E_UNSUPPORTED,
                 "npy of another type than little-endian integers or floats: save it as float32");
}

static int parse_shape(const char *text, struct shape *shape, struct nx_error *err) {
  unsigned long long a = 0, b = 0;
  char tail = 0;
  const char *key = strstr(text, "'shape'"), *open = key ? strchr(key, '(') : NULL;
  int n = open ? sscanf(open, "(%llu,%llu%c", &a, &b, &tail) : 0;
  if (n < 1 || (n > 1 && tail != ')' && tail != ',') || a == 0 || (n > 1 && b == 0))
    return nx_fail(err, NX_E_UNSUPPORTED, "npy of another shape than a vector or a matrix");
  if (n > 1 && tail == ',' && open && sscanf(open, "(%*u,%*u,%c", &tail) == 1 && tail != ')')
    return nx_fail(err, NX_E_UNSUPPORTED, "npy of more than two dimensions: save a matrix");
  shape->fortran = strstr(text, "'fortran_order': True") != NULL;
  shape->rows = n > 1 ? a : 1;
  shape->columns = n > 1 ? b : a;
  return 0;
}

static int describe(struct nx_recording *recording, const struct shape *shape,
                    struct nx_error *err) {
  struct nx_flat *flat = recording->state;
  bool rows_are_channels = shape->columns > shape->rows || shape->rows == 1;
  uint64_t n_channels = rows_are_channels ? shape->rows : shape->columns;
  struct nx_sidecar sidecar;
  if (n_channels > NX_RECORDING_CHANNELS)
    return nx_fail(err, NX_E_LIMIT, "npy of %llu channels: at most %d are read",
                   (unsigned long long)n_channels, NX_RECORDING_CHANNELS);
  flat->n_channels = (size_t)n_channels;
  flat->n_samples = rows_are_channels ? shape->columns : shape->rows;
  flat->by_channel = rows_are_channels != shape->fortran;
  int fd = fcntl(recording->fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0)
    return nx_fail_errno(err, errno, "open the array");
  int r = nx_flat_open(flat, fd, &recording->info.truncated, err);
  if (!r)
    r = nx_sidecar_read(recording, &sidecar, err);
  if (r < 0)
    return r;
  double rate = sidecar.rate_hz > 0 ? sidecar.rate_hz : 1;
  recording->channels = calloc(flat->n_channels, sizeof *recording->channels);
  if (!recording->channels)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  recording->info.n_channels = flat->n_channels;
  recording->info.duration_s = (double)flat->n_samples / rate;
  for (size_t i = 0; i < flat->n_channels; i++) {
    struct nx_channel *channel = &recording->channels[i];
    snprintf(channel->name, sizeof channel->name, "%zu", i + 1);
    memcpy(channel->unit, sidecar.unit, sizeof sidecar.unit);
    channel->type =
        sidecar.has_type ? sidecar.type : nx_channel_guess_type(channel->name, sidecar.unit);
    channel->rate_hz = rate;
    channel->n_samples = flat->n_samples;
  }
  return 0;
}

static int open_npy(struct nx_recording *recording, struct nx_error *err) {
  char text[HEADER_CAP];
  struct shape shape = {0};
  struct nx_flat *flat = calloc(1, sizeof *flat);
  if (!flat)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  flat->fd = -1;
  recording->state = flat;
  int r = read_header(recording, text, &flat->offset, err);
  if (!r)
    r = parse_type(text, &flat->type, err);
  if (!r)
    r = parse_shape(text, &shape, err);
  return r < 0 ? r : describe(recording, &shape, err);
}

static int read_npy(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                    uint64_t first, size_t n, float *out, struct nx_error *err) {
  return nx_flat_read(recording->state, channels, n_channels, first, n, out, err);
}

static void close_npy(struct nx_recording *recording) {
  if (recording->state)
    nx_flat_finish(recording->state);
  free(recording->state);
}

const struct nx_format nx_format_npy = {
    .name = "npy",
    .probe = probe_npy,
    .open = open_npy,
    .read = read_npy,
    .close = close_npy,
};
