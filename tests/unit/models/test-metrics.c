#include <math.h>

#include "common/rng.h"
#include "models/metrics.h"
#include "models/moments.h"
#include "models/optim/schedule.h"
#include "tests/unit/cmocka_shim.h"

/* scikit-learn 1.2: roc_auc_score(labels, scores) */
static void auroc_agrees_with_scikit_learn(void **state) {
  (void)state;
  const double scores[] = {0.1, 0.4, 0.35, 0.8};
  const uint8_t labels[] = {0, 0, 1, 1};
  assert_float_equal(nx_auroc(scores, labels, 4), 0.75, 1e-15);
  const double tied[] = {1, 2, 2, 2, 3, 3, 0, -1};
  const uint8_t tied_labels[] = {0, 1, 0, 1, 1, 0, 0, 1};
  assert_float_equal(nx_auroc(tied, tied_labels, 8), 0.53125, 1e-15);
}

static void auroc_of_equal_scores_is_one_half(void **state) {
  (void)state;
  const double scores[] = {2, 2, 2, 2, 2};
  const uint8_t labels[] = {0, 1, 1, 0, 1};
  assert_float_equal(nx_auroc(scores, labels, 5), 0.5, 0);
}

static void auroc_of_one_class_is_nan(void **state) {
  (void)state;
  const double scores[] = {1, 2};
  const uint8_t labels[] = {1, 1};
  assert_true(isnan(nx_auroc(scores, labels, 2)));
  assert_true(isnan(nx_auroc(scores, labels, 0)));
  const double broken[] = {1, NAN};
  const uint8_t both[] = {0, 1};
  assert_true(isnan(nx_auroc(broken, both, 2)));
}

/* By hand. */
static void calibration_error_is_the_gap_between_promise_and_share(void **state) {
  (void)state;
  uint64_t negative[NX_HISTOGRAM_BINS] = {0}, positive[NX_HISTOGRAM_BINS] = {0};
  assert_true(isnan(nx_calibration_error_histogram(negative, positive)));
  for (size_t i = 0; i < NX_HISTOGRAM_BINS; i++) { /* as many as promised, out of 512 */
    positive[i] = 2 * i + 1;
    negative[i] = 512 - positive[i];
  }
  assert_float_equal(nx_calibration_error_histogram(negative, positive), 0, 1e-12);
  for (size_t i = 0; i < NX_HISTOGRAM_BINS; i++)
    negative[i] = positive[i] = 0;
  negative[255] = 3; /* sure, and wrong in three of four */
  positive[255] = 1;
  positive[130] = 4; /* hardly sure, and right */
  double sure = fabs(0.25 - 255.5 / 256), unsure = 1 - 130.5 / 256;
  assert_float_equal(nx_calibration_error_histogram(negative, positive), (sure + unsure) / 2,
                     1e-12);
}

static void balanced_accuracy_weighs_classes_equally(void **state) {
  (void)state;
  const double scores[] = {-1, -2, -3, 1, 2, -0.5, 0};
  const uint8_t labels[] = {0, 0, 0, 0, 1, 1, 1};
  assert_float_equal(nx_balanced_accuracy(scores, labels, 7, 0), (3.0 / 4 + 1.0 / 3) / 2, 1e-15);
  assert_true(isnan(nx_balanced_accuracy(scores, labels, 4, 0)));
}

static void histograms_come_close_to_exact_values(void **state) {
  (void)state;
  enum { N = 4000 };
  static double scores[N];
  static uint8_t labels[N];
  uint64_t histograms[2][NX_HISTOGRAM_BINS] = {0};
  struct nx_rng rng;
  nx_rng_init(&rng, 5, 0);
  for (size_t i = 0; i < N; i++) {
    labels[i] = i % 3 == 0;
    scores[i] = nx_rng_normal(&rng) + labels[i];
    histograms[labels[i]][nx_histogram_bin(scores[i])]++;
  }
  assert_float_equal(nx_auroc_histogram(histograms[0], histograms[1]), nx_auroc(scores, labels, N),
                     1e-4);
  assert_float_equal(nx_balanced_accuracy_histogram(histograms[0], histograms[1]),
                     nx_balanced_accuracy(scores, labels, N, 0), 1e-12);
}

static void recordings_score_the_mean_of_their_windows(void **state) {
  (void)state;
  const double scores[] = {1, 2, 3, 4, 5};
  const uint32_t recordings[] = {0, 2, 0, 2, 2};
  double means[3];
  nx_recording_scores(scores, recordings, 5, means, 3);
  assert_float_equal(means[0], 2, 0);
  assert_true(isnan(means[1]));
  assert_float_equal(means[2], 11.0 / 3, 1e-15);
}

/* design/recipe-eegmat: lr 3e-3, 5-step warm-up, cosine to 5 % over 100 steps. Expected
 * values from the prototype's sched(). */
