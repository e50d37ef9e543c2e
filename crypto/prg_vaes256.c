/* AES-256-CTR and the addition in one pass for processors that have VAES but no AVX-512: two
 * blocks a 256-bit register, eight to twelve registers in flight to cover the latency of the AES
 * units; with sixteen registers in all the round keys stay in memory, which costs nothing. Compiled
 * with its own flags and called only where the processor has VAES and AVX2.
 *
 * Of the fourteen rounds the first two are shared (Park & Lee, "FACE: Fast AES CTR mode
 * Encryption Techniques based on the Reuse of Repetitive Data", CHES 2018): the counter's last
 * byte meets only bytes 0, 5 and 10 in the first round and spreads by XOR in the second. So
 * for 256 blocks in a row the state after two rounds is table[last byte] ^ constant, with
 * one table for a key as long as byte 10 stands, and one constant for each 256 blocks. What is
 * looked up is the position, never a secret. */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/prg_cpu.h"
#include "crypto/prg_schedule.h"

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

static inline __m256i combine(__m256i lanes, __m256i keystream, enum nx_prg_lanes width,
                              bool subtract) {
  if (width == NX_PRG_U64)
    return subtract ? _mm256_sub_epi64(lanes, keystream) : _mm256_add_epi64(lanes, keystream);
  if (width == NX_PRG_U16)
    return subtract ? _mm256_sub_epi16(lanes, keystream) : _mm256_add_epi16(lanes, keystream);
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
                        uint64_t byte, uint8_t *lanes, size_t size, enum nx_prg_lanes width,
                        bool subtract) {
  const __m256i index = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
  const __m256i order = _mm256_add_epi32(index, _mm256_set1_epi32((int)(byte % 16 / 4)));
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(size / 4)), index);
  __m256i keystream = keystream_of(counters(call->stream, byte / 16), keys);
  keystream = _mm256_permutevar8x32_epi32(keystream, order);
  __m256i old = _mm256_maskload_epi32((const int *)(const void *)lanes, mask);
  _mm256_maskstore_epi32((int *)(void *)lanes, mask, combine(old, keystream, width, subtract));
}

#define MOST 12 /* registers in flight; of a row, what is left is done by FEW */
#define FEW 4
#define ROW_BLOCKS UINT64_C(256) /* that differ in the counter's last byte alone */
#define TABLE_FROM 6144          /* bytes: for fewer the table costs more than it saves */

struct workspace {
  __m256i table[ROW_BLOCKS / 2]; /* two rounds of the blocks of a row */
};

/* What is being masked: moves along as bytes are done. */
struct cursor {
  uint8_t *lanes;
  size_t size;
  uint64_t byte;
  const uint8_t *ahead, *ahead_end;
  size_t ahead_step; /* of each group of MOST registers, bytes */
};

#define CACHE_LINE 64

/* As much of what is wanted next as is this group's part of it. */
static inline void fetch_ahead(struct cursor *at) {
  if (at->ahead == at->ahead_end)
    return;
  size_t rest = (size_t)(at->ahead_end - at->ahead);
  const uint8_t *end = at->ahead + (rest < at->ahead_step ? rest : at->ahead_step);
  for (; at->ahead < end; at->ahead += CACHE_LINE)
    _mm_prefetch((const char *)at->ahead, _MM_HINT_T1);
  at->ahead = end;
}

static inline void advance(struct cursor *at, size_t n) {
  at->lanes += n;
  at->size -= n;
  at->byte += n;
}

/* To a multiple of `step` (of 16 bytes), or to the end. */
static inline void run_to(const struct nx_prg_call *call, const struct round_keys *keys,
                          struct cursor *at, size_t step, enum nx_prg_lanes width, bool subtract) {
  while (at->size && at->byte % step) {
    size_t to_step = step - at->byte % step, most = 32 - at->byte % 16;
    size_t n = to_step < most ? to_step : most;
    n = n < at->size ? n : at->size;
    edge(call, keys, at->byte, at->lanes, n, width, subtract);
    advance(at, n);
  }
}

/* Rounds from..14 of n registers, and the addition. */
__attribute__((always_inline)) static inline void finish(__m256i *b, int n,
                                                         const struct round_keys *keys, int from,
                                                         uint8_t *lanes, enum nx_prg_lanes width,
                                                         bool subtract) {
#pragma GCC unroll 13
  for (int r = from; r < 14; r++)
#pragma GCC unroll 12
    for (int j = 0; j < n; j++)
      b[j] = _mm256_aesenc_epi128(b[j], keys->k[r]);
#pragma GCC unroll 12
  for (int j = 0; j < n; j++) {
    __m256i *at = (__m256i *)(void *)(lanes + 32 * j);
    b[j] = _mm256_aesenclast_epi128(b[j], keys->k[14]);
    _mm256_storeu_si256(at, combine(_mm256_loadu_si256(at), b[j], width, subtract));
  }
}

__attribute__((always_inline)) static inline void
run_plainly(const struct nx_prg_call *call, const struct round_keys *keys, struct cursor *at,
            enum nx_prg_lanes width, bool subtract) {
  const __m256i swap = swap_halves(), two = _mm256_set_epi64x(0, 2, 0, 2);
  __m256i counter = counters(call->stream, at->byte / 16);
  for (; at->size >= 256; advance(at, 256)) {
    __m256i b[8];
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      b[j] = _mm256_xor_si256(_mm256_shuffle_epi8(counter, swap), keys->k[0]);
      counter = _mm256_add_epi64(counter, two);
    }
    finish(b, 8, keys, 1, at->lanes, width, subtract);
  }
}

