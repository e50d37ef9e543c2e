/* NIfTI-1 and -2, plain or gzipped: every voxel (or every voxel of a mask, or every parcel of
 * a parcellation) is a channel, every volume a sample. scl_slope, scl_inter and xyzt_units are
 * honoured; places come from the sform. More voxels than NX_RECORDING_CHANNELS need NAME_mask
 * beside NAME: one value makes voxels, several make parcels, which are averaged. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "common/size.h"
#include "node/recordings/format.h"
#include "node/recordings/identity.h"

#define VOXELS_CAP ((size_t)1 << 26)
#define SIDES 3
#define TILE 16 /* volumes */
#define TYPE_INT16 4
#define TYPE_FLOAT32 16

struct image {
  gzFile stream; /* owns its descriptor */
  bool swapped;
  uint64_t sides[SIDES], n_voxels, n_volumes, data;
  unsigned type;
  double slope, shift, seconds;
  double affine[SIDES][4]; /* voxel to millimetres */
  enum nx_frame frame;
};

struct nifti {
  struct image image;
  uint32_t *channel_of; /* [n_voxels], UINT32_MAX: in none; NULL: voxel = channel */
  uint32_t *members;    /* [n_channels] voxels of a parcel */
  uint8_t *volume;
  double *sums; /* [TILE][n_channels] */
};

static bool probe_nifti(const char *path, const uint8_t *head, size_t size) {
  size_t n = strlen(path);
  if (size >= 2 && head[0] == 0x1f && head[1] == 0x8b)
    return n > 7 && !strcmp(path + n - 7, ".nii.gz");
  return size >= 348 && (!memcmp(head + 344, "n+1", 4) || !memcmp(head + 4, "n+2", 4));
}

static size_t width_of(unsigned type) {
  switch (type) {
  case 2:
  case 256:
    return 1;
  case 4:
  case 512:
    return 2;
  case 8:
  case 16:
  case 768:
    return 4;
  case 64:
  case 1024:
  case 1280:
    return 8;
  default:
    return 0;
  }
}

/* Size bytes at p as they lie in memory of this machine. */
static uint64_t bits(const struct image *image, const uint8_t *p, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++)
    value |= (uint64_t)p[image->swapped ? size - 1 - i : i] << (8 * i);
  return value;
}

static double float_at(const struct image *image, const uint8_t *p, size_t size) {
  uint64_t wide = bits(image, p, size);
  uint32_t narrow = (uint32_t)wide;
  float f32;
  double f64;
  memcpy(&f32, &narrow, sizeof f32);
  memcpy(&f64, &wide, sizeof f64);
  return size == 4 ? (double)f32 : f64;
}

static double value_at(const struct image *image, const uint8_t *p) {
  size_t size = width_of(image->type);
  uint64_t value = bits(image, p, size);
  switch (image->type) {
  case 4:
    return (int16_t)value;
  case 8:
    return (int32_t)value;
  case 256:
    return (int8_t)value;
  case 1024:
    return (double)(int64_t)value;
  case 16:
  case 64:
    return float_at(image, p, size);
  default:
    return (double)value;
  }
}

/* Where NIfTI-1 and -2 keep the same things. */
struct layout {
  size_t dim, dim_size, type, pixdim, real_size, offset, offset_size, slope, shift, units;
  size_t sform_code, code_size, sform;
};
static const struct layout layouts[] = {
    {40, 2, 70, 76, 4, 108, 4, 112, 116, 123, 254, 2, 280},
    {16, 8, 12, 104, 8, 168, 8, 176, 184, 500, 348, 4, 400},
};

static int parse_sides(struct image *image, const struct layout *l, const uint8_t *h,
                       struct nx_error *err) {
  uint64_t n_dims = bits(image, h + l->dim, l->dim_size);
  image->n_voxels = image->n_volumes = 1;
  for (uint64_t d = 1; d <= 7 && n_dims >= 1 && n_dims <= 7; d++) {
    uint64_t n = d <= n_dims ? bits(image, h + l->dim + d * l->dim_size, l->dim_size) : 1;
    if (n < 1 || n > INT32_MAX)
      return nx_fail(err, NX_E_FORMAT, "side %llu of the image is %llu long", (unsigned long long)d,
                     (unsigned long long)n);
    if (d <= SIDES) {
      image->sides[d - 1] = n;
      image->n_voxels *= n;
    } else {
      image->n_volumes *= n;
    }
    if (image->n_voxels > VOXELS_CAP || image->n_volumes > UINT64_C(1) << 32)
      return nx_fail(err, NX_E_LIMIT, "an image of more than %zu voxels a volume", VOXELS_CAP);
  }
  return n_dims >= 1 && n_dims <= 7 ? 0
                                    : nx_fail(err, NX_E_FORMAT, "no image has %llu dimensions",
                                              (unsigned long long)n_dims);
}

