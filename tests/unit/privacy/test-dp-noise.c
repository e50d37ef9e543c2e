/* What is drawn, looked at as a statistician would (fixed seeds), and what rounding keeps. */
#include "crypto/dp_noise.h"

#include <math.h>
#include <stdlib.h>

#include "crypto/gaussian_cdt.h"
#include "crypto/log_math.h"
#include "crypto/skellam_cdt.h"
#include "tests/unit/cmocka_shim.h"
#include "tests/unit/privacy/seeded_entropy.h"

#define N_SAMPLES 200000

static struct nx_noise *skellam(double mu) {
  struct nx_noise *noise = NULL;
  assert_int_equal(0, nx_noise_create_skellam(mu, &noise, NULL));
  return noise;
}

static int32_t *draw(const struct nx_noise *noise, uint64_t seed, size_t n) {
  struct nx_rng rng;
  struct nx_entropy entropy = seeded_entropy(&rng, seed);
  int32_t *samples = calloc(n, sizeof *samples);
  assert_non_null(samples);
  assert_int_equal(0, nx_noise_draw(noise, &entropy, samples, n, NULL));
  return samples;
}

struct moments {
  double mean, variance, skew, kurtosis;
};

static struct moments moments_of(const int32_t *samples, size_t n) {
  double sum[5] = {0};
  for (size_t i = 0; i < n; i++)
    for (int power = 1; power <= 4; power++)
      sum[power] += pow(samples[i], power) / (double)n;
  double mean = sum[1], v = sum[2] - mean * mean;
  double third = sum[3] - 3 * mean * sum[2] + 2 * mean * mean * mean;
  double fourth =
      sum[4] - 4 * mean * sum[3] + 6 * mean * mean * sum[2] - 3 * mean * mean * mean * mean;
  return (struct moments){mean, v, third / pow(v, 1.5), fourth / (v * v)};
}

/* Within five standard errors. Skellam's kurtosis is 3 + 1/mu. */
static void assert_moments(const int32_t *samples, size_t n, double variance, double kurtosis) {
  struct moments m = moments_of(samples, n);
  double root = sqrt((double)n);
  assert_true(fabs(m.mean) < 5 * sqrt(variance) / root);
  assert_true(fabs(m.variance / variance - 1) < 5 * sqrt(kurtosis - 1) / root);
  assert_true(fabs(m.skew) < 5 * sqrt(6) / root + .02);
  assert_true(fabs(m.kurtosis - kurtosis) < 5 * sqrt(24) / root + .05);
}

/* Probabilities of k = -n_side..n_side from a table of thresholds. */
static double probability(const struct nx_noise_table *table, int32_t k) {
  double above =
      (size_t)abs(k) < table->n ? (double)(uint64_t)(table->tail[abs(k)] >> 64) * 0x1p-64 : 0;
  if (k == 0)
    return 1 - above;
  double at_least = (double)(uint64_t)(table->tail[abs(k) - 1] >> 64) * 0x1p-64;
  return (at_least - above) / 2;
}

/* Chi-square over cells of `width` whole numbers, with both far tails as cells of their own;
 * returns the distance from its mean in standard deviations. */
static double chi_square(const struct nx_noise_table *table, const int32_t *samples, size_t n,
                         int32_t side, int32_t width) {
  size_t n_cells = (size_t)(2 * side / width) + 2;
  double *expected = calloc(n_cells, sizeof *expected), *seen = calloc(n_cells, sizeof *seen);
  assert_true(expected && seen);
  double inside = 0, chi = 0;
  for (int32_t k = -side; k < side; k++) {
    double p = probability(table, k);
    expected[(k + side) / width + 1] += p;
    inside += p;
  }
  expected[0] = (1 - inside - probability(table, side)) / 2;
  expected[n_cells - 1] = 1 - inside - expected[0];
  for (size_t i = 0; i < n; i++)
    seen[samples[i] < -side   ? 0
         : samples[i] >= side ? n_cells - 1
                              : (size_t)((samples[i] + side) / width) + 1]++;
  for (size_t i = 0; i < n_cells; i++) {
    double e = expected[i] * (double)n;
    assert_true(e > 5);
    chi += (seen[i] - e) * (seen[i] - e) / e;
  }
  free(expected);
  free(seen);
  double freedom = (double)n_cells - 1;
  return (chi - freedom) / sqrt(2 * freedom);
}

