/* Thresholds against Bessel and error functions of 80 digits (tests/oracle/
 * privacy_vectors.py), and the search over them against counting. */
#include "crypto/noise_table.h"

#include <math.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "crypto/gaussian_cdt.h"
#include "crypto/skellam_cdt.h"
#include "tests/unit/cmocka_shim.h"
#include "tests/unit/privacy/seeded_entropy.h"
#include "tests/unit/privacy/vectors_tails.h"

static void assert_tail(const char *what, double mu, uint32_t k, nx_u128 tail,
                        const uint64_t expected[2]) {
  nx_u128 wanted = (nx_u128)expected[0] << 64 | expected[1];
  nx_u128 distance = tail > wanted ? tail - wanted : wanted - tail;
  if (distance > 1)
    fail_msg("%s %g, k = %u: %016llx %016llx", what, mu, k, (unsigned long long)(tail >> 64),
             (unsigned long long)tail);
}

static nx_u128 tail_at(const struct nx_noise_table *table, uint32_t k) {
  return k < table->n ? table->tail[k] : 0;
}

static void skellam_thresholds_are_right_to_the_last_of_128_bits(void **state) {
  (void)state;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(vectors_skellam_tail); i++) {
    const struct vector_skellam_tail *v = &vectors_skellam_tail[i];
    _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0};
    assert_int_equal(0, nx_skellam_table(v->mu, &table, NULL));
    assert_tail("Skellam", v->mu, v->k, tail_at(&table, v->k), v->tail);
  }
}

static void gaussian_thresholds_are_right_to_the_last_of_128_bits(void **state) {
  (void)state;
  _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0};
  assert_int_equal(0, nx_gaussian_table(&table, NULL));
  for (size_t i = 0; i < NX_ARRAY_LENGTH(vectors_gaussian_tail); i++) {
    const struct vector_gaussian_tail *v = &vectors_gaussian_tail[i];
    assert_tail("Gaussian", NX_GAUSSIAN_DEVIATION, v->k, tail_at(&table, v->k), v->tail);
  }
}

/* Variance from the table itself: sum over k of (2k+1) P(|X| > k). */
static double table_variance(const struct nx_noise_table *table) {
  double sum = 0;
  for (size_t k = table->n; k-- > 0;)
    sum += (2.0 * (double)k + 1) * ((double)(uint64_t)(table->tail[k] >> 64) * 0x1p-64);
  return sum;
}

static void a_tables_variance_is_what_was_asked_for(void **state) {
  (void)state;
  static const double mus[] = {1, 2, 17.25, 1024, 123456.789, 0x1p28, 3e9};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(mus); i++) {
    _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0};
    assert_int_equal(0, nx_skellam_table(mus[i], &table, NULL));
    assert_true(fabs(table_variance(&table) / mus[i] - 1) < 1e-10);
    for (size_t k = 1; k < table.n; k++)
      assert_true(table.tail[k] <= table.tail[k - 1]);
    assert_true(table.tail[table.n - 1] > 0 && table.tail[table.n - 1] < (nx_u128)1 << 16);
  }
}

static void the_largest_table_takes_at_most_64_mib_and_a_larger_one_is_refused(void **state) {
  (void)state;
  struct nx_error err;
  _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0};
  assert_int_equal(0, nx_skellam_table(NX_SKELLAM_TABLE_MU_MAX, &table, NULL));
  assert_true(table.n * sizeof *table.tail <= (size_t)64 << 20);
  static const double bad[] = {NAN, 0, -4, .99, 9.1e10, INFINITY};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(bad); i++) {
    struct nx_noise_table none = {0};
    assert_int_equal(NX_E_INVALID, nx_skellam_table(bad[i], &none, &err));
    assert_null(none.tail);
  }
}

/* Entropy that hands out chosen numbers and no signs. */
struct script {
  const nx_u128 *numbers;
  size_t n;
};

static int fill_script(void *context, void *out, size_t size, struct nx_error *err) {
  (void)err;
  struct script *script = context;
  memset(out, 0, size);
  memcpy(out, script->numbers, script->n * sizeof *script->numbers);
  return 0;
}

static void the_search_counts_as_a_plain_loop_does(void **state) {
  (void)state;
  enum { N = 1024 };
  static nx_u128 numbers[N];
  static int32_t out[N];
  struct nx_rng rng;
  nx_rng_init(&rng, 5, 5);
  for (size_t n_thresholds = 1; n_thresholds < 70; n_thresholds++) {
    _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0};
    assert_int_equal(0, nx_noise_table_init(&table, n_thresholds, NULL));
    for (size_t k = 0; k < n_thresholds; k++)
      table.tail[n_thresholds - 1 - k] = (nx_u128)(k + 1) << (k % 2 ? 120 : 64) | (nx_u128)(k + 1)
                                                                                      << 57;
    for (size_t k = 1; k < n_thresholds; k++) /* falling */
      if (table.tail[k] >= table.tail[k - 1])
        table.tail[k] = table.tail[k - 1] - 1;
    for (size_t i = 0; i < N; i++) { /* at, just beside and far from thresholds */
      nx_u128 at = table.tail[nx_rng_below(&rng, n_thresholds)];
      numbers[i] = i % 4 == 0   ? at
                   : i % 4 == 1 ? at - 1
                   : i % 4 == 2 ? at + 1
                                : (nx_u128)nx_rng_u64(&rng) << 64 | nx_rng_u64(&rng);
    }
    struct script script = {numbers, N};
    struct nx_entropy entropy = {fill_script, &script};
    assert_int_equal(0, nx_noise_table_sample(&table, &entropy, out, N, NULL));
    for (size_t i = 0; i < N; i++) {
      int32_t count = 0;
      for (size_t k = 0; k < n_thresholds; k++)
        count += numbers[i] < table.tail[k];
      assert_int_equal(count, out[i]);
    }
  }
}

static int fill_fails(void *context, void *out, size_t size, struct nx_error *err) {
  (void)context, (void)out, (void)size;
  return nx_fail(err, NX_E_IO, "no random numbers today");
}

static void without_entropy_there_are_zeros_and_an_error(void **state) {
  (void)state;
  struct nx_error err;
  struct nx_entropy entropy = {fill_fails, NULL};
  int32_t out[3] = {7, 7, 7};
  _cleanup_(nx_noise_table_finish) struct nx_noise_table table = {0};
  assert_int_equal(0, nx_skellam_table(10, &table, NULL));
  assert_int_equal(NX_E_IO, nx_noise_table_sample(&table, &entropy, out, 3, &err));
  assert_string_equal("draw noise: no random numbers today", err.text);
  assert_true(out[0] == 0 && out[1] == 0 && out[2] == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(skellam_thresholds_are_right_to_the_last_of_128_bits),
      cmocka_unit_test(gaussian_thresholds_are_right_to_the_last_of_128_bits),
      cmocka_unit_test(a_tables_variance_is_what_was_asked_for),
      cmocka_unit_test(the_largest_table_takes_at_most_64_mib_and_a_larger_one_is_refused),
      cmocka_unit_test(the_search_counts_as_a_plain_loop_does),
      cmocka_unit_test(without_entropy_there_are_zeros_and_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
