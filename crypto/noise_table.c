#include "crypto/noise_table.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"

/* Searches that run side by side, so that their cache misses overlap. */
#define LANES 16
#define BLOCK 1024

/* What one block of samples is made from. */
struct bits {
  nx_u128 magnitude[BLOCK];
  uint64_t sign[BLOCK / 64];
};

int nx_noise_table_init(struct nx_noise_table *table, size_t capacity, struct nx_error *err) {
  *table = (struct nx_noise_table){0};
  if (capacity == 0 || capacity > NX_NOISE_TABLE_MAX)
    return nx_fail(err, NX_E_LIMIT, "a noise table of %zu thresholds: at most %zu fit", capacity,
                   NX_NOISE_TABLE_MAX);
  table->tail = calloc(capacity, sizeof *table->tail);
  if (!table->tail)
    return nx_fail(err, NX_E_NOMEM, "no memory for a noise table of %zu thresholds", capacity);
  table->n = capacity;
  return 0;
}

void nx_noise_table_finish(struct nx_noise_table *table) {
  free(table->tail);
  *table = (struct nx_noise_table){0};
}

void nx_noise_table_trim(struct nx_noise_table *table) {
  while (table->n > 1 && table->tail[table->n - 1] == 0)
    table->n--;
}

/* 1 or 0, in a register: the empty assembly keeps the compiler from turning the use of it
 * into a branch (clang 14 does). */
static inline size_t is_below(nx_u128 a, nx_u128 b) {
  size_t below = a < b;
  __asm__("" : "+r"(below));
  return below;
}

/* For each lane, how many thresholds lie above its number: always in first..first+n. */
static void count_above(const struct nx_noise_table *table, const nx_u128 *numbers,
                        int32_t *counts_out) {
  size_t first[LANES] = {0}, n = table->n;
  for (; n > 1; n -= n / 2) {
    size_t half = n / 2;
    for (int lane = 0; lane < LANES; lane++)
      first[lane] += half & (0 - is_below(numbers[lane], table->tail[first[lane] + half - 1]));
  }
  for (int lane = 0; lane < LANES; lane++)
    counts_out[lane] = (int32_t)(first[lane] + is_below(numbers[lane], table->tail[first[lane]]));
}

static void sample_block(const struct nx_noise_table *table, const struct bits *bits,
                         int32_t out[BLOCK]) {
  for (int i = 0; i < BLOCK; i += LANES)
    count_above(table, bits->magnitude + i, out + i);
  for (int i = 0; i < BLOCK; i++) {
    int32_t negative = -(int32_t)(bits->sign[i / 64] >> i % 64 & 1);
    out[i] = (out[i] ^ negative) - negative;
  }
}

int nx_noise_table_sample(const struct nx_noise_table *table, const struct nx_entropy *entropy,
                          int32_t *out, size_t n, struct nx_error *err) {
  struct bits bits;
  int32_t samples[BLOCK];
  int r = 0;
  for (size_t done = 0; done < n && !r; done += BLOCK) {
    r = entropy->fill(entropy->context, &bits, sizeof bits, err);
    if (r)
      break;
    sample_block(table, &bits, samples);
    memcpy(out + done, samples, NX_MIN(n - done, (size_t)BLOCK) * sizeof *out);
  }
  sodium_memzero(&bits, sizeof bits);
  sodium_memzero(samples, sizeof samples);
  if (r) {
    memset(out, 0, n * sizeof *out);
    return nx_error_prefix(err, r, "draw noise");
  }
  return 0;
}
