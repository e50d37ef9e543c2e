#include "crypto/rotate.h"

#include <math.h>
#include <string.h>

#include "common/rng.h"
#include "crypto/lane_kernels.h"

/* Value i of a run of 64 takes bit i of the next number. */
static void flip_signs(float *x, size_t n, uint64_t seed, uint64_t block) {
  struct nx_rng rng;
  nx_rng_init(&rng, seed, block);
  for (size_t i = 0; i < n; i += 64) {
    uint64_t bits = nx_rng_u64(&rng);
    uint32_t pattern[64];
    size_t run = n - i < 64 ? n - i : 64;
    memcpy(pattern, x + i, run * sizeof *pattern);
    for (size_t j = 0; j < run; j++)
      pattern[j] ^= (uint32_t)(bits >> j & 1) << 31;
    memcpy(x + i, pattern, run * sizeof *pattern);
  }
}

static void scale(float *x, size_t n) {
  float factor = (float)(1 / sqrt((double)n));
  for (size_t i = 0; i < n; i++)
    x[i] *= factor;
}

void nx_rotate(float *x, size_t n, uint64_t seed, uint64_t block) {
  flip_signs(x, n, seed, block);
  nx_lane_kernels()->hadamard(x, n);
  scale(x, n);
}

void nx_rotate_back(float *x, size_t n, uint64_t seed, uint64_t block) {
  nx_lane_kernels()->hadamard(x, n);
  scale(x, n);
  flip_signs(x, n, seed, block);
}
