#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "node/policy/decision.h"
#include "node/policy/plan_diff.h"
#include "node/policy/round_count.h"
#include "tests/unit/cmocka_shim.h"

#define HOUR (INT64_C(3600) * 1000000000)

struct fixture {
  char folder[64], file[NX_PATH_SIZE];
  struct nx_identity *identity;
  struct nx_decision decision;
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/nx-decision-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  assert_int_equal(nx_identity_create(&nx_entropy_system, &f->identity, NULL), 0);
  f->decision = (struct nx_decision){.plan = nx_sha256("plan", 4), .approved = true, .at = 42};
  strcpy(f->decision.by, "steward");
  strcpy(f->decision.reason, "seen by the board");
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(&f->decision.plan, hex);
  nx_path_join(f->file, f->folder, hex, NULL);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", f->folder);
  assert_int_equal(system(command), 0);
  nx_identity_destroy(f->identity);
  free(f);
  return 0;
}

static int load(const struct fixture *f, struct nx_decision *out) {
  return nx_decision_load(f->folder, nx_identity_public(f->identity), &f->decision.plan, out, NULL);
}

static void decision_comes_back_as_it_was_signed(void **state) {
  struct fixture *f = *state;
  struct nx_decision out;
  assert_int_equal(load(f, &out), NX_E_NOT_FOUND);
  assert_int_equal(nx_decision_save(f->folder, f->identity, &f->decision, NULL), 0);
  assert_int_equal(load(f, &out), 0);
  assert_true(out.approved);
  assert_int_equal(out.at, 42);
  assert_string_equal(out.by, "steward");
  assert_string_equal(out.reason, "seen by the board");
  f->decision.approved = false;
  assert_int_equal(nx_decision_save(f->folder, f->identity, &f->decision, NULL), 0);
  assert_int_equal(load(f, &out), 0);
  assert_false(out.approved);
}

/* Every byte of the file, changed, makes it worthless; so does every shorter file. */
static void changed_decision_is_worth_nothing(void **state) {
  struct fixture *f = *state;
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  struct nx_decision out;
  f->decision.approved = false;
  assert_int_equal(nx_decision_save(f->folder, f->identity, &f->decision, NULL), 0);
  assert_int_equal(nx_file_read(f->file, 4096, &text, NULL), 0);
  for (size_t i = 0; i + 1 < text.size; i++) {
    text.data[i] ^= 1;
    assert_int_equal(nx_file_replace(f->file, nx_buffer_view(&text), 0600, NULL), 0);
    assert_true(load(f, &out) < 0);
    text.data[i] ^= 1;
    assert_int_equal(nx_file_replace(f->file, nx_bytes(text.data, i), 0600, NULL), 0);
    assert_true(load(f, &out) < 0);
  }
}

static void another_keys_or_plans_decision_is_worth_nothing(void **state) {
  struct fixture *f = *state;
  struct nx_identity *other = NULL;
  struct nx_decision out;
  char hex[NX_HASH_HEX_SIZE], path[NX_PATH_SIZE];
  assert_int_equal(nx_identity_create(&nx_entropy_system, &other, NULL), 0);
  assert_int_equal(nx_decision_save(f->folder, other, &f->decision, NULL), 0);
  assert_int_equal(load(f, &out), NX_E_CRYPTO);
  nx_identity_destroy(other);
  assert_int_equal(nx_decision_save(f->folder, f->identity, &f->decision, NULL), 0);
  struct nx_hash plan = nx_sha256("plam", 4);
  nx_hash_hex(&plan, hex);
  nx_path_join(path, f->folder, hex, NULL);
  assert_int_equal(rename(f->file, path), 0);
  assert_int_equal(nx_decision_load(f->folder, nx_identity_public(f->identity), &plan, &out, NULL),
                   NX_E_CRYPTO);
}

static void decisions_go_into_the_log_once(void **state) {
  struct fixture *f = *state;
  struct nx_audit_log *log = NULL;
  const struct nx_public_key *key = nx_identity_public(f->identity);
  char path[NX_PATH_SIZE];
  nx_path_join(path, f->folder, "audit", NULL);
  assert_int_equal(nx_audit_log_open(path, "site", f->identity, &log, NULL), 0);
  uint64_t before = nx_audit_log_size(log);
  assert_int_equal(nx_decision_save(f->folder, f->identity, &f->decision, NULL), 0);
  assert_int_equal(nx_decisions_log(f->folder, key, log, NULL), 0);
  assert_int_equal(nx_decisions_log(f->folder, key, log, NULL), 0);
  assert_int_equal(nx_audit_log_size(log), before + 1);
  f->decision.approved = false;
  assert_int_equal(nx_decision_save(f->folder, f->identity, &f->decision, NULL), 0);
  assert_int_equal(nx_decisions_log(f->folder, key, log, NULL), 0);
  assert_int_equal(nx_audit_log_size(log), before + 2);
  assert_int_equal(nx_audit_log_close(log, NULL), 0);
}

