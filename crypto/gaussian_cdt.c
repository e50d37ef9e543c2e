#include "crypto/gaussian_cdt.h"

#include "common/cleanup.h"

#define VARIANCE_LOG2 (2 * NX_GAUSSIAN_DEVIATION_LOG2)
/* From here on the density is below 2^-162 of its peak. */
#define END (15u << NX_GAUSSIAN_DEVIATION_LOG2)
#define TERMS 6

/* exp(-2^-m) in fixed point. */
static struct nx_wide exp_minus_power(unsigned m) {
  struct nx_wide sum = nx_wide_power(NX_WIDE_POINT), term = sum;
  for (uint64_t i = 1; i <= 13; i++) {
    term = nx_wide_shift_right(nx_wide_div_word_signed(term, i), m);
    sum = i % 2 ? nx_wide_sub(sum, term) : nx_wide_add(sum, term);
  }
  return sum;
}

/* The integral over the cell of k, divided by g_k: with a = k / 2^28 and b = 1 / 2^28,
 * d_0 = 1, d_1 = a, d_n+1 = a d_n - n b d_n-1. */
static struct nx_wide cell_factor(uint64_t k) {
  struct nx_wide d[2 * TERMS + 1];
  d[0] = nx_wide_power(NX_WIDE_POINT);
  d[1] = nx_wide_shift_right_signed(nx_wide_mul_word(d[0], k), VARIANCE_LOG2);
  for (uint64_t n = 1; n < 2 * TERMS; n++)
    d[n + 1] = nx_wide_shift_right_signed(
        nx_wide_sub(nx_wide_mul_word(d[n], k), nx_wide_mul_word(d[n - 1], n)), VARIANCE_LOG2);
  struct nx_wide sum = d[2 * TERMS];
  for (uint64_t j = TERMS; j > 0; j--)
    sum = nx_wide_add(d[2 * j - 2], nx_wide_div_word_signed(sum, 4 * (2 * j) * (2 * j + 1)));
  return sum;
}

/* From k = 0 up: g_k+1 = g_k ratio_k, ratio_k+1 = ratio_k exp(-1/variance). */
struct ascent {
  struct nx_wide g, ratio, factor;
  uint64_t k;
};

static struct ascent ascent_start(void) {
  return (struct ascent){.g = nx_wide_power(NX_WIDE_POINT),
                         .ratio = exp_minus_power(VARIANCE_LOG2 + 1),
                         .factor = exp_minus_power(VARIANCE_LOG2)};
}

/* The weight of |X| = k; then moves on. */
static struct nx_wide ascend(struct ascent *a) {
  struct nx_wide factor = cell_factor(a->k), weight = nx_wide_mul_fixed(&a->g, &factor);
  a->g = nx_wide_mul_fixed(&a->g, &a->ratio);
  a->ratio = nx_wide_mul_fixed(&a->ratio, &a->factor);
  return a->k++ ? nx_wide_shift_left(weight, 1) : weight;
}

int nx_gaussian_table(struct nx_noise_table *table_out, struct nx_error *err) {
  _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0};
  int r = nx_noise_table_init(&table, END, err);
  if (r)
    return r;
  struct nx_wide rest = {{0}};
  for (struct ascent a = ascent_start(); a.k < END;)
    rest = nx_wide_add(rest, ascend(&a));
  struct nx_wide_ratio ratio = nx_wide_ratio(&rest);
  for (struct ascent a = ascent_start(); a.k < END;) {
    uint64_t k = a.k;
    rest = nx_wide_sub(rest, ascend(&a));
    table.tail[k] = nx_wide_ratio_of(&ratio, &rest);
  }
  nx_noise_table_trim(&table);
  *table_out = table;
  table = (struct nx_noise_table){0};
  return 0;
}
