#include "crypto/shares.h"
#include "crypto/threshold.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

/* Russian peasant, with branches: the other way to say it. */
static uint8_t multiply_plainly(uint8_t a, uint8_t b) {
  uint8_t product = 0;
  for (; b; b >>= 1) {
    if (b & 1)
      product ^= a;
    a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1b : 0));
  }
  return product;
}

static void multiplication_is_that_of_the_field(void **state) {
  (void)state;
  for (int a = 0; a < 256; a++)
    for (int b = 0; b < 256; b++)
      assert_int_equal(nx_gf256_multiply((uint8_t)a, (uint8_t)b),
                       multiply_plainly((uint8_t)a, (uint8_t)b));
}

static int fill_two_coefficients(void *context, void *out, size_t size, struct nx_error *err) {
  (void)context, (void)err;
  assert_int_equal(size, 64);
  fill_bytes(out, 32, 40);
  fill_bytes((uint8_t *)out + 32, 32, 90);
  return 0;
}

static void shares_lie_on_the_polynomial(void **state) {
  (void)state;
  const struct nx_entropy entropy = {fill_two_coefficients, NULL};
  const uint8_t xs[3] = {1, 2, 255};
  struct nx_secret secret, shares[3], back;
  fill_bytes(&secret, sizeof secret, 1);
  assert_int_equal(nx_shares_split(&secret, 3, xs, 3, &entropy, shares, NULL), 0);
  assert_hex(shares, sizeof shares, VECTOR_SHARES);
  assert_int_equal(nx_shares_combine(3, xs, shares, 3, &back, NULL), 0);
  assert_true(nx_secret_equal(&secret, &back));
}

static void shuffle(struct nx_rng *rng, uint8_t *xs, size_t n) {
  for (size_t i = n; i > 1; i--) {
    size_t j = nx_rng_below(rng, i);
    uint8_t swap = xs[i - 1];
    xs[i - 1] = xs[j];
    xs[j] = swap;
  }
}

static void any_threshold_of_shares_gives_the_secret(void **state) {
  (void)state;
  static const uint32_t sizes[] = {3, 4, 6, 7, 10, 20, 50, 100, 255};
  struct nx_rng rng;
  nx_rng_init(&rng, 2, 2);
  const struct nx_entropy entropy = entropy_of(&rng);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint32_t n = sizes[i], t = nx_threshold_quorum(n);
    uint8_t xs[255], some_xs[255];
    struct nx_secret secret, shares[255], some[255], back;
    for (int x = 0; x < 255; x++)
      xs[x] = (uint8_t)(x + 1);
    shuffle(&rng, xs, 255);
    assert_int_equal(nx_secret_random(&entropy, &secret, NULL), 0);
    assert_int_equal(nx_shares_split(&secret, t, xs, n, &entropy, shares, NULL), 0);
    size_t begin = nx_rng_below(&rng, n);
    for (size_t k = 0; k < n; k++) {
      some_xs[k] = xs[(begin + k) % n];
      some[k] = shares[(begin + k) % n];
    }
    assert_int_equal(nx_shares_combine(t, some_xs, some, n, &back, NULL), 0);
    assert_true(nx_secret_equal(&secret, &back));
    assert_int_equal(nx_shares_combine(t, some_xs, some, t - 1, &back, NULL), NX_E_LIMIT);
    some[0].bytes[7] ^= 1;
    assert_int_equal(nx_shares_combine(t, some_xs, some, t, &back, NULL), 0);
    assert_false(nx_secret_equal(&secret, &back));
  }
}

/* With t - 1 shares every value of a secret byte stays possible: some last share fits it. */
static void one_share_too_few_says_nothing(void **state) {
  (void)state;
  struct nx_rng rng;
  nx_rng_init(&rng, 3, 3);
  const struct nx_entropy entropy = entropy_of(&rng);
  const uint8_t xs[4] = {4, 9, 100, 201};
  struct nx_secret secret = {{0}}, shares[4], back;
  bool possible[256] = {false};
  assert_int_equal(nx_shares_split(&secret, 3, xs, 4, &entropy, shares, NULL), 0);
  for (int guess = 0; guess < 256; guess++) {
    shares[2].bytes[0] = (uint8_t)guess;
    assert_int_equal(nx_shares_combine(3, xs, shares, 3, &back, NULL), 0);
    possible[back.bytes[0]] = true;
  }
  for (int value = 0; value < 256; value++)
    assert_true(possible[value]);
}

/* Coefficients forced non-zero would keep a share from ever being the secret's own byte. */
static void a_share_byte_may_be_anything(void **state) {
  (void)state;
  struct nx_rng rng;
  nx_rng_init(&rng, 4, 4);
  const struct nx_entropy entropy = entropy_of(&rng);
  const uint8_t xs[2] = {1, 2};
  struct nx_secret secret = {{0}}, shares[2];
  bool seen[256] = {false};
  for (int i = 0; i < 200; i++) {
    assert_int_equal(nx_shares_split(&secret, 2, xs, 2, &entropy, shares, NULL), 0);
    for (int b = 0; b < 32; b++)
      seen[shares[0].bytes[b]] = true;
  }
  for (int value = 0; value < 256; value++)
    assert_true(seen[value]);
}

static void nonsense_is_refused(void **state) {
  (void)state;
  struct nx_secret secret = {{0}}, shares[3];
  const uint8_t twice[3] = {1, 2, 1}, zero[3] = {1, 0, 2}, good[3] = {1, 2, 3};
  const struct nx_entropy *e = &nx_entropy_system;
  assert_int_equal(nx_shares_split(&secret, 2, twice, 3, e, shares, NULL), NX_E_INVALID);
  assert_int_equal(nx_shares_split(&secret, 2, zero, 3, e, shares, NULL), NX_E_INVALID);
  assert_int_equal(nx_shares_split(&secret, 4, good, 3, e, shares, NULL), NX_E_INVALID);
  assert_int_equal(nx_shares_split(&secret, 0, good, 3, e, shares, NULL), NX_E_INVALID);
  assert_int_equal(nx_shares_combine(3, twice, shares, 3, &secret, NULL), NX_E_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(multiplication_is_that_of_the_field),
      cmocka_unit_test(shares_lie_on_the_polynomial),
      cmocka_unit_test(any_threshold_of_shares_gives_the_secret),
      cmocka_unit_test(one_share_too_few_says_nothing),
      cmocka_unit_test(a_share_byte_may_be_anything),
      cmocka_unit_test(nonsense_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
