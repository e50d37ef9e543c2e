/* Activation checkpointing: blocks that are computed again in the backward pass give gradients of
 * the same bits, with less memory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/plan_adapters.h"
#include "common/rng.h"
#include "models/nets/general_network.h"
#include "models/nets/network.h"
#include "models/ops/ops.h"
#include "tests/unit/models/fixture.h"

static float *random_floats(size_t n, uint64_t stream) {
  float *x = calloc(n, sizeof *x);
  struct nx_rng rng;
  assert_non_null(x);
  nx_rng_init(&rng, 5, stream);
  for (size_t i = 0; i < n; i++)
    x[i] = (float)nx_rng_normal(&rng);
  return x;
}

/* ---- on the tape ---- */

enum { ROWS = 37, WIDTH = 48 };

/* Without a way around it: the gradient of x ends in memory of the part's own. */
static struct nx_tensor *norm_part(struct nx_tape *tape, const void *context, struct nx_tensor *x) {
  struct nx_tensor *const *w = context;
  return nx_op_linear(tape, nx_op_rms_norm(tape, x, NULL), *w, NULL);
}

static struct nx_tensor *residual_part(struct nx_tape *tape, const void *context,
                                       struct nx_tensor *x) {
  return nx_op_residual(tape, x, norm_part(tape, context, x), 0.3);
}

/* Gives what the op it runs takes over: x itself. */
static struct nx_tensor *robber(struct nx_tape *tape, const void *context, struct nx_tensor *x) {
  struct nx_tensor *const *w = context;
  return nx_op_add_rows(tape, x, *w, 1);
}

/* Loss and gradients [x, w] of: x goes twice through the part, and once around both. */
static double run_parts(nx_tape_part_fn *part, bool again, float *gradients) {
  float *values = random_floats((ROWS + WIDTH) * WIDTH, 1),
        *target = random_floats(ROWS * WIDTH, 2);
  struct nx_tape tape;
  struct nx_rng rng;
  nx_rng_init(&rng, 7, 7);
  assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), NULL), 0);
  nx_tape_begin(&tape, true, &rng);
  memset(gradients, 0, (ROWS + WIDTH) * WIDTH * sizeof *gradients);
  struct nx_tensor *x = nx_tape_parameter(&tape, values, gradients, ROWS, WIDTH);
  struct nx_tensor *w =
      nx_tape_parameter(&tape, values + ROWS * WIDTH, gradients + ROWS * WIDTH, WIDTH, WIDTH);
  struct nx_tensor *z = nx_op_silu(&tape, x), *around = z;
  for (int i = 0; i < 2; i++)
    z = again ? nx_tape_again(&tape, part, &w, sizeof w, z) : part(&tape, &w, z);
  z = nx_op_residual(&tape, z, around, 0.3);
  struct nx_tensor *wanted = nx_tape_constant(&tape, target, ROWS, WIDTH);
  struct nx_tensor *loss = nx_op_square_error(&tape, z, wanted, NULL, 0.01f);
  nx_tape_backward(&tape, loss, 1);
  assert_int_equal(nx_tape_check(&tape, NULL), 0);
  double result = (double)*loss->value;
  nx_tape_finish(&tape);
  free(values);
  free(target);
  return result;
}

static void parts_computed_again_give_the_same_bits(void **state) {
  (void)state;
  static float kept[(ROWS + WIDTH) * WIDTH], again[(ROWS + WIDTH) * WIDTH];
  nx_tape_part_fn *const parts[] = {norm_part, residual_part};
  for (size_t i = 0; i < 2; i++) {
    double expected = run_parts(parts[i], false, kept);
    double found = run_parts(parts[i], true, again);
    assert_memory_equal(&found, &expected, sizeof found);
    assert_memory_equal(again, kept, sizeof kept);
    assert_true(isfinite(kept[0]) && kept[0] != 0);
  }
}

