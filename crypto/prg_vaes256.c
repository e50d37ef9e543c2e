/* AES-256-CTR and the addition in one pass for processors that have VAES but no AVX-512: two
 * blocks a 256-bit register, eight registers in flight to cover the latency of the AES units;
 * with sixteen registers in all the round keys stay in memory, which costs nothing. Compiled
 * with its own flags and called only where the processor has VAES and AVX2. */
#include <cpuid.h>
#include <string.h>

#include "crypto/prg_schedule.h"

/* clang 14 does not know the names "aes" and "vaes", so these come from cpuid itself; "avx2"
 * also tells that the operating system saves the registers. */
static bool usable(void) {
  unsigned eax, ebx, ecx, edx;
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2"))
    return false;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_AES))
    return false;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ecx & 1u << 9);
}

struct round_keys {
  __m256i k[15];
};

/* Two 64-bit halves a block: low half first in the register, swapped to big-endian. */
static inline __m256i counters(uint64_t stream, uint64_t block) {
  const long long s = (long long)stream, b = (long long)block;
  return _mm256_set_epi64x(s, b + 1, s, b);
}

static inline __m256i swap_halves(void) {
  return _mm256_broadcastsi128_si256(
      _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

static inline __m256i combine(__m256i lanes, __m256i keystream, bool wide, bool subtract) {
  if (wide)
    return subtract ? _mm256_sub_epi64(lanes, keystream) : _mm256_add_epi64(lanes, keystream);
  return subtract ? _mm256_sub_epi32(lanes, keystream) : _mm256_add_epi32(lanes, keystream);
}

static inline __m256i keystream_of(__m256i counter, const struct round_keys *keys) {
  __m256i b = _mm256_xor_si256(_mm256_shuffle_epi8(counter, swap_halves()), keys->k[0]);
  for (int r = 1; r < 14; r++)
    b = _mm256_aesenc_epi128(b, keys->k[r]);
  return _mm256_aesenclast_epi128(b, keys->k[14]);
}

/* Up to 32 bytes, in at most two blocks, at any byte position: shifts their keystream. */
static inline void edge(const struct nx_prg_call *call, const struct round_keys *keys,
                        uint64_t byte, uint8_t *lanes, size_t size, bool wide, bool subtract) {
  const __m256i index = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
  const __m256i order = _mm256_add_epi32(index, _mm256_set1_epi32((int)(byte % 16 / 4)));
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(size / 4)), index);
  __m256i keystream = keystream_of(counters(call->stream, byte / 16), keys);
  keystream = _mm256_permutevar8x32_epi32(keystream, order);
  __m256i old = _mm256_maskload_epi32((const int *)(const void *)lanes, mask);
  _mm256_maskstore_epi32((int *)(void *)lanes, mask, combine(old, keystream, wide, subtract));
}

__attribute__((always_inline)) static inline void run(const struct nx_prg_call *call, bool wide,
                                                      bool subtract) {
  struct round_keys keys;
  for (int r = 0; r < 15; r++)
    keys.k[r] = _mm256_broadcastsi128_si256(
        _mm_loadu_si128((const __m128i *)(const void *)(call->schedule + 16 * r)));
  uint8_t *lanes = call->lanes;
  size_t size = call->size;
  uint64_t byte = call->byte;
  if (byte % 16 && size) {
    size_t head = 16 - byte % 16 < size ? 16 - byte % 16 : size;
    edge(call, &keys, byte, lanes, head, wide, subtract);
    byte += head, lanes += head, size -= head;
  }
  const __m256i swap = swap_halves(), two = _mm256_set_epi64x(0, 2, 0, 2);
  __m256i counter = counters(call->stream, byte / 16);
  for (; size >= 256; size -= 256, lanes += 256, byte += 256) {
    __m256i b[8];
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      b[j] = _mm256_xor_si256(_mm256_shuffle_epi8(counter, swap), keys.k[0]);
      counter = _mm256_add_epi64(counter, two);
    }
#pragma GCC unroll 13
    for (int r = 1; r < 14; r++)
#pragma GCC unroll 8
      for (int j = 0; j < 8; j++)
        b[j] = _mm256_aesenc_epi128(b[j], keys.k[r]);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      __m256i *at = (__m256i *)(void *)(lanes + 32 * j);
      b[j] = _mm256_aesenclast_epi128(b[j], keys.k[14]);
      _mm256_storeu_si256(at, combine(_mm256_loadu_si256(at), b[j], wide, subtract));
    }
  }
  for (; size; lanes += size < 32 ? size : 32, byte += 32, size -= size < 32 ? size : 32)
    edge(call, &keys, byte, lanes, size < 32 ? size : 32, wide, subtract);
  explicit_bzero(&keys, sizeof keys);
}

static bool apply(void *workspace, const struct nx_prg_call *call) {
  (void)workspace;
  if (call->wide)
    call->subtract ? run(call, true, true) : run(call, true, false);
  else
    call->subtract ? run(call, false, true) : run(call, false, false);
  _mm256_zeroall();
  return true;
}

const struct nx_prg_kernel nx_prg_vaes256 = {"vaes256", usable, nx_prg_schedule, NULL, NULL, apply};
