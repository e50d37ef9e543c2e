/* Training run: begins when its members are here, asks again after a failure, obeys its
 * operator between attempts, and goes on after a restart with the very same messages.
 * (Whole rounds with real participants: tests/sim and tests/e2e.) */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/size.h"
#include "coordinator/admin/manifest.h"
#include "coordinator/training_run.h"
#include "proto/codec/codec_round.h"
#include "tests/unit/cmocka_shim.h"

#define MEMBERS 4

static char folder[64];
static struct nx_federation *federation;
static struct nx_audit_log *audit;
static struct nx_model_registry registry;
static struct nx_training_run_config config;
static struct nx_round_member members[MEMBERS];
static struct nx_buffer plan, manifest;

/* What was sent last to each member, and how often. */
static struct nx_buffer sent[MEMBERS + 1];
static int n_sent, n_sealed;

static void keep_sent(void *context, const struct nx_outgoing *outgoing) {
  uint32_t member = outgoing->member;
  (void)context;
  assert_true(member >= 1 && member <= MEMBERS);
  sent[member].size = 0;
  nx_buffer_append(&sent[member], outgoing->message.data, outgoing->message.size, NULL);
  n_sent++;
}

/* All but the last move, always. */
static int64_t time_now;
static int64_t all_but_one_move(void *context, uint32_t member) {
  (void)context;
  return member == MEMBERS ? 0 : time_now;
}

static void count_sealed(void *context) {
  (void)context;
  n_sealed++;
}

static void enrol(uint32_t i) {
  _cleanup_(nx_buffer_finish) struct nx_buffer issued = {0};
  struct nx_store_member member;
  struct nx_store_invitation invitation = {.created = 1, .expires = 100};
  snprintf(invitation.name, sizeof invitation.name, "site-%u", i);
  invitation.token_hash = nx_sha256(&i, sizeof i);
  memset(members[i].key.bytes, (int)i + 1, sizeof members[i].key.bytes);
  members[i].spki = nx_sha256(members[i].key.bytes, 32);
  assert_int_equal(nx_run_store_invite(federation->store, &invitation, NULL), 0);
  assert_int_equal(nx_run_store_enrol(federation->store, &invitation.token_hash, 2, &members[i].key,
                                      &members[i].spki, nx_bytes("pem", 3), 0, &member, &issued,
                                      NULL),
                   0);
  members[i].id = member.id;
}

static int make(void **state) {
  (void)state;
  char path[128];
  struct nx_signature signature;
  snprintf(folder, sizeof folder, "/tmp/nx-run-XXXXXX");
  assert_non_null(mkdtemp(folder));
  struct nx_federation_request request = {.home = folder, .name = "lab", .address = "127.0.0.1:0"};
  assert_int_equal(nx_federation_create(&request, NULL), 0);
  assert_int_equal(nx_federation_open(folder, &federation, NULL), 0);
  assert_int_equal(nx_federation_unlock(federation, NULL), 0);
  for (uint32_t i = 0; i < MEMBERS; i++)
    enrol(i);
  assert_int_equal(nx_manifest_seal(federation, NULL), 0);
  snprintf(path, sizeof path, "%s/blobs", folder);
  assert_int_equal(nx_model_registry_init(&registry, path, NULL), 0);
  snprintf(path, sizeof path, "%s/audit", folder);
  assert_int_equal(nx_audit_log_open(path, "coordinator", federation->identity, &audit, NULL), 0);
  assert_int_equal(nx_file_read("configs/plan-eegmat.yaml", 65536, &plan, NULL), 0);
  config = (struct nx_training_run_config){.federation = federation,
                                           .audit = audit,
                                           .registry = &registry,
                                           .members = members,
                                           .n_members = MEMBERS,
                                           .send = keep_sent,
                                           .sealed = count_sealed};
  n_sent = n_sealed = 0;
  return nx_manifest_recall(federation, &manifest, &signature, &config.manifest, NULL);
}

