#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "crypto/audit_receipts.h"
#include "node/policy/egress.h"
#include "node/policy/egress_receipt.h"
#include "proto/codec/codec_session.h"
#include "tests/unit/cmocka_shim.h"

struct fixture {
  char folder[64], egress_folder[NX_PATH_SIZE], audit_folder[NX_PATH_SIZE];
  struct nx_identity *identity;
  struct nx_audit_log *log;
  struct nx_egress *egress;
};

static void open_all(struct fixture *f) {
  struct nx_error err = {0};
  if (nx_audit_log_open(f->audit_folder, "site", f->identity, &f->log, &err) < 0 ||
      nx_egress_open(f->egress_folder, f->audit_folder, "site", &f->egress, &err) < 0)
    fail_msg("%s", err.text);
}

static void close_all(struct fixture *f) {
  nx_egress_destroy(f->egress);
  assert_int_equal(nx_audit_log_close(f->log, NULL), 0);
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/nx-egress-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  nx_path_join(f->egress_folder, f->folder, "egress", NULL);
  nx_path_join(f->audit_folder, f->folder, "audit", NULL);
  assert_int_equal(nx_identity_create(&nx_entropy_system, &f->identity, NULL), 0);
  open_all(f);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  char command[128];
  close_all(f);
  snprintf(command, sizeof command, "rm -rf %s", f->folder);
  assert_int_equal(system(command), 0);
  nx_identity_destroy(f->identity);
  nx_egress_about(0, 0);
  free(f);
  return 0;
}

static int leave(struct fixture *f, const char *path, struct nx_bytes message) {
  struct nx_rpc_meter meter = nx_egress_meter(f->egress);
  return meter.leaving(meter.context, path, message, NULL);
}

static int leave_upload(struct fixture *f, size_t size) {
  uint8_t *bytes = calloc(1, size + 1);
  int r = leave(f, NX_METHOD_ROUND_UPLOAD, nx_bytes(bytes, size));
  free(bytes);
  return r;
}

/* receipt-NUMBER.json with a final 0 */
static struct nx_buffer receipt(struct fixture *f, int number) {
  struct nx_buffer text = {0};
  char name[64], path[NX_PATH_SIZE];
  snprintf(name, sizeof name, "receipt-%08d.json", number);
  nx_path_join(path, f->egress_folder, name, NULL);
  assert_int_equal(nx_file_read(path, 1 << 20, &text, NULL), 0);
  nx_buffer_append(&text, "", 1, NULL);
  return text;
}

static void messages_are_named_and_counted(void **state) {
  struct fixture *f = *state;
  struct nx_session_message beat = {.kind = NX_SESSION_KIND_HEARTBEAT, .heartbeat.number = 1};
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  assert_int_equal(nx_session_up_encode(&beat, &bytes, NULL), 0);
  assert_int_equal(leave(f, NX_METHOD_SESSION_OPEN, nx_buffer_view(&bytes)), 0);
  nx_egress_about(7, 2);
  for (int i = 0; i < 3; i++)
    assert_int_equal(leave_upload(f, 1000), 0);
  assert_int_equal(leave(f, NX_METHOD_ROUND_FETCH_TILES, nx_bytes("tiles", 5)), 0);
  assert_int_equal(leave(f, NX_METHOD_SESSION_OPEN, nx_bytes("\xff\xff", 2)), 0);
  assert_int_equal(nx_egress_day_bytes(f->egress), bytes.size + 3007);
  assert_int_equal(nx_egress_close(f->egress, 7, false, f->log, NULL), 0);
  _cleanup_(nx_buffer_finish) struct nx_buffer text = receipt(f, 1);
  const char *all = (char *)text.data;
  assert_non_null(strstr(all, "\"round\":\t7"));
  assert_non_null(strstr(all, "\"bytes\":\t3007"));
  assert_non_null(strstr(all, "\"kind\":\t\"upload\""));
  assert_non_null(strstr(all, "\"kind\":\t\"fetch-tiles\""));
  assert_non_null(strstr(all, "\"kind\":\t\"other\"")); /* what is no message of ours */
  assert_null(strstr(all, "heartbeat"));                /* outside of rounds */
  assert_int_equal(nx_egress_close(f->egress, 7, true, f->log, NULL), 0);
  _cleanup_(nx_buffer_finish) struct nx_buffer outside = receipt(f, 2);
  assert_non_null(strstr((char *)outside.data, "heartbeat"));
  assert_int_equal(nx_egress_day_bytes(f->egress), bytes.size + 3007);
}

static void caps_stop_what_would_exceed_them(void **state) {
  struct fixture *f = *state;
  char words[NX_ERROR_TEXT_SIZE];
  nx_egress_caps(f->egress, 2500, 4000);
  nx_egress_about(1, 1);
  assert_int_equal(leave_upload(f, 2000), 0);
  assert_false(nx_egress_was_stopped(f->egress, words));
  assert_int_equal(leave_upload(f, 501), NX_E_DENIED);
  assert_true(nx_egress_was_stopped(f->egress, words));
  assert_non_null(strstr(words, "limits.round_mb"));
  assert_false(nx_egress_was_stopped(f->egress, words)); /* told once */
  assert_int_equal(leave_upload(f, 500), 0);
  nx_egress_about(2, 1);
  assert_int_equal(leave_upload(f, 1501), NX_E_DENIED);
  assert_true(nx_egress_was_stopped(f->egress, words));
  assert_non_null(strstr(words, "limits.day_mb"));
  nx_egress_about(0, 0); /* the day's cap holds outside of rounds, too */
  assert_int_equal(leave_upload(f, 1501), NX_E_DENIED);
  assert_int_equal(nx_egress_close(f->egress, 2, true, f->log, NULL), 0);
  close_all(f); /* and a restart frees nothing */
  open_all(f);
  nx_egress_caps(f->egress, 0, 4000);
  assert_int_equal(leave_upload(f, 1501), NX_E_DENIED);
  assert_int_equal(leave_upload(f, 1500), 0);
}