static void schedule_warms_up_and_falls_to_its_fraction(void **state) {
  (void)state;
  const struct nx_plan_training training = {
      .learning_rate = 3e-3, .warmup_steps = 5, .final_learning_rate_fraction = 0.05};
  assert_float_equal(nx_learning_rate(&training, 0, 100), 0.0006, 1e-15);
  assert_float_equal(nx_learning_rate(&training, 4, 100), 0.003, 1e-15);
  assert_float_equal(nx_learning_rate(&training, 5, 100), 0.003, 1e-15);
  assert_float_equal(nx_learning_rate(&training, 50, 100), 0.0016926755672980738, 1e-15);
  assert_float_equal(nx_learning_rate(&training, 99, 100), 0.0001507791082891804, 1e-15);
  assert_float_equal(nx_learning_rate(&training, 500, 100), 0.00015, 1e-15);
}

static void schedule_survives_warm_up_longer_than_training(void **state) {
  (void)state;
  const struct nx_plan_training training = {.learning_rate = 1, .warmup_steps = 10};
  assert_float_equal(nx_learning_rate(&training, 4, 5), 0.5, 1e-15);
  const struct nx_plan_training none = {.learning_rate = 1, .warmup_steps = 0};
  assert_float_equal(nx_learning_rate(&none, 0, 1), 1, 1e-15);
}

/* Sums over two sites say what all pairs together say; oracle: the definitions over the pairs. */
static void moments_of_sites_add_up(void **state) {
  (void)state;
  enum { N = 200 };
  struct nx_target_moments sites[2] = {{.n_targets = 2}, {.n_targets = 2}}, both;
  uint64_t aux[NX_AUX_COMMON] = {0}, sum[NX_AUX_COMMON] = {0};
  double y[N], p[N], mean_y = 0, mean_p = 0, error = 0, yy = 0, pp = 0, yp = 0;
  for (size_t i = 0; i < N; i++) {
    y[i] = sin(0.37 * (double)i) + 0.3;
    p[i] = 0.6 * y[i] + 0.4 * cos(1.7 * (double)i);
    mean_y += y[i] / N;
    mean_p += p[i] / N;
    nx_moments_add(&sites[i < 70].of[0], y[i], p[i]);
    nx_moments_add(&sites[i < 70].of[1], y[i], y[i]);
  }
  for (size_t i = 0; i < N; i++) {
    error += (y[i] - p[i]) * (y[i] - p[i]);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    pp += (p[i] - mean_p) * (p[i] - mean_p);
    yp += (y[i] - mean_y) * (p[i] - mean_p);
  }
  for (size_t s = 0; s < 2; s++) {
    memset(aux, 0, sizeof aux);
    nx_moments_to_lanes(&sites[s], aux);
    for (size_t i = 0; i < NX_AUX_COMMON; i++)
      sum[i] += aux[i];
  }
  nx_moments_from_lanes(sum, &both);
  assert_int_equal(both.n_targets, 2);
  assert_float_equal(nx_moments_r_squared(&both.of[0]), 1 - error / yy, 1e-5);
  assert_float_equal(nx_moments_correlation(&both.of[0]), yp / sqrt(yy * pp), 1e-5);
  assert_float_equal(nx_moments_r_squared(&both.of[1]), 1, 1e-5);
}

static void histograms_are_not_moments(void **state) {
  (void)state;
  struct nx_target_moments moments;
  uint64_t aux[NX_AUX_COMMON] = {0};
  nx_moments_from_lanes(aux, &moments); /* nobody held out, or reconstruction */
  assert_int_equal(moments.n_targets, 0);
  assert_true(isnan(nx_moments_mean_r_squared(&moments)));
  aux[NX_AUX_HISTOGRAM_NEGATIVE] = 3, aux[NX_AUX_HISTOGRAM_POSITIVE + 255] = 2;
  nx_moments_from_lanes(aux, &moments);
  assert_int_equal(moments.n_targets, 0);
  struct nx_moments flat = {0};
  for (int i = 0; i < 5; i++)
    nx_moments_add(&flat, 2, i);
  assert_true(isnan(nx_moments_r_squared(&flat)) && isnan(nx_moments_correlation(&flat)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(auroc_agrees_with_scikit_learn),
      cmocka_unit_test(auroc_of_equal_scores_is_one_half),
      cmocka_unit_test(auroc_of_one_class_is_nan),
      cmocka_unit_test(moments_of_sites_add_up),
      cmocka_unit_test(histograms_are_not_moments),
      cmocka_unit_test(calibration_error_is_the_gap_between_promise_and_share),
      cmocka_unit_test(balanced_accuracy_weighs_classes_equally),
      cmocka_unit_test(histograms_come_close_to_exact_values),
      cmocka_unit_test(recordings_score_the_mean_of_their_windows),
      cmocka_unit_test(schedule_warms_up_and_falls_to_its_fraction),
      cmocka_unit_test(schedule_survives_warm_up_longer_than_training),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
