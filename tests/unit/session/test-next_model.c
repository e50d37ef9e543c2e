#include <stdlib.h>

#include "common/file.h"
#include "crypto/quantize.h"
#include "node/session/next_model.h"
#include "tests/unit/cmocka_shim.h"

struct fixture {
  struct nx_plan *plan;
  struct nx_model *model;
  struct nx_buffer sum;
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  struct nx_buffer text = {0};
  assert_int_equal(nx_file_read("configs/plan-eegmat.yaml", 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &f->plan, NULL), 0);
  assert_int_equal(nx_model_create(f->plan, &f->model, NULL), 0);
  nx_buffer_finish(&text);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  nx_buffer_finish(&f->sum);
  nx_model_destroy(f->model);
  nx_plan_destroy(f->plan);
  free(f);
  return 0;
}

static double scale(const struct fixture *f) {
  const struct nx_plan_aggregation *a = &f->plan->aggregation;
  return nx_quantize_scale(
      &(struct nx_quantize){a->ring_bits, a->value_bits, a->value_range, a->update_clip_norm});
}

/* Three nodes of full weight whose updates are `step` everywhere. */
static void fill(struct fixture *f, double step) {
  uint32_t lane = (uint32_t)(int32_t)(3 * step * scale(f));
  for (size_t i = 0; i < f->model->n_params; i++)
    nx_buffer_append_u32(&f->sum, lane, NULL);
  for (size_t i = 0; i < nx_aux_lanes(NX_ROUND_TRAIN, f->model->n_features); i++)
    nx_buffer_append_u64(&f->sum,
                         i == NX_AUX_CONTRIBUTORS ? 3
                         : i == NX_AUX_WEIGHT     ? 3 * 65536
                                                  : 0,
                         NULL);
}

static void mean_update_is_added_and_bytes_are_reproducible(void **state) {
  struct fixture *f = *state;
  struct nx_model *one = NULL, *two = NULL;
  struct nx_hash a, b, before;
  double step = -1024 / scale(f);
  fill(f, step);
  assert_int_equal(nx_next_model(f->model, &(struct nx_hash){0}, f->plan, NX_ROUND_TRAIN,
                                 nx_buffer_view(&f->sum), &one, NULL),
                   0);
  assert_int_equal(nx_next_model(f->model, &(struct nx_hash){0}, f->plan, NX_ROUND_TRAIN,
                                 nx_buffer_view(&f->sum), &two, NULL),
                   0);
  for (size_t i = 0; i < f->model->n_params; i += 997)
    assert_true(one->params[i] == (float)((double)f->model->params[i] + step));
  assert_int_equal(nx_model_hash(one, NULL, &a, NULL), 0);
  assert_int_equal(nx_model_hash(two, NULL, &b, NULL), 0);
  assert_int_equal(nx_model_hash(f->model, NULL, &before, NULL), 0);
  assert_true(nx_hash_equal(&a, &b));
  assert_false(nx_hash_equal(&a, &before));
  nx_model_destroy(one);
  nx_model_destroy(two);
}

static void sum_of_another_size_is_refused(void **state) {
  struct fixture *f = *state;
  struct nx_model *next = NULL;
  struct nx_error err = {0};
  fill(f, 0);
  f->sum.size -= 8;
  assert_int_equal(nx_next_model(f->model, &(struct nx_hash){0}, f->plan, NX_ROUND_TRAIN,
                                 nx_buffer_view(&f->sum), &next, &err),
                   NX_E_PROTOCOL);
  assert_int_equal(nx_next_model(f->model, &(struct nx_hash){0}, f->plan, NX_ROUND_STATISTICS,
                                 nx_buffer_view(&f->sum), &next, &err),
                   NX_E_PROTOCOL);
  assert_null(next);
}

static void weight_that_cannot_be_is_refused(void **state) {
  struct fixture *f = *state;
  struct nx_model *next = NULL;
  struct nx_error err = {0};
  fill(f, 0);
  nx_store_le64(f->sum.data + 4 * f->model->n_params + 8 * NX_AUX_WEIGHT, 4 * 65536);
  assert_true(nx_next_model(f->model, &(struct nx_hash){0}, f->plan, NX_ROUND_TRAIN,
                            nx_buffer_view(&f->sum), &next, &err) < 0);
  assert_null(next);
}

static void evaluation_changes_nothing(void **state) {
  struct fixture *f = *state;
  struct nx_model *next = NULL;
  struct nx_hash a, b;
  for (size_t i = 0; i < nx_aux_lanes(NX_ROUND_EVALUATE, f->model->n_features); i++)
    nx_buffer_append_u64(&f->sum, 1, NULL);
  assert_int_equal(nx_next_model(f->model, &(struct nx_hash){0}, f->plan, NX_ROUND_EVALUATE,
                                 nx_buffer_view(&f->sum), &next, NULL),
                   0);
  nx_model_hash(f->model, NULL, &a, NULL);
  nx_model_hash(next, NULL, &b, NULL);
  assert_true(nx_hash_equal(&a, &b));
  nx_model_destroy(next);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(mean_update_is_added_and_bytes_are_reproducible),
      TEST(sum_of_another_size_is_refused),
      TEST(weight_that_cannot_be_is_refused),
      TEST(evaluation_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
