/* NIfTI-1 and -2, plain or gzipped: every voxel (or every voxel of a mask, or every parcel of
 * a parcellation) is a channel, every volume a sample. scl_slope, scl_inter and xyzt_units are
 * honoured; places come from the sform. More voxels than NX_RECORDING_CHANNELS need NAME_mask
 * beside NAME: one value makes voxels, several make parcels, which are averaged. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/format.h"
#include "node/recordings/identity.h"
#include "node/recordings/nifti_image.h"

#define TILE 16             /* volumes: a channel's samples fill a cache line */
#define PIECE 1024          /* voxels that stay in the first cache while they are worked on */
#define READ_SIZE (1 << 18) /* bytes of small volumes that are read at once */

struct nifti {
  struct nx_nifti_image image;
  uint32_t *channel_of; /* [n_voxels], UINT32_MAX: in none; NULL: voxel = channel */
  uint32_t *voxels;     /* [n_used] those of the mask, ascending; NULL: all */
  size_t n_used;
  bool parcels;      /* a channel is the mean of several voxels */
  uint32_t *members; /* [n_channels] voxels of a parcel */
  uint8_t *raw;      /* [n_raw] volumes as they lie in the file */
  size_t n_raw;
  double *sums;  /* [n_channels] of one volume */
  size_t stride; /* of a power of two channels, rows would fall onto the same lines of the cache */
  float *staged; /* [TILE][stride] */
};

static bool probe_nifti(const char *path, const uint8_t *head, size_t size) {
  size_t n = strlen(path);
  if (size >= 2 && head[0] == 0x1f && head[1] == 0x8b)
    return n > 7 && !strcmp(path + n - 7, ".nii.gz");
  return size >= 348 && (!memcmp(head + 344, "n+1", 4) || !memcmp(head + 4, "n+2", 4));
}

