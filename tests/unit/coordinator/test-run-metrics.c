/* Run metrics: means and AUROC out of sums, and nothing out of nothing. */
#include <math.h>

#include "common/aux_lanes.h"
#include "coordinator/run_metrics.h"
#include "tests/unit/cmocka_shim.h"

static void figures_come_out_of_sums(void **state) {
  (void)state;
  uint64_t aux[NX_AUX_COMMON] = {0};
  aux[NX_AUX_CONTRIBUTORS] = 3;
  aux[NX_AUX_TRAIN_WINDOWS] = 10;
  aux[NX_AUX_TRAIN_LOSS] = nx_aux_encode(7.5, NX_AUX_LOSS_SCALE);
  aux[NX_AUX_HELD_OUT_WINDOWS] = 4;
  aux[NX_AUX_HELD_OUT_LOSS] = nx_aux_encode(2, NX_AUX_LOSS_SCALE);
  /* Negatives in bins 10 and 200, positives in 200 and 250: of the four pairs three are in
   * order and one ties. */
  aux[NX_AUX_HISTOGRAM_NEGATIVE + 10] = aux[NX_AUX_HISTOGRAM_NEGATIVE + 200] = 1;
  aux[NX_AUX_HISTOGRAM_POSITIVE + 200] = aux[NX_AUX_HISTOGRAM_POSITIVE + 250] = 1;
  struct nx_run_metrics m = nx_run_metrics(aux, NX_AUX_COMMON);
  assert_int_equal(m.contributors, 3);
  assert_true(fabs(m.train_loss - 0.75) < 1e-6);
  assert_true(fabs(m.held_out_loss - 0.5) < 1e-6);
  assert_true(fabs(m.auroc - 3.5 / 4) < 1e-9);
  assert_true(fabs(m.balanced_accuracy - 0.75) < 1e-9);
}

static void nothing_gives_nothing(void **state) {
  (void)state;
  uint64_t aux[NX_AUX_COMMON] = {0};
  struct nx_run_metrics few = nx_run_metrics(aux, 5), none = nx_run_metrics(aux, NX_AUX_COMMON);
  assert_true(isnan(few.train_loss) && isnan(few.auroc) && isnan(few.balanced_accuracy));
  assert_true(isnan(none.train_loss) && isnan(none.held_out_loss) && isnan(none.auroc));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(figures_come_out_of_sums),
      cmocka_unit_test(nothing_gives_nothing),
  };
  return cmocka_run_group_tests_name("run metrics", tests, NULL, NULL);
}
