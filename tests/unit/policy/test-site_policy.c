#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "node/policy/site_policy.h"
#include "tests/unit/cmocka_shim.h"

/* The example with its first `from` replaced by `to`, loaded; returns the code. */
static int load_edited(const char *from, const char *to, struct nx_site_policy **policy,
                       struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0}, edited = {0};
  char path[] = "/tmp/nx-site-policy-XXXXXX";
  close(mkstemp(path));
  assert_int_equal(nx_file_read("configs/policy.yaml", 1 << 16, &text, NULL), 0);
  char *at = memmem(text.data, text.size, from, strlen(from));
  assert_non_null(at);
  size_t before = (size_t)(at - (char *)text.data), after = before + strlen(from);
  nx_buffer_append(&edited, text.data, before, NULL);
  nx_buffer_append(&edited, to, strlen(to), NULL);
  nx_buffer_append(&edited, text.data + after, text.size - after, NULL);
  assert_int_equal(nx_file_replace(path, nx_buffer_view(&edited), 0600, NULL), 0);
  int r = nx_site_policy_load(path, policy, err);
  unlink(path);
  return r;
}

static void refuses(const char *from, const char *to, int code, const char *words) {
  _cleanup_(nx_site_policy_destroyp) struct nx_site_policy *policy = NULL;
  struct nx_error err = {0};
  assert_int_equal(load_edited(from, to, &policy, &err), code);
  if (!strstr(err.text, words))
    fail_msg("'%s' does not say '%s'", err.text, words);
}

static void example_loads(void **state) {
  (void)state;
  _cleanup_(nx_site_policy_destroyp) struct nx_site_policy *policy = NULL;
  struct nx_error err = {0};
  if (nx_site_policy_load("configs/policy.yaml", &policy, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(policy->approval, NX_APPROVAL_ASK);
  assert_int_equal(policy->cohort.minimum_members, 4);
  assert_string_equal(policy->irb->protocols[0].number, "EA1/123/26");
  assert_string_equal(policy->tell->command[2], "-i");
  assert_int_equal(policy->limits.n_hours, 2);
}

static void written_policy_loads_and_asks(void **state) {
  (void)state;
  _cleanup_(nx_site_policy_destroyp) struct nx_site_policy *policy = NULL;
  struct nx_error err = {0};
  char path[] = "/tmp/nx-site-policy-XXXXXX";
  close(mkstemp(path));
  unlink(path);
  assert_int_equal(nx_site_policy_write(path, NX_APPROVAL_ASK, &err), 0);
  if (nx_site_policy_load(path, &policy, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(policy->approval, NX_APPROVAL_ASK);
  assert_null(policy->irb);
  assert_int_equal(nx_site_policy_write(path, NX_APPROVAL_ASK, &err), NX_E_EXISTS);
  unlink(path);
}

static void wrong_keys_are_named_with_their_line(void **state) {
  (void)state;
  refuses("round_mb:", "round_md:", NX_E_FORMAT, "round_md");
  refuses("approval: ask", "approval: perhaps", NX_E_FORMAT, ":12:");
  refuses("minimum_members: 4", "#minimum_members: 4", NX_E_FORMAT, "minimum_members");
  refuses("mechanism: any", "mechanism: some", NX_E_FORMAT, ":28: Invalid ENUM value: some");
}

static void values_out_of_range_are_refused(void **state) {
  (void)state;
  refuses("minimum_members: 4", "minimum_members: 2", NX_E_INVALID, "3..255");
  refuses("allowed: []", "allowed: [abc]", NX_E_INVALID, "SHA-256");
  refuses("objectives: [class", "objectives: [klass", NX_E_INVALID, "plans.objectives");
  refuses("round_mb: 50", "round_mb: -1", NX_E_INVALID, "limits.round_mb");
  refuses("round_mb: 50", "round_mb: .nan", NX_E_FORMAT, "value");
  refuses("mon-fri 19:00", "mon-fry 19:00", NX_E_INVALID, "limits.hours");
  refuses("2028-06-30", "2028-06-31", NX_E_INVALID, "irb.protocols");
  refuses("/usr/sbin/sendmail", "sendmail", NX_E_INVALID, "tell.command");
  refuses("neurox_policy: 1", "neurox_policy: 2", NX_E_INVALID, "version 2");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(example_loads),
      cmocka_unit_test(written_policy_loads_and_asks),
      cmocka_unit_test(wrong_keys_are_named_with_their_line),
      cmocka_unit_test(values_out_of_range_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
