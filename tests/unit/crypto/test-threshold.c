#include "crypto/threshold.h"
#include "tests/unit/crypto/support.h"

/* The table of the protocol page. */
static void quorums_are_those_of_the_table(void **state) {
  (void)state;
  static const uint32_t table[][3] = {{3, 0, 3},  {4, 1, 3},   {6, 1, 4},     {7, 2, 5},
                                      {10, 3, 7}, {20, 6, 14}, {100, 33, 67}, {255, 84, 170}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    assert_int_equal(nx_threshold_corrupt(table[i][0]), table[i][1]);
    assert_int_equal(nx_threshold_quorum(table[i][0]), table[i][2]);
    assert_int_equal(nx_threshold_catch_up(table[i][0]), table[i][1] + 1);
  }
}

static void two_quorums_share_an_honest_member_at_every_size(void **state) {
  (void)state;
  for (uint32_t n = 3; n <= 255; n++) {
    uint32_t c = nx_threshold_corrupt(n), t = nx_threshold_quorum(n);
    assert_true(2 * t > n + c);
    assert_true(t >= 3 && t <= n);
    assert_true(t > c); /* corrupt members alone open nothing */
    assert_true(nx_threshold_catch_up(n) > c);
    assert_true(n == 3 || n - c >= t); /* honest members alone finish */
    assert_true(3 * c < n);
  }
}

static void other_sizes_have_no_threshold(void **state) {
  (void)state;
  static const uint32_t sizes[] = {0, 1, 2, 256, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    assert_int_equal(nx_threshold_corrupt(sizes[i]), 0);
    assert_int_equal(nx_threshold_quorum(sizes[i]), 0);
    assert_int_equal(nx_threshold_catch_up(sizes[i]), 0);
  }
}

static void a_shrunken_cohort_is_refused_with_reasons(void **state) {
  (void)state;
  struct nx_error err = {0};
  assert_int_equal(nx_threshold_check_cohort(6, 6, 3, &err), 0);
  assert_int_equal(nx_threshold_check_cohort(6, 4, 3, &err), 0);
  assert_int_equal(nx_threshold_check_cohort(6, 3, 3, &err), NX_E_DENIED);
  assert_non_null(strstr(err.text, "3 of 6"));
  assert_int_equal(nx_threshold_check_cohort(10, 7, 3, &err), 0);
  assert_int_equal(nx_threshold_check_cohort(10, 6, 3, &err), NX_E_DENIED);
  assert_int_equal(nx_threshold_check_cohort(10, 8, 9, &err), NX_E_DENIED);
  assert_int_equal(nx_threshold_check_cohort(2, 2, 0, &err), NX_E_DENIED);
  assert_int_equal(nx_threshold_check_cohort(5, 6, 0, &err), NX_E_DENIED);
  assert_int_equal(nx_threshold_check_cohort(256, 256, 0, &err), NX_E_LIMIT);
  assert_non_null(strstr(err.text, "255"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quorums_are_those_of_the_table),
      cmocka_unit_test(two_quorums_share_an_honest_member_at_every_size),
      cmocka_unit_test(other_sizes_have_no_threshold),
      cmocka_unit_test(a_shrunken_cohort_is_refused_with_reasons),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
