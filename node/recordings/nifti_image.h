/* NIfTI image: header and voxels of a .nii or .nii.gz, of NIfTI-1 or -2. Volumes follow each other,
 * in each the first index is the fastest. */
#pragma once

#include "node/recordings/gzip_file.h"

#define NX_NIFTI_SIDES 3

struct nx_nifti_image {
  struct nx_gzip_file file;
  bool swapped; /* big-endian */
  uint64_t sides[NX_NIFTI_SIDES], n_voxels, n_volumes;
  uint64_t data; /* where the voxels begin, unpacked */
  unsigned type;
  double slope, shift, seconds;
  double affine[NX_NIFTI_SIDES][4]; /* voxel to millimetres */
  enum nx_frame frame;
};

/* fd stays the caller's; .file is to be finished whatever comes back. NX_E_FORMAT,
 * NX_E_UNSUPPORTED, NX_E_LIMIT. */
int nx_nifti_open(struct nx_nifti_image *image, int fd, struct nx_error *err);
/* Bytes of a voxel. */
size_t nx_nifti_width(const struct nx_nifti_image *image);
/* Stored values (not scaled) of n voxels of one volume's bytes: those listed, or, with voxels NULL,
 * from the first one on. */
void nx_nifti_take(const struct nx_nifti_image *image, const uint8_t *bytes, const uint32_t *voxels,
                   size_t first, size_t n, double *to);
/* The same, scaled, in float32. */
void nx_nifti_take_scaled(const struct nx_nifti_image *image, const uint8_t *bytes,
                          const uint32_t *voxels, size_t first, size_t n, float *to);