static int parse_header(struct image *image, const uint8_t *h, bool second, struct nx_error *err) {
  const struct layout *l = &layouts[second];
  int r = parse_sides(image, l, h, err);
  if (r < 0)
    return r;
  image->type = (unsigned)bits(image, h + l->type, 2);
  if (!width_of(image->type))
    return nx_fail(err, NX_E_UNSUPPORTED, "voxels of type %u: save them as float32", image->type);
  double offset = second ? (double)bits(image, h + l->offset, 8) : float_at(image, h + 108, 4);
  if (!(offset >= (second ? 540 : 348) && offset < 0x1p40))
    return nx_fail(err, NX_E_FORMAT, "voxels that start at byte %g", offset);
  image->data = (uint64_t)offset;
  image->slope = float_at(image, h + l->slope, l->real_size);
  image->shift = float_at(image, h + l->shift, l->real_size);
  if (image->slope == 0 || !isfinite(image->slope) || !isfinite(image->shift)) {
    image->slope = 1;
    image->shift = 0;
  }
  unsigned units = (unsigned)bits(image, h + l->units, second ? 4 : 1) & 0x38;
  double step = float_at(image, h + l->pixdim + 4 * l->real_size, l->real_size);
  image->seconds = step * (units == 16 ? 1e-3 : units == 24 ? 1e-6 : 1);
  if (!(image->seconds > 0 && image->seconds < 1e6))
    image->seconds = 1; /* not said */
  unsigned code = (unsigned)bits(image, h + l->sform_code, l->code_size);
  image->frame = code == 0   ? NX_FRAME_NONE
                 : code == 4 ? NX_FRAME_MNI
                 : code == 1 ? NX_FRAME_DEVICE
                             : NX_FRAME_MRI;
  for (size_t i = 0; i < 12; i++) {
    double v = float_at(image, h + l->sform + i * l->real_size, l->real_size);
    image->affine[i / 4][i % 4] = isfinite(v) ? v : 0;
  }
  return 0;
}

static int read_exactly(struct image *image, void *out, size_t size, struct nx_error *err) {
  for (uint8_t *p = out; size;) {
    int n = gzread(image->stream, p, (unsigned)NX_MIN(size, (size_t)1 << 20));
    if (n <= 0)
      return nx_fail(err, NX_E_FORMAT, "the image ends too early: copy the file again");
    p += n;
    size -= (size_t)n;
  }
  return 0;
}

static int open_image(struct image *image, int fd, struct nx_error *err) {
  uint8_t header[540];
  int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0 || lseek(own, 0, SEEK_SET) < 0)
    return nx_fail_errno(err, errno, "open the image");
  image->stream = gzdopen(own, "rb");
  if (!image->stream) {
    close(own);
    return nx_fail(err, NX_E_NOMEM, "open the image: out of memory");
  }
  int r = read_exactly(image, header, 348, err);
  if (r < 0)
    return r;
  uint64_t size = bits(image, header, 4);
  image->swapped = size != 348 && size != 540;
  size = bits(image, header, 4);
  if (size != 348 && size != 540)
    return nx_fail(err, NX_E_FORMAT, "no NIfTI header: convert the image to .nii.gz");
  if (size == 540)
    r = read_exactly(image, header + 348, 540 - 348, err);
  return r < 0 ? r : parse_header(image, header, size == 540, err);
}

/* NAME_mask.nii.gz or NAME_mask.nii of NAME.nii(.gz); 1 when there is none. */
static int open_mask(struct nx_recording *recording, struct image *mask, struct nx_error *err) {
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
    return open_image(mask, fd, err);
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
  struct image mask = {0};
  int r = open_mask(recording, &mask, err);
  size_t n = (size_t)nifti->image.n_voxels, width = width_of(mask.type);
  _cleanup_free_ uint8_t *bytes = NULL;
  _cleanup_free_ double *values = NULL;
  if (r == 0 && memcmp(mask.sides, nifti->image.sides, sizeof mask.sides))
    r = nx_fail(err, NX_E_FORMAT, "the mask has another shape than the image");
  if (r == 0) {
    bytes = malloc(n * width);
    values = calloc(n, sizeof *values);
    r = bytes && values ? 0 : nx_fail(err, NX_E_NOMEM, "mask: out of memory");
  }
  if (r == 0 && gzseek(mask.stream, (z_off_t)mask.data, SEEK_SET) < 0)
    r = nx_fail(err, NX_E_FORMAT, "the mask ends too early");
  if (r == 0)
    r = read_exactly(&mask, bytes, n * width, err);
  for (size_t i = 0; r == 0 && i < n; i++)
    values[i] = value_at(&mask, bytes + i * width);
  if (r == 0)
    r = assign(nifti, values, n_channels_out, err);
  if (mask.stream)
    gzclose(mask.stream);
  return r;
}

