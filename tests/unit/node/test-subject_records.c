#include "node/subject_records.h"

#include "tests/support/dataset_support.h"

static void remove_home(const char *home) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", home);
  assert_int_equal(system(command), 0);
}

static struct nx_dataset *open_set(const char *folder, const struct nx_withdrawals *withdrawals) {
  struct nx_plan *plan = load_plan();
  struct nx_dataset *set;
  const char *held_out = "Subject02";
  const struct nx_dataset_options options = {.folder = folder,
                                             .held_out = &held_out,
                                             .n_held_out = 1,
                                             .withdrawn = (const char *const *)withdrawals->names,
                                             .n_withdrawn = withdrawals->n};
  plan->data.minimum_subjects = 1;
  assert_int_equal(nx_dataset_open(&options, plan, &set, NULL), 0);
  nx_plan_destroy(plan);
  return set;
}

static void a_withdrawal_is_read_noted_and_never_doubled(void **state) {
  (void)state;
  char home[] = "/tmp/nx-home-XXXXXX", listed[] = "Subject09", *names[] = {listed};
  const struct nx_node_config_data data = {.withdrawn = names, .n_withdrawn = 1};
  struct nx_withdrawals list;
  size_t before;
  make_folder(home);
  assert_int_equal(nx_withdrawals_read(home, NULL, &list, NULL), 0);
  assert_int_equal(nx_withdrawals_changed(home, &list, &before, NULL), 0);
  assert_int_equal(nx_withdrawals_add(home, "sub-01", NULL), 0);
  assert_int_equal(nx_withdrawals_add(home, "01", NULL), NX_E_EXISTS); /* one person in BIDS */
  assert_int_equal(nx_withdrawals_add(home, "Subject09", NULL), 0);
  assert_int_equal(nx_withdrawals_add(home, "Haagse Harry", NULL), NX_E_INVALID);
  assert_int_equal(nx_withdrawals_add(home, "", NULL), NX_E_INVALID);
  assert_int_equal(nx_withdrawals_read(home, &data, &list, NULL), 0);
  assert_int_equal(list.n, 2); /* node.yaml's is in the file as well */
  assert_int_equal(nx_withdrawals_changed(home, &list, &before, NULL), 1);
  assert_int_equal(before, 0);
  assert_int_equal(nx_withdrawals_noted(home, &list, NULL), 0);
  assert_int_equal(nx_withdrawals_changed(home, &list, &before, NULL), 0);
  assert_int_equal(before, 2);
  nx_withdrawals_finish(&list);
  remove_home(home);
}

static void rounds_and_models_tell_whom_they_used(void **state) {
  (void)state;
  char home[] = "/tmp/nx-home-XXXXXX", cohort[] = "/tmp/nx-cohort-XXXXXX";
  struct nx_withdrawals none = {0}, one = {0};
  struct nx_subject_uses uses;
  struct nx_site_round round = {.round = 4, .attempt = 1, .plan = {{1}}, .model = {{2}}};
  const struct nx_hash first_model = {{3}}, second_model = {{4}}, unknown = {{5}};
  make_folder(home);
  make_folder(cohort);
  make_cohort(cohort, 3, 10);
  struct nx_dataset *all = open_set(cohort, &none);
  assert_int_equal(nx_subject_records_of_round(home, &none, 4, &uses, NULL), NX_E_NOT_FOUND);
  assert_int_equal(nx_subject_records_used(home, &round, all, NULL), 0);
  assert_int_equal(nx_subject_records_used(home, &round, all, NULL), 0); /* again: no new line */
  assert_int_equal(nx_subject_records_sealed(home, 4, &first_model, NULL), 0);
  assert_int_equal(nx_withdrawals_add(home, "Subject01", NULL), 0);
  assert_int_equal(nx_withdrawals_read(home, NULL, &one, NULL), 0);
  struct nx_dataset *fewer = open_set(cohort, &one);
  assert_int_equal(nx_subject_records_used(home, &round, fewer, NULL), NX_E_STATE);
  round.round = 5;
  assert_int_equal(nx_subject_records_used(home, &round, fewer, NULL), 0);
  assert_int_equal(nx_subject_records_sealed(home, 5, &second_model, NULL), 0);

  assert_int_equal(nx_subject_records_of_round(home, &one, 5, &uses, NULL), 0);
  assert_int_equal(uses.n, 2);
  assert_int_equal(uses.n_withdrawn, 0);
  nx_subject_uses_finish(&uses);
  assert_int_equal(nx_subject_records_of_round(home, &one, 4, &uses, NULL), 0);
  assert_int_equal(uses.n, 3);
  assert_int_equal(uses.n_withdrawn, 1);
  assert_string_equal(uses.list[1].subject, "Subject01");
  assert_true(uses.list[1].withdrawn && uses.list[1].trained);
  assert_false(uses.list[2].trained); /* held out */
  nx_subject_uses_finish(&uses);
  /* The second model stands on the first: it is marked although its own round left her out. */
  assert_int_equal(nx_subject_records_of_model(home, &one, &second_model, &uses, NULL), 0);
  assert_int_equal(uses.n, 3);
  assert_int_equal(uses.n_withdrawn, 1);
  assert_int_equal(uses.list[1].last_round, 4);
  nx_subject_uses_finish(&uses);
  assert_int_equal(nx_subject_records_of_model(home, &one, &unknown, &uses, NULL), NX_E_NOT_FOUND);
  nx_withdrawals_finish(&one);
  nx_dataset_destroy(all);
  nx_dataset_destroy(fewer);
  remove_home(home);
  remove_folder(cohort);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_withdrawal_is_read_noted_and_never_doubled),
      cmocka_unit_test(rounds_and_models_tell_whom_they_used),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