static void a_part_may_not_take_its_input_over(void **state) {
  (void)state;
  float *values = random_floats((ROWS + 1) * WIDTH, 1);
  static float gradients[WIDTH];
  struct nx_tape tape;
  assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), NULL), 0);
  nx_tape_begin(&tape, true, NULL);
  struct nx_tensor *x = nx_tape_constant(&tape, values, ROWS, WIDTH);
  struct nx_tensor *w = nx_tape_parameter(&tape, values + ROWS * WIDTH, gradients, 1, WIDTH);
  assert_null(nx_tape_again(&tape, robber, &w, sizeof w, x));
  assert_int_equal(nx_tape_check(&tape, NULL), NX_E_INVALID);
  nx_tape_finish(&tape);
  free(values);
}

/* ---- networks ---- */

struct step {
  double loss;
  float *gradients;
  size_t n, memory;
};

static struct nx_plan *with_adapters(struct nx_plan *plan, enum nx_storage base) {
  if (base == NX_STORAGE_FLOAT32)
    return plan;
  plan->adapters = calloc(1, sizeof *plan->adapters);
  assert_non_null(plan->adapters);
  *plan->adapters = (struct nx_plan_adapters){4, 8, true, true, true, base};
  return plan;
}

/* Adapters, gates and heads begin at zero, through which no gradient would come. */
static struct nx_model *stirred_model(const struct nx_plan *plan) {
  struct nx_model *model = fixture_model(plan);
  struct nx_rng rng;
  nx_rng_init(&rng, 4, 4);
  for (size_t i = 0; i < model->n_params; i++)
    model->params[i] += 0.05f * (float)nx_rng_normal(&rng);
  return model;
}

static struct nx_pool *pool_of(size_t threads) {
  struct nx_pool *pool = NULL;
  if (threads > 1)
    assert_int_equal(nx_pool_create(threads, &pool, NULL), 0);
  return pool;
}

static float *copy_of(const float *x, size_t n) {
  float *copy = calloc(n, sizeof *copy);
  assert_non_null(copy);
  return memcpy(copy, x, n * sizeof *x);
}

static void assert_same_step(const struct step *a, const struct step *b) {
  double square = 0;
  assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
  assert_int_equal(a->n, b->n);
  assert_memory_equal(a->gradients, b->gradients, a->n * sizeof(float));
  for (size_t i = 0; i < a->n; i++)
    square += (double)a->gradients[i] * (double)a->gradients[i];
  assert_true(square > 0 && isfinite(square));
}

/* 45 windows of 19 channels: several slices, the last a short one. */
static struct step nano_step(const struct nx_model *model, bool again, size_t threads) {
  enum { B = 45, C = 19, TOKENS = B * C * 5 };
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  _cleanup_(nx_pool_destroyp) struct nx_pool *pool = pool_of(threads);
  float *patches = random_floats(TOKENS * 100, 1), *spectra = random_floats(TOKENS * 45, 2);
  float *stats = random_floats(B * C * 8, 3), *positions = random_floats(C * 3, 4);
  uint8_t labels[B] = {0, 1, 1, 0, 1};
  struct nx_network_input input = {B, C, patches, spectra, stats, positions, labels};
  struct step step = {.n = model->n_params};
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_network_create(model, &network, NULL), 0);
  assert_int_equal(nx_network_use_pool(network, pool, NULL), 0);
  nx_network_use_checkpoints(network, again);
  for (int i = 0; i < 2; i++)
    assert_int_equal(nx_network_train_step(network, model, &input, 0.1, &rng, &step.loss, NULL), 0);
  step.gradients = copy_of(nx_network_gradients(network), step.n);
  step.memory = nx_network_memory(network);
  free(patches);
  free(spectra);
  free(stats);
  free(positions);
  return step;
}

