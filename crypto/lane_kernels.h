/* Lane kernels: the inner loops over lanes and floats, the same source compiled for
 * several instruction sets and chosen at run time. All give the same bits: sums run in a
 * fixed order of sixteen interleaved partial sums, no contraction. Internal. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/rng.h"

/* Eight interleaved xoshiro256++ generators (Blackman & Vigna 2018). */
struct nx_rounding {
  uint64_t s[4][8];
};
void nx_rounding_init(struct nx_rounding *rounding, uint64_t seed, uint64_t piece);

#define NX_ROUNDING_BITS 19 /* with 32 of a lane they fit a double's mantissa */

struct nx_encode_call {
  const float *values;
  uint32_t *lanes;
  size_t n;
  double factor;   /* weight * clip * 2^f */
  double limit;    /* Q */
  uint32_t modulo; /* 2^w - 1 */
};

struct nx_lane_kernels {
  const char *name;
  double (*sum_of_squares)(const float *values, size_t n);
  /* floor(value * factor + threshold) in fixed point with NX_ROUNDING_BITS after the point, so
   * that no sum is rounded again. Value i of a run of 24 takes generator i % 8's next number:
   * its top bits (i < 8), those above bit 22 (i < 16) or its lowest. Returns how many components
   * were clamped. */
  size_t (*encode)(const struct nx_encode_call *call, struct nx_rounding *rounding);
  void (*decode)(const uint32_t *lanes, size_t n, uint32_t ring_bits, double divisor, float *out);
  /* x -> H x, unnormalised, n a power of two; butterflies of one fixed shape. */
  void (*hadamard)(float *x, size_t n);
  void (*pack)(const uint32_t *lanes, size_t n, uint32_t ring_bits, uint8_t *out);
  void (*unpack_add)(const uint8_t *packed, size_t n, uint32_t ring_bits, uint32_t *sums);
};

extern const struct nx_lane_kernels nx_lane_kernels_plain; /* the scalar reference */
extern const struct nx_lane_kernels nx_lane_kernels_avx2, nx_lane_kernels_avx512;

/* The fastest usable here, or the one that NEUROX_LANE_KERNELS names (plain, avx2, avx512). */
const struct nx_lane_kernels *nx_lane_kernels(void);
