#include <math.h>
#include <stdlib.h>

#include "tests/unit/models/fixture.h"

static void plan_model_has_the_recipes_size(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  assert_int_equal(model->n_params, 143809);
  assert_int_equal(model->n_features, 53);
  assert_int_equal((uintptr_t)model->params % 64, 0);
  size_t end = 0;
  for (size_t i = 0; i < model->n_tensors; i++) {
    assert_int_equal(model->tensors[i].offset, end);
    end += model->tensors[i].size;
  }
  assert_int_equal(end, model->n_params);
}

static void reconstruction_trades_head_for_decoder(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  plan->training.objective = NX_OBJECTIVE_RECONSTRUCTION;
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  assert_int_equal(model->n_params, 143809 - 193 + 22737);
  assert_null(nx_model_find(model, "head.weight"));
  assert_non_null(nx_model_find(model, "decoder.output.weight"));
}

static void same_seed_gives_same_weights_and_another_gives_others(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *a = fixture_model(plan);
  _cleanup_(nx_model_destroyp) struct nx_model *b = fixture_model(plan);
  plan->seed++;
  _cleanup_(nx_model_destroyp) struct nx_model *c = fixture_model(plan);
  assert_memory_equal(a->params, b->params, a->n_params * sizeof(float));
  assert_memory_not_equal(a->params, c->params, a->n_params * sizeof(float));
}

struct moments {
  double mean, sd, largest;
};

static struct moments moments_of(const struct nx_model *model, const char *name) {
  const struct nx_model_tensor *t = nx_model_find(model, name);
  struct moments m = {0};
  assert_non_null(t);
  for (size_t i = 0; i < t->size; i++) {
    double x = model->params[t->offset + i];
    m.mean += x / (double)t->size;
    m.sd += x * x / (double)t->size;
    m.largest = fmax(m.largest, fabs(x));
  }
  m.sd = sqrt(m.sd);
  return m;
}

static void first_weights_follow_the_recipe(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  struct moments tokens = moments_of(model, "tokens.weight");
  struct moments queries = moments_of(model, "unifier.queries");
  struct moments output = moments_of(model, "block.1.feed_forward.output.weight");
  assert_true(tokens.largest <= 1 / sqrt(145.0) && tokens.largest > 0.99 / sqrt(145.0));
  assert_float_equal(queries.sd, 1, 0.15);
  assert_float_equal(output.sd, 0.04, 0.001);
  assert_float_equal(output.mean, 0, 0.001);
  assert_float_equal(moments_of(model, "head.query").sd, 0.5, 0.15);
  assert_float_equal(moments_of(model, "head.weight").largest, 0, 0);
  assert_float_equal(moments_of(model, "block.0.attention.norm").mean, 1, 1e-6);
}

static struct nx_buffer bytes_of(const struct nx_model *model) {
  struct nx_buffer bytes = {0};
  struct nx_error err = {0};
  if (nx_model_save(model, &bytes, &err))
    fail_msg("%s", err.text);
  return bytes;
}

static void saved_model_loads_to_the_same_bytes(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan), *loaded = NULL;
  struct nx_error err = {0};
  for (size_t i = 0; i < model->n_features; i++) {
    model->feature_mean[i] = (float)i - 7.5f;
    model->feature_sd[i] = 0.25f + (float)i;
  }
  model->params[77] = -0.0f;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = bytes_of(model);
  if (nx_model_load(plan, nx_buffer_view(&bytes), &loaded, &err))
    fail_msg("%s", err.text);
  assert_memory_equal(model->params, loaded->params, model->n_params * sizeof(float));
  assert_memory_equal(model->feature_sd, loaded->feature_sd, model->n_features * sizeof(float));
  _cleanup_(nx_buffer_finish) struct nx_buffer again = bytes_of(loaded);
  assert_int_equal(bytes.size, again.size);
  assert_memory_equal(bytes.data, again.data, bytes.size);
}

static void clone_shares_nothing(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan), *clone = NULL;
  assert_int_equal(nx_model_clone(model, &clone, NULL), 0);
  float first = model->params[0];
  clone->params[0] += 1;
  clone->feature_mean[0] += 1;
  assert_true(model->params[0] == first && model->feature_mean[0] == 0);
  assert_string_equal(clone->tensors[3].name, model->tensors[3].name);
  assert_ptr_not_equal(clone->tensors, model->tensors);
}

static void model_with_nan_is_not_saved(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  model->params[5] = NAN;
  assert_int_equal(nx_model_save(model, &bytes, NULL), NX_E_INVALID);
}

/* ---- Tampered files ---- */

static void assert_refused(const struct nx_plan *plan, const struct nx_buffer *bytes,
                           const char *says) {
  struct nx_model *model = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_model_load(plan, nx_buffer_view(bytes), &model, &err), NX_E_FORMAT);
  assert_null(model);
  if (!strstr(err.text, says))
    fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

/* Overwrites the first occurrence of from in the header by to, of the same length. */
static void edit(struct nx_buffer *bytes, const char *from, const char *to) {
  assert_int_equal(strlen(from), strlen(to));
  uint8_t *at = memmem(bytes->data, bytes->size, from, strlen(from));
  assert_non_null(at);
  memcpy(at, to, strlen(to));
}

