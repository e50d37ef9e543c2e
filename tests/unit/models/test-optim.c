#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "common/plan_aux.h"
#include "common/plan_prototypes.h"
#include "common/rng.h"
#include "models/optim/adamw.h"
#include "models/optim/server_apply.h"
#include "tests/unit/models/fixture.h"

/* ---- Server apply ---- */

struct opened {
  struct nx_plan *plan;
  struct nx_model *model;
  uint64_t *aux;
  size_t n_aux;
};

static struct opened opened_round(enum nx_round_kind kind) {
  struct opened o = {.plan = fixture_plan()};
  o.model = fixture_model(o.plan);
  o.n_aux = nx_aux_lanes(kind, o.model->n_features);
  o.aux = calloc(o.n_aux, sizeof *o.aux);
  assert_non_null(o.aux);
  return o;
}

static void close_round(struct opened *o) {
  free(o->aux);
  nx_model_destroy(o->model);
  nx_plan_destroy(o->plan);
}

/* Observations 1, 2, 3, 4 of each bin, scaled and shifted by the feature's number. */
static void statistics_give_mean_and_unbiased_sd(void **state) {
  (void)state;
  struct opened o = opened_round(NX_ROUND_STATISTICS);
  size_t f = o.model->n_features;
  o.aux[NX_AUX_SPECTRAL_COUNT] = 4;
  o.aux[NX_AUX_CHANNEL_COUNT] = 3;
  for (size_t i = 0; i < f; i++) {
    double sum = 0, squares = 0;
    for (int k = 1; k <= (i < 45 ? 4 : 3); k++) {
      double x = k * 0.5 - (double)i;
      sum += x;
      squares += x * x;
    }
    o.aux[NX_AUX_FEATURE_SUMS + i] = nx_aux_encode(sum, NX_AUX_FEATURE_SCALE);
    o.aux[NX_AUX_FEATURE_SUMS + f + i] = nx_aux_encode(squares, NX_AUX_FEATURE_SCALE);
  }
  assert_int_equal(nx_server_apply_statistics(o.model, o.aux, o.n_aux, NULL), 0);
  assert_float_equal(o.model->feature_mean[0], 1.25, 1e-6);
  assert_float_equal(o.model->feature_mean[44], 1.25 - 44, 1e-5);
  assert_float_equal(o.model->feature_sd[44], 0.5 * sqrt(5.0 / 3), 1e-6);
  assert_float_equal(o.model->feature_mean[45], 1.0 - 45, 1e-5);
  assert_float_equal(o.model->feature_sd[52], 0.5, 1e-6);
  close_round(&o);
}

static void constant_feature_gets_the_floor(void **state) {
  (void)state;
  struct opened o = opened_round(NX_ROUND_STATISTICS);
  o.aux[NX_AUX_SPECTRAL_COUNT] = o.aux[NX_AUX_CHANNEL_COUNT] = 100;
  assert_int_equal(nx_server_apply_statistics(o.model, o.aux, o.n_aux, NULL), 0);
  assert_true(o.model->feature_sd[7] == (float)NX_FEATURE_SD_FLOOR);
  close_round(&o);
}

static void impossible_statistics_change_nothing(void **state) {
  (void)state;
  struct opened o = opened_round(NX_ROUND_STATISTICS);
  assert_int_equal(nx_server_apply_statistics(o.model, o.aux, o.n_aux, NULL), NX_E_PROTOCOL);
  o.aux[NX_AUX_SPECTRAL_COUNT] = o.aux[NX_AUX_CHANNEL_COUNT] = 2;
  o.aux[o.n_aux - 1] = UINT64_MAX; /* a negative sum of squares */
  o.aux[NX_AUX_FEATURE_SUMS] = nx_aux_encode(8, NX_AUX_FEATURE_SCALE);
  assert_int_equal(nx_server_apply_statistics(o.model, o.aux, o.n_aux, NULL), NX_E_PROTOCOL);
  o.aux[o.n_aux - 1] = 0;
  o.aux[NX_AUX_FEATURE_SUMS + 3] = (uint64_t)1 << 62; /* mean 2^37 */
  assert_int_equal(nx_server_apply_statistics(o.model, o.aux, o.n_aux, NULL), NX_E_PROTOCOL);
  assert_int_equal(nx_server_apply_statistics(o.model, o.aux, o.n_aux - 1, NULL), NX_E_PROTOCOL);
  assert_true(o.model->feature_mean[0] == 0 && o.model->feature_sd[0] == 1);
  close_round(&o);
}

