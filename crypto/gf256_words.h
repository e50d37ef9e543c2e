/* Eight elements of GF(2^8) side by side in a word, modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, 4.2):
 * shifts and xors alone, constant time. Internal to crypto/. */
#pragma once

#include <stdint.h>

#define NX_GF256_LOW_BITS UINT64_C(0x0101010101010101)

static inline uint64_t nx_gf256_times_x(uint64_t v) {
  uint64_t high = v >> 7 & NX_GF256_LOW_BITS;
  v = v << 1 & ~NX_GF256_LOW_BITS;
  return v ^ high ^ high << 1 ^ high << 3 ^ high << 4; /* 0x1b where x^8 came up */
}