static void one_line_is_a_reason(void **state) {
  struct fixture *f = *state;
  strcpy(f->decision.reason, "fine\nsignature 00");
  assert_int_equal(nx_decision_save(f->folder, f->identity, &f->decision, NULL), NX_E_INVALID);
}

static void rounds_of_a_day_survive_restarts_and_clocks(void **state) {
  struct fixture *f = *state;
  struct nx_round_count *count = NULL;
  struct nx_now now = {1800 * HOUR, 5 * HOUR};
  nx_path_join(f->file, f->folder, "rounds", NULL);
  assert_int_equal(nx_round_count_open(f->file, &count, NULL), 0);
  for (uint64_t round = 1; round <= 3; round++)
    for (int again = 0; again < 2; again++)
      assert_int_equal(nx_round_count_add(count, round, now, NULL), 0);
  assert_int_equal(nx_round_count_recent(count, 4, now), 3);
  assert_int_equal(nx_round_count_recent(count, 3, now), 2);
  now.wall += 48 * HOUR; /* set forward while the process runs: nothing is freed */
  assert_int_equal(nx_round_count_recent(count, 4, now), 3);
  now.monotonic += 25 * HOUR;
  assert_int_equal(nx_round_count_recent(count, 4, now), 0);
  nx_round_count_destroy(count);
  assert_int_equal(nx_round_count_open(f->file, &count, NULL), 0);
  now = (struct nx_now){1801 * HOUR, HOUR};
  assert_int_equal(nx_round_count_recent(count, 4, now), 3);
  assert_int_equal(nx_round_count_check_clock(count, now, NULL), 0);
  now.wall = 1799 * HOUR; /* set back: what lies ahead counts, and no round runs */
  assert_int_equal(nx_round_count_recent(count, 4, now), 3);
  assert_int_equal(nx_round_count_check_clock(count, now, NULL), NX_E_DENIED);
  nx_round_count_destroy(count);
  assert_int_equal(nx_file_replace(f->file, nx_bytes("torn", 4), 0600, NULL), 0);
  assert_int_equal(nx_round_count_open(f->file, &count, NULL), NX_E_FORMAT);
}

static void diff_names_every_key_that_changed(void **state) {
  (void)state;
  static const char before[] = "a: 1\nb:\n  c: x\n  d: [p, q]\nold: 7\n";
  static const char after[] = "a: 1 # same\nb: {c: y, d: [p, r, s]}\nnew: z\n";
  struct nx_plan_keys one, two;
  char *text = NULL;
  size_t size;
  assert_int_equal(nx_plan_keys(nx_bytes(before, sizeof before - 1), &one, NULL), 0);
  assert_int_equal(nx_plan_keys(nx_bytes(after, sizeof after - 1), &two, NULL), 0);
  FILE *out = open_memstream(&text, &size);
  assert_int_equal(nx_plan_diff(&one, &two, out), 5);
  fclose(out);
  assert_non_null(strstr(text, "b.c"));
  assert_non_null(strstr(text, "x -> y"));
  assert_non_null(strstr(text, "b.d[1]"));
  assert_non_null(strstr(text, "(not there) -> s"));
  assert_non_null(strstr(text, "7 -> (not there)"));
  assert_null(strstr(text, "  a "));
  free(text);
  nx_plan_keys_finish(&one);
  nx_plan_keys_finish(&two);
  assert_int_equal(nx_plan_keys(nx_bytes("a: [", 4), &one, NULL), NX_E_FORMAT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(decision_comes_back_as_it_was_signed, setup, teardown),
      cmocka_unit_test_setup_teardown(changed_decision_is_worth_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(another_keys_or_plans_decision_is_worth_nothing, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(decisions_go_into_the_log_once, setup, teardown),
      cmocka_unit_test_setup_teardown(one_line_is_a_reason, setup, teardown),
      cmocka_unit_test_setup_teardown(rounds_of_a_day_survive_restarts_and_clocks, setup, teardown),
      cmocka_unit_test(diff_names_every_key_that_changed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
