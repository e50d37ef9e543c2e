#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/plan_adapters.h"
#include "common/rng.h"
#include "models/nets/network.h"
#include "models/optim/adamw.h"
#include "models/optim/lora.h"
#include "tests/unit/models/fixture.h"

static const struct nx_lora_options rank_8 = {.rank = 8, .alpha = 16, .seed = 3};

static void fresh_adapters_change_nothing(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *base = fixture_model(plan), *merged = NULL;
  _cleanup_(nx_lora_destroyp) struct nx_lora *lora = NULL;
  assert_int_equal(nx_model_clone(base, &merged, NULL), 0);
  assert_int_equal(nx_lora_create(base, &rank_8, &lora, NULL), 0);
  merged->params[3] = 7;
  assert_int_equal(nx_lora_merge(lora, base, merged, NULL), 0);
  assert_memory_equal(base->params, merged->params, base->n_params * sizeof(float));
  /* Two blocks of qkv, output, input, output at rank 8, and the head. */
  size_t block = 8 * (64 + 192) + 8 * (64 + 64) + 8 * (64 + 384) + 8 * (192 + 64);
  assert_int_equal(lora->n_params, 2 * block + 193);
}

/* <G, merge(adapters)> is linear in A and in B: differences are exact up to rounding. */
static void gradients_are_those_of_the_merged_model(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  plan->model.width = 16;
  plan->model.feed_forward = 16;
  _cleanup_(nx_model_destroyp) struct nx_model *base = fixture_model(plan), *merged = NULL;
  _cleanup_(nx_lora_destroyp) struct nx_lora *lora = NULL;
  const struct nx_lora_options options = {.rank = 3, .alpha = 6, .seed = 1};
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_model_clone(base, &merged, NULL), 0);
  assert_int_equal(nx_lora_create(base, &options, &lora, NULL), 0);
  float *dw = calloc(base->n_params, sizeof *dw), *found = calloc(lora->n_params, sizeof *found);
  for (size_t i = 0; i < base->n_params; i++) {
    dw[i] = (float)nx_rng_normal(&rng);
    base->params[i] = 0;
  }
  for (size_t i = 0; i < lora->n_params; i++)
    lora->params[i] = (float)nx_rng_normal(&rng);
  assert_int_equal(nx_lora_gradients(lora, base, dw, found, NULL), 0);
  for (size_t i = 0; i < lora->n_params; i += 37) {
    double value[2] = {0, 0};
    for (int side = 0; side < 2; side++) {
      float keep = lora->params[i];
      lora->params[i] = keep + (side ? 0.5f : -0.5f);
      assert_int_equal(nx_lora_merge(lora, base, merged, NULL), 0);
      for (size_t j = 0; j < base->n_params; j++)
        value[side] += (double)merged->params[j] * (double)dw[j];
      lora->params[i] = keep;
    }
    assert_float_equal(found[i], value[1] - value[0], 2e-3);
  }
  free(dw);
  free(found);
}

static void adapters_learn_while_the_base_stays(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *base = fixture_model(plan);
  _cleanup_(nx_model_destroyp) struct nx_model *merged = NULL, *before = NULL;
  _cleanup_(nx_lora_destroyp) struct nx_lora *lora = NULL;
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  const struct nx_adamw_options options = {0.9, 0.99, 0, 1};
  enum { B = 6, C = 4, TOKENS = B * C * 5 };
  static float patches[TOKENS * 100], spectra[TOKENS * 45], stats[B * C * 8], positions[C * 3];
  static const uint8_t labels[B] = {0, 1, 1, 0, 0, 1};
  struct nx_network_input input = {B, C, patches, spectra, stats, positions, labels};
  struct nx_rng rng;
  double loss = 0;
  nx_rng_init(&rng, 1, 1);
  for (size_t i = 0; i < TOKENS * 45; i++)
    spectra[i] = (float)nx_rng_normal(&rng);
  assert_int_equal(nx_model_clone(base, &merged, NULL), 0);
  assert_int_equal(nx_model_clone(base, &before, NULL), 0);
  assert_int_equal(nx_network_create(base, &network, NULL), 0);
  assert_int_equal(nx_lora_create(base, &rank_8, &lora, NULL), 0);
  assert_int_equal(
      nx_adamw_create_for(lora->tensors, lora->n_tensors, lora->n_params, &options, &adamw, NULL),
      0);
  float *gradients = calloc(lora->n_params, sizeof *gradients);
  for (int i = 0; i < 80; i++) {
    assert_int_equal(nx_lora_merge(lora, base, merged, NULL), 0);
    assert_int_equal(nx_network_train_step(network, merged, &input, 0, &rng, &loss, NULL), 0);
    assert_int_equal(nx_lora_gradients(lora, base, nx_network_gradients(network), gradients, NULL),
                     0);
    assert_int_equal(nx_adamw_step_on(adamw, lora->params, gradients, 3e-3, NULL, NULL), 0);
  }
  assert_true(loss < 0.3); /* log 2 at first */
  assert_memory_equal(base->params, before->params, base->n_params * sizeof(float));
  free(gradients);
}