static inline __m256i two_rounds(__m256i counter, const struct round_keys *keys) {
  __m256i b = _mm256_xor_si256(_mm256_shuffle_epi8(counter, swap_halves()), keys->k[0]);
  return _mm256_aesenc_epi128(_mm256_aesenc_epi128(b, keys->k[1]), keys->k[2]);
}

static inline void fill_table(struct workspace *w, const struct round_keys *keys, uint64_t stream,
                              uint64_t row) {
  const __m256i two = _mm256_set_epi64x(0, 2, 0, 2);
  __m256i counter = counters(stream, row * ROW_BLOCKS);
#pragma GCC unroll 8
  for (size_t i = 0; i < ROW_BLOCKS / 2; i++) {
    w->table[i] = two_rounds(counter, keys);
    counter = _mm256_add_epi64(counter, two);
  }
}

/* The same block twice: its state, less what the table has for a last byte of 0. */
static inline __m256i row_constant(const struct workspace *w, const struct round_keys *keys,
                                   uint64_t stream, uint64_t row) {
  const long long s = (long long)stream, b = (long long)(row * ROW_BLOCKS);
  return _mm256_xor_si256(two_rounds(_mm256_set_epi64x(s, b, s, b), keys),
                          _mm256_permute2x128_si256(w->table[0], w->table[0], 0));
}

/* Two blocks a register from the table on, n registers. */
__attribute__((always_inline)) static inline void
run_group(const __m256i *table, int n, __m256i constant, const struct round_keys *keys,
          struct cursor *at, enum nx_prg_lanes width, bool subtract) {
  __m256i b[MOST];
#pragma GCC unroll 12
  for (int j = 0; j < n; j++)
    b[j] = _mm256_xor_si256(table[j], constant);
  finish(b, n, keys, 3, at->lanes, width, subtract);
  advance(at, 32 * (size_t)n);
}

/* From a multiple of FEW registers on. Byte 10 of the counter changes with every 2^32 rows. */
__attribute__((always_inline)) static inline void
run_by_table(struct workspace *w, const struct nx_prg_call *call, const struct round_keys *keys,
             struct cursor *at, enum nx_prg_lanes width, bool subtract) {
  for (bool first = true; at->size >= 32 * FEW; first = false) {
    uint64_t row = at->byte / 16 / ROW_BLOCKS;
    if (first || (row & UINT32_MAX) == 0)
      fill_table(w, keys, call->stream, row);
    const __m256i constant = row_constant(w, keys, call->stream, row);
    const __m256i *table = w->table + at->byte / 16 % ROW_BLOCKS / 2;
    const __m256i *end = w->table + ROW_BLOCKS / 2;
    for (; end - table >= MOST && at->size >= 32 * MOST; table += MOST) {
      fetch_ahead(at);
      run_group(table, MOST, constant, keys, at, width, subtract);
    }
    for (; table < end && at->size >= 32 * FEW; table += FEW)
      run_group(table, FEW, constant, keys, at, width, subtract);
  }
}

__attribute__((always_inline)) static inline void
run(struct workspace *w, const struct nx_prg_call *call, enum nx_prg_lanes width, bool subtract) {
  struct round_keys keys;
  struct cursor at = {call->lanes, call->size, call->byte, call->ahead, call->ahead, 0};
  if (call->ahead) {
    const size_t n_groups = call->size / (32 * MOST) + 1;
    at.ahead_end += call->ahead_size;
    at.ahead_step = (call->ahead_size / n_groups / CACHE_LINE + 1) * CACHE_LINE;
  }
  for (int r = 0; r < 15; r++)
    keys.k[r] = _mm256_broadcastsi128_si256(
        _mm_loadu_si128((const __m128i *)(const void *)(call->schedule + 16 * r)));
  run_to(call, &keys, &at, 16, width, subtract);
  if (at.size >= TABLE_FROM) {
    run_to(call, &keys, &at, 32 * FEW, width, subtract);
    run_by_table(w, call, &keys, &at, width, subtract);
  }
  run_plainly(call, &keys, &at, width, subtract);
  while (at.size) {
    size_t n = at.size < 32 ? at.size : 32;
    edge(call, &keys, at.byte, at.lanes, n, width, subtract);
    advance(&at, n);
  }
  explicit_bzero(&keys, sizeof keys);
}

static void *create_workspace(void) {
  return aligned_alloc(64, sizeof(struct workspace));
}

static void destroy_workspace(void *workspace) {
  if (workspace)
    OPENSSL_cleanse(workspace, sizeof(struct workspace));
  free(workspace);
}

static bool apply(void *workspace, const struct nx_prg_call *call) {
  if (call->width == NX_PRG_U64)
    call->subtract ? run(workspace, call, NX_PRG_U64, true)
                   : run(workspace, call, NX_PRG_U64, false);
  else if (call->width == NX_PRG_U16)
    call->subtract ? run(workspace, call, NX_PRG_U16, true)
                   : run(workspace, call, NX_PRG_U16, false);
  else
    call->subtract ? run(workspace, call, NX_PRG_U32, true)
                   : run(workspace, call, NX_PRG_U32, false);
  _mm256_zeroall();
  return true;
}

const struct nx_prg_kernel nx_prg_vaes256 = {
    "vaes256",        nx_cpu_has_vaes_and_avx2, nx_prg_schedule,
    create_workspace, destroy_workspace,        apply,
};
