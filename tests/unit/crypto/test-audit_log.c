#include "crypto/audit_log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "crypto/audit_reader.h"
#include "tests/unit/crypto/support.h"

static char folder[64], entries[NX_PATH_SIZE], checkpoints[NX_PATH_SIZE];
static struct nx_identity *identity;

static int set_up(void **state) {
  (void)state;
  strcpy(folder, "/tmp/nx-audit-XXXXXX");
  assert_non_null(mkdtemp(folder));
  nx_path_join(entries, folder, "entries.log", NULL);
  nx_path_join(checkpoints, folder, "checkpoints.log", NULL);
  return nx_identity_create(&nx_entropy_system, &identity, NULL);
}

static int tear_down(void **state) {
  static const char *const names[] = {"entries.log", "checkpoints.log", "public.key", ".lock"};
  char path[NX_PATH_SIZE];
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    nx_path_join(path, folder, names[i], NULL);
    unlink(path);
  }
  nx_identity_destroy(identity);
  return rmdir(folder);
}

static struct nx_audit_log *open_log(void) {
  struct nx_audit_log *log = NULL;
  struct nx_error err = {0};
  int r = nx_audit_log_open(folder, "Site 3", identity, &log, &err);
  if (r < 0)
    fail_msg("%s", err.text);
  return log;
}

static void append(struct nx_audit_log *log, uint64_t round) {
  const struct nx_hash hash = nx_sha256(&round, sizeof round);
  assert_int_equal(NX_AUDIT_APPEND(log, NULL, "round.opened", NX_AUDIT_UINT("round", round),
                                   NX_AUDIT_INT("delta", -3), NX_AUDIT_STR("phase", "upload"),
                                   NX_AUDIT_HASH("model", &hash)),
                   0);
}

/* n entries with a checkpoint after every 4. */
static void make_log(uint64_t n) {
  struct nx_audit_log *log = open_log();
  for (uint64_t i = 0; i < n; i++) {
    append(log, i);
    if (i % 4 == 3)
      assert_int_equal(nx_audit_log_checkpoint(log, NULL), 0);
  }
  assert_int_equal(nx_audit_log_close(log, NULL), 0);
}

static int verify(struct nx_audit_report *report, struct nx_error *err) {
  return nx_audit_verify(folder, NULL, report, err);
}

static off_t size_of(const char *path) {
  struct stat status;
  assert_int_equal(stat(path, &status), 0);
  return status.st_size;
}

static void flip(const char *path, off_t at, uint8_t bits) {
  int fd = open(path, O_RDWR);
  uint8_t byte;
  assert_true(fd >= 0);
  assert_int_equal(pread(fd, &byte, 1, at), 1);
  byte ^= bits;
  assert_int_equal(pwrite(fd, &byte, 1, at), 1);
  close(fd);
}

static void a_log_reads_back_and_verifies(void **state) {
  (void)state;
  struct nx_audit_report report;
  struct nx_audit_reader *reader = NULL;
  struct nx_audit_entry entry;
  make_log(10);
  assert_int_equal(verify(&report, NULL), 0);
  assert_int_equal(report.entries, 10);
  assert_int_equal(report.signed_entries, 10);
  assert_int_equal(report.checkpoints, 3);
  assert_int_equal(report.backward_steps, 0);
  assert_false(report.torn);
  assert_string_equal(report.origin, "Site 3");
  assert_int_equal(nx_audit_reader_open(folder, &reader, NULL), 0);
  for (uint64_t i = 0; i < 10; i++) {
    assert_int_equal(nx_audit_reader_next(reader, &entry, NULL), 0);
    assert_int_equal(entry.sequence, i);
    assert_memory_equal(entry.kind.data, "round.opened", 12);
    assert_int_equal(entry.n_fields, 4);
    assert_int_equal(entry.fields[0].number, i);
    assert_int_equal((int64_t)entry.fields[1].number, -3);
    assert_memory_equal(entry.fields[2].bytes.data, "upload", 6);
    assert_int_equal(entry.fields[3].bytes.size, 32);
  }
  assert_int_equal(nx_audit_reader_next(reader, &entry, NULL), NX_AUDIT_END);
  nx_audit_reader_close(reader);
}

static void a_log_goes_on_after_reopening(void **state) {
  (void)state;
  struct nx_audit_report report;
  make_log(5);
  make_log(6);
  assert_int_equal(verify(&report, NULL), 0);
  assert_int_equal(report.entries, 11);
  assert_int_equal(report.signed_entries, 11);
}

static void two_processes_cannot_write_one_log(void **state) {
  (void)state;
  struct nx_audit_log *log = open_log(), *second = NULL;
  assert_int_equal(nx_audit_log_open(folder, "Site 3", identity, &second, NULL), NX_E_STATE);
  assert_null(second);
  assert_int_equal(nx_audit_log_close(log, NULL), 0);
}

