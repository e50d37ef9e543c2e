/* Seeded entropy: for tests alone, so that a statistical test always sees the same samples. */
#pragma once

#include <string.h>

#include "common/rng.h"
#include "common/size.h"

static int fill_seeded(void *context, void *out, size_t size, struct nx_error *err) {
  (void)err;
  for (uint8_t *p = out; size;) {
    uint64_t word = nx_rng_u64(context);
    size_t n = NX_MIN(size, sizeof word);
    memcpy(p, &word, n);
    p += n;
    size -= n;
  }
  return 0;
}

static inline struct nx_entropy seeded_entropy(struct nx_rng *rng, uint64_t seed) {
  nx_rng_init(rng, seed, 99);
  return (struct nx_entropy){fill_seeded, rng};
}