static void edited_header_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *says;
  } edits[] = {
      {"\"F32\"", "\"F16\"", "shape and dtype need"},
      {"\"F32\"", "\"I32\"", "another dtype"},
      {"\"F32\"", "\"X32\"", "known dtype"},
      {"[64,145]", "[145,64]", "another dtype or shape"},
      {"[64,145]", "[64,146]", "shape and dtype need"},
      {"[64,145]", "[64,-45]", "no size"},
      {"[64,145]", "[64,1.5]", "no size"},
      {"[64,145]", "[4e9,12]", "shape and dtype need"},
      {"[0,37120]", "[4,37120]", "ends at 0"},
      {"[0,37120]", "[0,37121]", "shape and dtype need"},
      {"[37120,", "[37116,", "before it ends"},
      {"tokens.bias", "tokens.biaz", "tokens.bias there"},
      {"tokens.bias", "tokens\\tbia", "plain ASCII"},
      {"features.sd", "tokens.bias", "twice"},
      {"neurox-model/1", "neurox-model/2", "metadata format"},
      {"\"network\":\"nano\"", "\"network\":\"nono\"", "metadata differ"},
      {"\"heads\":\"4\"", "\"heads\":\"2\"", "metadata differ"},
      {"\"heads\":\"4\"", "\"heads\": 4 ", "more than texts"},
      {"{\"__metadata__\"", "[\"__metadata__\"", "no JSON object"},
  };
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer bytes = bytes_of(model);
    edit(&bytes, edits[i].from, edits[i].to);
    assert_refused(plan, &bytes, edits[i].says);
  }
}

static void truncated_or_longer_file_is_refused(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = bytes_of(model);
  size_t whole = bytes.size, cuts[] = {0, 1, 7, 8, 9, 100, 3000, whole - 4, whole - 1};
  for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
    bytes.size = cuts[i];
    assert_refused(plan, &bytes, "");
  }
  bytes.size = whole;
  assert_int_equal(nx_buffer_append_u32(&bytes, 0, NULL), 0);
  assert_refused(plan, &bytes, "left over");
}

static void headers_of_absurd_size_are_refused(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 40, 0, 1, 2};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer bytes = bytes_of(model);
    nx_store_le64(bytes.data, sizes[i]);
    assert_refused(plan, &bytes, "safetensors");
  }
}

static void nan_and_wrong_sd_are_refused(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = bytes_of(model);
  uint8_t *last = bytes.data + bytes.size - 4;
  nx_store_le32(last, 0x7fc00000); /* NaN */
  assert_refused(plan, &bytes, "features.sd[52] is NaN");
  nx_store_le32(last, 0xbf800000); /* -1 */
  assert_refused(plan, &bytes, "not positive");
  nx_store_le32(last, 0x3f800000);
  nx_store_le32(bytes.data + bytes.size - 4 * (53 * 2 + 1), 0xff800000); /* -inf */
  assert_refused(plan, &bytes, "head.bias[0] is NaN or infinite");
}

static void model_of_another_plan_is_refused(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = bytes_of(model);
  plan->model.blocks = 3;
  assert_refused(plan, &bytes, "block.2");
  plan->model.blocks = 1;
  assert_refused(plan, &bytes, "block.1");
  plan->model.blocks = 2;
  plan->model.heads = 2;
  assert_refused(plan, &bytes, "metadata differ");
}

/* Every single flipped bit of the header is refused; flipped values are finite or refused. */
static void flipped_bits_never_pass_the_header(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  plan->model.width = 16;
  plan->model.feed_forward = 16;
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = bytes_of(model);
  size_t end = 8 + (size_t)nx_load_le64(bytes.data);
  for (size_t i = 0; i < end; i += 3) {
    uint8_t bit = (uint8_t)(1 << (i % 7));
    bytes.data[i] ^= bit;
    assert_refused(plan, &bytes, "");
    bytes.data[i] ^= bit;
  }
}

static void plan_with_odd_heads_is_refused(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  struct nx_model *model = NULL;
  plan->model.heads = 3;
  assert_int_equal(nx_model_create(plan, &model, NULL), NX_E_INVALID);
  plan->model.heads = 4;
  plan->window.patch_seconds = 0.02;
  assert_int_equal(nx_model_create(plan, &model, NULL), NX_E_INVALID);
}

static void absurdly_large_plan_is_refused(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  struct nx_model *model = NULL;
  plan->model.width = 4096;
  plan->model.feed_forward = 65536;
  plan->model.blocks = 128;
  assert_int_equal(nx_model_create(plan, &model, NULL), NX_E_LIMIT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plan_model_has_the_recipes_size),
      cmocka_unit_test(reconstruction_trades_head_for_decoder),
      cmocka_unit_test(same_seed_gives_same_weights_and_another_gives_others),
      cmocka_unit_test(first_weights_follow_the_recipe),
      cmocka_unit_test(saved_model_loads_to_the_same_bytes),
      cmocka_unit_test(clone_shares_nothing),
      cmocka_unit_test(model_with_nan_is_not_saved),
      cmocka_unit_test(edited_header_is_refused),
      cmocka_unit_test(truncated_or_longer_file_is_refused),
      cmocka_unit_test(headers_of_absurd_size_are_refused),
      cmocka_unit_test(nan_and_wrong_sd_are_refused),
      cmocka_unit_test(model_of_another_plan_is_refused),
      cmocka_unit_test(flipped_bits_never_pass_the_header),
      cmocka_unit_test(plan_with_odd_heads_is_refused),
      cmocka_unit_test(absurdly_large_plan_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
