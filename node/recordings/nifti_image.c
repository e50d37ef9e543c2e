#include "node/recordings/nifti_image.h"

#include <math.h>
#include <string.h>

#include "common/size.h"

#define VOXELS_CAP ((size_t)1 << 26)
#define LANES 16   /* voxels */
#define PIECE 1024 /* voxels that stay in the first cache while they are worked on */
#define TYPE_UINT8 2
#define TYPE_INT16 4
#define TYPE_FLOAT32 16

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

size_t nx_nifti_width(const struct nx_nifti_image *image) {
  return width_of(image->type);
}

/* Size bytes at p as they lie in memory of this machine. */
static uint64_t bits(const struct nx_nifti_image *image, const uint8_t *p, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++)
    value |= (uint64_t)p[image->swapped ? size - 1 - i : i] << (8 * i);
  return value;
}

static double float_at(const struct nx_nifti_image *image, const uint8_t *p, size_t size) {
  uint64_t wide = bits(image, p, size);
  uint32_t narrow = (uint32_t)wide;
  float f32;
  double f64;
  memcpy(&f32, &narrow, sizeof f32);
  memcpy(&f64, &wide, sizeof f64);
  return size == 4 ? (double)f32 : f64;
}

static double value_at(const struct nx_nifti_image *image, const uint8_t *p) {
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

static int parse_sides(struct nx_nifti_image *image, const struct layout *l, const uint8_t *h,
                       struct nx_error *err) {
  uint64_t n_dims = bits(image, h + l->dim, l->dim_size);
  image->n_voxels = image->n_volumes = 1;
  for (uint64_t d = 1; d <= 7 && n_dims >= 1 && n_dims <= 7; d++) {
    uint64_t n = d <= n_dims ? bits(image, h + l->dim + d * l->dim_size, l->dim_size) : 1;
    if (n < 1 || n > INT32_MAX)
      return nx_fail(err, NX_E_FORMAT, "side %llu of the image is %llu long", (unsigned long long)d,
                     (unsigned long long)n);
    if (d <= NX_NIFTI_SIDES) {
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

static int parse_header(struct nx_nifti_image *image, const uint8_t *h, bool second,
                        struct nx_error *err) {
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

int nx_nifti_open(struct nx_nifti_image *image, int fd, struct nx_error *err) {
  uint8_t header[540];
  int r = nx_gzip_open(fd, &image->file, err);
  if (!r)
    r = nx_gzip_read(&image->file, 0, header, 348, err);
  if (r < 0)
    return r;
  uint64_t size = bits(image, header, 4);
  image->swapped = size != 348 && size != 540;
  size = bits(image, header, 4);
  if (size != 348 && size != 540)
    return nx_fail(err, NX_E_FORMAT, "no NIfTI header: convert the image to .nii.gz");
  if (size == 540)
    r = nx_gzip_read(&image->file, 348, header + 348, 540 - 348, err);
  return r < 0 ? r : parse_header(image, header, size == 540, err);
}

/* Kinds that images mostly are of have a loop of their own; LANES at a time, so that compilers
 * make vectors of them. */
#define VALUES(kind, real)                                                                         \
  {                                                                                                \
    kind in[LANES];                                                                                \
    size_t i = 0;                                                                                  \
    for (; !voxels && i + LANES <= n; i += LANES) {                                                \
      memcpy(in, bytes + sizeof(kind) * (first + i), sizeof in);                                   \
      for (size_t k = 0; k < LANES; k++)                                                           \
        to[i + k] = (real)in[k];                                                                   \
    }                                                                                              \
    for (; i < n; i++) {                                                                           \
      memcpy(in, bytes + sizeof(kind) * (voxels ? voxels[i] : first + i), sizeof(kind));           \
      to[i] = (real)in[0];                                                                         \
    }                                                                                              \
  }

#define TAKE(name, real)                                                                           \
  static void name(const struct nx_nifti_image *image, const uint8_t *bytes,                       \
                   const uint32_t *voxels, size_t first, size_t n, real *to) {                     \
    size_t width = width_of(image->type);                                                          \
    if (image->type == TYPE_UINT8)                                                                 \
      VALUES(uint8_t, real)                                                                        \
    else if (image->type == TYPE_INT16 && !image->swapped)                                         \
      VALUES(int16_t, real)                                                                        \
    else if (image->type == TYPE_FLOAT32 && !image->swapped)                                       \
      VALUES(float, real)                                                                          \
    else                                                                                           \
      for (size_t i = 0; i < n; i++)                                                               \
        to[i] = (real)value_at(image, bytes + width * (voxels ? voxels[i] : first + i));           \
  }

TAKE(take_f64, double)
TAKE(take_f32, float)

void nx_nifti_take(const struct nx_nifti_image *image, const uint8_t *bytes, const uint32_t *voxels,
                   size_t first, size_t n, double *to) {
  take_f64(image, bytes, voxels, first, n, to);
}

static void scale(const struct nx_nifti_image *image, const double *from, size_t n, float *to) {
  double slope = image->slope, shift = image->shift, in[LANES];
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    memcpy(in, from + i, sizeof in);
    for (size_t k = 0; k < LANES; k++)
      to[i + k] = (float)(in[k] * slope + shift);
  }
  for (; i < n; i++)
    to[i] = (float)(from[i] * slope + shift);
}

void nx_nifti_take_scaled(const struct nx_nifti_image *image, const uint8_t *bytes,
                          const uint32_t *voxels, size_t first, size_t n, float *to) {
  double piece[PIECE];
  if (image->slope == 1 && image->shift == 0) { /* each value rounds the same without a detour */
    take_f32(image, bytes, voxels, first, n, to);
    return;
  }
  for (size_t done = 0, now; done < n; done += now) {
    now = NX_MIN((size_t)PIECE, n - done);
    take_f64(image, bytes, voxels ? voxels + done : NULL, first + done, now, piece);
    scale(image, piece, now, to + done);
  }
}