static void average_divides_by_the_weights_and_signs_the_ring(void **state) {
  (void)state;
  struct opened o = opened_round(NX_ROUND_TRAIN);
  uint32_t *lanes = calloc(o.model->n_params, sizeof *lanes);
  float before[4];
  memcpy(before, o.model->params, sizeof before);
  o.aux[NX_AUX_CONTRIBUTORS] = 6;
  o.aux[NX_AUX_WEIGHT] = nx_aux_encode(2.5, NX_AUX_WEIGHT_SCALE);
  lanes[0] = 1000;
  lanes[1] = (1u << 24) - 1000; /* -1000 mod 2^24 */
  lanes[2] = (1u << 23) - 1;
  lanes[3] = 0xff000000u | 5; /* bits above the ring do not count */
  assert_int_equal(
      nx_server_apply_average(o.model, lanes, o.model->n_params, 24, 4000, o.aux, o.n_aux, NULL),
      0);
  assert_true(o.model->params[0] == (float)((double)before[0] + 1000.0 / (2.5 * 4000)));
  assert_true(o.model->params[1] == (float)((double)before[1] - 1000.0 / (2.5 * 4000)));
  assert_true(o.model->params[2] == (float)((double)before[2] + 8388607.0 / (2.5 * 4000)));
  assert_true(o.model->params[3] == (float)((double)before[3] + 5.0 / (2.5 * 4000)));
  free(lanes);
  close_round(&o);
}

/* Two classes of 128 sums; the third would not fit a unit vector's length. */
static void prototypes_are_directions_of_sums(void **state) {
  (void)state;
  static char still[] = "still", moving[] = "moving", task[] = "task";
  static char *names[] = {still, moving, task};
  static struct nx_plan_prototypes prototypes = {names, 3, 0.1, 0.1, 20};
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0}, bytes = {0};
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL, *loaded = NULL;
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &plan, NULL), 0);
  plan->prototypes = &prototypes;
  assert_int_equal(nx_model_create(plan, &model, NULL), 0);
  size_t n_aux = nx_plan_aux_lanes(plan, NX_ROUND_TRAIN, 0);
  assert_int_equal(n_aux, NX_AUX_COMMON + 3 * 129);
  uint64_t *aux = calloc(n_aux, sizeof *aux), *second = aux + NX_AUX_PROTOTYPES + 129;
  float *mu = model->params + nx_model_find(model, "prototypes.mean")->offset;
  assert_ptr_equal(mu + 3 * 128, model->params + model->n_params); /* the last of the vector */
  aux[NX_AUX_PROTOTYPES] = 25;                                     /* along (3, 0, -4) */
  aux[NX_AUX_PROTOTYPES + 1] = nx_aux_encode(6, NX_AUX_FEATURE_SCALE);
  aux[NX_AUX_PROTOTYPES + 3] = nx_aux_encode(-8, NX_AUX_FEATURE_SCALE);
  second[0] = 19; /* too few */
  second[7] = nx_aux_encode(15, NX_AUX_FEATURE_SCALE);
  second[129] = 40; /* enough, without a direction */
  mu[128 + 5] = 0.75f;
  assert_int_equal(nx_server_apply_sums(model, 20, aux, n_aux, NULL), 0);
  assert_true(mu[0] == 0.6f && mu[1] == 0 && mu[2] == -0.8f);
  assert_true(mu[128 + 5] == 0.75f && mu[128 + 6] == 0);
  second[7] = nx_aux_encode(19.5, NX_AUX_FEATURE_SCALE); /* 19 unit vectors are not that long */
  aux[NX_AUX_PROTOTYPES + 1] = 0;
  assert_int_equal(nx_server_apply_sums(model, 20, aux, n_aux, NULL), NX_E_PROTOCOL);
  assert_int_equal(nx_server_apply_sums(model, 20, aux, n_aux - 1, NULL), NX_E_PROTOCOL);
  assert_true(mu[0] == 0.6f);
  /* a sum of updates, which rotation blurs, does not move them; files keep them */
  float *values = calloc(model->n_params, sizeof *values);
  for (size_t i = 0; i < model->n_params; i++)
    values[i] = 0.125f;
  float first = model->params[0];
  assert_int_equal(nx_server_apply_values(model, values, model->n_params, NULL), 0);
  assert_true(mu[0] == 0.6f && model->params[0] == first + 0.125f && mu[-1] != 0);
  assert_int_equal(nx_model_save(model, &bytes, NULL), 0);
  assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &loaded, NULL), 0);
  assert_memory_equal(loaded->params, model->params, model->n_params * sizeof(float));
  names[1] = task; /* other classes are another model */
  names[2] = moving;
  nx_model_destroy(nx_steal(&loaded));
  assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &loaded, NULL), NX_E_FORMAT);
  plan->prototypes = NULL;
  free(values);
  free(aux);
}

