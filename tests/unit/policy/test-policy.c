#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "node/policy/calendar.h"
#include "node/policy/policy.h"
#include "tests/unit/cmocka_shim.h"

#define W(words) ((char *)(uintptr_t)(words)) /* as YAML gives them; nobody writes */
#define NOW (INT64_C(1800000000) * NX_SECOND) /* 2027-01-15 */

struct fixture {
  struct nx_buffer text;
  struct nx_plan *plan;
  struct nx_site_policy policy;
  struct nx_policy_plan asked;
  struct nx_policy_round round;
};

static struct nx_plan *parse(const struct nx_buffer *text, const char *more) {
  _cleanup_(nx_buffer_finish) struct nx_buffer whole = {0};
  struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  nx_buffer_append(&whole, text->data, text->size, NULL);
  nx_buffer_append(&whole, more, strlen(more), NULL);
  if (nx_plan_parse("plan", nx_buffer_view(&whole), &plan, &err) < 0)
    fail_msg("%s", err.text);
  return plan;
}

static int setup(void **state) {
  static const char cohort[4][NX_POLICY_NAME_SIZE] = {"charite", "ucl", "basel", "lyon"};
  struct fixture *f = calloc(1, sizeof *f);
  assert_int_equal(nx_file_read("configs/plan-eegmat.yaml", 1 << 16, &f->text, NULL), 0);
  f->plan = parse(&f->text, "");
  f->policy = (struct nx_site_policy){.approval = NX_APPROVAL_AUTO, .cohort.minimum_members = 3};
  f->asked = (struct nx_policy_plan){.plan = f->plan,
                                     .hash = nx_sha256(f->text.data, f->text.size),
                                     .data_set = "charite-eeg",
                                     .n_members = 6,
                                     .now = NOW};
  f->round = (struct nx_policy_round){
      .cohort = cohort, .n_cohort = 4, .threshold = 3, .bytes = 1000000, .now = NOW};
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  nx_plan_destroy(f->plan);
  nx_buffer_finish(&f->text);
  free(f);
  return 0;
}

static void allows(const struct fixture *f) {
  struct nx_error err = {0};
  if (nx_policy_judge_plan(&f->policy, &f->asked, &err) < 0 ||
      nx_policy_judge_round(&f->policy, &f->round, &err) < 0)
    fail_msg("%s", err.text);
}

/* Refused, in a sentence that begins with the rule. */
static void refuses(const struct fixture *f, const char *rule) {
  struct nx_error err = {0};
  int r = nx_policy_judge_plan(&f->policy, &f->asked, &err);
  if (r == 0)
    r = nx_policy_judge_round(&f->policy, &f->round, &err);
  assert_int_equal(r, NX_E_DENIED);
  if (strncmp(err.text, rule, strlen(rule)))
    fail_msg("'%s' does not begin with '%s'", err.text, rule);
}

static void plan_waits_for_its_steward(void **state) {
  struct fixture *f = *state;
  struct nx_decision decision = {.plan = f->asked.hash, .approved = true};
  allows(f);
  f->policy.approval = NX_APPROVAL_ASK;
  refuses(f, "approval: plan");
  f->asked.decision = &decision;
  allows(f);
  decision.approved = false;
  refuses(f, "approval: plan");
  f->policy.approval = NX_APPROVAL_AUTO; /* a no is a no */
  refuses(f, "approval: plan");
}

static void only_listed_kinds_of_plan_run(void **state) {
  struct fixture *f = *state;
  char hex[NX_HASH_HEX_SIZE];
  char *human[] = {W("human")}, *mouse[] = {W("mouse")}, *meg[] = {W("meg")},
       *fill[] = {W("reconstruction")}, *this[] = {hex};
  nx_hash_hex(&f->asked.hash, hex);
  f->policy.plans.species = human;
  f->policy.plans.n_species = 1;
  f->policy.plans.allowed = this;
  f->policy.plans.n_allowed = 1;
  allows(f);
  f->policy.plans.species = mouse;
  refuses(f, "plans.species:");
  f->policy.plans.n_species = 0;
  f->policy.plans.modalities = meg;
  f->policy.plans.n_modalities = 1;
  refuses(f, "plans.modalities:");
  f->policy.plans.n_modalities = 0;
  f->policy.plans.objectives = fill;
  f->policy.plans.n_objectives = 1;
  refuses(f, "plans.objectives:");
  f->policy.plans.n_objectives = 0;
  f->asked.hash.bytes[31] ^= 1; /* one byte of the plan is another plan */
  refuses(f, "plans.allowed:");
}

static void small_cohorts_low_thresholds_and_unwanted_members_are_refused(void **state) {
  struct fixture *f = *state;
  char *unwanted[] = {W("lyon")};
  f->policy.cohort.minimum_members = 4;
  f->policy.cohort.minimum_threshold = 3;
  allows(f);
  f->policy.cohort.minimum_threshold = 4;
  refuses(f, "cohort.minimum_threshold:");
  f->policy.cohort.minimum_threshold = 0;
  f->policy.cohort.minimum_members = 5;
  refuses(f, "cohort.minimum_members:");
  f->asked.n_members = 4; /* of the whole federation: already the plan is refused */
  refuses(f, "cohort.minimum_members: the federation");
  f->policy.cohort.minimum_members = 3;
  f->policy.cohort.refuse_members = unwanted;
  f->policy.cohort.n_refuse_members = 1;
  refuses(f, "cohort.refuse_members:");
  f->round.n_cohort = 3;
  allows(f);
}

