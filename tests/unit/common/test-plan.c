#include <stdlib.h>

#include "common/file.h"
#include "common/plan.h"
#include "tests/unit/cmocka_shim.h"

static struct nx_buffer example(void) {
  struct nx_buffer text = {0};
  assert_int_equal(nx_file_read("configs/plan-eegmat.yaml", 1 << 16, &text, NULL), 0);
  return text;
}

/* The example with its first `from` replaced by `to`, parsed; returns the code. */
static int parse_edited(const char *from, const char *to, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = example();
  _cleanup_(nx_buffer_finish) struct nx_buffer edited = {0};
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  char *at = memmem(text.data, text.size, from, strlen(from));
  assert_non_null(at);
  size_t before = (size_t)(at - (char *)text.data), after = before + strlen(from);
  nx_buffer_append(&edited, text.data, before, NULL);
  nx_buffer_append(&edited, to, strlen(to), NULL);
  nx_buffer_append(&edited, text.data + after, text.size - after, NULL);
  return nx_plan_parse("plan.yaml", nx_buffer_view(&edited), &plan, err);
}

static void example_plan_parses(void **state) {
  (void)state;
  _cleanup_(nx_buffer_finish) struct nx_buffer text = example();
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  if (nx_plan_parse("plan.yaml", nx_buffer_view(&text), &plan, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(plan->training.rounds, 20);
  assert_string_equal(plan->data.positive_label, "arithmetic");
  assert_true(plan->training.learning_rate == 0.003);
}

static void unknown_key_is_named_with_its_line(void **state) {
  (void)state;
  struct nx_error err = {0};
  assert_int_equal(parse_edited("  notch_hz:", "  nutch_hz:", &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "nutch_hz"));
  assert_non_null(strstr(err.text, "plan.yaml:19:"));
}

static void missing_key_is_named(void **state) {
  (void)state;
  struct nx_error err = {0};
  assert_int_equal(parse_edited("  clamp: 15 ", "  #clamp: 15 ", &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "clamp"));
}

static void out_of_range_and_wrong_words_are_refused(void **state) {
  (void)state;
  struct nx_error err = {0};
  assert_int_equal(parse_edited("rounds: 20", "rounds: 0", &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "training.rounds is 0"));
  assert_int_equal(parse_edited("rate_hz: 100", "rate_hz: .nan", &err), NX_E_FORMAT);
  assert_int_equal(parse_edited("minimum_members: 3", "minimum_members: 2", &err), NX_E_FORMAT);
  assert_int_equal(parse_edited("privacy: none", "privacy: some", &err), NX_E_FORMAT);
  assert_int_equal(parse_edited("patch_seconds: 1", "patch_seconds: 0.3", &err), NX_E_FORMAT);
  assert_int_equal(parse_edited("neurox_plan: 1", "neurox_plan: 2", &err), NX_E_FORMAT);
  assert_int_equal(parse_edited("neurox_plan: 1", "\t: [", &err), NX_E_FORMAT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(example_plan_parses),
      cmocka_unit_test(unknown_key_is_named_with_its_line),
      cmocka_unit_test(missing_key_is_named),
      cmocka_unit_test(out_of_range_and_wrong_words_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