static void skellam_samples_have_its_moments(void **state) {
  (void)state;
  static const double mus[] = {1, 9.5, 400, 1e6, 3e9};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(mus); i++) {
    _cleanup_(nx_noise_destroyp) struct nx_noise *noise = skellam(mus[i]);
    _cleanup_free_ int32_t *samples = draw(noise, 100 + i, N_SAMPLES);
    assert_moments(samples, N_SAMPLES, mus[i], 3 + 1 / mus[i]);
  }
}

static void skellam_samples_pass_a_chi_square_test_and_wrong_ones_do_not(void **state) {
  (void)state;
  static const struct {
    double mu;
    int32_t side, width;
  } cases[] = {{1, 4, 1}, {9.5, 11, 1}, {400, 66, 3}, {1e6, 3400, 100}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(cases); i++) {
    _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0}, wider = {0};
    assert_int_equal(0, nx_skellam_table(cases[i].mu, &table, NULL));
    assert_int_equal(0, nx_skellam_table(cases[i].mu * 1.05, &wider, NULL));
    _cleanup_(nx_noise_destroyp) struct nx_noise *noise = skellam(cases[i].mu);
    _cleanup_free_ int32_t *samples = draw(noise, 200 + i, N_SAMPLES);
    assert_true(fabs(chi_square(&table, samples, N_SAMPLES, cases[i].side, cases[i].width)) < 4);
    /* The test can fail: 5 % of variance would be seen. */
    assert_true(chi_square(&wider, samples, N_SAMPLES, cases[i].side, cases[i].width) > 8);
  }
}

static void shares_add_up_to_one_skellam(void **state) {
  (void)state;
  /* Five shares of mu / 5 against the table of mu. */
  _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0};
  assert_int_equal(0, nx_skellam_table(400, &table, NULL));
  _cleanup_(nx_noise_destroyp) struct nx_noise *share = skellam(80);
  _cleanup_free_ int32_t *sum = calloc(N_SAMPLES, sizeof *sum);
  for (uint64_t node = 0; node < 5; node++) {
    _cleanup_free_ int32_t *samples = draw(share, 300 + node, N_SAMPLES);
    for (size_t i = 0; i < N_SAMPLES; i++)
      sum[i] += samples[i];
  }
  assert_true(fabs(chi_square(&table, sum, N_SAMPLES, 66, 3)) < 4);
}

static void variance_beyond_one_table_is_a_sum_of_draws(void **state) {
  (void)state;
  _cleanup_(nx_noise_destroyp) struct nx_noise *noise = skellam(2e11);
  struct nx_noise_info info = nx_noise_info(noise);
  assert_int_equal(3, info.draws);
  assert_true(info.table_bytes <= (size_t)64 << 20);
  assert_true(fabs(info.variance / 2e11 - 1) < 1e-12);
  _cleanup_free_ int32_t *samples = draw(noise, 400, 50000);
  assert_moments(samples, 50000, 2e11, 3);
}

static void the_largest_variance_does_not_leave_31_bits(void **state) {
  (void)state;
  _cleanup_(nx_noise_destroyp) struct nx_noise *noise = skellam(NX_NOISE_VARIANCE_MAX);
  struct nx_noise_info info = nx_noise_info(noise);
  assert_true(info.magnitude_max > 1 << 30);
  _cleanup_free_ int32_t *samples = draw(noise, 401, 1000);
  assert_moments(samples, 1000, NX_NOISE_VARIANCE_MAX, 3);
}

static void gaussian_samples_have_its_moments_and_its_shape(void **state) {
  (void)state;
  _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0};
  assert_int_equal(0, nx_gaussian_table(&table, NULL));
  _cleanup_(nx_noise_destroyp) struct nx_noise *noise = NULL;
  assert_int_equal(0, nx_noise_create_gaussian(&noise, NULL));
  _cleanup_free_ int32_t *samples = draw(noise, 500, N_SAMPLES);
  assert_moments(samples, N_SAMPLES, 0x1p28, 3);
  assert_true(fabs(chi_square(&table, samples, N_SAMPLES, 56000, 2000)) < 4);
}

static void the_system_gives_other_noise_every_time(void **state) {
  (void)state;
  _cleanup_(nx_noise_destroyp) struct nx_noise *noise = skellam(1e6);
  int32_t a[64], b[64];
  assert_int_equal(0, nx_noise_draw(noise, &nx_entropy_system, a, 64, NULL));
  assert_int_equal(0, nx_noise_draw(noise, &nx_entropy_system, b, 64, NULL));
  assert_memory_not_equal(a, b, sizeof a);
}