static void full_ring_lifts_to_int32(void **state) {
  (void)state;
  struct opened o = opened_round(NX_ROUND_TRAIN);
  uint32_t *lanes = calloc(o.model->n_params, sizeof *lanes);
  o.aux[NX_AUX_CONTRIBUTORS] = 1;
  o.aux[NX_AUX_WEIGHT] = nx_aux_encode(1, NX_AUX_WEIGHT_SCALE);
  o.model->params[0] = 0;
  lanes[0] = 0x80000000u;
  assert_int_equal(
      nx_server_apply_average(o.model, lanes, o.model->n_params, 32, 1, o.aux, o.n_aux, NULL), 0);
  assert_true(o.model->params[0] == -2147483648.0f);
  free(lanes);
  close_round(&o);
}

static void impossible_average_changes_nothing(void **state) {
  (void)state;
  struct opened o = opened_round(NX_ROUND_TRAIN);
  size_t n = o.model->n_params;
  uint32_t *lanes = calloc(n, sizeof *lanes);
  float first = o.model->params[0];
  lanes[0] = 7;
  o.aux[NX_AUX_CONTRIBUTORS] = 3;
  assert_int_equal(nx_server_apply_average(o.model, lanes, n, 32, 1, o.aux, o.n_aux, NULL),
                   NX_E_PROTOCOL); /* no weight */
  o.aux[NX_AUX_WEIGHT] = nx_aux_encode(3.5, NX_AUX_WEIGHT_SCALE);
  assert_int_equal(nx_server_apply_average(o.model, lanes, n, 32, 1, o.aux, o.n_aux, NULL),
                   NX_E_PROTOCOL); /* more weight than members */
  o.aux[NX_AUX_WEIGHT] = nx_aux_encode(3, NX_AUX_WEIGHT_SCALE);
  assert_int_equal(nx_server_apply_average(o.model, lanes, n - 1, 32, 1, o.aux, o.n_aux, NULL),
                   NX_E_PROTOCOL);
  assert_int_equal(nx_server_apply_average(o.model, lanes, n, 33, 1, o.aux, o.n_aux, NULL),
                   NX_E_INVALID);
  assert_int_equal(nx_server_apply_average(o.model, lanes, n, 32, 0, o.aux, o.n_aux, NULL),
                   NX_E_INVALID);
  lanes[n - 1] = 1u << 30;
  assert_int_equal(nx_server_apply_average(o.model, lanes, n, 32, 1e-300, o.aux, o.n_aux, NULL),
                   NX_E_PROTOCOL); /* infinite */
  assert_true(o.model->params[0] == first);
  free(lanes);
  close_round(&o);
}

