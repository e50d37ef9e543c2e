#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "models/nets/masking.h"
#include "models/nets/network.h"
#include "models/optim/adamw.h"
#include "tests/unit/models/fixture.h"

struct windows {
  struct nx_network_input input;
  float *patches, *spectra, *stats, *positions;
  uint8_t *labels;
};

static float *random_floats(struct nx_rng *rng, size_t n) {
  float *x = calloc(n, sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++)
    x[i] = (float)nx_rng_normal(rng);
  return x;
}

static struct windows windows_create(const struct nx_model *model, size_t b, size_t c) {
  struct windows w;
  struct nx_rng rng;
  const struct nx_model_shape *s = &model->shape;
  nx_rng_init(&rng, 3, 4);
  w.patches = random_floats(&rng, b * c * s->patches * s->patch_samples);
  w.spectra = random_floats(&rng, b * c * s->patches * s->bins);
  w.stats = random_floats(&rng, b * c * s->stats);
  w.positions = random_floats(&rng, c * 3);
  w.labels = calloc(b, 1);
  for (size_t i = 0; i < b; i++)
    w.labels[i] = (uint8_t)(i % 2);
  w.input = (struct nx_network_input){b, c, w.patches, w.spectra, w.stats, w.positions, w.labels};
  return w;
}

static void windows_destroy(struct windows *w) {
  free(w->patches);
  free(w->spectra);
  free(w->stats);
  free(w->positions);
  free(w->labels);
}

/* Loss of the last of n steps. */
static double train(struct nx_model *model, const struct windows *w, int n, uint64_t seed) {
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  const struct nx_adamw_options options = {0.9, 0.99, 0.05, 1};
  struct nx_rng rng;
  double loss = NAN;
  nx_rng_init(&rng, seed, 0);
  assert_int_equal(nx_network_create(model, &network, NULL), 0);
  assert_int_equal(nx_adamw_create(model, &options, &adamw, NULL), 0);
  for (int i = 0; i < n; i++) {
    struct nx_error err = {0};
    if (nx_network_train_step(network, model, &w->input, 0.1, &rng, &loss, &err) ||
        nx_adamw_step(adamw, model, nx_network_gradients(network), 3e-3, NULL, &err))
      fail_msg("%s", err.text);
  }
  return loss;
}

static void training_is_deterministic(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  for (int objective = 0; objective < 2; objective++) {
    plan->training.objective = (enum nx_plan_objective)objective;
    _cleanup_(nx_model_destroyp) struct nx_model *a = fixture_model(plan);
    _cleanup_(nx_model_destroyp) struct nx_model *b = fixture_model(plan);
    _cleanup_(nx_model_destroyp) struct nx_model *c = fixture_model(plan);
    struct windows w = windows_create(a, 8, 19);
    train(a, &w, 3, 1);
    train(b, &w, 3, 1);
    train(c, &w, 3, 2);
    assert_memory_equal(a->params, b->params, a->n_params * sizeof(float));
    assert_memory_not_equal(a->params, c->params, a->n_params * sizeof(float));
    windows_destroy(&w);
  }
}

/* 45 windows are five slices, the last a short one. */
static void threads_do_not_change_a_bit(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  for (int objective = 0; objective < 2; objective++) {
    plan->training.objective = (enum nx_plan_objective)objective;
    _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
    struct windows w = windows_create(model, 45, 19);
    float *alone = NULL;
    for (size_t threads = 1; threads <= 3; threads++) {
      _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
      _cleanup_(nx_pool_destroyp) struct nx_pool *pool = NULL;
      struct nx_rng rng;
      double loss;
      nx_rng_init(&rng, 1, 1);
      assert_int_equal(nx_pool_create(threads, &pool, NULL), 0);
      assert_int_equal(nx_network_create(model, &network, NULL), 0);
      if (threads > 1)
        assert_int_equal(nx_network_use_pool(network, pool, NULL), 0);
      for (int i = 0; i < 2; i++)
        assert_int_equal(nx_network_train_step(network, model, &w.input, 0.1, &rng, &loss, NULL),
                         0);
      size_t size = model->n_params * sizeof(float);
      if (alone)
        assert_memory_equal(alone, nx_network_gradients(network), size);
      else
        alone = memcpy(malloc(size), nx_network_gradients(network), size);
    }
    free(alone);
    windows_destroy(&w);
  }
}

static void training_learns_by_heart(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  struct windows w = windows_create(model, 8, 5);
  double first = train(model, &w, 1, 1), last = train(model, &w, 60, 1);
  assert_float_equal(first, log(2), 1e-6); /* the head begins at zero */
  assert_true(last < 0.35);
  windows_destroy(&w);
}

static void reconstruction_learns(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  plan->training.objective = NX_OBJECTIVE_RECONSTRUCTION;
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  struct windows w = windows_create(model, 4, 5);
  for (size_t i = 0; i < 4 * 5 * 5 * 100; i++)
    w.patches[i] = (float)sin((double)(i % 100) * 0.3);
  double first = train(model, &w, 1, 1), last = train(model, &w, 60, 1);
  assert_true(last < 0.7 * first);
  windows_destroy(&w);
}