static void noise_is_added_in_the_ring_and_to_plain_sums_alike(void **state) {
  (void)state;
  enum { N = 5000 };
  _cleanup_(nx_noise_destroyp) struct nx_noise *noise = skellam(1e4);
  _cleanup_free_ int32_t *samples = draw(noise, 600, N);
  static uint32_t lanes[N];
  static int64_t sums[N];
  for (uint32_t ring_bits = 12; ring_bits <= 32; ring_bits += 4) {
    uint32_t ring = ring_bits < 32 ? (1u << ring_bits) - 1 : UINT32_MAX;
    struct nx_rng rng;
    struct nx_entropy entropy = seeded_entropy(&rng, 600);
    for (size_t i = 0; i < N; i++)
      lanes[i] = (uint32_t)i * 2654435761u & ring;
    assert_int_equal(0, nx_noise_add_lanes(noise, &entropy, lanes, N, ring_bits, NULL));
    for (size_t i = 0; i < N; i++)
      assert_int_equal(lanes[i], ((uint32_t)i * 2654435761u + (uint32_t)samples[i]) & ring);
  }
  struct nx_rng rng;
  struct nx_entropy entropy = seeded_entropy(&rng, 600);
  for (size_t i = 0; i < N; i++)
    sums[i] = (int64_t)i << 33;
  assert_int_equal(0, nx_noise_add_sums(noise, &entropy, sums, N, NULL));
  for (size_t i = 0; i < N; i++)
    assert_true(sums[i] == ((int64_t)i << 33) + samples[i]);
}

static int fill_once(void *context, void *out, size_t size, struct nx_error *err) {
  if ((*(int *)context)++)
    return nx_fail(err, NX_E_IO, "no more random numbers");
  memset(out, 0x5a, size);
  return 0;
}

static void when_entropy_ends_nothing_without_noise_is_left(void **state) {
  (void)state;
  enum { N = 3000 };
  static uint32_t lanes[N];
  int calls = 0;
  struct nx_entropy entropy = {fill_once, &calls};
  struct nx_error err;
  _cleanup_(nx_noise_destroyp) struct nx_noise *noise = skellam(100);
  memset(lanes, 0x77, sizeof lanes);
  assert_int_equal(NX_E_IO, nx_noise_add_lanes(noise, &entropy, lanes, N, 32, &err));
  for (size_t i = 0; i < N; i++)
    assert_int_equal(0, lanes[i]);
}

static void a_share_covers_the_fewest_honest_survivors(void **state) {
  (void)state;
  double mu;
  /* N = 7: t = 5, n_C = 2, three honest at least. */
  assert_int_equal(0, nx_noise_share(2, 100, .5, 7, &mu, NULL));
  assert_true(fabs(mu - 10000.0 / 3) < 1e-9);
  for (uint32_t n = 3; n <= 255; n++) {
    assert_int_equal(0, nx_noise_share(1, 1000, 1, n, &mu, NULL));
    assert_true(mu >= 1e6 / n && mu <= 1e6 / 2); /* N = 4: t - n_C = 2 */
  }
  struct nx_error err;
  assert_int_equal(NX_E_INVALID, nx_noise_share(1, 1, 1, 2, &mu, &err));
  assert_int_equal(NX_E_INVALID, nx_noise_share(1, 1, 1, 256, &mu, &err));
  assert_int_equal(NX_E_INVALID, nx_noise_share(NAN, 1, 1, 7, &mu, &err));
  assert_int_equal(NX_E_INVALID, nx_noise_share(1, -1, 1, 7, &mu, &err));
  assert_int_equal(NX_E_INVALID, nx_noise_share(1, 1, INFINITY, 7, &mu, &err));
}

static void noise_that_cannot_be_drawn_is_refused(void **state) {
  (void)state;
  struct nx_error err;
  static const double bad[] = {NAN, -1, 0, .5, 1e16, INFINITY};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(bad); i++) {
    struct nx_noise *noise = NULL;
    assert_int_equal(NX_E_INVALID, nx_noise_create_skellam(bad[i], &noise, &err));
    assert_null(noise);
    assert_non_null(strstr(err.text, "choose another scale"));
  }
}

static double integer_norm(const int32_t *values, size_t n) {
  double square = 0;
  for (size_t i = 0; i < n; i++)
    square += (double)values[i] * values[i];
  return sqrt(square);
}

