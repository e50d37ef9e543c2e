#include "crypto/shares.h"

#include <string.h>

#include "crypto/gf256_words.h"

/* Eight field elements side by side in a word, four words a secret. Every step below is
 * shifts, ands and xors whose sequence depends on sizes only. */
#define WORDS (NX_SECRET_SIZE / 8)

struct words {
  uint64_t w[WORDS];
};

static uint64_t multiply_word(uint64_t v, uint8_t scalar) {
  uint64_t product = 0;
  for (int bit = 0; bit < 8; bit++, v = nx_gf256_times_x(v))
    product ^= v & (0 - (uint64_t)(scalar >> bit & 1));
  return product;
}

static void multiply(struct words *v, uint8_t scalar) {
  for (int i = 0; i < WORDS; i++)
    v->w[i] = multiply_word(v->w[i], scalar);
}

static void add(struct words *v, const struct nx_secret *secret) {
  struct words s;
  memcpy(&s, secret->bytes, sizeof s);
  for (int i = 0; i < WORDS; i++)
    v->w[i] ^= s.w[i];
}

uint8_t nx_gf256_multiply(uint8_t a, uint8_t b) {
  return (uint8_t)multiply_word(a, b);
}

static uint8_t invert(uint8_t a) { /* a^254 */
  uint8_t square = a, result = 1;
  for (int i = 0; i < 7; i++) {
    square = nx_gf256_multiply(square, square);
    result = nx_gf256_multiply(result, square);
  }
  return result;
}

static int check_xs(const uint8_t *xs, size_t n, struct nx_error *err) {
  bool seen[256] = {false};
  if (n < 1 || n > NX_SHARES_MAX)
    return nx_fail(err, NX_E_INVALID, "%zu shares: 1 to %d can be", n, NX_SHARES_MAX);
  for (size_t i = 0; i < n; i++) {
    if (xs[i] == 0 || seen[xs[i]])
      return nx_fail(err, NX_E_INVALID, "share coordinate %u is %s", xs[i],
                     xs[i] ? "there twice" : "the secret's own");
    seen[xs[i]] = true;
  }
  return 0;
}

/* Horner's rule from the highest coefficient down to the secret. */
static void evaluate(const struct nx_secret *secret, const struct nx_secret *coefficients,
                     uint32_t n_coefficients, uint8_t x, struct nx_secret *out) {
  struct words value = {0};
  for (uint32_t k = n_coefficients; k-- > 0;) {
    add(&value, &coefficients[k]);
    multiply(&value, x);
  }
  add(&value, secret);
  memcpy(out->bytes, &value, sizeof value);
  explicit_bzero(&value, sizeof value);
}

int nx_shares_split(const struct nx_secret *secret, uint32_t threshold, const uint8_t *xs, size_t n,
                    const struct nx_entropy *entropy, struct nx_secret *shares_out,
                    struct nx_error *err) {
  int r = check_xs(xs, n, err);
  if (r < 0)
    return r;
  if (threshold < 1 || threshold > n)
    return nx_fail(err, NX_E_INVALID, "threshold %u of %zu shares", threshold, n);
  size_t size = (threshold - 1) * sizeof(struct nx_secret);
  _cleanup_(nx_secret_freep) struct nx_secret *coefficients = nx_secret_alloc(threshold - 1);
  if (!coefficients)
    return nx_fail(err, NX_E_NOMEM, "out of guarded memory for %u coefficients", threshold - 1);
  if (size && (r = entropy->fill(entropy->context, coefficients, size, err)) < 0)
    return nx_error_prefix(err, r, "share a secret");
  for (size_t i = 0; i < n; i++)
    evaluate(secret, coefficients, threshold - 1, xs[i], &shares_out[i]);
  return 0;
}

/* Lagrange at 0: weight_i = prod_{j != i} x_j / (x_j - x_i), minus being plus here. */
int nx_share_weights_init(struct nx_share_weights *weights, const uint8_t *xs, size_t n,
                          struct nx_error *err) {
  int r = check_xs(xs, n, err);
  if (r < 0)
    return r;
  uint8_t all = 1;
  for (size_t i = 0; i < n; i++)
    all = nx_gf256_multiply(all, xs[i]);
  weights->n = n;
  memcpy(weights->xs, xs, n);
  for (size_t i = 0; i < n; i++) {
    uint8_t below = xs[i];
    for (size_t j = 0; j < n; j++)
      if (j != i)
        below = nx_gf256_multiply(below, xs[j] ^ xs[i]);
    weights->weights[i] = nx_gf256_multiply(all, invert(below));
  }
  return 0;
}

void nx_shares_combine_weighted(const struct nx_share_weights *weights,
                                const struct nx_secret *shares, struct nx_secret *secret_out) {
  struct words sum = {0}, term;
  for (size_t i = 0; i < weights->n; i++) {
    memcpy(&term, shares[i].bytes, sizeof term);
    multiply(&term, weights->weights[i]);
    for (int k = 0; k < WORDS; k++)
      sum.w[k] ^= term.w[k];
  }
  memcpy(secret_out->bytes, &sum, sizeof sum);
  explicit_bzero(&sum, sizeof sum);
  explicit_bzero(&term, sizeof term);
}

int nx_shares_combine(uint32_t threshold, const uint8_t *xs, const struct nx_secret *shares,
                      size_t n, struct nx_secret *secret_out, struct nx_error *err) {
  struct nx_share_weights weights;
  if (n < threshold)
    return nx_fail(err, NX_E_LIMIT, "%zu shares of the %u needed to recover a secret", n,
                   threshold);
  int r = nx_share_weights_init(&weights, xs, threshold, err);
  if (r == 0)
    nx_shares_combine_weighted(&weights, shares, secret_out);
  return r;
}
