#include "node/dataset/window_features.h"

#include <math.h>

#include "node/dataset/batch.h"
#include "tests/support/dataset_support.h"

#define LINES 400

/* Rows of tests/vectors/features/features.tsv whose first field is `kind`. */
static size_t load_rows(const char *kind, double values[LINES][2]) {
  FILE *table = fopen("tests/vectors/features/features.tsv", "r");
  char name[32];
  double a, b;
  size_t n = 0, k;
  assert_non_null(table);
  for (char line[256]; fgets(line, sizeof line, table);) {
    b = 0;
    int fields = sscanf(line, "%31s %zu %lf %lf", name, &k, &a, &b);
    if (fields >= 3 && !strcmp(name, kind)) {
      assert_true(k == n && n < LINES);
      values[n][0] = a;
      values[n++][1] = b;
    }
  }
  fclose(table);
  return n;
}

static void features_of_a_wave_match_numpy(void **state) {
  (void)state;
  double want[LINES][2];
  float x[500], patches[500], spectra[5 * 45], stats[NX_FEATURE_STATS];
  _cleanup_(nx_features_destroyp) struct nx_features *features = NULL;
  assert_int_equal(load_rows("wave", want), 5 * 45 + 8);
  assert_int_equal(nx_features_create(100, 100, &features, NULL), 0);
  assert_int_equal(nx_features_bins(features), 45);
  for (int i = 0; i < 500; i++)
    x[i] = (float)(3 * sin(0.63 * i) + 0.01 * (i % 97) - 12 * (i == 250));
  nx_features_channel(features, x, 5, 11, patches, spectra, stats);
  for (int k = 0; k < 5 * 45; k++)
    assert_true(fabs(spectra[k] - want[k][0]) < 1e-4);
  for (int k = 0; k < 8; k++)
    assert_true(fabs(stats[k] - want[5 * 45 + k][0]) < 1e-4);
  for (int i = 0; i < 500; i++)
    assert_true(patches[i] == fmaxf(-8, fminf(8, x[i])) / 2);
  assert_true(patches[250] == -4);
}

static void bands_follow_the_rate_and_short_patches_have_fewer_bins(void **state) {
  (void)state;
  _cleanup_(nx_features_destroyp) struct nx_features *features = NULL;
  float x[50], patches[50], spectra[24], stats[NX_FEATURE_STATS];
  assert_int_equal(nx_features_create(50, 100, &features, NULL), 0); /* bins of 2 Hz */
  assert_int_equal(nx_features_bins(features), 24);
  for (int i = 0; i < 50; i++)
    x[i] = (float)sin(2 * M_PI * 10 * i / 100.0);
  nx_features_channel(features, x, 1, 8, patches, spectra, stats);
  for (int k = 1; k < 8; k++)
    assert_true(k == 4 || stats[k] < stats[4]); /* 10-12 Hz is the largest */
  struct nx_features *none = NULL;
  assert_int_equal(nx_features_create(3, 100, &none, NULL), NX_E_INVALID);
}

/* Opens the two recordings of one person of EEGMAT. */
static struct nx_dataset *open_person(const struct nx_plan *plan) {
  char path[512];
  struct nx_dataset *dataset = NULL;
  const char *only[] = {"Subject00"};
  const struct nx_dataset_options options = {
      .folder = shared_data(path, sizeof path, "eegmat_100Hz"), .only = only, .n_only = 1};
  assert_int_equal(nx_dataset_open(&options, plan, &dataset, NULL), 0);
  return dataset;
}

static void features_of_a_real_recording_match_numpy(void **state) {
  (void)state;
  double want[LINES][2], sum[53] = {0}, squares[53] = {0};
  struct nx_plan *plan = load_plan();
  struct nx_dataset *dataset = open_person(plan);
  struct nx_batch batch;
  assert_int_equal(load_rows("eegmat", want), 53);
  assert_int_equal(nx_batch_init(&batch, dataset, plan, 12, NULL), 0);
  assert_int_equal(nx_batch_grid(&batch, dataset, NX_SPLIT_TRAIN, 0, 12, NULL), 0);
  assert_int_equal(batch.n_windows, 12);
  for (size_t i = 0; i < 12 * 19 * 5 * 45; i++) {
    sum[i % 45] += batch.spectra[i];
    squares[i % 45] += (double)batch.spectra[i] * batch.spectra[i];
  }
  for (size_t i = 0; i < 12 * 19 * 8; i++) {
    sum[45 + i % 8] += batch.stats[i];
    squares[45 + i % 8] += (double)batch.stats[i] * batch.stats[i];
  }
  for (int k = 0; k < 53; k++) {
    assert_true(fabs(sum[k] - want[k][0]) < 1e-4 * (1 + fabs(want[k][0])));
    assert_true(fabs(squares[k] - want[k][1]) < 1e-4 * (1 + want[k][1]));
  }
  nx_batch_finish(&batch);
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(features_of_a_wave_match_numpy),
      cmocka_unit_test(bands_follow_the_rate_and_short_patches_have_fewer_bins),
      cmocka_unit_test(features_of_a_real_recording_match_numpy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
