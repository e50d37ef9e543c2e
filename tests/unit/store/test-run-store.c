/* Run store: people, invitations, runs, records and sealed rounds outlive the process that
 * wrote them, and what must not happen twice does not. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/store/run_store.h"
#include "tests/unit/cmocka_shim.h"

struct place {
  char folder[64], path[96];
  struct nx_run_store *store;
};

static int make_place(void **state) {
  struct place *place = calloc(1, sizeof *place);
  snprintf(place->folder, sizeof place->folder, "/tmp/nx-store-XXXXXX");
  assert_non_null(mkdtemp(place->folder));
  snprintf(place->path, sizeof place->path, "%s/store.sqlite", place->folder);
  assert_int_equal(nx_run_store_create(place->path, &place->store, NULL), 0);
  *state = place;
  return 0;
}

static int remove_place(void **state) {
  struct place *place = *state;
  static const char *const endings[] = {"", "-wal", "-shm"};
  nx_run_store_destroy(place->store);
  for (int i = 0; i < 3; i++) {
    char path[128];
    snprintf(path, sizeof path, "%s%s", place->path, endings[i]);
    unlink(path);
  }
  rmdir(place->folder);
  free(place);
  return 0;
}

static void reopen(struct place *place) {
  nx_run_store_destroy(place->store);
  place->store = NULL;
  assert_int_equal(nx_run_store_open(place->path, &place->store, NULL), 0);
}

static struct nx_hash hash_of(const char *text) {
  return nx_sha256(text, strlen(text));
}

static struct nx_public_key key_of(const char *text) {
  struct nx_public_key key;
  memcpy(key.bytes, hash_of(text).bytes, sizeof key.bytes);
  return key;
}

/* The member id of the new invitation, or the error. */
static int invite(struct place *place, const char *name, int64_t expires) {
  struct nx_store_invitation invitation = {
      .token_hash = hash_of(name), .created = 100, .expires = expires};
  snprintf(invitation.name, sizeof invitation.name, "%s", name);
  int r = nx_run_store_invite(place->store, &invitation, NULL);
  return r < 0 ? r : (int)invitation.member;
}

/* `site` uses the invitation of `name`; the certificate it gets must be `expected`. */
static int enrol(struct place *place, const char *name, const char *site, int64_t now,
                 const char *certificate, const char *expected) {
  _cleanup_(nx_buffer_finish) struct nx_buffer issued = {0};
  struct nx_hash token = hash_of(name), spki = hash_of(site);
  struct nx_public_key key = key_of(site);
  struct nx_store_member member;
  int r = nx_run_store_enrol(place->store, &token, now, &key, &spki,
                             nx_bytes(certificate, strlen(certificate)), 0, &member, &issued, NULL);
  if (r == 0) {
    assert_string_equal(member.name, name);
    assert_int_equal(issued.size, strlen(expected));
    assert_memory_equal(issued.data, expected, issued.size);
  }
  return r;
}

static void federation_is_kept(void **state) {
  struct place *place = *state;
  struct nx_store_federation in = {.name = "Test", .created = 7, .spki = hash_of("tls")}, out;
  assert_int_equal(nx_run_store_federation(place->store, &out, NULL), NX_E_NOT_FOUND);
  memset(in.id, 9, sizeof in.id);
  assert_int_equal(nx_run_store_put_federation(place->store, &in, NULL), 0);
  assert_int_equal(nx_run_store_put_federation(place->store, &in, NULL), NX_E_EXISTS);
  reopen(place);
  assert_int_equal(nx_run_store_federation(place->store, &out, NULL), 0);
  assert_memory_equal(&in.id, &out.id, 16);
  assert_string_equal(out.name, "Test");
  assert_true(nx_hash_equal(&in.spki, &out.spki));
}

