#include "node/train/trainer.h"

#include <math.h>

#include "common/plan_adapters.h"
#include "node/train/compare.h"
#include "node/train/update.h"
#include "tests/support/dataset_support.h"

/* A cohort, a small plan and model 0, shared by all tests. */
struct bench {
  char folder[32];
  struct nx_plan *plan;
  struct nx_dataset *dataset; /* Subject05 held out */
  struct nx_model *model;
};

static struct bench bench = {.folder = "/tmp/nx-train-XXXXXX"};

static int set_up(void **state) {
  (void)state;
  const char *held_out[] = {"Subject05"};
  make_folder(bench.folder);
  make_cohort(bench.folder, 6, 20);
  bench.plan = load_plan();
  bench.plan->model.width = 16;
  bench.plan->model.blocks = 1;
  bench.plan->model.feed_forward = 16;
  bench.plan->model.heads = 2;
  bench.plan->training.rounds = 4;
  bench.plan->training.local_steps = 3;
  bench.plan->training.batch = 10;
  const struct nx_dataset_options options = {
      .folder = bench.folder, .held_out = held_out, .n_held_out = 1};
  return nx_dataset_open(&options, bench.plan, &bench.dataset, NULL) ||
         nx_model_create(bench.plan, &bench.model, NULL);
}

static int tear_down(void **state) {
  (void)state;
  nx_model_destroy(bench.model);
  nx_dataset_destroy(bench.dataset);
  nx_plan_destroy(bench.plan);
  remove_folder(bench.folder);
  return 0;
}

static struct nx_train_options steps(size_t n) {
  return (struct nx_train_options){
      .seed = 3, .stream = 4, .n_steps = n, .total_steps = n, .batch = 10};
}

static void same_seed_gives_the_same_parameters_and_another_does_not(void **state) {
  (void)state;
  struct nx_model *models[3] = {0};
  struct nx_train_result result;
  for (int i = 0; i < 3; i++) {
    struct nx_train_options options = steps(3);
    options.seed += i == 2;
    assert_int_equal(nx_model_clone(bench.model, &models[i], NULL), 0);
    assert_int_equal(nx_train(models[i], bench.dataset, bench.plan, &options, &result, NULL), 0);
    assert_int_equal(result.n_windows, 30);
    assert_true(result.loss_sum / 30 > 0.1 && result.loss_sum / 30 < 2);
  }
  size_t size = bench.model->n_params * sizeof(float);
  assert_memory_equal(models[0]->params, models[1]->params, size);
  assert_memory_not_equal(models[0]->params, models[2]->params, size);
  for (int i = 0; i < 3; i++)
    nx_model_destroy(models[i]);
}

static void checkpointing_changes_no_bit(void **state) {
  (void)state;
  struct nx_model *models[2] = {0};
  struct nx_train_result result;
  struct nx_train_options options = steps(3);
  struct nx_plan plan = *bench.plan;
  for (int i = 0; i < 2; i++) {
    plan.training.checkpoint_activations = i;
    assert_int_equal(nx_model_clone(bench.model, &models[i], NULL), 0);
    assert_int_equal(nx_train(models[i], bench.dataset, &plan, &options, &result, NULL), 0);
  }
  assert_memory_equal(models[0]->params, models[1]->params, bench.model->n_params * sizeof(float));
  nx_model_destroy(models[0]);
  nx_model_destroy(models[1]);
}

static void training_lowers_the_loss_on_what_it_saw(void **state) {
  (void)state;
  struct nx_model *model = NULL;
  struct nx_train_result result;
  struct nx_score_result before, after;
  struct nx_train_options options = steps(60);
  assert_int_equal(nx_model_clone(bench.model, &model, NULL), 0);
  assert_int_equal(nx_score(model, bench.dataset, bench.plan, NX_SPLIT_TRAIN, NULL, &before, NULL),
                   0);
  assert_int_equal(nx_train(model, bench.dataset, bench.plan, &options, &result, NULL), 0);
  assert_int_equal(nx_score(model, bench.dataset, bench.plan, NX_SPLIT_TRAIN, NULL, &after, NULL),
                   0);
  assert_int_equal(before.n_windows, 40);
  assert_true(fabs(before.loss_sum / 40 - log(2)) < 1e-6); /* the head starts at zero */
  assert_true(after.loss_sum < 0.9 * before.loss_sum);
  nx_model_destroy(model);
}

