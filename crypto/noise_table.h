/* Noise table: a symmetric integer distribution as thresholds of 128 bits.
 *
 *     tail[k] = floor(2^128 P(|X| > k)),  k = 0..n-1, falling;  below 2^-128 it ends
 *
 *     u uniform in 0..2^128-1      |X| = how many k have u < tail[k]
 *     one more random bit          its sign
 *
 * The count is found by a binary search whose depth depends on n only and which has no
 * branch on u: the time says nothing. Which cache lines are read does depend on u; who can
 * watch the caches of the machine that draws the noise is outside what is promised
 * (docs/privacy.md).
 *
 * Precision: every probability is off by less than 2^-127, so a sample is within a
 * statistical distance of n 2^-127 <= 2^-105 of the distribution it stands for. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/rng.h"
#include "crypto/wide.h"

#define NX_NOISE_TABLE_MAX ((size_t)1 << 22) /* thresholds: 64 MiB */

/* Plain data, constant once it is built; then any thread may sample from it. */
struct nx_noise_table {
  nx_u128 *tail; /* [n] */
  size_t n;      /* 1..NX_NOISE_TABLE_MAX */
};

/* capacity zeroed thresholds; the builder sets n. NX_E_LIMIT above NX_NOISE_TABLE_MAX. */
int nx_noise_table_init(struct nx_noise_table *table, size_t capacity, struct nx_error *err);
void nx_noise_table_finish(struct nx_noise_table *table);
/* Leaves out the zeros at the end. For builders. */
void nx_noise_table_trim(struct nx_noise_table *table);

/* out: n samples. Random bits come from entropy and are wiped; when it fails, out holds
 * nothing but zeros. */
int nx_noise_table_sample(const struct nx_noise_table *table, const struct nx_entropy *entropy,
                          int32_t *out, size_t n, struct nx_error *err);