static void invitation_is_spent_once(void **state) {
  struct place *place = *state;
  uint32_t pending;
  assert_int_equal(invite(place, "alpha", 1000), 1);
  assert_int_equal(invite(place, "beta", 1000), 2);
  assert_int_equal(invite(place, "alpha", 1000), NX_E_EXISTS);
  assert_int_equal(enrol(place, "alpha", "alpha", 200, "cert-1", "cert-1"), 0);
  assert_int_equal(nx_run_store_pending_invitations(place->store, 200, &pending, NULL), 0);
  assert_int_equal(pending, 1);
  /* Nobody gets anything by it again: not with the same keys (a replay), nor with others. */
  assert_int_equal(enrol(place, "alpha", "alpha", 300, "cert-2", ""), NX_E_EXISTS);
  assert_int_equal(enrol(place, "alpha", "thief", 300, "cert-3", ""), NX_E_EXISTS);
  assert_int_equal(enrol(place, "never", "thief", 300, "cert-3", ""), NX_E_NOT_FOUND);
}

static void invitation_expires_and_frees_its_name(void **state) {
  struct place *place = *state;
  assert_int_equal(invite(place, "alpha", 50), 1); /* made at 100: expired already */
  assert_int_equal(enrol(place, "alpha", "alpha", 60, "cert", ""), NX_E_TIMEOUT);
  struct nx_store_invitation again = {
      .token_hash = hash_of("second token"), .created = 100, .expires = 900, .name = "alpha"};
  assert_int_equal(nx_run_store_invite(place->store, &again, NULL), 0);
  assert_int_equal(again.member, 1);
}

static void keys_of_another_member_are_refused(void **state) {
  struct place *place = *state;
  invite(place, "alpha", 1000);
  invite(place, "beta", 1000);
  assert_int_equal(enrol(place, "alpha", "same keys", 200, "cert", "cert"), 0);
  assert_int_equal(enrol(place, "beta", "same keys", 200, "cert", ""), NX_E_EXISTS);
  /* The refusal spent nothing. */
  assert_int_equal(enrol(place, "beta", "own keys", 200, "cert", "cert"), 0);
}

static void the_founders_are_sealed_once_and_others_may_enrol(void **state) {
  struct place *place = *state;
  struct nx_signature signature = {{1}}, read;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  invite(place, "alpha", 1000);
  invite(place, "late", 1000);
  enrol(place, "alpha", "alpha", 200, "cert", "cert");
  assert_int_equal(nx_run_store_manifest(place->store, &body, &read, NULL), NX_E_NOT_FOUND);
  assert_int_equal(nx_run_store_put_manifest(place->store, nx_bytes("M", 1), &signature, NULL), 0);
  assert_int_equal(nx_run_store_put_manifest(place->store, nx_bytes("N", 1), &signature, NULL),
                   NX_E_EXISTS);
  assert_int_equal(enrol(place, "late", "late", 200, "cert", "cert"), 0);
  assert_int_equal(invite(place, "gamma", 1000), 3);
  assert_int_equal(nx_run_store_manifest(place->store, &body, &read, NULL), 0);
  assert_int_equal(body.size, 1);
  assert_memory_equal(&read, &signature, sizeof read);
}

static void ids_end_at_255(void **state) {
  struct place *place = *state;
  char name[16];
  for (int i = 1; i <= 255; i++) {
    snprintf(name, sizeof name, "site-%d", i);
    assert_int_equal(invite(place, name, 1000), i);
  }
  assert_int_equal(invite(place, "one too many", 1000), NX_E_LIMIT);
}

