/* Site retention: what is old goes, what is young or held stays, and the log tells of it first. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "crypto/audit_reader.h"
#include "crypto/audit_receipts.h"
#include "node/node_home.h"
#include "node/policy/egress.h"
#include "node/site_retention.h"
#include "node/subject_records.h"
#include "tests/unit/cmocka_shim.h"

#define DAY (86400 * NX_SECOND)

struct fixture {
  char home[64], audit_folder[NX_PATH_SIZE];
  struct nx_identity *identity;
  struct nx_audit_log *log;
  struct nx_node_config config; /* nothing said: the defaults */
  struct nx_hash held;
  int64_t now;
};

static void path_of(const struct fixture *f, const char *name, char out[NX_PATH_SIZE]) {
  assert_int_equal(nx_path_join(out, f->home, name, NULL), 0);
}

static int setup(void **state) {
  static const char *const folders[] = {NX_HOME_SPOOL, NX_HOME_MODELS, NX_HOME_ANSWERS,
                                        NX_HOME_SUBJECTS, NX_HOME_EGRESS};
  struct fixture *f = calloc(1, sizeof *f);
  char path[NX_PATH_SIZE];
  strcpy(f->home, "/tmp/nx-site-retention-XXXXXX");
  assert_non_null(mkdtemp(f->home));
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    path_of(f, folders[i], path);
    assert_int_equal(nx_folder_create(path, 0700, NULL), 0);
  }
  path_of(f, NX_HOME_AUDIT, f->audit_folder);
  assert_int_equal(nx_identity_create(&nx_entropy_system, &f->identity, NULL), 0);
  assert_int_equal(nx_audit_log_open(f->audit_folder, "site", f->identity, &f->log, NULL), 0);
  f->held = nx_sha256("held", 4);
  f->now = nx_clock_unix();
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  char command[128];
  assert_int_equal(nx_audit_log_close(f->log, NULL), 0);
  snprintf(command, sizeof command, "rm -rf %s", f->home);
  assert_int_equal(system(command), 0);
  nx_identity_destroy(f->identity);
  free(f);
  return 0;
}