static void windows_do_not_depend_on_their_batch(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  struct windows w = windows_create(model, 50, 19);
  train(model, &w, 2, 1);
  float together[50], alone[50];
  assert_int_equal(nx_network_create(model, &network, NULL), 0);
  assert_int_equal(nx_network_forward(network, model, &w.input, together, NULL), 0);
  for (size_t i = 0; i < 50; i += 7) {
    struct nx_network_input one = w.input;
    one.n_windows = 1;
    one.patches += i * 19 * 5 * 100;
    one.spectra += i * 19 * 5 * 45;
    one.stats += i * 19 * 8;
    assert_int_equal(nx_network_forward(network, model, &one, alone + i, NULL), 0);
    assert_float_equal(alone[i], together[i], 1e-5);
  }
  windows_destroy(&w);
}

static void steps_reuse_their_memory(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  struct windows small = windows_create(model, 20, 19), large = windows_create(model, 120, 19);
  struct nx_rng rng;
  double loss;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_network_create(model, &network, NULL), 0);
  assert_int_equal(nx_network_train_step(network, model, &small.input, 0, &rng, &loss, NULL), 0);
  size_t first = nx_network_memory(network);
  assert_int_equal(nx_network_train_step(network, model, &large.input, 0, &rng, &loss, NULL), 0);
  assert_true(nx_network_memory(network) < first * 5 / 4);
  windows_destroy(&small);
  windows_destroy(&large);
}

static void single_channel_works_in_both_objectives(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  for (int objective = 0; objective < 2; objective++) {
    plan->training.objective = (enum nx_plan_objective)objective;
    _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
    struct windows w = windows_create(model, 2, 1);
    assert_true(isfinite(train(model, &w, 2, 1)));
    windows_destroy(&w);
  }
}

static void nan_in_a_window_is_an_error(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  struct windows w = windows_create(model, 2, 3);
  struct nx_rng rng;
  float logits[2];
  double loss;
  nx_rng_init(&rng, 1, 1);
  train(model, &w, 1, 1);
  w.spectra[5] = NAN;
  assert_int_equal(nx_network_create(model, &network, NULL), 0);
  assert_int_equal(nx_network_forward(network, model, &w.input, logits, NULL), NX_E_STATE);
  assert_int_equal(nx_network_train_step(network, model, &w.input, 0, &rng, &loss, NULL),
                   NX_E_STATE);
  windows_destroy(&w);
}

static void inputs_that_do_not_fit_are_refused(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan), *other = NULL;
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  struct windows w = windows_create(model, 2, 3);
  struct nx_rng rng;
  float logits[2];
  double loss;
  nx_rng_init(&rng, 1, 1);
  plan->model.blocks = 1;
  other = fixture_model(plan);
  assert_int_equal(nx_network_create(model, &network, NULL), 0);
  assert_int_equal(nx_network_forward(network, other, &w.input, logits, NULL), NX_E_INVALID);
  assert_int_equal(nx_network_reconstruct(network, model, &w.input, &rng, &loss, NULL),
                   NX_E_INVALID);
  struct nx_network_input broken = w.input;
  broken.labels = NULL;
  assert_int_equal(nx_network_train_step(network, model, &broken, 0, &rng, &loss, NULL),
                   NX_E_INVALID);
  broken = w.input;
  broken.n_channels = 0;
  assert_int_equal(nx_network_forward(network, model, &broken, logits, NULL), NX_E_INVALID);
  broken.n_channels = SIZE_MAX / 2;
  assert_int_equal(nx_network_forward(network, model, &broken, logits, NULL), NX_E_INVALID);
  windows_destroy(&w);
}

static void masks_hide_half_and_leave_every_patch_a_channel(void **state) {
  (void)state;
  struct nx_rng rng;
  uint8_t visible[19 * 5];
  nx_rng_init(&rng, 1, 0);
  float *positions = random_floats(&rng, 19 * 3);
  for (int i = 0; i < 200; i++) {
    size_t seen = 0;
    nx_masking_draw(positions, 19, 5, &rng, visible);
    for (size_t s = 0; s < 5; s++) {
      size_t here = 0;
      for (size_t c = 0; c < 19; c++)
        here += visible[c * 5 + s];
      assert_true(here >= 1);
      seen += here;
    }
    assert_true(seen <= 19 * 5 / 2 + 5);
  }
  free(positions);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(training_is_deterministic),
      cmocka_unit_test(threads_do_not_change_a_bit),
      cmocka_unit_test(training_learns_by_heart),
      cmocka_unit_test(reconstruction_learns),
      cmocka_unit_test(windows_do_not_depend_on_their_batch),
      cmocka_unit_test(steps_reuse_their_memory),
      cmocka_unit_test(single_channel_works_in_both_objectives),
      cmocka_unit_test(nan_in_a_window_is_an_error),
      cmocka_unit_test(inputs_that_do_not_fit_are_refused),
      cmocka_unit_test(masks_hide_half_and_leave_every_patch_a_channel),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