static int unmake(void **state) {
  (void)state;
  char command[128];
  for (int i = 0; i <= MEMBERS; i++)
    nx_buffer_finish(&sent[i]);
  nx_buffer_finish(&plan);
  nx_buffer_finish(&manifest);
  plan.cap = manifest.cap = 0;
  nx_audit_log_destroy(audit);
  nx_federation_close(federation);
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static struct nx_training_run *start(int64_t now) {
  struct nx_training_run *run = NULL;
  struct nx_error err = {0};
  if (nx_training_run_start(&config, nx_buffer_view(&plan), now, &run, &err) < 0)
    fail_msg("%s", err.text);
  return run;
}

static void connect_all(struct nx_training_run *run, uint32_t n, int64_t now) {
  for (uint32_t id = 1; id <= n; id++)
    assert_int_equal(nx_training_run_connected(run, id, now, NULL), 0);
}

static struct nx_run_status status_of(const struct nx_training_run *run) {
  struct nx_run_status status;
  nx_training_run_status(run, &status);
  return status;
}

/* Lets time pass until the run's own deadlines have led to `attempt` or its end. */
static int64_t pass_time(struct nx_training_run *run, int64_t now, uint32_t attempt) {
  for (int i = 0; i < 10000 && !nx_training_run_is_over(run); i++) {
    if (status_of(run).attempt >= attempt)
      return now;
    int64_t deadline = nx_training_run_deadline(run);
    assert_true(deadline != NX_NEVER);
    now = deadline > now ? deadline : now + NX_MILLISECOND;
    assert_int_equal(nx_training_run_tick(run, now, NULL), 0);
  }
  return now;
}

static void plan_that_cannot_run_is_refused_and_starts_nothing(void **state) {
  (void)state;
  struct nx_training_run *run = NULL;
  struct nx_store_run row;
  struct nx_error err = {0};
  assert_int_equal(nx_training_run_start(&config, nx_bytes("nonsense: 1\n", 12), 0, &run, &err),
                   NX_E_FORMAT);
  char *text = strndup((char *)plan.data, plan.size);
  char *at = strstr(text, "minimum_members: 3");
  at[strlen("minimum_members: ")] = '9';
  assert_int_equal(nx_training_run_start(&config, nx_bytes(text, plan.size), 0, &run, &err),
                   NX_E_INVALID);
  assert_non_null(strstr(err.text, "minimum_members"));
  free(text);
  assert_null(run);
  assert_int_equal(nx_run_store_last_run(federation->store, &row, NULL), NX_E_NOT_FOUND);
}

static void round_begins_when_all_are_here(void **state) {
  (void)state;
  _cleanup_(nx_training_run_destroyp) struct nx_training_run *run = start(1000);
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_signed_message message;
  struct nx_invite invite;
  connect_all(run, MEMBERS - 1, 2000);
  assert_int_equal(n_sent, 0);
  assert_string_equal(status_of(run).phase, "waiting");
  connect_all(run, MEMBERS, 3000);
  assert_string_equal(status_of(run).phase, "adverts");
  assert_int_equal(status_of(run).n_cohort, MEMBERS);
  nx_arena_create(0, &arena, NULL);
  for (int id = 1; id <= MEMBERS; id++) {
    assert_int_equal(nx_signed_message_decode(nx_buffer_view(&sent[id]), arena, &message, NULL), 0);
    assert_int_equal(message.type, NX_M0_INVITE);
    assert_int_equal(nx_signed_message_verify(&message, &federation->row.identity, NULL), 0);
    assert_int_equal(nx_invite_decode(message.body, arena, &invite, NULL), 0);
    assert_int_equal(invite.round, 1);
    assert_int_equal(invite.parameters.kind, 1);
    assert_true(nx_hash_equal(&invite.manifest, &config.manifest));
  }
}

static void absent_member_is_waited_for_only_so_long(void **state) {
  (void)state;
  _cleanup_(nx_training_run_destroyp) struct nx_training_run *run = start(0);
  connect_all(run, MEMBERS - 1, 0);
  assert_string_equal(status_of(run).phase, "waiting");
  assert_true(status_of(run).note[0]);
  int64_t now = pass_time(run, 0, 1);
  assert_true(now >= 5 * NX_SECOND && now <= 30 * NX_SECOND);
  assert_int_equal(status_of(run).n_cohort, MEMBERS - 1);
}

static void too_few_members_wait_without_end(void **state) {
  (void)state;
  _cleanup_(nx_training_run_destroyp) struct nx_training_run *run = start(0);
  int64_t now = 0;
  connect_all(run, 2, 0);
  for (int i = 0; i < 100; i++) {
    now = nx_training_run_deadline(run);
    assert_int_equal(nx_training_run_tick(run, now, NULL), 0);
  }
  assert_true(now >= 60 * NX_SECOND);
  assert_int_equal(n_sent, 0);
  assert_int_equal(status_of(run).attempt, 0);
  assert_false(nx_training_run_is_over(run));
}

static void silent_members_cost_an_attempt_and_in_the_end_the_run(void **state) {
  (void)state;
  federation->config->attempts = 3;
  _cleanup_(nx_training_run_destroyp) struct nx_training_run *run = start(0);
  connect_all(run, MEMBERS, 0);
  int64_t now = pass_time(run, 0, 2);
  assert_int_equal(status_of(run).round, 1);
  now = pass_time(run, now, 3);
  pass_time(run, now, 4);
  assert_true(nx_training_run_is_over(run));
  assert_int_equal(status_of(run).state, NX_RUN_FAILED);
  assert_true(status_of(run).note[0]);
  assert_int_equal(n_sealed, 0);
  struct nx_store_run row;
  assert_int_equal(nx_run_store_last_run(federation->store, &row, NULL), 0);
  assert_int_equal(row.state, NX_RUN_FAILED);
}

static void operator_is_obeyed_between_attempts(void **state) {
  (void)state;
  _cleanup_(nx_training_run_destroyp) struct nx_training_run *run = start(0);
  assert_int_equal(nx_training_run_pause(run, NULL), 0);
  connect_all(run, MEMBERS, 0);
  assert_int_equal(status_of(run).state, NX_RUN_PAUSED);
  assert_int_equal(n_sent, 0);
  assert_true(nx_training_run_deadline(run) == NX_NEVER);
  assert_int_equal(nx_training_run_continue(run, 5, NULL), 0);
  assert_int_equal(n_sent, MEMBERS);
  assert_int_equal(nx_training_run_stop(run, 6, NULL), 0);
  assert_true(status_of(run).stopping); /* the attempt is finished first */
  assert_false(nx_training_run_is_over(run));
  pass_time(run, 6, 99);
  assert_int_equal(status_of(run).state, NX_RUN_STOPPED);
  assert_int_equal(nx_training_run_stop(run, 7, NULL), NX_E_STATE);
  assert_int_equal(nx_training_run_pause(run, NULL), NX_E_STATE);
}

static void restart_goes_on_with_the_same_invitation(void **state) {
  (void)state;
  struct nx_training_run *run = start(0), *second = NULL;
  connect_all(run, MEMBERS, 0);
  _cleanup_(nx_buffer_finish) struct nx_buffer before = {0};
  nx_buffer_append(&before, sent[2].data, sent[2].size, NULL);
  assert_int_equal(nx_training_run_start(&config, nx_buffer_view(&plan), 0, &second, NULL),
                   NX_E_STATE);
  nx_training_run_destroy(run); /* as a kill would: nothing is said, nothing written */
  run = NULL;
  n_sent = 0;
  assert_int_equal(nx_training_run_resume(&config, 77, &run, NULL), 0);
  assert_int_equal(status_of(run).attempt, 1);
  connect_all(run, MEMBERS, 78);
  assert_true(n_sent >= MEMBERS);
  assert_int_equal(sent[2].size, before.size);
  assert_memory_equal(sent[2].data, before.data, before.size);
  nx_training_run_destroy(run);
}

static void restart_between_attempts_counts_them(void **state) {
  (void)state;
  struct nx_training_run *run = start(0);
  connect_all(run, MEMBERS, 0);
  pass_time(run, 0, 2);
  nx_training_run_destroy(run);
  run = NULL;
  assert_int_equal(nx_training_run_resume(&config, 0, &run, NULL), 0);
  assert_int_equal(status_of(run).attempt, 2);
  nx_training_run_destroy(run);
}

static void let_it_run(struct nx_training_run *run, uint32_t attempt) {
  while (status_of(run).attempt < attempt || !strcmp(status_of(run).phase, "waiting")) {
    time_now = NX_MAX(time_now, nx_training_run_deadline(run));
    assert_int_equal(nx_training_run_tick(run, time_now, NULL), 0);
  }
}

static void who_stands_still_is_not_invited_until_it_moves(void **state) {
  (void)state;
  uint32_t *before = federation->config->stillness_seconds, seconds = 30;
  federation->config->stillness_seconds = &seconds;
  config.moved = all_but_one_move;
  time_now = 1000 * NX_SECOND;
  _cleanup_(nx_training_run_destroyp) struct nx_training_run *run = start(time_now);
  connect_all(run, MEMBERS, time_now);
  assert_int_equal(status_of(run).n_cohort, MEMBERS);
  assert_false(nx_training_run_is_still(run, MEMBERS));
  let_it_run(run, 2); /* nobody answers: the phase ends the first attempt */
  assert_true(nx_training_run_is_still(run, MEMBERS));
  assert_int_equal(status_of(run).n_cohort, MEMBERS - 1);
  assert_int_equal(nx_training_run_moved(run, MEMBERS, time_now, NULL), 0);
  assert_false(nx_training_run_is_still(run, MEMBERS));
  let_it_run(run, 3);
  assert_int_equal(status_of(run).n_cohort, MEMBERS);
  federation->config->stillness_seconds = before;
}

static void garbage_from_a_member_changes_nothing(void **state) {
  (void)state;
  _cleanup_(nx_training_run_destroyp) struct nx_training_run *run = start(0);
  const struct nx_upload_spool *spool;
  struct nx_upload_header header;
  uint8_t bytes[300];
  connect_all(run, MEMBERS, 0);
  for (size_t n = 0; n < sizeof bytes; n++) {
    memset(bytes, (int)n, sizeof bytes);
    assert_int_equal(nx_training_run_message(run, 1 + n % MEMBERS, nx_bytes(bytes, n), 1, NULL), 0);
    assert_true(nx_training_run_check_upload(run, 1, nx_bytes(bytes, n), &spool, &header, 1, NULL) <
                0);
  }
  assert_string_equal(status_of(run).phase, "adverts");
  assert_int_equal(status_of(run).n_arrived, 0);
  assert_null(nx_training_run_opened(run));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)

int main(void) {
  nx_log_setup(NX_LOG_SILENT, NULL);
  const struct CMUnitTest tests[] = {
      TEST(plan_that_cannot_run_is_refused_and_starts_nothing),
      TEST(round_begins_when_all_are_here),
      TEST(absent_member_is_waited_for_only_so_long),
      TEST(too_few_members_wait_without_end),
      TEST(silent_members_cost_an_attempt_and_in_the_end_the_run),
      TEST(operator_is_obeyed_between_attempts),
      TEST(restart_goes_on_with_the_same_invitation),
      TEST(restart_between_attempts_counts_them),
      TEST(who_stands_still_is_not_invited_until_it_moves),
      TEST(garbage_from_a_member_changes_nothing),
  };
  return cmocka_run_group_tests_name("training run", tests, NULL, NULL);
}