static void place(const struct image *image, size_t voxel, double at[3]) {
  double index[4] = {(double)(voxel % image->sides[0]),
                     (double)(voxel / image->sides[0] % image->sides[1]),
                     (double)(voxel / image->sides[0] / image->sides[1]), 1};
  for (int i = 0; i < SIDES; i++) {
    at[i] = 0;
    for (int k = 0; k < 4; k++)
      at[i] += image->affine[i][k] * index[k] / 1000;
  }
}

static int make_channels(struct nx_recording *recording, size_t n_channels, struct nx_error *err) {
  struct nifti *nifti = recording->state;
  const struct image *image = &nifti->image;
  recording->channels = calloc(n_channels, sizeof *recording->channels);
  nifti->members = calloc(n_channels, sizeof *nifti->members);
  nifti->sums = calloc(TILE * n_channels, sizeof *nifti->sums);
  nifti->volume = malloc((size_t)image->n_voxels * width_of(image->type));
  if (!recording->channels || !nifti->members || !nifti->sums || !nifti->volume)
    return nx_fail(err, NX_E_NOMEM, "image: out of memory");
  recording->info.n_channels = n_channels;
  recording->info.duration_s = (double)image->n_volumes * image->seconds;
  for (size_t v = 0; v < image->n_voxels; v++) {
    uint32_t c = nifti->channel_of ? nifti->channel_of[v] : (uint32_t)v;
    double at[3];
    if (c == UINT32_MAX)
      continue;
    struct nx_channel *channel = &recording->channels[c];
    place(image, v, at);
    nifti->members[c]++;
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
  recording->state = nifti;
  int r = open_image(&nifti->image, recording->fd, err);
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

/* Loops of their own for what images mostly are; to[v] of all voxels. */
static void decode_volume(const struct image *image, const uint8_t *bytes, double *to) {
  size_t n = (size_t)image->n_voxels, width = width_of(image->type);
  if (image->type == TYPE_INT16 && !image->swapped)
    for (size_t v = 0; v < n; v++)
      to[v] = (int16_t)(bytes[2 * v] | bytes[2 * v + 1] << 8);
  else if (image->type == TYPE_FLOAT32 && !image->swapped)
    for (size_t v = 0; v < n; v++) {
      float value;
      memcpy(&value, bytes + 4 * v, sizeof value);
      to[v] = (double)value;
    }
  else
    for (size_t v = 0; v < n; v++)
      to[v] = value_at(image, bytes + v * width);
}

/* A volume's sums over each channel's voxels. */
static void sum_volume(struct nifti *nifti, size_t n_channels, double *sums) {
  const struct image *image = &nifti->image;
  if (!nifti->channel_of) {
    decode_volume(image, nifti->volume, sums);
    return;
  }
  size_t width = width_of(image->type);
  memset(sums, 0, n_channels * sizeof *sums);
  for (size_t v = 0; v < image->n_voxels; v++)
    if (nifti->channel_of[v] != UINT32_MAX)
      sums[nifti->channel_of[v]] += value_at(image, nifti->volume + v * width);
}

/* TILE volumes at a time, so that a channel's samples are written side by side. */
static int read_nifti(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                      uint64_t first, size_t n, float *out, struct nx_error *err) {
  struct nifti *nifti = recording->state;
  struct image *image = &nifti->image;
  size_t size = (size_t)image->n_voxels * width_of(image->type), all = recording->info.n_channels;
  if (gzseek(image->stream, (z_off_t)(image->data + first * size), SEEK_SET) < 0)
    return nx_fail(err, NX_E_FORMAT, "the image ends before volume %llu: copy the file again",
                   (unsigned long long)first);
  for (size_t done = 0, now; done < n; done += now) {
    now = NX_MIN((size_t)TILE, n - done);
    for (size_t k = 0; k < now; k++) {
      int r = read_exactly(image, nifti->volume, size, err);
      if (r < 0)
        return r;
      sum_volume(nifti, all, nifti->sums + k * all);
    }
    for (size_t c = 0; c < n_channels; c++) {
      const double *sums = nifti->sums + channels[c];
      double members = nifti->members[channels[c]];
      for (size_t k = 0; k < now; k++)
        out[c * n + done + k] = (float)(sums[k * all] / members * image->slope + image->shift);
    }
  }
  return 0;
}

static void close_nifti(struct nx_recording *recording) {
  struct nifti *nifti = recording->state;
  if (!nifti)
    return;
  if (nifti->image.stream)
    gzclose(nifti->image.stream);
  free(nifti->channel_of);
  free(nifti->members);
  free(nifti->volume);
  free(nifti->sums);
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
