/* The AES-256 key schedule by AES-NI, for the kernels that are compiled with it. Internal. */
#pragma once

#include <immintrin.h>

#include "crypto/prg.h"

static inline __m128i nx_prg_fold(__m128i key) {
  key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  return _mm_xor_si128(key, _mm_slli_si128(key, 4));
}

/* FIPS 197, 5.2, for 256-bit keys: two round keys a step, the last step makes one. */
#define NX_PRG_STEP(i, rcon)                                                                       \
  do {                                                                                             \
    even = _mm_xor_si128(nx_prg_fold(even),                                                        \
                         _mm_shuffle_epi32(_mm_aeskeygenassist_si128(odd, (rcon)), 0xff));         \
    _mm_storeu_si128(out + (i), even);                                                             \
    if ((i) == 14)                                                                                 \
      break;                                                                                       \
    odd = _mm_xor_si128(nx_prg_fold(odd),                                                          \
                        _mm_shuffle_epi32(_mm_aeskeygenassist_si128(even, 0), 0xaa));              \
    _mm_storeu_si128(out + (i) + 1, odd);                                                          \
  } while (0)

static inline void nx_prg_schedule(const struct nx_secret *key,
                                   uint8_t schedule[NX_PRG_SCHEDULE_SIZE]) {
  __m128i *out = (__m128i *)(void *)schedule;
  __m128i even = _mm_loadu_si128((const __m128i *)(const void *)key->bytes);
  __m128i odd = _mm_loadu_si128((const __m128i *)(const void *)(key->bytes + 16));
  _mm_storeu_si128(out, even);
  _mm_storeu_si128(out + 1, odd);
  NX_PRG_STEP(2, 0x01);
  NX_PRG_STEP(4, 0x02);
  NX_PRG_STEP(6, 0x04);
  NX_PRG_STEP(8, 0x08);
  NX_PRG_STEP(10, 0x10);
  NX_PRG_STEP(12, 0x20);
  NX_PRG_STEP(14, 0x40);
}

#undef NX_PRG_STEP
