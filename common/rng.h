/* Rng: reproducible numbers for training, rounding, synthesis and simulation.
 * xoshiro256** (Blackman & Vigna 2018) seeded by splitmix64. NOT for keys, masks
 * or privacy noise: those come from the operating system (struct nx_entropy). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct nx_rng {
  uint64_t s[4];
};

/* Distinct (seed, stream) pairs give independent sequences. */
void nx_rng_init(struct nx_rng *rng, uint64_t seed, uint64_t stream);
uint64_t nx_rng_u64(struct nx_rng *rng);
uint64_t nx_rng_below(struct nx_rng *rng, uint64_t n); /* uniform in 0..n-1, unbiased; n > 0 */
double nx_rng_uniform(struct nx_rng *rng);             /* [0, 1), 53 bits */
double nx_rng_normal(struct nx_rng *rng);              /* N(0, 1), Box-Muller, one per call */

/* Entropy: where secrets come from. Cores are handed one, so that a simulator can
 * hand another. fill returns 0 or NX_E_*. */
struct nx_entropy {
  int (*fill)(void *context, void *out, size_t size, struct nx_error *err);
  void *context;
};

/* getrandom(2); never short, never the non-blocking pool. */
extern const struct nx_entropy nx_entropy_system;
