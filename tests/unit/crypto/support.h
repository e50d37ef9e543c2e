/* What the crypto tests share. */
#pragma once

#include <stdlib.h>

#include "common/bytes.h"
#include "common/rng.h"
#include "tests/unit/cmocka_shim.h"

/* out[i] = start + i, as fill() in tests/vectors/crypto_vectors.py. */
static inline void fill_bytes(void *out, size_t size, unsigned start) {
  for (size_t i = 0; i < size; i++)
    ((uint8_t *)out)[i] = (uint8_t)(start + i);
}

static inline void assert_hex(const void *bytes, size_t size, const char *hex) {
  _cleanup_free_ char *got = malloc(2 * size + 1);
  assert_non_null(got);
  nx_hex_encode(bytes, size, got);
  assert_string_equal(got, hex);
}

static inline int fill_from_rng(void *context, void *out, size_t size, struct nx_error *err) {
  (void)err;
  for (size_t i = 0; i < size; i++)
    ((uint8_t *)out)[i] = (uint8_t)(nx_rng_u64(context) >> 56);
  return 0;
}

/* Reproducible entropy, for tests only. */
static inline struct nx_entropy entropy_of(struct nx_rng *rng) {
  return (struct nx_entropy){fill_from_rng, rng};
}