static void members_are_found_by_certificate_key(void **state) {
  struct place *place = *state;
  struct nx_store_member members[NX_STORE_MEMBERS], found;
  struct nx_hash spki = hash_of("beta"), nobody = hash_of("nobody");
  size_t n;
  invite(place, "alpha", 1000);
  invite(place, "beta", 1000);
  enrol(place, "beta", "beta", 200, "cert", "cert");
  enrol(place, "alpha", "alpha", 200, "cert", "cert");
  reopen(place);
  assert_int_equal(nx_run_store_members(place->store, members, &n, NULL), 0);
  assert_int_equal(n, 2);
  assert_string_equal(members[0].name, "alpha");
  assert_int_equal(nx_run_store_member_by_spki(place->store, &spki, &found, NULL), 0);
  assert_int_equal(found.id, 2);
  assert_int_equal(nx_run_store_member_by_spki(place->store, &nobody, &found, NULL),
                   NX_E_NOT_FOUND);
}

static void revocation_is_kept_and_told_once(void **state) {
  struct place *place = *state;
  struct nx_store_member members[NX_STORE_MEMBERS], revoked;
  char reason[NX_STORE_REASON_SIZE];
  size_t n;
  invite(place, "alpha", 1000);
  invite(place, "beta", 1000);
  enrol(place, "alpha", "alpha", 200, "cert", "cert");
  enrol(place, "beta", "beta", 200, "cert", "cert");
  assert_int_equal(nx_run_store_unlogged_revocation(place->store, &revoked, reason, NULL),
                   NX_E_NOT_FOUND);
  assert_int_equal(nx_run_store_revoke(place->store, "gamma", "", 300, NULL), NX_E_NOT_FOUND);
  assert_int_equal(nx_run_store_revoke(place->store, "beta", "lost laptop", 300, NULL), 0);
  assert_int_equal(nx_run_store_revoke(place->store, "beta", "again", 400, NULL), NX_E_NOT_FOUND);
  reopen(place);
  assert_int_equal(nx_run_store_members(place->store, members, &n, NULL), 0);
  assert_true(members[0].revoked == 0 && members[1].revoked == 300);
  assert_int_equal(nx_run_store_unlogged_revocation(place->store, &revoked, reason, NULL), 0);
  assert_string_equal(revoked.name, "beta");
  assert_string_equal(reason, "lost laptop");
  assert_int_equal(nx_run_store_mark_revocation_logged(place->store, revoked.id, NULL), 0);
  assert_int_equal(nx_run_store_unlogged_revocation(place->store, &revoked, reason, NULL),
                   NX_E_NOT_FOUND);
}

static struct nx_store_run start_run(struct place *place) {
  struct nx_store_run run = {.plan_hash = hash_of("plan"),
                             .state = NX_RUN_RUNNING,
                             .first_round = 1,
                             .n_rounds = 4,
                             .model_hash = hash_of("model 0"),
                             .started = 5};
  assert_int_equal(
      nx_run_store_put_plan(place->store, &run.plan_hash, "p", nx_bytes("plan", 4), 1, NULL), 0);
  assert_int_equal(nx_run_store_start_run(place->store, &run, NULL), 0);
  return run;
}

static void one_run_at_a_time(void **state) {
  struct place *place = *state;
  struct nx_store_run run = start_run(place), second = run, last;
  assert_int_equal(nx_run_store_start_run(place->store, &second, NULL), NX_E_STATE);
  nx_run_store_set_run_state(place->store, run.id, NX_RUN_PAUSED, 0, NULL);
  assert_int_equal(nx_run_store_start_run(place->store, &second, NULL), NX_E_STATE);
  nx_run_store_set_run_state(place->store, run.id, NX_RUN_STOPPED, 9, NULL);
  assert_int_equal(nx_run_store_start_run(place->store, &second, NULL), 0);
  reopen(place);
  assert_int_equal(nx_run_store_last_run(place->store, &last, NULL), 0);
  assert_int_equal(last.id, second.id);
  assert_int_equal(last.state, NX_RUN_RUNNING);
}

static void run_of_unknown_plan_is_refused(void **state) {
  struct place *place = *state;
  struct nx_store_run run = {.plan_hash = hash_of("none"), .state = NX_RUN_RUNNING};
  assert_true(nx_run_store_start_run(place->store, &run, NULL) < 0);
}

