#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "node/policy/policy.h"
#include "tests/unit/cmocka_shim.h"

struct fixture {
  struct nx_plan *plan;
  struct nx_hash hash;
  char folder[64];
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  struct nx_buffer text = {0};
  assert_int_equal(nx_file_read("configs/plan-eegmat.yaml", 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &f->plan, NULL), 0);
  f->hash = nx_sha256(text.data, text.size);
  nx_buffer_finish(&text);
  strcpy(f->folder, "/tmp/nx-policy-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  char hex[NX_HASH_HEX_SIZE], path[NX_PATH_SIZE];
  nx_hash_hex(&f->hash, hex);
  nx_path_join(path, f->folder, hex, NULL);
  unlink(path);
  rmdir(f->folder);
  nx_plan_destroy(f->plan);
  free(f);
  return 0;
}

static struct nx_node_config asking(void) {
  struct nx_node_config config = {0};
  config.policy.minimum_members = 3;
  config.policy.approval = NX_APPROVAL_ASK;
  return config;
}

static void unlisted_plan_waits_for_its_steward(void **state) {
  struct fixture *f = *state;
  struct nx_node_config config = asking();
  struct nx_error err = {0};
  struct nx_policy policy;
  struct nx_hash approved;
  assert_int_equal(nx_policy_load(&config, f->folder, &policy, &err), 0);
  assert_int_equal(nx_policy_judge_plan(&policy, f->plan, &f->hash, 6, &err), NX_E_DENIED);
  assert_non_null(strstr(err.text, "not approved"));

  assert_int_equal(nx_policy_approve(f->folder, "configs/plan-eegmat.yaml", &approved, &err), 0);
  assert_true(nx_hash_equal(&approved, &f->hash));
  assert_int_equal(nx_policy_reload(&policy, &config, f->folder, &err), 0);
  assert_int_equal(nx_policy_judge_plan(&policy, f->plan, &f->hash, 6, &err), 0);
  nx_policy_finish(&policy);
}

static void plan_changed_by_one_byte_is_another_plan(void **state) {
  struct fixture *f = *state;
  struct nx_node_config config = asking();
  char hex[NX_HASH_HEX_SIZE], *plans[] = {hex};
  nx_hash_hex(&f->hash, hex);
  config.policy.plans = plans;
  config.policy.n_plans = 1;
  struct nx_policy policy;
  struct nx_error err = {0};
  assert_int_equal(nx_policy_load(&config, f->folder, &policy, &err), 0);
  assert_int_equal(nx_policy_judge_plan(&policy, f->plan, &f->hash, 6, &err), 0);
  struct nx_hash other = f->hash;
  other.bytes[31] ^= 1;
  assert_int_equal(nx_policy_judge_plan(&policy, f->plan, &other, 6, &err), NX_E_DENIED);
  nx_policy_finish(&policy);
}

static void too_small_federations_and_blind_plans_are_refused(void **state) {
  struct fixture *f = *state;
  struct nx_node_config config = asking();
  config.policy.approval = NX_APPROVAL_AUTO;
  config.policy.minimum_members = 5;
  struct nx_policy policy;
  struct nx_error err = {0};
  assert_int_equal(nx_policy_load(&config, "/nonexistent", &policy, &err), 0);
  assert_int_equal(nx_policy_judge_plan(&policy, f->plan, &f->hash, 4, &err), NX_E_DENIED);
  assert_int_equal(nx_policy_judge_plan(&policy, f->plan, &f->hash, 5, &err), 0);
  f->plan->aggregation.spot_checks = 0;
  assert_int_equal(nx_policy_judge_plan(&policy, f->plan, &f->hash, 5, &err), NX_E_DENIED);
  nx_policy_finish(&policy);
}

static void sums_that_overflow_the_ring_are_refused(void **state) {
  struct fixture *f = *state;
  struct nx_node_config config = asking();
  config.policy.approval = NX_APPROVAL_AUTO;
  struct nx_policy policy;
  struct nx_error err = {0};
  assert_int_equal(nx_policy_load(&config, f->folder, &policy, &err), 0);
  f->plan->aggregation.value_bits = 31;
  assert_int_equal(nx_policy_judge_plan(&policy, f->plan, &f->hash, 6, &err), NX_E_LIMIT);
  nx_policy_finish(&policy);
}

static void broken_plan_is_not_approved(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  struct nx_hash hash;
  assert_true(nx_policy_approve(f->folder, "configs/node.yaml", &hash, &err) < 0);
  assert_int_equal(nx_policy_approve(f->folder, "/nonexistent", &hash, &err), NX_E_NOT_FOUND);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(unlisted_plan_waits_for_its_steward, setup, teardown),
      cmocka_unit_test_setup_teardown(plan_changed_by_one_byte_is_another_plan, setup, teardown),
      cmocka_unit_test_setup_teardown(too_small_federations_and_blind_plans_are_refused, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(sums_that_overflow_the_ring_are_refused, setup, teardown),
      cmocka_unit_test_setup_teardown(broken_plan_is_not_approved, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