static void rounding_never_exceeds_the_bound_and_has_the_right_mean(void **state) {
  (void)state;
  enum { N = 500, TIMES = 400 };
  static float values[N];
  static int32_t rounded[N];
  static double mean[N];
  struct nx_rng rng;
  nx_rng_init(&rng, 9, 9);
  double square = 0;
  for (size_t i = 0; i < N; i++) {
    values[i] = (float)nx_rng_normal(&rng);
    square += (double)values[i] * values[i];
  }
  /* sC = 64; l2 as in rdp.h with beta = exp(-1/2). */
  struct nx_dp_rounding rounding = {
      .clip_norm = 2, .scale = 32, .bound = sqrt(64 * 64 + N / 4.0 + 64 + sqrt(N) / 2)};
  for (int time = 0; time < TIMES; time++) {
    assert_int_equal(0, nx_dp_round(&rounding, values, N, &rng, rounded, NULL));
    assert_true(integer_norm(rounded, N) <= rounding.bound);
    for (size_t i = 0; i < N; i++)
      mean[i] += rounded[i];
  }
  double factor = 64 / sqrt(square), error = 0;
  for (size_t i = 0; i < N; i++)
    error += mean[i] / TIMES - values[i] * factor;
  assert_true(fabs(error / N) < 5 * .5 / sqrt((double)N * TIMES));
}

static void short_vectors_are_not_scaled_up(void **state) {
  (void)state;
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  const float values[] = {.25f, -.5f, 0};
  int32_t rounded[3];
  struct nx_dp_rounding rounding = {.clip_norm = 10, .scale = 8, .bound = 90};
  assert_int_equal(0, nx_dp_round(&rounding, values, 3, &rng, rounded, NULL));
  assert_true(rounded[0] == 2 && rounded[1] == -4 && rounded[2] == 0);
}

static void values_that_are_not_finite_and_impossible_bounds_are_refused(void **state) {
  (void)state;
  struct nx_rng rng;
  struct nx_error err;
  nx_rng_init(&rng, 1, 1);
  struct nx_dp_rounding rounding = {.clip_norm = 1, .scale = 100, .bound = 110};
  int32_t rounded[2] = {5, 5};
  const float nan_values[] = {1, NAN}, infinite[] = {INFINITY, 0}, fine[] = {.8f, .6f};
  assert_int_equal(NX_E_INVALID, nx_dp_round(&rounding, nan_values, 2, &rng, rounded, &err));
  assert_string_equal("value 1 is not a finite number", err.text);
  assert_int_equal(NX_E_INVALID, nx_dp_round(&rounding, infinite, 2, &rng, rounded, &err));
  assert_int_equal(5, rounded[0]);
  struct nx_dp_rounding tight = {.clip_norm = 1, .scale = 100, .bound = 90};
  assert_int_equal(NX_E_LIMIT, nx_dp_round(&tight, fine, 2, &rng, rounded, &err));
  assert_int_equal(0, rounded[0]);
  static const double bad[] = {NAN, 0, -1, INFINITY};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(bad); i++) {
    struct nx_dp_rounding a = rounding, b = rounding, c = rounding;
    a.clip_norm = b.scale = c.bound = bad[i];
    assert_int_equal(NX_E_INVALID, nx_dp_round(&a, fine, 2, &rng, rounded, &err));
    assert_int_equal(NX_E_INVALID, nx_dp_round(&b, fine, 2, &rng, rounded, &err));
    assert_int_equal(NX_E_INVALID, nx_dp_round(&c, fine, 2, &rng, rounded, &err));
  }
  struct nx_dp_rounding wide = {.clip_norm = 1, .scale = 0x1p31, .bound = 0x1p32};
  assert_int_equal(NX_E_INVALID, nx_dp_round(&wide, fine, 2, &rng, rounded, &err));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(skellam_samples_have_its_moments),
      cmocka_unit_test(skellam_samples_pass_a_chi_square_test_and_wrong_ones_do_not),
      cmocka_unit_test(shares_add_up_to_one_skellam),
      cmocka_unit_test(variance_beyond_one_table_is_a_sum_of_draws),
      cmocka_unit_test(the_largest_variance_does_not_leave_31_bits),
      cmocka_unit_test(gaussian_samples_have_its_moments_and_its_shape),
      cmocka_unit_test(the_system_gives_other_noise_every_time),
      cmocka_unit_test(noise_is_added_in_the_ring_and_to_plain_sums_alike),
      cmocka_unit_test(when_entropy_ends_nothing_without_noise_is_left),
      cmocka_unit_test(a_share_covers_the_fewest_honest_survivors),
      cmocka_unit_test(noise_that_cannot_be_drawn_is_refused),
      cmocka_unit_test(rounding_never_exceeds_the_bound_and_has_the_right_mean),
      cmocka_unit_test(short_vectors_are_not_scaled_up),
      cmocka_unit_test(values_that_are_not_finite_and_impossible_bounds_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