static int collect(void *context, const struct nx_store_record *record, struct nx_error *err) {
  (void)err;
  char *at = context;
  snprintf(at + strlen(at), 64, "%d/%d/%d:%.*s ", (int)record->round, (int)record->attempt,
           (int)record->kind, (int)record->body.size, (const char *)record->body.data);
  return 0;
}

static void records_come_back_in_order_until_sealed(void **state) {
  struct place *place = *state;
  struct nx_store_run run = start_run(place), last;
  char text[256] = "";
  struct nx_store_record records[] = {
      {1, 1, 3, nx_bytes("a", 1)}, {1, 2, 1, nx_bytes("b", 1)}, {2, 1, 2, nx_bytes("c", 1)}};
  for (int i = 0; i < 3; i++)
    assert_int_equal(nx_run_store_append_record(place->store, &records[i], NULL), 0);
  reopen(place);
  nx_run_store_visit_records(place->store, 1, collect, text, NULL);
  assert_string_equal(text, "1/1/3:a 1/2/1:b 2/1/2:c ");
  struct nx_store_sealed sealed = {.round = 1,
                                   .attempt = 2,
                                   .kind = 1,
                                   .run = run.id,
                                   .model_hash = hash_of("model 1"),
                                   .n_cohort = 4,
                                   .n_survivors = 3,
                                   .n_recovered = 1};
  struct nx_bytes aux = nx_bytes("sixteen bytes ok", 16);
  const uint8_t survivors[] = {1, 2, 4};
  assert_int_equal(nx_run_store_seal_round(place->store, &sealed, aux, survivors, NULL), 0);
  text[0] = 0;
  nx_run_store_visit_records(place->store, 1, collect, text, NULL);
  assert_string_equal(text, "2/1/2:c ");
  assert_int_equal(nx_run_store_last_run(place->store, &last, NULL), 0);
  assert_true(nx_hash_equal(&last.model_hash, &sealed.model_hash));
  assert_int_equal(nx_run_store_seal_round(place->store, &sealed, aux, survivors, NULL),
                   NX_E_EXISTS);
}

static void sealed_round_keeps_its_sums(void **state) {
  struct place *place = *state;
  struct nx_store_run run = start_run(place);
  _cleanup_(nx_buffer_finish) struct nx_buffer aux = {0}, survivors = {0};
  struct nx_store_sealed out, sealed = {.round = 3,
                                        .kind = 2,
                                        .run = run.id,
                                        .n_survivors = 2,
                                        .n_recovered = 4,
                                        .bytes_up = 1000};
  struct nx_store_totals totals;
  assert_int_equal(nx_run_store_last_sealed(place->store, &out, NULL), NX_E_NOT_FOUND);
  assert_int_equal(nx_run_store_seal_round(place->store, &sealed, nx_bytes("12345678", 8),
                                           (const uint8_t[]){7, 9}, NULL),
                   0);
  reopen(place);
  assert_int_equal(nx_run_store_last_sealed(place->store, &out, NULL), 0);
  assert_int_equal(out.round, 3);
  assert_int_equal(out.n_survivors, 2);
  assert_int_equal(nx_run_store_sealed_aux(place->store, 3, &aux, &survivors, NULL), 0);
  assert_int_equal(aux.size, 8);
  assert_memory_equal(aux.data, "12345678", 8);
  assert_int_equal(survivors.data[1], 9);
  assert_int_equal(nx_run_store_totals(place->store, run.id, &totals, NULL), 0);
  assert_int_equal(totals.n_sealed, 1);
  assert_int_equal(totals.n_trained, 1);
  assert_int_equal(totals.n_recovered, 4);
  assert_int_equal(totals.bytes_up, 1000);
}

static int add_members(void *context, uint32_t member, struct nx_bytes message,
                       struct nx_error *err) {
  (void)err;
  assert_memory_equal(message.data, "model x", 7);
  *(uint32_t *)context += member;
  return 0;
}