/* NAME_mask.nii.gz or NAME_mask.nii of NAME.nii(.gz); 1 when there is none. */
static int open_mask(struct nx_recording *recording, struct nx_nifti_image *mask,
                     struct nx_error *err) {
  const char *slash = strrchr(recording->path, '/');
  const char *base = slash ? slash + 1 : recording->path, *end = strstr(base, ".nii");
  int n = end ? (int)(end - base) : (int)strlen(base);
  for (int gz = 1; gz >= 0; gz--) {
    char name[256];
    struct nx_error why = {0};
    _cleanup_fd_ int fd = -1;
    if (snprintf(name, sizeof name, "%.*s_mask.nii%s", n, base, gz ? ".gz" : "") >=
        (int)sizeof name)
      continue;
    int r = nx_recording_sibling(recording, name, &fd, &why);
    if (r == NX_E_NOT_FOUND)
      continue;
    if (r < 0)
      return nx_fail(err, r, "%s", why.text);
    return nx_nifti_open(mask, fd, err);
  }
  return 1;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Values of the mask → channel numbers. One positive value: voxels; more: parcels. */
static int assign(struct nifti *nifti, const double *values, size_t *n_channels_out,
                  struct nx_error *err) {
  size_t n = (size_t)nifti->image.n_voxels, kinds = 0, used = 0;
  _cleanup_free_ double *sorted = calloc(n, sizeof *sorted);
  nifti->channel_of = calloc(n, sizeof *nifti->channel_of);
  if (!sorted || !nifti->channel_of)
    return nx_fail(err, NX_E_NOMEM, "mask: out of memory");
  memcpy(sorted, values, n * sizeof *sorted);
  qsort(sorted, n, sizeof *sorted, by_value);
  for (size_t i = 0; i < n; i++)
    if (sorted[i] > 0 && (kinds == 0 || sorted[i] != sorted[kinds - 1]))
      sorted[kinds++] = sorted[i];
  for (size_t i = 0; i < n; i++) {
    nifti->channel_of[i] = UINT32_MAX;
    if (!(values[i] > 0))
      continue;
    const double *kind = bsearch(&values[i], sorted, kinds, sizeof *sorted, by_value);
    nifti->channel_of[i] = kinds == 1 ? (uint32_t)used : (uint32_t)(kind - sorted);
    used++;
  }
  *n_channels_out = kinds == 1 ? used : kinds;
  return *n_channels_out ? 0 : nx_fail(err, NX_E_FORMAT, "the mask is empty");
}

static int read_mask(struct nx_recording *recording, size_t *n_channels_out, struct nx_error *err) {
  struct nifti *nifti = recording->state;
  struct nx_nifti_image mask = {.file.fd = -1};
  int r = open_mask(recording, &mask, err);
  size_t n = (size_t)nifti->image.n_voxels, width = nx_nifti_width(&mask);
  _cleanup_free_ uint8_t *bytes = NULL;
  _cleanup_free_ double *values = NULL;
  if (r == 0 && memcmp(mask.sides, nifti->image.sides, sizeof mask.sides))
    r = nx_fail(err, NX_E_FORMAT, "the mask has another shape than the image");
  if (r == 0) {
    bytes = malloc(n * width);
    values = calloc(n, sizeof *values);
    r = bytes && values ? 0 : nx_fail(err, NX_E_NOMEM, "mask: out of memory");
  }
  if (r == 0)
    r = nx_gzip_read(&mask.file, mask.data, bytes, n * width, err);
  if (r == 0)
    nx_nifti_take(&mask, bytes, NULL, 0, n, values);
  if (r == 0)
    r = assign(nifti, values, n_channels_out, err);
  nx_gzip_finish(&mask.file);
  return r;
}

static void place(const struct nx_nifti_image *image, size_t voxel, double at[3]) {
  double index[4] = {(double)(voxel % image->sides[0]),
                     (double)(voxel / image->sides[0] % image->sides[1]),
                     (double)(voxel / image->sides[0] / image->sides[1]), 1};
  for (int i = 0; i < NX_NIFTI_SIDES; i++) {
    at[i] = 0;
    for (int k = 0; k < 4; k++)
      at[i] += image->affine[i][k] * index[k] / 1000;
  }
}

static int make_room(struct nifti *nifti, size_t n_channels, struct nx_error *err) {
  const struct nx_nifti_image *image = &nifti->image;
  size_t size = (size_t)image->n_voxels * nx_nifti_width(image), used = 0;
  for (size_t v = 0; nifti->channel_of && v < image->n_voxels; v++)
    used += nifti->channel_of[v] != UINT32_MAX;
  if (nifti->channel_of)
    nifti->voxels = calloc(used, sizeof *nifti->voxels);
  nifti->n_raw = NX_MIN(READ_SIZE / size + 1, (size_t)TILE);
  nifti->raw = malloc(nifti->n_raw * size);
  nifti->members = calloc(n_channels, sizeof *nifti->members);
  nifti->sums = calloc(n_channels, sizeof *nifti->sums);
  nifti->stride = n_channels + TILE;
  nifti->staged = calloc(TILE * nifti->stride, sizeof *nifti->staged);
  if ((nifti->channel_of && !nifti->voxels) || !nifti->raw || !nifti->members || !nifti->sums ||
      !nifti->staged)
    return nx_fail(err, NX_E_NOMEM, "image: out of memory");
  return 0;
}

static int make_channels(struct nx_recording *recording, size_t n_channels, struct nx_error *err) {
  struct nifti *nifti = recording->state;
  const struct nx_nifti_image *image = &nifti->image;
  recording->channels = calloc(n_channels, sizeof *recording->channels);
  int r = make_room(nifti, n_channels, err);
  if (r < 0 || !recording->channels)
    return r < 0 ? r : nx_fail(err, NX_E_NOMEM, "image: out of memory");
  recording->info.n_channels = n_channels;
  recording->info.duration_s = (double)image->n_volumes * image->seconds;
  for (size_t v = 0; v < image->n_voxels; v++) {
    uint32_t c = nifti->channel_of ? nifti->channel_of[v] : (uint32_t)v;
    double at[3];
    if (c == UINT32_MAX)
      continue;
    struct nx_channel *channel = &recording->channels[c];
    place(image, v, at);
    if (nifti->voxels)
      nifti->voxels[nifti->n_used] = (uint32_t)v;
    nifti->n_used++;
    nifti->parcels |= ++nifti->members[c] > 1;
    for (int i = 0; i < 3 && image->frame != NX_FRAME_NONE; i++) /* running mean of a parcel */
      channel->position_m[i] += (float)((at[i] - channel->position_m[i]) / nifti->members[c]);
    snprintf(channel->name, sizeof channel->name, "%zu,%zu,%zu", v % (size_t)image->sides[0],
             v / (size_t)image->sides[0] % (size_t)image->sides[1],
             v / (size_t)image->sides[0] / (size_t)image->sides[1]);
    channel->type = NX_CHANNEL_BOLD;
    channel->frame = image->frame;
    channel->rate_hz = 1 / image->seconds;
    channel->n_samples = image->n_volumes;
  }
  for (size_t c = 0; c < n_channels; c++)
    if (nifti->members[c] > 1)
      snprintf(recording->channels[c].name, sizeof recording->channels[c].name, "parcel %zu",
               c + 1);
  return 0;
}

static int open_nifti(struct nx_recording *recording, struct nx_error *err) {
  struct nifti *nifti = calloc(1, sizeof *nifti);
  size_t n_channels = 0;
  if (!nifti)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  nifti->image.file.fd = -1;
  recording->state = nifti;
  int r = nx_nifti_open(&nifti->image, recording->fd, err);
  if (r < 0)
    return r;
  r = read_mask(recording, &n_channels, err);
  if (r < 0)
    return r;
  if (r == 1)
    n_channels = (size_t)nifti->image.n_voxels;
  if (n_channels > NX_RECORDING_CHANNELS)
    return nx_fail(
        err, NX_E_LIMIT,
        "%zu voxels, at most %d are read: put a mask or a parcellation beside the image, "
        "named as it with _mask before .nii",
        n_channels, NX_RECORDING_CHANNELS);
  return make_channels(recording, n_channels, err);
}

/* A volume's value of every channel. */
static void stage(struct nifti *nifti, const uint8_t *bytes, size_t n_channels, float *to) {
  const struct nx_nifti_image *image = &nifti->image;
  double piece[PIECE];
  if (!nifti->parcels) {
    nx_nifti_take_scaled(image, bytes, nifti->voxels, 0, nifti->n_used, to);
    return;
  }
  memset(nifti->sums, 0, n_channels * sizeof *nifti->sums);
  for (size_t at = 0, now; at < nifti->n_used; at += now) {
    const uint32_t *voxels = nifti->voxels + at;
    now = NX_MIN((size_t)PIECE, nifti->n_used - at);
    nx_nifti_take(image, bytes, voxels, 0, now, piece);
    for (size_t i = 0; i < now; i++)
      nifti->sums[nifti->channel_of[voxels[i]]] += piece[i];
  }
  for (size_t c = 0; c < n_channels; c++)
    to[c] = (float)(nifti->sums[c] / nifti->members[c] * image->slope + image->shift);
}

/* Four channels of four volumes: rows of the one become rows of the other. */
static void turn_square(const float *from, size_t stride, float *to, size_t n) {
  typedef float four __attribute__((vector_size(16)));
  four a, b, c, d;
  memcpy(&a, from, sizeof a);
  memcpy(&b, from + stride, sizeof b);
  memcpy(&c, from + 2 * stride, sizeof c);
  memcpy(&d, from + 3 * stride, sizeof d);
  four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
       AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5),
       CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  a = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  b = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  c = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
  d = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
  memcpy(to, &a, sizeof a);
  memcpy(to + n, &b, sizeof b);
  memcpy(to + 2 * n, &c, sizeof c);
  memcpy(to + 3 * n, &d, sizeof d);
}

