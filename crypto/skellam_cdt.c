#include "crypto/skellam_cdt.h"

#include <math.h>

#include "common/cleanup.h"

/* 1/mu as R / 2^t. */
struct inverse {
  uint64_t r;
  unsigned t;
};

static struct inverse invert(double mu) {
  int exponent;
  double fraction = frexp(mu, &exponent); /* [1/2, 1) */
  /* 2^63 / fraction lies in (2^63, 2^64]. Divided in integers, downwards: fraction is a
   * whole number of 2^-53. */
  uint64_t whole = (uint64_t)ldexp(fraction, 53);
  nx_u128 r = ((nx_u128)1 << 116) / whole;
  if (r >> 64) /* mu is a power of two */
    return (struct inverse){(uint64_t)1 << 63, (unsigned)(62 + exponent)};
  return (struct inverse){(uint64_t)r, (unsigned)(63 + exponent)};
}

/* ln of the Chernoff bound on P(X >= k). */
static double log_tail_bound(double mu, double k) {
  return k * k / (hypot(mu, k) + mu) - k * asinh(k / mu);
}

/* The least k at which that bound is below 2^-bits. */
static uint64_t tail_end(double mu, double bits) {
  uint64_t low = 0, high = 1;
  while (log_tail_bound(mu, (double)high) > -bits * M_LN2)
    high *= 2;
  while (high - low > 1) {
    uint64_t middle = low + (high - low) / 2;
    if (log_tail_bound(mu, (double)middle) > -bits * M_LN2)
      low = middle;
    else
      high = middle;
  }
  return high;
}

/* From k = end down to 0; probabilities but for a common factor. */
struct descent {
  struct inverse inverse;
  struct nx_wide above, at; /* I_{k+1}, I_k */
  struct nx_wide tail;      /* 2 (I_{k+1} + I_{k+2} + …): what |X| > k weighs */
  uint64_t k;
};

static struct descent descent_start(double mu, uint64_t end) {
  return (struct descent){.inverse = invert(mu), .at = nx_wide_power(32), .k = end};
}

static void descend(struct descent *d) {
  struct nx_wide product = nx_wide_mul_word(nx_wide_mul_word(d->at, d->inverse.r), 2 * d->k);
  struct nx_wide below = nx_wide_add(d->above, nx_wide_shift_right(product, d->inverse.t));
  d->tail = nx_wide_add(d->tail, nx_wide_shift_left(d->at, 1));
  d->above = d->at;
  d->at = below;
  d->k--;
}

int nx_skellam_table(double mu, struct nx_noise_table *table_out, struct nx_error *err) {
  if (!(mu >= NX_SKELLAM_TABLE_MU_MIN && mu <= NX_SKELLAM_TABLE_MU_MAX))
    return nx_fail(err, NX_E_INVALID, "Skellam variance %g: a table holds %g to %g", mu,
                   NX_SKELLAM_TABLE_MU_MIN, NX_SKELLAM_TABLE_MU_MAX);
  uint64_t end = tail_end(mu, 200);
  _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0};
  int r = nx_noise_table_init(&table, tail_end(mu, 129), err);
  if (r)
    return r;
  struct descent d = descent_start(mu, end);
  while (d.k > 0)
    descend(&d);
  struct nx_wide sum = nx_wide_add(d.tail, d.at);
  struct nx_wide_ratio ratio = nx_wide_ratio(&sum);
  d = descent_start(mu, end);
  for (;; descend(&d)) {
    if (d.k < table.n)
      table.tail[d.k] = nx_wide_ratio_of(&ratio, &d.tail);
    if (d.k == 0)
      break;
  }
  nx_noise_table_trim(&table);
  *table_out = table;
  table = (struct nx_noise_table){0};
  return 0;
}