static void two_different_signatures_are_evidence(void **state) {
  struct place *place = *state;
  uint32_t sum = 0;
  invite(place, "alpha", 1000);
  enrol(place, "alpha", "alpha", 200, "cert", "cert");
  struct nx_bytes one = nx_bytes("model x", 7), other = nx_bytes("model y", 7);
  assert_int_equal(nx_run_store_put_signature(place->store, 1, 1, one, NULL), 0);
  assert_int_equal(nx_run_store_put_signature(place->store, 1, 1, one, NULL), 0);
  assert_int_equal(nx_run_store_put_signature(place->store, 1, 1, other, NULL), NX_E_EXISTS);
  nx_run_store_visit_signatures(place->store, 1, add_members, &sum, NULL);
  assert_int_equal(sum, 1);
}

static void execute(const char *path, const char *sql) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
}

static void foreign_and_newer_files_are_refused(void **state) {
  struct place *place = *state;
  struct nx_run_store *other = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_run_store_create(place->path, &other, NULL), NX_E_EXISTS);
  nx_run_store_destroy(place->store);
  place->store = NULL;
  execute(place->path, "PRAGMA user_version = 999");
  assert_int_equal(nx_run_store_open(place->path, &other, &err), NX_E_UNSUPPORTED);
  assert_non_null(strstr(err.text, "update this program"));
  execute(place->path, "PRAGMA application_id = 5");
  assert_int_equal(nx_run_store_open(place->path, &other, NULL), NX_E_FORMAT);
  FILE *file = fopen(place->path, "w");
  for (int i = 0; i < 4096; i++)
    fputc(i, file);
  fclose(file);
  assert_int_equal(nx_run_store_open(place->path, &other, NULL), NX_E_FORMAT);
  assert_int_equal(nx_run_store_open("/nowhere/store", &other, NULL), NX_E_NOT_FOUND);
}

/* The first schema had no revocations. */
static void older_store_is_lifted_and_its_copy_kept(void **state) {
  struct place *place = *state;
  struct nx_store_member members[NX_STORE_MEMBERS];
  char copy[128];
  size_t n;
  invite(place, "alpha", 1000);
  enrol(place, "alpha", "alpha", 200, "cert", "cert");
  nx_run_store_destroy(place->store);
  place->store = NULL;
  execute(place->path,
          "ALTER TABLE members DROP COLUMN revoked;"
          "ALTER TABLE members DROP COLUMN reason;"
          "ALTER TABLE members DROP COLUMN logged; ALTER TABLE members DROP COLUMN ends;"
          "DROP TABLE grants; DROP TABLE new_keys; DROP TABLE answers; DROP TABLE proposal;"
          "DROP TABLE revisions; PRAGMA user_version = 1");
  assert_int_equal(nx_run_store_open(place->path, &place->store, NULL), 0);
  assert_int_equal(nx_run_store_members(place->store, members, &n, NULL), 0);
  assert_int_equal(n, 1);
  assert_true(members[0].revoked == 0);
  snprintf(copy, sizeof copy, "%s.schema-1", place->path);
  execute(copy, "SELECT certificate FROM members WHERE id = 1");
  assert_int_equal(unlink(copy), 0);
}

/* What a disk leaves that said "synced" and had not. */
static void store_that_lost_rows_is_refused(void **state) {
  struct place *place = *state;
  struct nx_store_run run = start_run(place);
  struct nx_store_sealed sealed = {.round = 1, .run = run.id};
  struct nx_run_store *other = NULL;
  struct nx_error err = {0};
  assert_int_equal(
      nx_run_store_seal_round(place->store, &sealed, nx_bytes("", 0), (const uint8_t *)"", NULL),
      0);
  reopen(place);
  nx_run_store_destroy(place->store);
  place->store = NULL;
  execute(place->path, "PRAGMA foreign_keys = OFF; DELETE FROM runs");
  assert_int_equal(nx_run_store_open(place->path, &other, &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "restore a backup"));
}

