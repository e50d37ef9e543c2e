#include "coordinator/round/cohort.h"
#include "tests/unit/cmocka_shim.h"

static size_t choose(struct nx_cohort_candidate *candidates, size_t n, uint32_t minimum, int *r) {
  uint32_t ids[255];
  size_t n_chosen = 0;
  *r = nx_cohort_choose(candidates, n, minimum, ids, &n_chosen, NULL);
  return n_chosen;
}

static void all_who_are_connected_are_invited(void **state) {
  (void)state;
  int r;
  struct nx_cohort_candidate c[] = {{1, true, false}, {2, true, false}, {3, false, false},
                                    {4, true, false}, {5, true, false}, {9, true, false}};
  assert_int_equal(choose(c, 6, 3, &r), 5);
  assert_int_equal(r, 0);
}

static void the_floor_is_two_thirds_or_the_plans_or_three(void **state) {
  (void)state;
  assert_int_equal(nx_cohort_floor(3, 0), 3);
  assert_int_equal(nx_cohort_floor(6, 0), 4);
  assert_int_equal(nx_cohort_floor(7, 0), 5);
  assert_int_equal(nx_cohort_floor(6, 6), 6);
  assert_int_equal(nx_cohort_floor(100, 3), 67);
  int r;
  struct nx_cohort_candidate c[] = {{1, true, false},  {2, true, false},  {3, true, false},
                                    {4, false, false}, {5, false, false}, {6, false, false}};
  choose(c, 6, 3, &r);
  assert_int_equal(r, NX_E_PEER);
}

static void the_accused_stay_out_unless_they_are_needed(void **state) {
  (void)state;
  int r;
  struct nx_cohort_candidate c[] = {{1, true, true},  {2, true, false}, {3, true, false},
                                    {4, true, false}, {5, true, false}, {6, true, false}};
  assert_int_equal(choose(c, 6, 3, &r), 5);
  assert_int_equal(choose(c, 6, 6, &r), 6);
  assert_int_equal(r, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_who_are_connected_are_invited),
      cmocka_unit_test(the_floor_is_two_thirds_or_the_plans_or_three),
      cmocka_unit_test(the_accused_stay_out_unless_they_are_needed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