static void another_key_or_origin_cannot_go_on_with_a_log(void **state) {
  (void)state;
  struct nx_audit_log *log = NULL;
  struct nx_audit_report report;
  _cleanup_(nx_identity_destroyp) struct nx_identity *other = NULL;
  make_log(4);
  assert_int_equal(nx_identity_create(&nx_entropy_system, &other, NULL), 0);
  assert_int_equal(nx_audit_log_open(folder, "Site 3", other, &log, NULL), NX_E_CRYPTO);
  assert_int_equal(nx_audit_log_open(folder, "Site 4", identity, &log, NULL), NX_E_CRYPTO);
  assert_int_equal(nx_audit_log_open(folder, "a\nb", identity, &log, NULL), NX_E_INVALID);
  assert_int_equal(nx_audit_verify(folder, nx_identity_public(other), &report, NULL), NX_E_CRYPTO);
  assert_int_equal(nx_audit_verify(entries, nx_identity_public(identity), &report, NULL), 0);
}

/* Every byte of both files is covered: by the tree, by a signature or by the framing. */
static void any_changed_byte_is_found(void **state) {
  (void)state;
  struct nx_audit_report report;
  const char *files[] = {entries, checkpoints};
  make_log(8);
  for (size_t f = 0; f < 2; f++)
    for (off_t at = 0; at < size_of(files[f]); at++) {
      flip(files[f], at, (uint8_t)(1 << at % 8));
      int r = verify(&report, NULL);
      if (r == 0 && !(f == 1 && report.torn))
        fail_msg("a change of byte %ld of %s is not found", (long)at, files[f]);
      flip(files[f], at, (uint8_t)(1 << at % 8));
    }
  assert_int_equal(verify(&report, NULL), 0);
}

static void a_cut_log_is_found(void **state) {
  (void)state;
  struct nx_audit_report report;
  struct nx_error err = {0};
  make_log(8);
  assert_int_equal(truncate(entries, size_of(entries) - 1), 0);
  assert_int_equal(verify(&report, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "was cut"));
  struct nx_audit_log *log = NULL;
  assert_int_equal(nx_audit_log_open(folder, "Site 3", identity, &log, &err), NX_E_CRYPTO);
}

static void a_damaged_signed_entry_keeps_the_log_shut(void **state) {
  (void)state;
  struct nx_audit_log *log = NULL;
  struct nx_error err = {0};
  make_log(8);
  flip(entries, size_of(entries) / 2, 0x20);
  assert_true(nx_audit_log_open(folder, "Site 3", identity, &log, &err) < 0);
  assert_null(log);
  assert_true(strstr(err.text, "damaged") || strstr(err.text, "changed"));
}

static void make_unsigned_tail(void) {
  make_log(8);
  struct nx_audit_log *log = open_log();
  append(log, 8);
  append(log, 9);
  nx_audit_log_destroy(log);
}

static void a_torn_tail_is_cut_and_told(void **state) {
  (void)state;
  struct nx_audit_report report;
  make_unsigned_tail();
  assert_int_equal(truncate(entries, size_of(entries) - 5), 0);
  assert_int_equal(verify(&report, NULL), 0);
  assert_true(report.torn);
  assert_int_equal(report.entries, 9);
  struct nx_audit_log *log = open_log();
  assert_int_equal(nx_audit_log_size(log), 10); /* 9 good ones and "log.recovered" */
  assert_int_equal(nx_audit_log_close(log, NULL), 0);
  assert_int_equal(verify(&report, NULL), 0);
  assert_false(report.torn);
  assert_int_equal(report.signed_entries, 10);
}

static void zeros_that_a_crash_left_behind_are_cut(void **state) {
  (void)state;
  struct nx_audit_report report;
  make_unsigned_tail();
  assert_int_equal(truncate(entries, size_of(entries) + 4096), 0);
  assert_int_equal(verify(&report, NULL), NX_E_FORMAT);
  assert_int_equal(nx_audit_log_close(open_log(), NULL), 0);
  assert_int_equal(verify(&report, NULL), 0);
  assert_int_equal(report.entries, 11);
}

static void a_torn_checkpoint_is_cut(void **state) {
  (void)state;
  struct nx_audit_report report;
  make_log(8);
  assert_int_equal(truncate(checkpoints, size_of(checkpoints) - 10), 0);
  assert_int_equal(verify(&report, NULL), 0);
  assert_true(report.torn);
  assert_int_equal(report.signed_entries, 4);
  assert_int_equal(nx_audit_log_close(open_log(), NULL), 0);
  assert_int_equal(verify(&report, NULL), 0);
  assert_int_equal(report.signed_entries, 8);
}

static void a_lost_key_file_is_named(void **state) {
  (void)state;
  char path[NX_PATH_SIZE];
  struct nx_audit_log *log = NULL;
  struct nx_error err = {0};
  make_log(2);
  nx_path_join(path, folder, "public.key", NULL);
  unlink(path);
  assert_int_equal(nx_audit_log_open(folder, "Site 3", identity, &log, &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "public.key"));
}

