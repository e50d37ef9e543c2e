/* AES-256-CTR and the addition in one pass: four blocks a 512-bit register, eight
 * registers in flight to cover the latency of the AES units. Compiled with its own flags
 * and called only where the processor has VAES and AVX-512. */
#include "crypto/prg_cpu.h"
#include "crypto/prg_schedule.h"

/* The avx512 names also tell that the operating system saves the registers. */
static bool usable(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi") && nx_cpu_has_vaes();
}

/* Two 64-bit halves a block: low half first in the register, swapped to big-endian. */
static inline __m512i counters(uint64_t stream, uint64_t block) {
  const long long s = (long long)stream, b = (long long)block;
  return _mm512_set_epi64(s, b + 3, s, b + 2, s, b + 1, s, b);
}

static inline __m512i combine(__m512i lanes, __m512i keystream, enum nx_prg_lanes width,
                              bool subtract) {
  if (width == NX_PRG_U64)
    return subtract ? _mm512_sub_epi64(lanes, keystream) : _mm512_add_epi64(lanes, keystream);
  if (width == NX_PRG_U16)
    return subtract ? _mm512_sub_epi16(lanes, keystream) : _mm512_add_epi16(lanes, keystream);
  return subtract ? _mm512_sub_epi32(lanes, keystream) : _mm512_add_epi32(lanes, keystream);
}

struct round_keys {
  __m512i k[15];
};

static inline __m512i swap_halves(void) {
  return _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

static inline __m512i keystream_of(__m512i counter, const struct round_keys *keys) {
  __m512i b = _mm512_xor_si512(_mm512_shuffle_epi8(counter, swap_halves()), keys->k[0]);
  for (int r = 1; r < 14; r++)
    b = _mm512_aesenc_epi128(b, keys->k[r]);
  return _mm512_aesenclast_epi128(b, keys->k[14]);
}

/* Up to 64 bytes at any byte position: shifts the keystream of the blocks they lie in. */
static inline void edge(const struct nx_prg_call *call, const struct round_keys *keys,
                        uint64_t byte, uint8_t *lanes, size_t size, enum nx_prg_lanes width,
                        bool subtract) {
  __m512i keystream = keystream_of(counters(call->stream, byte / 16), keys);
  const uint32_t skip = (uint32_t)(byte % 16 / 4);
  const __mmask16 load = (__mmask16)((UINT32_C(1) << (size / 4)) - 1);
  const __m512i order =
      _mm512_add_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                       _mm512_set1_epi32((int)skip));
  keystream = _mm512_permutexvar_epi32(order, keystream);
  __m512i old = _mm512_maskz_loadu_epi32(load, lanes);
  _mm512_mask_storeu_epi32(lanes, load, combine(old, keystream, width, subtract));
}

__attribute__((always_inline)) static inline void run(const struct nx_prg_call *call,
                                                      enum nx_prg_lanes width, bool subtract) {
  struct round_keys keys;
  for (int r = 0; r < 15; r++)
    keys.k[r] = _mm512_broadcast_i32x4(
        _mm_loadu_si128((const __m128i *)(const void *)(call->schedule + 16 * r)));
  uint8_t *lanes = call->lanes;
  size_t size = call->size;
  uint64_t byte = call->byte;
  if (byte % 16 && size) {
    size_t head = 16 - byte % 16 < size ? 16 - byte % 16 : size;
    edge(call, &keys, byte, lanes, head, width, subtract);
    byte += head, lanes += head, size -= head;
  }
  const __m512i swap = swap_halves(), four = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
  __m512i counter = counters(call->stream, byte / 16);
  for (; size >= 512; size -= 512, lanes += 512, byte += 512) {
    __m512i b[8];
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      b[j] = _mm512_xor_si512(_mm512_shuffle_epi8(counter, swap), keys.k[0]);
      counter = _mm512_add_epi64(counter, four);
    }
#pragma GCC unroll 13
    for (int r = 1; r < 14; r++)
#pragma GCC unroll 8
      for (int j = 0; j < 8; j++)
        b[j] = _mm512_aesenc_epi128(b[j], keys.k[r]);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      b[j] = _mm512_aesenclast_epi128(b[j], keys.k[14]);
      __m512i old = _mm512_loadu_si512(lanes + 64 * j);
      _mm512_storeu_si512(lanes + 64 * j, combine(old, b[j], width, subtract));
    }
  }
  for (; size; lanes += size < 64 ? size : 64, byte += 64, size -= size < 64 ? size : 64)
    edge(call, &keys, byte, lanes, size < 64 ? size : 64, width, subtract);
}

static bool apply(void *workspace, const struct nx_prg_call *call) {
  (void)workspace;
  if (call->width == NX_PRG_U64)
    call->subtract ? run(call, NX_PRG_U64, true) : run(call, NX_PRG_U64, false);
  else if (call->width == NX_PRG_U16)
    call->subtract ? run(call, NX_PRG_U16, true) : run(call, NX_PRG_U16, false);
  else
    call->subtract ? run(call, NX_PRG_U32, true) : run(call, NX_PRG_U32, false);
  _mm256_zeroall();
  return true;
}

const struct nx_prg_kernel nx_prg_vaes512 = {"vaes512", usable, nx_prg_schedule, NULL, NULL, apply};