/* Volumes of channels → samples of the channels wanted, n apart. */
static void turn(const float *staged, size_t stride, size_t volumes, const uint32_t *channels,
                 size_t n_channels, float *out, size_t n) {
  for (size_t c = 0, step; c < n_channels; c += step) {
    bool four = volumes % 4 == 0 && c + 4 <= n_channels && channels[c + 1] == channels[c] + 1 &&
                channels[c + 2] == channels[c] + 2 && channels[c + 3] == channels[c] + 3;
    step = four ? 4 : 1;
    for (size_t k = 0; k < volumes; k += step) {
      const float *from = staged + k * stride + channels[c];
      if (four)
        turn_square(from, stride, out + c * n + k, n);
      else
        out[c * n + k] = *from;
    }
  }
}

/* TILE volumes at a time, so that a channel's samples are written side by side. */
static int read_nifti(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                      uint64_t first, size_t n, float *out, struct nx_error *err) {
  struct nifti *nifti = recording->state;
  struct nx_nifti_image *image = &nifti->image;
  size_t size = (size_t)image->n_voxels * nx_nifti_width(image), all = recording->info.n_channels;
  for (size_t done = 0, now; done < n; done += now) {
    now = NX_MIN((size_t)TILE, n - done);
    for (size_t k = 0; k < now; k++) {
      size_t slot = k % nifti->n_raw;
      uint64_t at = image->data + (first + done + k) * size;
      int r = slot ? 0
                   : nx_gzip_read(&image->file, at, nifti->raw,
                                  NX_MIN(nifti->n_raw, now - k) * size, err);
      if (r < 0)
        return r;
      stage(nifti, nifti->raw + slot * size, all, nifti->staged + k * nifti->stride);
    }
    turn(nifti->staged, nifti->stride, now, channels, n_channels, out + done, n);
  }
  return 0;
}

static void close_nifti(struct nx_recording *recording) {
  struct nifti *nifti = recording->state;
  if (!nifti)
    return;
  nx_gzip_finish(&nifti->image.file);
  free(nifti->channel_of);
  free(nifti->voxels);
  free(nifti->members);
  free(nifti->raw);
  free(nifti->sums);
  free(nifti->staged);
  free(nifti);
}

const struct nx_format nx_format_nifti = {
    .name = "NIfTI",
    .probe = probe_nifti,
    .open = open_nifti,
    .read = read_nifti,
    .close = close_nifti,
    .identify = nx_identify_nifti,
};