struct writer {
  struct nx_audit_log *log;
  pthread_t thread;
};

static void *write_fifty(void *argument) {
  for (uint64_t i = 0; i < 50; i++)
    append(((struct writer *)argument)->log, i);
  return NULL;
}

static void many_writers_share_one_log(void **state) {
  (void)state;
  struct writer writers[8];
  struct nx_audit_report report;
  struct nx_audit_log *log = open_log();
  for (size_t i = 0; i < 8; i++) {
    writers[i].log = log;
    assert_int_equal(pthread_create(&writers[i].thread, NULL, write_fifty, &writers[i]), 0);
  }
  for (int i = 0; i < 5; i++)
    assert_int_equal(nx_audit_log_checkpoint(log, NULL), 0);
  for (size_t i = 0; i < 8; i++)
    pthread_join(writers[i].thread, NULL);
  assert_int_equal(nx_audit_log_size(log), 400);
  struct nx_hash root = nx_audit_log_root(log);
  assert_int_equal(nx_audit_log_close(log, NULL), 0);
  assert_int_equal(verify(&report, NULL), 0);
  assert_int_equal(report.signed_entries, 400);
  assert_true(nx_hash_equal(&root, &report.root));
}

static void growth_is_provable_between_two_sizes(void **state) {
  (void)state;
  struct nx_audit_report before, after;
  struct nx_merkle_path path;
  make_log(7);
  assert_int_equal(verify(&before, NULL), 0);
  make_log(9);
  assert_int_equal(verify(&after, NULL), 0);
  assert_int_equal(nx_audit_prove_consistency(folder, 7, 16, &path, NULL), 0);
  assert_int_equal(nx_merkle_verify_consistency(&before.root, 7, &after.root, 16, &path, NULL), 0);
  assert_int_equal(nx_audit_prove_consistency(folder, 7, 17, &path, NULL), NX_E_NOT_FOUND);
  assert_int_equal(nx_audit_prove_consistency(folder, 0, 7, &path, NULL), NX_E_INVALID);
}

static void impossible_entries_are_refused(void **state) {
  (void)state;
  struct nx_audit_log *log = open_log();
  struct nx_error err = {0};
  static const char big[(1 << 20) + 1];
  assert_int_equal(nx_audit_log_append(log, "two words", NULL, 0, NULL, &err), NX_E_INVALID);
  assert_int_equal(nx_audit_log_append(log, "", NULL, 0, NULL, &err), NX_E_INVALID);
  assert_int_equal(NX_AUDIT_APPEND(log, &err, "k", NX_AUDIT_UINT("n\n", 1)), NX_E_INVALID);
  assert_int_equal(NX_AUDIT_APPEND(log, &err, "k", NX_AUDIT_DATA("d", big, sizeof big)),
                   NX_E_LIMIT);
  assert_int_equal(nx_audit_log_append(log, "fine", NULL, 0, NULL, &err), 0);
  assert_int_equal(nx_audit_log_size(log), 1);
  assert_int_equal(nx_audit_log_close(log, NULL), 0);
}

static void hostile_bodies_do_not_parse(void **state) {
  (void)state;
  struct nx_rng rng;
  static struct nx_audit_entry entry;
  nx_rng_init(&rng, 1, 1);
  for (int i = 0; i < 20000; i++) {
    uint8_t body[80];
    size_t n = nx_rng_below(&rng, sizeof body);
    for (size_t k = 0; k < n; k++)
      body[k] = (uint8_t)nx_rng_below(&rng, k > 16 ? 4 : 2);
    (void)nx_audit_entry_parse(nx_bytes(body, n), &entry, NULL);
  }
  assert_int_equal(nx_audit_entry_parse(nx_bytes("", 0), &entry, NULL), NX_E_FORMAT);
}

#define WITH_LOG(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_LOG(a_log_reads_back_and_verifies),
      WITH_LOG(a_log_goes_on_after_reopening),
      WITH_LOG(two_processes_cannot_write_one_log),
      WITH_LOG(another_key_or_origin_cannot_go_on_with_a_log),
      WITH_LOG(any_changed_byte_is_found),
      WITH_LOG(a_cut_log_is_found),
      WITH_LOG(a_damaged_signed_entry_keeps_the_log_shut),
      WITH_LOG(a_torn_tail_is_cut_and_told),
      WITH_LOG(zeros_that_a_crash_left_behind_are_cut),
      WITH_LOG(a_torn_checkpoint_is_cut),
      WITH_LOG(a_lost_key_file_is_named),
      WITH_LOG(many_writers_share_one_log),
      WITH_LOG(growth_is_provable_between_two_sizes),
      WITH_LOG(impossible_entries_are_refused),
      cmocka_unit_test(hostile_bodies_do_not_parse),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