static bool stop_at_once(void *context) {
  ++*(int *)context;
  return true;
}

static void cancelled_training_stops_after_its_step(void **state) {
  (void)state;
  int asked = 0;
  struct nx_model *model = NULL;
  struct nx_train_result result;
  struct nx_train_options options = steps(5);
  options.cancelled = stop_at_once;
  options.context = &asked;
  assert_int_equal(nx_model_clone(bench.model, &model, NULL), 0);
  assert_int_equal(nx_train(model, bench.dataset, bench.plan, &options, &result, NULL),
                   NX_E_CANCELLED);
  assert_int_equal(asked, 1);
  nx_model_destroy(model);
}

static void statistics_lanes_are_the_feature_sums(void **state) {
  (void)state;
  struct nx_update update;
  struct nx_feature_sums sums;
  assert_int_equal(nx_update_compute(NX_ROUND_STATISTICS, bench.model, bench.dataset, bench.plan, 0,
                                     3, NULL, NULL, &update, NULL),
                   0);
  assert_int_equal(nx_feature_sums(bench.dataset, bench.plan, &sums, NULL), 0);
  assert_int_equal(update.n_values, 0);
  assert_int_equal(update.n_aux, nx_aux_lanes(NX_ROUND_STATISTICS, 53));
  assert_int_equal(update.aux[NX_AUX_CONTRIBUTORS], 1);
  assert_int_equal(update.aux[NX_AUX_SPECTRAL_COUNT], 40 * 19 * 5);
  assert_int_equal(update.aux[NX_AUX_CHANNEL_COUNT], 40 * 19);
  for (size_t i = 0; i < 53; i++) {
    const uint64_t *lanes = update.aux + NX_AUX_FEATURE_SUMS;
    assert_true(fabs(nx_aux_decode(lanes[i], NX_AUX_FEATURE_SCALE) - sums.sum[i]) < 1e-6);
    assert_true(fabs(nx_aux_decode(lanes[53 + i], NX_AUX_FEATURE_SCALE) - sums.sum_squares[i]) <
                1e-6);
  }
  nx_update_finish(&update);
}

static void update_is_clipped_weighted_and_leaves_the_model_alone(void **state) {
  (void)state;
  struct nx_update whole, clipped;
  struct nx_plan plan = *bench.plan;
  size_t n = bench.model->n_params;
  float *before = malloc(n * sizeof *before);
  memcpy(before, bench.model->params, n * sizeof *before);
  assert_int_equal(nx_update_compute(NX_ROUND_TRAIN, bench.model, bench.dataset, &plan, 1, 3, NULL,
                                     NULL, &whole, NULL),
                   0);
  plan.aggregation.update_clip_norm = whole.norm / 2;
  assert_int_equal(nx_update_compute(NX_ROUND_TRAIN, bench.model, bench.dataset, &plan, 1, 3, NULL,
                                     NULL, &clipped, NULL),
                   0);
  assert_memory_equal(before, bench.model->params, n * sizeof *before);
  assert_int_equal(whole.n_values, n);
  assert_true(fabs(whole.weight - 0.4) < 1e-9); /* 40 windows, cap 100 */
  double squares = 0, half = 0;
  for (size_t i = 0; i < n; i++) {
    squares += (double)whole.delta[i] * whole.delta[i];
    half = fmax(half, fabs(clipped.delta[i] - whole.delta[i] / 2));
  }
  double sent = nx_aux_decode(whole.aux[NX_AUX_WEIGHT], NX_AUX_WEIGHT_SCALE);
  assert_true(whole.norm > 0 && fabs(sqrt(squares) / (sent * whole.norm) - 1) < 1e-5);
  assert_true(half < 1e-7);
  assert_int_equal(whole.aux[NX_AUX_TRAIN_WINDOWS], 30);
  assert_int_equal(whole.aux[NX_AUX_HELD_OUT_WINDOWS], 8);
  nx_update_finish(&whole);
  nx_update_finish(&clipped);
  free(before);
}

