#include "node/dataset/linear_baseline.h"

#include <math.h>

#include "models/metrics.h"
#include "tests/support/dataset_support.h"

#define FOLDS 6
#define WINDOWS 144 /* held out of one fold: 6 people, 2 recordings, 12 windows */

struct fold_result {
  double windows, recordings;
};

/* Fold h of EEGMAT holds out the people with number div 6 = h. */
static struct fold_result run_fold(const char *folder, const struct nx_plan *plan, int fold) {
  char names[FOLDS][16];
  const char *held_out[FOLDS];
  double scores[WINDOWS], means[WINDOWS / 12] = {0};
  uint8_t labels[WINDOWS], recording_labels[WINDOWS / 12];
  struct nx_dataset *dataset = NULL;
  struct nx_linear linear = {0};
  for (int i = 0; i < FOLDS; i++) {
    snprintf(names[i], sizeof names[i], "Subject%02d", (6 * fold + i) % 100);
    held_out[i] = names[i];
  }
  const struct nx_dataset_options options = {
      .folder = folder, .held_out = held_out, .n_held_out = FOLDS};
  assert_int_equal(nx_dataset_open(&options, plan, &dataset, NULL), 0);
  assert_int_equal(nx_dataset_summary(dataset)->n_held_out_windows, WINDOWS);
  assert_int_equal(nx_linear_fit(dataset, plan, NULL, 0.01, &linear, NULL), 0);
  assert_int_equal(nx_linear_score(&linear, dataset, plan, scores, NULL), 0);
  size_t n = 0;
  for (size_t i = 0; i < nx_dataset_summary(dataset)->n_recordings; i++) {
    const struct nx_dataset_recording *recording = nx_dataset_recording(dataset, i);
    for (int w = 0; recording->split == NX_SPLIT_HELD_OUT && w < 12; w++) {
      recording_labels[n / 12] = labels[n] = recording->label;
      means[n / 12] += scores[n];
      n++;
    }
  }
  nx_linear_finish(&linear);
  nx_dataset_destroy(dataset);
  return (struct fold_result){nx_auroc(scores, labels, n),
                              nx_auroc(means, recording_labels, n / 12)};
}

/* scikit-learn on the same recordings: windows .825, recordings .866 (its scale is the median
 * SD, ours the median MAD, hence the tolerance). */
static void baseline_on_eegmat_is_scikit_learns(void **state) {
  (void)state;
  char folder[512];
  struct fold_result mean = {0, 0};
  struct nx_plan *plan = load_plan();
  shared_data(folder, sizeof folder, "eegmat_100Hz");
  for (int fold = 0; fold < FOLDS; fold++) {
    struct fold_result result = run_fold(folder, plan, fold);
    mean.windows += result.windows / FOLDS;
    mean.recordings += result.recordings / FOLDS;
  }
  print_message("# linear baseline, pooled, six folds: windows %.3f, recordings %.3f\n",
                mean.windows, mean.recordings);
  assert_true(fabs(mean.windows - 0.825) < 0.01);
  assert_true(fabs(mean.recordings - 0.866) < 0.01);
  nx_plan_destroy(plan);
}

static void generated_cohort_is_learnable_but_not_trivially(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-linear-XXXXXX";
  struct nx_plan *plan = load_plan();
  struct nx_dataset *dataset = NULL;
  struct nx_linear linear = {0};
  const char *held_out[] = {"Subject00", "Subject04", "Subject08",
                            "Subject12", "Subject16", "Subject20"};
  double scores[72];
  uint8_t labels[72];
  make_folder(folder);
  make_cohort(folder, 24, 30);
  const struct nx_dataset_options options = {
      .folder = folder, .held_out = held_out, .n_held_out = 6};
  assert_int_equal(nx_dataset_open(&options, plan, &dataset, NULL), 0);
  assert_int_equal(nx_linear_fit(dataset, plan, NULL, 0.01, &linear, NULL), 0);
  assert_int_equal(nx_linear_score(&linear, dataset, plan, scores, NULL), 0);
  for (int i = 0; i < 72; i++)
    labels[i] = (uint8_t)(i / 6 % 2);
  double auroc = nx_auroc(scores, labels, 72);
  print_message("# generated cohort of 24: %.3f\n", auroc);
  assert_true(auroc > 0.55 && auroc < 0.999);
  nx_linear_finish(&linear);
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void fit_without_training_recordings_is_refused(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-linear-XXXXXX";
  struct nx_plan *plan = load_plan();
  struct nx_dataset *dataset = NULL;
  struct nx_linear linear = {0};
  const char *held_out[] = {"Subject00"};
  make_folder(folder);
  make_cohort(folder, 1, 10);
  const struct nx_dataset_options options = {
      .folder = folder, .held_out = held_out, .n_held_out = 1};
  assert_int_equal(nx_dataset_open(&options, plan, &dataset, NULL), 0);
  assert_int_equal(nx_linear_fit(dataset, plan, NULL, 0.01, &linear, NULL), NX_E_STATE);
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(baseline_on_eegmat_is_scikit_learns),
      cmocka_unit_test(generated_cohort_is_learnable_but_not_trivially),
      cmocka_unit_test(fit_without_training_recordings_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
