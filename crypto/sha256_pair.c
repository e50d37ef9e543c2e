#include "crypto/sha256_pair.h"

#include <cpuid.h>
#include <immintrin.h>

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

bool nx_sha256_pair_usable(void) {
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_SSSE3) || !(ecx & bit_SSE4_1))
    return false;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & 1u << 29);
}

struct half { /* a state as the instructions want it, and the last sixteen words */
  __m128i abef, cdgh, w[4];
};

static struct half load(const uint32_t state[8]) {
  __m128i dcba = _mm_loadu_si128((const __m128i *)(const void *)state);
  __m128i hgfe = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
  __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
  return (struct half){.abef = _mm_alignr_epi8(cdab, efgh, 8),
                       .cdgh = _mm_blend_epi16(efgh, cdab, 0xf0)};
}

static void store(const struct half *half, uint32_t state[8]) {
  __m128i feba = _mm_shuffle_epi32(half->abef, 0x1b), dchg = _mm_shuffle_epi32(half->cdgh, 0xb1);
  _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static inline void take_words(struct half *half, const uint8_t *block) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  for (size_t i = 0; i < 4; i++)
    half->w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i)),
                                  big_endian);
}

/* Rounds 4i … 4i + 3. */
static inline void four_rounds(struct half *half, size_t i) {
  __m128i *w = &half->w[i % 4], last = half->w[(i + 3) % 4];
  if (i >= 4) {
    __m128i seven_ago = _mm_alignr_epi8(last, half->w[(i + 2) % 4], 4);
    *w = _mm_add_epi32(_mm_sha256msg1_epu32(*w, half->w[(i + 1) % 4]), seven_ago);
    *w = _mm_sha256msg2_epu32(*w, last);
  }
  __m128i wk =
      _mm_add_epi32(*w, _mm_loadu_si128((const __m128i *)(const void *)(constants + 4 * i)));
  half->cdgh = _mm_sha256rnds2_epu32(half->cdgh, half->abef, wk);
  half->abef = _mm_sha256rnds2_epu32(half->abef, half->cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

static inline void add_up(struct half *half, __m128i abef, __m128i cdgh) {
  half->abef = _mm_add_epi32(half->abef, abef);
  half->cdgh = _mm_add_epi32(half->cdgh, cdgh);
}

void nx_sha256_pair_blocks(uint32_t states[2][8], const uint8_t *first, const uint8_t *second,
                           size_t n) {
  struct half a = load(states[0]), b = load(states[1]);
  for (; n; n--, first += 64, second += 64) {
    __m128i a_abef = a.abef, a_cdgh = a.cdgh, b_abef = b.abef, b_cdgh = b.cdgh;
    take_words(&a, first);
    take_words(&b, second);
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++) {
      four_rounds(&a, i);
      four_rounds(&b, i);
    }
    add_up(&a, a_abef, a_cdgh);
    add_up(&b, b_abef, b_cdgh);
  }
  store(&a, states[0]);
  store(&b, states[1]);
}