/* ---- AdamW ---- */

/* The recipe's arithmetic once more, in double. */
static double reference_step(double p, double g, double k, int matrix, double lr) {
  double m = 0.1 * k * g, v = 0.01 * k * k * g * g;
  if (matrix)
    p *= 1 - lr * 0.05;
  return p - lr / (1 - 0.9) * m / (sqrt(v / (1 - 0.99)) + 1e-8);
}

static void adamw_follows_the_recipe(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan), *before = NULL;
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  const struct nx_adamw_options options = {0.9, 0.99, 0.05, 1.0};
  float *gradients = calloc(model->n_params, sizeof *gradients);
  double norm = 0, expected_norm = 0;
  struct nx_rng rng;
  nx_rng_init(&rng, 3, 0);
  for (size_t i = 0; i < model->n_params; i++) {
    gradients[i] = (float)nx_rng_normal(&rng);
    expected_norm += (double)gradients[i] * gradients[i];
  }
  expected_norm = sqrt(expected_norm);
  assert_int_equal(nx_model_clone(model, &before, NULL), 0);
  assert_int_equal(nx_adamw_create(model, &options, &adamw, NULL), 0);
  assert_int_equal(nx_adamw_step(adamw, model, gradients, 3e-3, &norm, NULL), 0);
  assert_float_equal(norm, expected_norm, 1e-6 * expected_norm);
  double k = 1 / (expected_norm + 1e-9);
  for (size_t t = 0; t < model->n_tensors; t++)
    for (size_t i = 0; i < model->tensors[t].size; i++) {
      size_t at = model->tensors[t].offset + i;
      double expected =
          reference_step(before->params[at], gradients[at], k, model->tensors[t].n_dims > 1, 3e-3);
      assert_float_equal(model->params[at], expected, 2e-6);
    }
  free(gradients);
}

static void reset_forgets_the_moments(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *a = fixture_model(plan), *b = fixture_model(plan);
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  const struct nx_adamw_options options = {0.9, 0.99, 0.05, 0};
  float *gradients = calloc(a->n_params, sizeof *gradients);
  gradients[0] = 1;
  assert_int_equal(nx_adamw_create(a, &options, &adamw, NULL), 0);
  assert_int_equal(nx_adamw_step(adamw, a, gradients, 1e-2, NULL, NULL), 0);
  nx_adamw_reset(adamw);
  assert_int_equal(nx_adamw_step(adamw, b, gradients, 1e-2, NULL, NULL), 0);
  assert_memory_equal(a->params, b->params, a->n_params * sizeof(float));
  free(gradients);
}

static void infinite_gradient_changes_nothing(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  const struct nx_adamw_options options = {0.9, 0.99, 0.05, 1};
  float *gradients = calloc(model->n_params, sizeof *gradients), first = model->params[0];
  gradients[9] = INFINITY;
  assert_int_equal(nx_adamw_create(model, &options, &adamw, NULL), 0);
  assert_int_equal(nx_adamw_step(adamw, model, gradients, 1, NULL, NULL), NX_E_STATE);
  assert_true(model->params[0] == first);
  free(gradients);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(statistics_give_mean_and_unbiased_sd),
      cmocka_unit_test(constant_feature_gets_the_floor),
      cmocka_unit_test(impossible_statistics_change_nothing),
      cmocka_unit_test(average_divides_by_the_weights_and_signs_the_ring),
      cmocka_unit_test(full_ring_lifts_to_int32),
      cmocka_unit_test(prototypes_are_directions_of_sums),
      cmocka_unit_test(impossible_average_changes_nothing),
      cmocka_unit_test(adamw_follows_the_recipe),
      cmocka_unit_test(reset_forgets_the_moments),
      cmocka_unit_test(infinite_gradient_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