static void age(const struct fixture *f, const char *name, int64_t days) {
  char path[NX_PATH_SIZE];
  path_of(f, name, path);
  int64_t seconds = f->now / NX_SECOND - days * 86400;
  const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
  assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void put(const struct fixture *f, const char *name, int64_t days) {
  char path[NX_PATH_SIZE];
  path_of(f, name, path);
  assert_int_equal(nx_file_replace(path, nx_bytes("1234567", 7), 0600, NULL), 0);
  age(f, name, days);
}

static bool is_there(const struct fixture *f, const char *name) {
  char path[NX_PATH_SIZE];
  path_of(f, name, path);
  return nx_path_exists(path);
}

static void pass(const struct fixture *f, const struct nx_hash *model) {
  struct nx_error err = {0};
  if (nx_site_retention_pass(f->home, &f->config, model, f->now, f->log, &err) < 0)
    fail_msg("%s", err.text);
}

/* Entries retention.deleted of this kind, and how many files they tell of. */
static size_t told(const struct fixture *f, const char *kind, uint64_t *files_out) {
  struct nx_audit_entry *entry = malloc(sizeof *entry);
  struct nx_audit_reader *reader;
  size_t n = 0;
  *files_out = 0;
  assert_int_equal(nx_audit_reader_open(f->audit_folder, &reader, NULL), 0);
  while (nx_audit_reader_next(reader, entry, NULL) == 0) {
    if (!nx_audit_is_named(entry->kind, "retention.deleted") ||
        !nx_audit_is_named(nx_audit_entry_field(entry, "kind", NX_AUDIT_STRING)->bytes, kind))
      continue;
    n++;
    uint64_t files = nx_audit_entry_field(entry, "files", NX_AUDIT_U64)->number;
    assert_int_equal(nx_audit_entry_field(entry, "bytes", NX_AUDIT_U64)->number, files * 7);
    *files_out += files;
  }
  nx_audit_reader_close(reader);
  free(entry);
  return n;
}

static void what_a_round_left_behind_goes(void **state) {
  struct fixture *f = *state;
  uint64_t files;
  put(f, NX_HOME_SPOOL "/3-1", 15);
  put(f, NX_HOME_SPOOL "/4-2", 15);
  put(f, NX_HOME_SPOOL "/9-1", 13);
  put(f, NX_HOME_RESIDUAL, 15);
  pass(f, NULL);
  assert_false(is_there(f, NX_HOME_SPOOL "/3-1"));
  assert_false(is_there(f, NX_HOME_SPOOL "/4-2"));
  assert_true(is_there(f, NX_HOME_SPOOL "/9-1"));
  assert_false(is_there(f, NX_HOME_RESIDUAL));
  assert_true(is_there(f, NX_HOME_AUDIT "/entries.log"));
  assert_int_equal(told(f, "uploads", &files), 1);
  assert_int_equal(files, 2);
  assert_int_equal(told(f, "residual", &files), 1);
  pass(f, NULL); /* nothing left: no further entry */
  assert_int_equal(told(f, "uploads", &files), 1);
}

static void the_model_that_is_held_stays(void **state) {
  struct fixture *f = *state;
  char held[16 + NX_HASH_HEX_SIZE] = NX_HOME_MODELS "/",
                 other[16 + NX_HASH_HEX_SIZE] = NX_HOME_MODELS "/";
  struct nx_hash another = nx_sha256("another", 7);
  uint64_t files;
  nx_hash_hex(&f->held, held + strlen(held));
  nx_hash_hex(&another, other + strlen(other));
  put(f, held, 500);
  put(f, other, 91);
  pass(f, NULL); /* which one is held is not known yet */
  assert_true(is_there(f, other));
  pass(f, &f->held);
  assert_true(is_there(f, held));
  assert_false(is_there(f, other));
  assert_int_equal(told(f, "models", &files), 1);
}

static void each_kind_has_its_own_period(void **state) {
  struct fixture *f = *state;
  uint32_t none = 0, week = 7;
  uint64_t files;
  f->config.keep.uploads_days = &none;
  f->config.keep.answers_days = &week;
  put(f, NX_HOME_SPOOL "/3-1", 5000);
  put(f, NX_HOME_ANSWERS "/abc", 8);
  put(f, NX_HOME_SUBJECTS "/unusable", 8);
  put(f, NX_HOME_SUBJECTS "/rounds.tsv", 5000);
  pass(f, &f->held);
  assert_true(is_there(f, NX_HOME_SPOOL "/3-1"));
  assert_false(is_there(f, NX_HOME_ANSWERS "/abc"));
  assert_false(is_there(f, NX_HOME_SUBJECTS "/unusable"));
  assert_true(is_there(f, NX_HOME_SUBJECTS "/rounds.tsv"));
  assert_int_equal(told(f, "answers", &files), 1);
}

static void make_receipts(struct fixture *f, uint64_t first, uint64_t last) {
  struct nx_egress *egress;
  char folder[NX_PATH_SIZE];
  path_of(f, NX_HOME_EGRESS, folder);
  assert_int_equal(nx_egress_open(folder, f->audit_folder, "site", &egress, NULL), 0);
  struct nx_rpc_meter meter = nx_egress_meter(egress);
  for (uint64_t round = first; round <= last; round++) {
    nx_egress_about(round, 1);
    assert_int_equal(meter.leaving(meter.context, "/x", nx_bytes("m", 1), NULL), 0);
    assert_int_equal(nx_egress_close(egress, round, false, f->log, NULL), 0);
  }
  nx_egress_about(0, 0);
  nx_egress_destroy(egress);
}

static void receipts_go_from_the_first_on_and_the_auditor_knows(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  uint32_t year = 365;
  uint64_t n, deleted;
  char folder[NX_PATH_SIZE], path[NX_PATH_SIZE];
  path_of(f, NX_HOME_EGRESS, folder);
  make_receipts(f, 1, 4);
  for (int i = 1; i <= 4; i++) {
    char name[64];
    snprintf(name, sizeof name, NX_HOME_EGRESS "/receipt-%08d.json", i);
    age(f, name, i == 3 ? 10 : 400); /* the third is young: the fourth may leave no gap */
  }
  pass(f, &f->held);
  assert_true(is_there(f, NX_HOME_EGRESS "/receipt-00000001.json")); /* unless asked: for ever */
  f->config.keep.receipts_days = &year;
  pass(f, &f->held);
  assert_false(is_there(f, NX_HOME_EGRESS "/receipt-00000002.json"));
  assert_true(is_there(f, NX_HOME_EGRESS "/receipt-00000003.json"));
  assert_true(is_there(f, NX_HOME_EGRESS "/receipt-00000004.json"));
  assert_int_equal(nx_audit_receipts(f->audit_folder, folder, &n, &deleted, &err), 0);
  assert_int_equal(n, 4);
  assert_int_equal(deleted, 2);
  make_receipts(f, 5, 5); /* numbers go on */
  assert_true(is_there(f, NX_HOME_EGRESS "/receipt-00000005.json"));
  /* One that the log does not say was deleted is still missed. */
  path_of(f, NX_HOME_EGRESS "/receipt-00000003.json", path);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(nx_audit_receipts(f->audit_folder, folder, &n, &deleted, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "receipt 3 is missing"));
}

static void the_newest_receipt_stays(void **state) {
  struct fixture *f = *state;
  uint32_t year = 365;
  make_receipts(f, 1, 2);
  age(f, NX_HOME_EGRESS "/receipt-00000001.json", 400);
  age(f, NX_HOME_EGRESS "/receipt-00000002.json", 400);
  f->config.keep.receipts_days = &year;
  pass(f, &f->held);
  assert_false(is_there(f, NX_HOME_EGRESS "/receipt-00000001.json"));
  assert_true(is_there(f, NX_HOME_EGRESS "/receipt-00000002.json"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(what_a_round_left_behind_goes),
      TEST(the_model_that_is_held_stays),
      TEST(each_kind_has_its_own_period),
      TEST(receipts_go_from_the_first_on_and_the_auditor_knows),
      TEST(the_newest_receipt_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
