/* Quantize: float32 vectors to fixed point in Z_2^w and back. The only place where masked
 * numbers meet floats.
 *
 *   x  --L2 clip to C-->  * weight  -->  * 2^f  -->  stochastic rounding  -->  clamp to +-Q
 *   f = value_bits - 1 - ceil(log2(value_range)),  Q = 2^(value_bits-1) - 1
 *
 * A sum of n encodings is exact in Z_2^w while n * Q < 2^(w-1). Results depend on nothing
 * but the arguments: the same on every machine. Any thread. */
#pragma once

#include "common/error.h"
#include "common/rng.h"

#include <stddef.h>
#include <stdint.h>

struct nx_quantize {
  uint32_t ring_bits;  /* w: 32, 24, 16 or 12 */
  uint32_t value_bits; /* 2..w-1, sign included */
  double value_range;  /* components beyond +-this are clamped; > 0 */
  double clip_norm;    /* C, of the whole vector before weighting; > 0 */
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

/* lanes_out: n values mod 2^w. 0 <= weight <= 1. A NaN or an infinity in values is
 * NX_E_INVALID with its index, before anything is written. rng drives the rounding only.
 * report may be NULL. */
int nx_quantize_encode(const struct nx_quantize *q, const float *values, size_t n, double weight,
                       struct nx_rng *rng, uint32_t *lanes_out, struct nx_quantize_report *report,
                       struct nx_error *err);
/* values_out[i] = (float)((double)signed(lanes[i]) / (2^f * weight_sum)). */
void nx_quantize_decode(const struct nx_quantize *q, const uint32_t *lanes, size_t n,
                        double weight_sum, float *values_out);
/* The signed value of a lane mod 2^w. */
static inline int32_t nx_quantize_signed(uint32_t lane, uint32_t ring_bits) {
  return (int32_t)(lane << (32 - ring_bits)) >> (32 - ring_bits);
}