static void limits_hold(void **state) {
  struct fixture *f = *state;
  f->policy.limits.round_mb = 1;
  f->policy.limits.day_mb = 3;
  f->policy.limits.rounds_per_day = 2;
  f->round.day_bytes = 2000000;
  f->round.day_rounds = 1;
  allows(f);
  f->round.bytes++;
  refuses(f, "limits.round_mb:");
  f->policy.limits.round_mb = 0;
  refuses(f, "limits.day_mb:");
  f->round.day_rounds = 2;
  refuses(f, "limits.rounds_per_day:");
  f->policy.limits.rounds_per_day = f->policy.limits.day_mb = 0;
  char *hours[] = {W("mon 00:00-00:01")};
  f->policy.limits.hours = hours;
  f->policy.limits.n_hours = 1;
  f->round.now = NOW; /* a Friday */
  refuses(f, "limits.hours:");
}

static void ethics_protocols_are_asked_for_and_expire(void **state) {
  struct fixture *f = *state;
  struct nx_site_policy_protocol ours[] = {{W("EA1/123/26"), W("2027-01-15")}};
  struct nx_site_policy_irb irb = {ours, 1};
  f->policy.irb = &irb;
  refuses(f, "irb.protocols: the plan names no");
  nx_plan_destroy(f->plan);
  f->asked.plan = f->plan = parse(&f->text, "\nirb:\n  protocols: [EA1/123/26, X-7]\n");
  allows(f);
  ours[0].expires = W("2027-01-13");
  refuses(f, "irb.protocols: protocol EA1/123/26 expired");
  ours[0].number = W("EA1/124/26");
  refuses(f, "irb.protocols: none");
}

static void plans_are_for_the_data_sets_they_name(void **state) {
  struct fixture *f = *state;
  nx_plan_destroy(f->plan);
  f->asked.plan = f->plan = parse(&f->text, "\nrequires:\n  data_sets: [charite-eeg, ucl-eeg]\n");
  allows(f);
  f->asked.data_set = "charite-seeg";
  refuses(f, "the plan is not for the data set");
  f->asked.data_set = NULL;
  refuses(f, "the plan is for named data sets");
}

static void noise_can_be_demanded(void **state) {
  struct fixture *f = *state;
  f->policy.privacy.mechanism = NX_POLICY_MECHANISM_NOISE;
  refuses(f, "privacy.mechanism:");
}

static void blind_plans_and_overflowing_sums_are_refused(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  f->plan->aggregation.spot_checks = 0;
  refuses(f, "the plan asks for no spot checks");
  f->plan->aggregation.spot_checks = 1;
  f->plan->aggregation.value_bits = 31;
  assert_int_equal(nx_policy_judge_plan(&f->policy, &f->asked, &err), NX_E_LIMIT);
}

static void hours_go_over_midnight(void **state) {
  (void)state;
  struct nx_hours hours;
  assert_int_equal(nx_hours_parse("mon-fri 19:00-06:00", &hours, NULL), 0);
  int64_t friday = 1800000000 - 1800000000 % 86400; /* 2027-01-15 00:00 UTC, TZ below */
  assert_true(nx_hours_hold(&hours, friday + 20 * 3600));
  assert_false(nx_hours_hold(&hours, friday + 12 * 3600));
  assert_true(nx_hours_hold(&hours, friday + 5 * 3600));              /* Thursday's */
  assert_true(nx_hours_hold(&hours, friday + 86400 + 5 * 3600));      /* Friday's, on Saturday */
  assert_false(nx_hours_hold(&hours, friday + 86400 + 20 * 3600));    /* Saturday */
  assert_false(nx_hours_hold(&hours, friday + 3 * 86400 + 5 * 3600)); /* Sunday's on Monday */
  assert_int_equal(nx_hours_parse("fri-mon 10:00-11:00", &hours, NULL), 0);
  assert_true(nx_hours_hold(&hours, friday + 2 * 86400 + 10 * 3600));
  assert_false(nx_hours_hold(&hours, friday + 4 * 86400 + 10 * 3600));
  assert_int_equal(nx_hours_parse("00:00-24:00", &hours, NULL), 0);
  assert_true(nx_hours_hold(&hours, friday));
}

static void times_that_are_none_are_refused(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",       "mon", "19-06", "25:00-26:00", "mun 1:1-2:2", "10:00-24:01", "10:00-11:00 mon",
      "mon-fri"};
  static const char *const dates[] = {"2027-02-30", "2027-13-01", "27-01-01", "2027-01-01x", ""};
  struct nx_hours hours;
  int64_t end;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(nx_hours_parse(bad[i], &hours, NULL), NX_E_INVALID);
  for (size_t i = 0; i < sizeof dates / sizeof *dates; i++)
    assert_int_equal(nx_date_end(dates[i], &end, NULL), NX_E_INVALID);
  assert_int_equal(nx_date_end("2028-02-29", &end, NULL), 0);
  assert_int_equal(end, 1835481600); /* 2028-03-01 00:00 UTC */
}

int main(void) {
  setenv("TZ", "UTC", 1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(plan_waits_for_its_steward, setup, teardown),
      cmocka_unit_test_setup_teardown(only_listed_kinds_of_plan_run, setup, teardown),
      cmocka_unit_test_setup_teardown(small_cohorts_low_thresholds_and_unwanted_members_are_refused,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(limits_hold, setup, teardown),
      cmocka_unit_test_setup_teardown(ethics_protocols_are_asked_for_and_expire, setup, teardown),
      cmocka_unit_test_setup_teardown(plans_are_for_the_data_sets_they_name, setup, teardown),
      cmocka_unit_test_setup_teardown(noise_can_be_demanded, setup, teardown),
      cmocka_unit_test_setup_teardown(blind_plans_and_overflowing_sums_are_refused, setup,
                                      teardown),
      cmocka_unit_test(hours_go_over_midnight),
      cmocka_unit_test(times_that_are_none_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
