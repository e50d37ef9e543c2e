/* Lanes' kernels: rows of sixteen float64, 64-byte aligned (lanes.h), for any processor and for those
 * with AVX2 and FMA. Both round differently in the last bit: a fused multiply-add rounds once. */
#pragma once

#include "node/dataset/lanes.h"

#define NX_LANES_KERNELS(suffix)                                                                   \
  /* One or two sections of a cascade over a block; c and state: [1 or 2]. */                      \
  void nx_lanes_section_##suffix(const double (*c)[6], double (*state)[2][NX_LANES],               \
                                 const double *from, ptrdiff_t from_step, double *to,              \
                                 ptrdiff_t to_step, size_t n, bool two);                           \
  void nx_lanes_dot_##suffix(const double *taps, const double *rows, size_t n, double *out);       \
  void nx_lanes_gather_##suffix(const double *x, size_t stride, size_t n_channels,                 \
                                const double *mean, size_t n, double *rows);                       \
  void nx_lanes_scatter_##suffix(const double *rows, size_t n, size_t n_channels, double *y,       \
                                 size_t stride);                                                   \
  void nx_lanes_mean_##suffix(const double *x, size_t stride, size_t n_channels, size_t n,         \
                              double *mean)

NX_LANES_KERNELS(any);
NX_LANES_KERNELS(fma);