static struct step general_step(const struct nx_model *model, bool again, size_t threads) {
  enum { B = 5, C = 12, N = B * C * 16 * 97 };
  _cleanup_(nx_general_network_destroyp) struct nx_general_network *network = NULL;
  _cleanup_(nx_pool_destroyp) struct nx_pool *pool = pool_of(threads);
  static const uint8_t placed[C] = {1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1}, labels[B] = {0, 1, 1};
  float *x = random_floats(N, 1), *stats = random_floats(C * NX_MODEL_STATS, 2);
  float *positions = random_floats(C * 3, 3);
  const struct nx_general_input groups[] = {
      {0, NX_MODALITY_EEG, NX_SPECIES_HUMAN, NX_SIGNAL_AVERAGE, B, C, x, stats, positions, placed,
       labels, NULL},
      {0, NX_MODALITY_MEG, NX_SPECIES_HUMAN, NX_SIGNAL_ABSOLUTE, 2, C - 3, x, stats, positions,
       placed, labels, NULL}};
  struct step step = {.n = model->n_params};
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_general_network_create(model, &network, NULL), 0);
  assert_int_equal(nx_general_network_use_pool(network, pool, NULL), 0);
  nx_general_network_use_checkpoints(network, again);
  for (int i = 0; i < 2; i++)
    assert_int_equal(
        nx_general_network_train_step(network, model, groups, 2, 0.1, &rng, &step.loss, NULL), 0);
  step.gradients = copy_of(nx_general_network_gradients(network), step.n);
  step.memory = nx_general_network_memory(network);
  free(x);
  free(stats);
  free(positions);
  return step;
}

/* Activations kept on one thread against computed again, on one and on three. */
static void compare(const struct nx_model *model,
                    struct step run(const struct nx_model *, bool, size_t)) {
  struct step kept = run(model, false, 1);
  for (size_t threads = 1; threads <= 3; threads += 2) {
    struct step again = run(model, true, threads);
    assert_same_step(&again, &kept);
    assert_true(threads > 1 || again.memory < kept.memory);
    free(again.gradients);
  }
  free(kept.gradients);
}

static void nano_has_the_same_gradients(void **state) {
  (void)state;
  for (int objective = 0; objective < 2; objective++)
    for (int base = NX_STORAGE_FLOAT32; base <= NX_STORAGE_NF4; base++) {
      _cleanup_(nx_plan_destroyp) struct nx_plan *plan =
          with_adapters(fixture_plan(), (enum nx_storage)base);
      assert_true(plan->model.dropout > 0);
      plan->training.objective = (enum nx_plan_objective)objective;
      _cleanup_(nx_model_destroyp) struct nx_model *model = stirred_model(plan);
      compare(model, nano_step);
    }
}

static struct nx_plan *general_plan(enum nx_plan_objective objective, uint32_t experts) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &plan, NULL), 0);
  nx_buffer_finish(&text);
  plan->training.objective = objective;
  plan->model.dropout = 0.2;
  plan->model.blocks = 4;
  plan->modalities->experts = experts;
  return plan;
}

static void general_has_the_same_gradients(void **state) {
  (void)state;
  static const enum nx_plan_objective objectives[] = {
      NX_OBJECTIVE_RECONSTRUCTION, NX_OBJECTIVE_NEXT_PATCH, NX_OBJECTIVE_CLASSIFICATION};
  for (size_t i = 0; i < 3; i++)
    for (uint32_t experts = 0; experts <= 4; experts += 4) {
      _cleanup_(nx_plan_destroyp) struct nx_plan *plan = general_plan(objectives[i], experts);
      _cleanup_(nx_model_destroyp) struct nx_model *model = stirred_model(plan);
      compare(model, general_step);
    }
}

static void adapters_over_codes_have_the_same_gradients(void **state) {
  (void)state;
  for (int base = NX_STORAGE_INT8; base <= NX_STORAGE_NF4; base++) {
    _cleanup_(nx_plan_destroyp) struct nx_plan *plan =
        with_adapters(general_plan(NX_OBJECTIVE_RECONSTRUCTION, 4), (enum nx_storage)base);
    _cleanup_(nx_model_destroyp) struct nx_model *model = stirred_model(plan);
    compare(model, general_step);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_computed_again_give_the_same_bits),
      cmocka_unit_test(a_part_may_not_take_its_input_over),
      cmocka_unit_test(nano_has_the_same_gradients),
      cmocka_unit_test(general_has_the_same_gradients),
      cmocka_unit_test(adapters_over_codes_have_the_same_gradients),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
