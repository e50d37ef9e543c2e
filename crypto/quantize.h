/* Quantize: float32 vectors to fixed point in Z_2^w and back. The only place where masked
 * numbers meet floats.
 *
 *   x --L2 clip to C--> * weight --(rotation)--> * 2^f --> stochastic rounding --> clamp to +-Q
 *   f = value_bits - 1 - ceil(log2(value_range)),  Q = 2^(value_bits-1) - 1
 *
 * Work goes by blocks of 2^16 values. The rotation (for 8 bits and fewer) is a randomised
 * Hadamard transform of each block, which spreads a vector's energy evenly over its lanes
 * (Suresh et al., ICML 2017): value_range then bounds rotated components, and the last
 * block is padded with zeros to a power of two, so that there may be more lanes than values.
 *
 * A sum of n encodings is exact in Z_2^w while n * Q < 2^(w-1). Results depend on nothing
 * but the arguments: the same on every machine, with any number of threads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/pool.h"
#include "common/rng.h"

#define NX_QUANTIZE_BLOCK ((size_t)65536)

struct nx_quantize {
  uint32_t ring_bits;  /* w: 32, 24, 16 or 12 */
  uint32_t value_bits; /* 2..w-1, sign included */
  double value_range;  /* components beyond +-this are clamped; > 0 */
  double clip_norm;    /* C, of the whole vector before weighting; > 0 */
  bool rotate;
  uint64_t rotation_seed; /* nx_rotation_seed(), the same at every member */
};

/* What happened, for logs: never the values. */
struct nx_quantize_report {
  double norm;      /* L2, before clipping */
  size_t n_clamped; /* components cut at +-Q */
};

/* NX_E_INVALID names the setting; NX_E_LIMIT when n_members * Q + margin (8 sigma of
 * integer noise, 0 without) does not stay below 2^(w-1). */
int nx_quantize_check(const struct nx_quantize *q, uint32_t n_members, double margin,
                      struct nx_error *err);
int32_t nx_quantize_limit(const struct nx_quantize *q); /* Q */
double nx_quantize_scale(const struct nx_quantize *q);  /* 2^f */

/* Lanes of n values: n, or more with the rotation's padding. */
size_t nx_quantize_lanes(const struct nx_quantize *q, size_t n);

/* lanes_out: nx_quantize_lanes() values mod 2^w. 0 <= weight <= 1. A NaN or an infinity in
 * values is NX_E_INVALID with its index, before anything is written. One number of rng seeds
 * the rounding. report may be NULL. crypto/masked_upload.h does this and what follows in one
 * pass and on a pool. */
int nx_quantize_encode(const struct nx_quantize *q, const float *values, size_t n, double weight,
                       struct nx_rng *rng, uint32_t *lanes_out, struct nx_quantize_report *report,
                       struct nx_error *err);
/* The same with error feedback, for the lowest widths (Seide et al. 2014; Karimireddy et al.,
 * ICML 2019): encodes values + residual and leaves in residual (n floats, zeros before the
 * first round, kept by the node from round to round) what rounding and clamping took away.
 * Not under differential privacy: it carries one round's data into the next. NX_E_INVALID
 * leaves the residual as it was. */
int nx_quantize_encode_feedback(const struct nx_quantize *q, const float *values, float *residual,
                                size_t n, double weight, struct nx_rng *rng, uint32_t *lanes_out,
                                struct nx_quantize_report *report, struct nx_error *err);
/* values_out[i] = (float)((double)signed(lanes[i]) / (2^f * weight_sum)), rotated back where q
 * says so: n values from nx_quantize_lanes() lanes, the same bits everywhere. NX_E_NOMEM. */
int nx_quantize_decode(const struct nx_quantize *q, const uint32_t *lanes, size_t n,
                       double weight_sum, struct nx_pool *pool, float *values_out,
                       struct nx_error *err);
/* The signed value of a lane mod 2^w. */
static inline int32_t nx_quantize_signed(uint32_t lane, uint32_t ring_bits) {
  return (int32_t)(lane << (32 - ring_bits)) >> (32 - ring_bits);
}
