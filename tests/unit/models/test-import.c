/* A released model goes on in another plan; what does not fit is refused before anything trains. */
#include <stdlib.h>

#include "models/import.h"
#include "models/released.h"
#include "tests/unit/models/fixture.h"

static struct nx_buffer saved(const struct nx_model *model) {
  struct nx_buffer bytes = {0};
  assert_int_equal(nx_model_save(model, &bytes, NULL), 0);
  return bytes;
}

/* A trained encoder: no value is what the seed would draw. */
static struct nx_model *trained(const struct nx_plan *plan) {
  struct nx_model *model = fixture_model(plan);
  for (size_t i = 0; i < model->n_params; i++)
    model->params[i] += 0.25f;
  model->feature_mean[2] = 3;
  model->feature_sd[2] = 2;
  return model;
}

static void same_network_goes_on_under_another_name(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *old = trained(plan), *taken = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = saved(old);
  struct nx_import_report report;
  free(plan->name);
  plan->name = strdup("second");
  plan->seed++;
  assert_int_equal(nx_model_import(plan, nx_buffer_view(&bytes), &taken, &report, NULL), 0);
  assert_string_equal(taken->plan_name, "second");
  assert_memory_equal(taken->params, old->params, old->n_params * sizeof(float));
  assert_true(taken->feature_mean[2] == 3 && taken->feature_sd[2] == 2);
  assert_int_equal(report.n_taken, old->n_tensors + 2);
  assert_int_equal(report.n_drawn + report.n_dropped, 0);
}

static void an_encoder_gets_the_head_of_its_new_objective(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  plan->training.objective = NX_OBJECTIVE_RECONSTRUCTION;
  _cleanup_(nx_model_destroyp) struct nx_model *old = trained(plan), *taken = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = saved(old);
  struct nx_import_report report;
  plan->training.objective = NX_OBJECTIVE_CLASSIFICATION;
  _cleanup_(nx_model_destroyp) struct nx_model *fresh = fixture_model(plan);
  assert_int_equal(nx_model_import(plan, nx_buffer_view(&bytes), &taken, &report, NULL), 0);
  const struct nx_model_tensor *head = nx_model_find(taken, "head.query");
  assert_memory_equal(taken->params, old->params, head->offset * sizeof(float));
  assert_memory_equal(taken->params + head->offset, fresh->params + head->offset,
                      (taken->n_params - head->offset) * sizeof(float));
  assert_int_equal(report.n_drawn, 4);
  assert_int_equal(report.n_dropped, 6);
}

static void refused(const struct nx_plan *plan, struct nx_bytes bytes, const char *says) {
  struct nx_model *model = NULL;
  struct nx_import_report report;
  struct nx_error err = {0};
  assert_int_equal(nx_model_import(plan, bytes, &model, &report, &err), NX_E_FORMAT);
  if (!strstr(err.text, says))
    fail_msg("wanted '%s': %s", says, err.text);
  assert_null(model);
}

static void edit(struct nx_buffer *bytes, const char *from, const char *to) {
  uint8_t *at = memmem(bytes->data, bytes->size, from, strlen(from));
  assert_non_null(at);
  assert_int_equal(strlen(from), strlen(to));
  memcpy(at, to, strlen(to));
}

static void what_does_not_fit_is_named(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *old = trained(plan);
  static const char *const edits[][3] = {
      {"\"tokens.bias\"", "\"tokens.biaz\"", "tensor tokens.bias of the plan's network"},
      {"\"head.bias\"", "\"heat.bias\"", "heat.bias is not of the plan's network"},
      {"\"heads\":\"4\"", "\"heads\":\"2\"", "heads is \"2\""},
      {"neurox-model/1", "neurox-model/9", "format"},
      {"[64,145]", "[145,64]", "tokens.weight has another dtype or shape"},
  };
  for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer bytes = saved(old);
    edit(&bytes, edits[i][0], edits[i][1]);
    refused(plan, nx_buffer_view(&bytes), edits[i][2]);
  }
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = saved(old);
  for (size_t cut = 0; cut < bytes.size; cut += bytes.size / 7 + 1)
    refused(plan, nx_bytes(bytes.data, cut), "import");
  refused(plan, nx_bytes(bytes.data, bytes.size - 1), "import");
  nx_store_le32(bytes.data + bytes.size - 4 * (53 * 2 + 1), 0x7fc00000);
  refused(plan, nx_buffer_view(&bytes), "head.bias[0] is NaN");
  plan->model.width = 32;
  refused(plan, nx_buffer_view(&bytes), "another dtype or shape");
}

/* As `export` writes it: one key more in the metadata, the header padded anew. */
static void participation_is_taken_out_again(void **state) {
  (void)state;
  static const char begin[] = "{\"__metadata__\":{",
                    key[] = "\"neurox_participation\":\"{\\\"a\\\": 1}\",";
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_buffer_finish) struct nx_buffer sealed = saved(model), file = {0}, room = {0};
  size_t old = (size_t)nx_load_le64(sealed.data), size = (old + sizeof key - 1 + 7) & ~(size_t)7;
  struct nx_bytes found;
  nx_buffer_append_u64(&file, size, NULL);
  nx_buffer_append(&file, begin, sizeof begin - 1, NULL);
  nx_buffer_append(&file, key, sizeof key - 1, NULL);
  nx_buffer_append(&file, sealed.data + 8 + sizeof begin - 1, old - (sizeof begin - 1), NULL);
  while (file.size < 8 + size)
    nx_buffer_append(&file, " ", 1, NULL);
  nx_buffer_append(&file, sealed.data + 8 + old, sealed.size - 8 - old, NULL);
  assert_int_equal(nx_released_sealed(nx_buffer_view(&file), &room, &found, NULL), 0);
  assert_int_equal(found.size, sealed.size);
  assert_memory_equal(found.data, sealed.data, sealed.size);
  assert_int_equal(nx_released_sealed(nx_buffer_view(&sealed), &room, &found, NULL), 0);
  assert_ptr_equal(found.data, sealed.data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_network_goes_on_under_another_name),
      cmocka_unit_test(an_encoder_gets_the_head_of_its_new_objective),
      cmocka_unit_test(what_does_not_fit_is_named),
      cmocka_unit_test(participation_is_taken_out_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
