/* Timing test of GF(2^8) in the manner of dudect (Reparaz, Balasch, Verbauwhede, DATE 2017):
 * combining shares that are all zero against random ones, in random order, Welch's t over
 * cropped timings. |t| below 4.5 shows no leak at this many measurements; above 10 is one.
 * It reports and asserts nothing: a busy machine makes noise. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/shares.h"
#include "tests/bench/bench.h"

#define HOLDERS 14
#define BATCH 16 /* calls a timing */

static inline uint64_t ticks(void) {
#if defined(__x86_64__)
  unsigned low, high;
  __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high)::"memory");
  return (uint64_t)high << 32 | low;
#else
  return (uint64_t)(bench_seconds() * 1e9);
#endif
}

struct class {
  double n, mean, m2;
};

static void add_timing(struct class *c, double x) {
  double delta = x - c->mean;
  c->n++;
  c->mean += delta / c->n;
  c->m2 += delta * (x - c->mean);
}

static double welch(const struct class *a, const struct class *b) {
  return (a->mean - b->mean) / sqrt(a->m2 / (a->n - 1) / a->n + b->m2 / (b->n - 1) / b->n);
}

/* What is timed, on secret data: class 0 all zero bytes, class 1 random ones. */
static uint64_t time_combine(const struct nx_share_weights *weights,
                             const struct nx_secret shares[HOLDERS]) {
  struct nx_secret out;
  uint64_t start = ticks();
  for (int i = 0; i < BATCH; i++)
    nx_shares_combine_weighted(weights, shares, &out);
  return ticks() - start;
}

static uint64_t time_multiply(const struct nx_secret *secret) {
  volatile uint8_t sink __attribute__((unused)) = 0; /* keeps the work alive */
  uint64_t start = ticks();
  for (int i = 0; i < BATCH; i++)
    for (int k = 0; k < 31; k++)
      sink ^= nx_gf256_multiply(secret->bytes[k], secret->bytes[k + 1]);
  return ticks() - start;
}

/* The same question to a multiplication that does branch, so that a silent instrument shows. */
static uint8_t multiply_with_branches(uint8_t a, uint8_t b) {
  uint8_t product = 0;
  for (; b; b >>= 1) {
    if (b & 1)
      product ^= a;
    a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1b : 0));
  }
  return product;
}

static uint64_t time_branches(const struct nx_secret *secret) {
  volatile uint8_t sink __attribute__((unused)) = 0; /* keeps the work alive */
  uint64_t start = ticks();
  for (int i = 0; i < BATCH; i++)
    for (int k = 0; k < 31; k++)
      sink ^= multiply_with_branches(secret->bytes[k], secret->bytes[k + 1]);
  return ticks() - start;
}

static int by_size(const void *a, const void *b) {
  const uint64_t *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

enum subject { COMBINE, MULTIPLY, BRANCHES };

static double t_value(enum subject subject, size_t n, struct nx_rng *rng) {
  struct nx_share_weights weights;
  uint8_t xs[HOLDERS];
  uint64_t *took = calloc(2 * n, sizeof *took), *sorted = took + n;
  uint8_t *classes = calloc(n, 1);
  struct class sums[2] = {0};
  for (int i = 0; i < HOLDERS; i++)
    xs[i] = (uint8_t)(3 * i + 1);
  if (!took || !classes || nx_share_weights_init(&weights, xs, HOLDERS, NULL) < 0)
    bench_fail("out of memory");
  for (size_t i = 0; i < n; i++) {
    struct nx_secret shares[HOLDERS];
    uint64_t bits = nx_rng_u64(rng);
    classes[i] = (uint8_t)(bits >> 63);
    for (size_t k = 0; k < sizeof shares; k++) /* both classes do the same work here */
      shares[k / 32].bytes[k % 32] = (uint8_t)((nx_rng_u64(rng) >> 56) * classes[i]);
    took[i] = subject == COMBINE    ? time_combine(&weights, shares)
              : subject == MULTIPLY ? time_multiply(shares)
                                    : time_branches(shares);
  }
  memcpy(sorted, took, n * sizeof *took);
  qsort(sorted, n, sizeof *sorted, by_size);
  uint64_t crop = sorted[n * 9 / 10]; /* interrupts and the like */
  for (size_t i = 0; i < n; i++)
    if (took[i] <= crop)
      add_timing(&sums[classes[i]], (double)took[i]);
  free(took);
  free(classes);
  return fabs(welch(&sums[0], &sums[1]));
}

int main(int argc, char **argv) {
  static const char *const names[] = {"combine_shares", "multiply", "multiply_with_branches"};
  struct bench *bench = bench_begin("gf256", "", &argc, argv);
  size_t n = bench_is_quick(bench) ? 20000 : 500000;
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  for (int i = 0; i < 3; i++) {
    const struct bench_row row = {{{"measurements", (double)n, NULL}, {"what", 0, names[i]}},
                                  "t_value",
                                  t_value((enum subject)i, n, &rng),
                                  "t",
                                  NULL,
                                  0,
                                  "no leak seen below",
                                  4.5};
    bench_add(bench, &row);
  }
  return bench_end(bench);
}