static void evaluation_histograms_hold_every_held_out_window(void **state) {
  (void)state;
  struct nx_update update;
  uint64_t negative = 0, positive = 0;
  assert_int_equal(nx_update_compute(NX_ROUND_EVALUATE, bench.model, bench.dataset, bench.plan, 4,
                                     3, NULL, NULL, &update, NULL),
                   0);
  assert_int_equal(update.n_aux, NX_AUX_COMMON);
  for (size_t b = 0; b < NX_HISTOGRAM_BINS; b++) {
    negative += update.aux[NX_AUX_HISTOGRAM_NEGATIVE + b];
    positive += update.aux[NX_AUX_HISTOGRAM_POSITIVE + b];
  }
  assert_int_equal(negative, 4);
  assert_int_equal(positive, 4);
  assert_true(fabs(update.held_out_loss - log(2)) < 1e-6);
  assert_int_equal(update.aux[NX_AUX_TRAIN_WINDOWS], 0);
  nx_update_finish(&update);
}

static void comparison_scores_every_arm_and_writes_rows(void **state) {
  (void)state;
  struct nx_compare_result result;
  struct nx_error err = {0};
  char *text = NULL;
  size_t size = 0, lines = 0;
  FILE *rows = open_memstream(&text, &size);
  struct nx_compare_options options = {.folder = bench.folder,
                                       .plan = bench.plan,
                                       .n_sites = 2,
                                       .fold = 1,
                                       .arms = 15,
                                       .seed = 1,
                                       .federated_model = bench.model,
                                       .scores = rows};
  if (nx_compare(&options, &result, &err) < 0)
    fail_msg("%s", err.text);
  fclose(rows);
  assert_true(result.synthetic);
  assert_int_equal(result.n_recordings, 4); /* subjects 2 and 3 */
  assert_int_equal(result.n_windows, 16);
  assert_true(result.arms[NX_ARM_FEDERATED].auroc == 0.5); /* an untrained head: all ties */
  for (int arm = 0; arm < NX_ARMS; arm++)
    assert_true(result.arms[arm].auroc >= 0 && result.arms[arm].auroc <= 1);
  for (const char *p = text; (p = strchr(p, '\n')); p++)
    lines++;
  assert_int_equal(lines, 16 * 5); /* two local sites, three other arms */
  assert_non_null(strstr(text, "1\tlocal-0\tSubject02\tSubject02_rest.edf\t0\t0\t"));
  options.fold = 7;
  assert_int_equal(nx_compare(&options, &result, NULL), NX_E_INVALID);
  options.fold = 0;
  options.federated_model = NULL;
  options.scores = NULL;
  assert_int_equal(nx_compare(&options, &result, NULL), NX_E_INVALID);
  free(text);
}

static void adapters_alone_train_and_leave(void **state) {
  (void)state;
  struct nx_plan_adapters section = {4, 8, true, true, true};
  struct nx_plan plan = *bench.plan;
  plan.adapters = &section;
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL, *before = NULL;
  _cleanup_(nx_update_finish) struct nx_update update = {0};
  struct nx_train_options options = steps(60);
  struct nx_train_result result;
  assert_int_equal(nx_model_create(&plan, &model, NULL), 0);
  assert_true(model->n_params < bench.model->n_params / 2);
  assert_int_equal(nx_model_clone(model, &before, NULL), 0);
  assert_int_equal(nx_update_compute(NX_ROUND_TRAIN, model, bench.dataset, &plan, 0, 1, NULL, NULL,
                                     &update, NULL),
                   0);
  assert_int_equal(update.n_values, model->n_params);
  assert_true(update.norm > 0);
  plan.training.learning_rate = 0.02;
  assert_int_equal(nx_train(model, bench.dataset, &plan, &options, &result, NULL), 0);
  assert_int_equal(nx_train(model, bench.dataset, &plan, &options, &result, NULL), 0);
  assert_true(result.loss_sum / (double)result.n_windows < 0.6); /* 0.693 untrained */
  assert_memory_equal(model->base->params, before->base->params,
                      model->base->n_params * sizeof(float));
  assert_memory_not_equal(model->params, before->params, model->n_params * sizeof(float));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_seed_gives_the_same_parameters_and_another_does_not),
      cmocka_unit_test(checkpointing_changes_no_bit),
      cmocka_unit_test(training_lowers_the_loss_on_what_it_saw),
      cmocka_unit_test(cancelled_training_stops_after_its_step),
      cmocka_unit_test(statistics_lanes_are_the_feature_sums),
      cmocka_unit_test(update_is_clipped_weighted_and_leaves_the_model_alone),
      cmocka_unit_test(adapters_alone_train_and_leave),
      cmocka_unit_test(evaluation_histograms_hold_every_held_out_window),
      cmocka_unit_test(comparison_scores_every_arm_and_writes_rows),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