/* Killed at once after it was told that the bytes may leave: they are counted. */
static void counts_survive_kill_9(void **state) {
  struct fixture *f = *state;
  close_all(f);
  for (int i = 0; i < 20; i++) {
    pid_t child = fork();
    if (!child) {
      nx_egress_open(f->egress_folder, f->audit_folder, "site", &f->egress, NULL);
      nx_egress_about(3, 1);
      leave_upload(f, 100);
      raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
  }
  open_all(f);
  assert_int_equal(nx_egress_day_bytes(f->egress), 2000);
  assert_int_equal(nx_egress_close(f->egress, 3, false, f->log, NULL), 0);
  _cleanup_(nx_buffer_finish) struct nx_buffer text = receipt(f, 1);
  assert_non_null(strstr((char *)text.data, "\"messages\":\t20"));
  assert_non_null(strstr((char *)text.data, "\"bytes\":\t2000"));
}

static void path_of(struct fixture *f, const char *name, char out[NX_PATH_SIZE]) {
  nx_path_join(out, f->egress_folder, name, NULL);
}

/* A crash between the log's entry and the receipt's name, and one before the entry. */
static void half_written_receipts_are_brought_to_an_end(void **state) {
  struct fixture *f = *state;
  char draft[NX_PATH_SIZE], named[NX_PATH_SIZE];
  uint64_t n;
  path_of(f, "receipt-00000001.json.draft", draft);
  path_of(f, "receipt-00000001.json", named);
  nx_egress_about(4, 1);
  assert_int_equal(leave_upload(f, 10), 0);
  assert_int_equal(nx_egress_close(f->egress, 4, false, f->log, NULL), 0);
  assert_int_equal(rename(named, draft), 0);
  close_all(f);
  open_all(f);
  assert_true(nx_path_exists(named));
  assert_int_equal(nx_audit_receipts(f->audit_folder, f->egress_folder, &n, NULL, NULL), 0);
  assert_int_equal(n, 1);
  path_of(f, "receipt-00000002.json.draft", draft);
  assert_int_equal(nx_file_create(draft, nx_bytes("unknown to the log", 18), 0600, NULL), 0);
  close_all(f);
  open_all(f);
  assert_false(nx_path_exists(draft));
  nx_egress_about(5, 1);
  assert_int_equal(leave_upload(f, 10), 0);
  assert_int_equal(nx_egress_close(f->egress, 5, false, f->log, NULL), 0);
  assert_int_equal(nx_audit_receipts(f->audit_folder, f->egress_folder, &n, NULL, NULL), 0);
  assert_int_equal(n, 2);
}

static void changed_missing_and_added_receipts_are_found(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  char one[NX_PATH_SIZE], two[NX_PATH_SIZE], away[NX_PATH_SIZE];
  uint64_t n;
  path_of(f, "receipt-00000001.json", one);
  path_of(f, "receipt-00000003.json", two);
  path_of(f, "away", away);
  for (uint64_t round = 1; round <= 2; round++) {
    nx_egress_about(round, 1);
    assert_int_equal(leave_upload(f, 10), 0);
    assert_int_equal(nx_egress_close(f->egress, round, false, f->log, NULL), 0);
  }
  assert_int_equal(nx_audit_receipts(f->audit_folder, f->egress_folder, &n, NULL, NULL), 0);
  assert_int_equal(n, 2);
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  assert_int_equal(nx_file_read(one, 1 << 20, &text, NULL), 0);
  text.data[text.size / 2] ^= 1;
  assert_int_equal(nx_file_replace(one, nx_buffer_view(&text), 0600, NULL), 0);
  assert_int_equal(nx_audit_receipts(f->audit_folder, f->egress_folder, &n, NULL, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "receipt 1 is not"));
  assert_int_equal(rename(one, away), 0);
  assert_int_equal(nx_audit_receipts(f->audit_folder, f->egress_folder, &n, NULL, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "receipt 1 is missing"));
  text.data[text.size / 2] ^= 1;
  assert_int_equal(nx_file_replace(one, nx_buffer_view(&text), 0600, NULL), 0);
  assert_int_equal(nx_file_replace(two, nx_buffer_view(&text), 0600, NULL), 0);
  assert_int_equal(nx_audit_receipts(f->audit_folder, f->egress_folder, &n, NULL, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "receipt-00000003"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(messages_are_named_and_counted, setup, teardown),
      cmocka_unit_test_setup_teardown(caps_stop_what_would_exceed_them, setup, teardown),
      cmocka_unit_test_setup_teardown(counts_survive_kill_9, setup, teardown),
      cmocka_unit_test_setup_teardown(half_written_receipts_are_brought_to_an_end, setup, teardown),
      cmocka_unit_test_setup_teardown(changed_missing_and_added_receipts_are_found, setup,
                                      teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