static void wrong_ranks_and_models_are_refused(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *base = fixture_model(plan);
  _cleanup_(nx_lora_destroyp) struct nx_lora *lora = NULL, *none = NULL;
  struct nx_lora_options options = rank_8;
  options.rank = 0;
  assert_int_equal(nx_lora_create(base, &options, &none, NULL), NX_E_INVALID);
  options.rank = 65;
  assert_int_equal(nx_lora_create(base, &options, &none, NULL), NX_E_INVALID);
  options = rank_8;
  options.alpha = 0;
  assert_int_equal(nx_lora_create(base, &options, &none, NULL), NX_E_INVALID);
  assert_int_equal(nx_lora_create(base, &rank_8, &lora, NULL), 0);
  assert_int_equal(nx_lora_merge(lora, base, base, NULL), NX_E_INVALID);
  plan->model.blocks = 1;
  _cleanup_(nx_model_destroyp) struct nx_model *small = fixture_model(plan), *copy = NULL;
  assert_int_equal(nx_model_clone(small, &copy, NULL), 0);
  assert_int_equal(nx_lora_merge(lora, small, copy, NULL), NX_E_INVALID);
  plan->model.blocks = 3;
  _cleanup_(nx_model_destroyp) struct nx_model *large = fixture_model(plan), *other = NULL;
  assert_int_equal(nx_model_clone(large, &other, NULL), 0);
  assert_int_equal(nx_lora_merge(lora, large, other, NULL), NX_E_INVALID);
}

/* ---- a plan with adapters ---- */

static struct nx_plan *adapter_plan(void) {
  struct nx_plan *plan = fixture_plan();
  plan->adapters = calloc(1, sizeof *plan->adapters);
  *plan->adapters = (struct nx_plan_adapters){4, 8, true, true, true};
  return plan;
}

static void stir(struct nx_model *model) {
  struct nx_rng rng;
  nx_rng_init(&rng, 4, 4);
  for (size_t i = 0; i < model->n_params; i++)
    model->params[i] += 0.1f * (float)nx_rng_normal(&rng);
}

static void a_plan_with_adapters_has_them_for_a_model(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = adapter_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan), *merged = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *back = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0}, again = {0};
  struct nx_plan_adapters *section = plan->adapters;
  plan->adapters = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *plain = fixture_model(plan);
  plan->adapters = section;
  assert_int_equal(model->n_params, 2 * 4 * (64 + 192 + 64 + 64 + 64 + 384 + 192 + 64) + 193);
  assert_memory_equal(model->base->params, plain->params, plain->n_params * sizeof(float));
  assert_int_equal(nx_model_merge(model, &merged, NULL), 0);
  assert_memory_equal(merged->params, plain->params, plain->n_params * sizeof(float));
  stir(model);
  model->feature_mean[1] = 2;
  assert_int_equal(nx_model_save(model, &bytes, NULL), 0);
  assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &back, NULL), 0);
  assert_memory_equal(back->params, model->params, model->n_params * sizeof(float));
  assert_memory_equal(back->base->params, plain->params, plain->n_params * sizeof(float));
  assert_int_equal(nx_model_save(back, &again, NULL), 0);
  assert_int_equal(again.size, bytes.size);
  assert_memory_equal(again.data, bytes.data, bytes.size);
  nx_store_le32(bytes.data + bytes.size - 4, 0x7f800000); /* the base is read as strictly */
  struct nx_model *none = NULL;
  assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &none, NULL), NX_E_FORMAT);
}

/* Merging and taking the adapters out again gives the base, to rounding. */
static void unmerging_gives_the_base_back(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = adapter_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan), *merged = NULL;
  stir(model);
  assert_int_equal(nx_model_merge(model, &merged, NULL), 0);
  _cleanup_(nx_model_destroyp) struct nx_model *back = NULL;
  assert_int_equal(nx_model_clone(merged, &back, NULL), 0);
  for (size_t i = 0; i < model->n_tensors; i++) /* B to -B, differences to their opposites */
    if (strcmp(model->tensors[i].name + strlen(model->tensors[i].name) - 2, ".a") != 0)
      for (size_t j = 0; j < model->tensors[i].size; j++)
        model->params[model->tensors[i].offset + j] *= -1;
  struct nx_lora view = nx_lora_of(model);
  assert_int_equal(nx_lora_merge(&view, merged, back, NULL), 0);
  double moved = 0, left = 0;
  for (size_t i = 0; i < back->n_params; i++) {
    moved = fmax(moved, fabs((double)merged->params[i] - (double)model->base->params[i]));
    left = fmax(left, fabs((double)back->params[i] - (double)model->base->params[i]));
  }
  assert_true(moved > 0.1);
  assert_true(left <= 1e-6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fresh_adapters_change_nothing),
      cmocka_unit_test(gradients_are_those_of_the_merged_model),
      cmocka_unit_test(adapters_learn_while_the_base_stays),
      cmocka_unit_test(wrong_ranks_and_models_are_refused),
      cmocka_unit_test(a_plan_with_adapters_has_them_for_a_model),
      cmocka_unit_test(unmerging_gives_the_base_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