static void copy_file(const char *from, const char *to) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_error err = {0};
  if (nx_file_read(from, (size_t)1 << 20, &bytes, &err) < 0 ||
      nx_file_replace(to, nx_buffer_view(&bytes), 0600, &err) < 0)
    fail_msg("%s", err.text);
}

/* As a program of 24 November left it after a whole run of three members. */
static void store_of_an_older_program_is_lifted_with_all_it_holds(void **state) {
  struct place *place = *state;
  struct nx_store_member members[NX_STORE_MEMBERS];
  struct nx_store_run run;
  struct nx_store_sealed sealed;
  struct nx_error err = {0};
  char copy[128];
  size_t n;
  nx_run_store_destroy(place->store);
  place->store = NULL;
  copy_file("tests/unit/store/older/schema-2.sqlite", place->path);
  if (nx_run_store_open(place->path, &place->store, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(nx_run_store_members(place->store, members, &n, NULL), 0);
  assert_int_equal(n, 3);
  assert_string_equal(members[2].name, "site-2");
  assert_int_equal(nx_run_store_last_run(place->store, &run, NULL), 0);
  assert_int_equal(run.state, NX_RUN_FINISHED);
  assert_int_equal(nx_run_store_last_sealed(place->store, &sealed, NULL), 0);
  assert_int_equal(sealed.round, 3);
  assert_int_equal(sealed.n_survivors, 3);
  snprintf(copy, sizeof copy, "%s.schema-2", place->path);
  execute(copy, "SELECT count(*) FROM signatures");
  assert_int_equal(unlink(copy), 0);
}

/* The coordinator looks at what other processes wrote only when the mark is another. */
static void mark_tells_of_changes_by_both_sides(void **state) {
  struct place *place = *state;
  struct nx_run_store *other = NULL;
  uint64_t before, after;
  assert_int_equal(nx_run_store_mark(place->store, &before, NULL), 0);
  assert_int_equal(nx_run_store_mark(place->store, &after, NULL), 0);
  assert_true(before == after);
  assert_int_equal(invite(place, "by this process", 200), 1);
  assert_int_equal(nx_run_store_mark(place->store, &after, NULL), 0);
  assert_true(before != after);
  assert_int_equal(nx_run_store_open(place->path, &other, NULL), 0);
  struct nx_run_store *own = place->store;
  place->store = other;
  assert_int_equal(nx_run_store_mark(own, &before, NULL), 0);
  assert_int_equal(invite(place, "by another one", 200), 2);
  place->store = own;
  assert_int_equal(nx_run_store_mark(own, &after, NULL), 0);
  assert_true(before != after);
  nx_run_store_destroy(other);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(federation_is_kept),
      TEST(invitation_is_spent_once),
      TEST(invitation_expires_and_frees_its_name),
      TEST(keys_of_another_member_are_refused),
      TEST(the_founders_are_sealed_once_and_others_may_enrol),
      TEST(ids_end_at_255),
      TEST(members_are_found_by_certificate_key),
      TEST(revocation_is_kept_and_told_once),
      TEST(one_run_at_a_time),
      TEST(run_of_unknown_plan_is_refused),
      TEST(records_come_back_in_order_until_sealed),
      TEST(sealed_round_keeps_its_sums),
      TEST(two_different_signatures_are_evidence),
      TEST(foreign_and_newer_files_are_refused),
      TEST(older_store_is_lifted_and_its_copy_kept),
      TEST(store_of_an_older_program_is_lifted_with_all_it_holds),
      TEST(store_that_lost_rows_is_refused),
      TEST(mark_tells_of_changes_by_both_sides),
  };
  return cmocka_run_group_tests_name("run store", tests, NULL, NULL);
}
