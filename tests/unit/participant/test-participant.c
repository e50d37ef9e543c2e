/* The participant alone: a coordinator's words are made here, message by message. Whole
 * rounds, faults and attacks are in tests/sim. */
#include <stdlib.h>

#include "common/clock.h"
#include "node/session/participant_internal.h"
#include "proto/codec/round_checks.h"
#include "tests/unit/cmocka_shim.h"

#define N 4
#define ME 2

struct fixture {
  struct nx_identity *identities[N + 1]; /* 0: the coordinator */
  struct nx_participant_member members[N];
  struct nx_participant_config cfg;
  struct nx_participant *p;
  struct nx_participant_actions actions;
  int64_t now;
};

static struct nx_hash hash_of(const char *text) {
  return nx_sha256(text, strlen(text));
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  for (uint32_t i = 0; i <= N; i++)
    assert_int_equal(nx_identity_create(&nx_entropy_system, &f->identities[i], NULL), 0);
  for (uint32_t i = 0; i < N; i++)
    f->members[i] = (struct nx_participant_member){i + 1, *nx_identity_public(f->identities[i + 1]),
                                                   nx_sha256(&i, sizeof i)};
  f->cfg = (struct nx_participant_config){.id = ME,
                                          .federation = {7},
                                          .manifest = hash_of("manifest"),
                                          .members = f->members,
                                          .n_members = N,
                                          .coordinator_key = *nx_identity_public(f->identities[0]),
                                          .coordinator_spki = hash_of("coordinator"),
                                          .identity = f->identities[ME],
                                          .entropy = &nx_entropy_system,
                                          .spot_checks = 2,
                                          .model = hash_of("model")};
  assert_int_equal(nx_participant_create(&f->cfg, &f->p, NULL), 0);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  nx_participant_destroy(f->p);
  nx_participant_actions_finish(&f->actions);
  for (uint32_t i = 0; i <= N; i++)
    nx_identity_destroy(f->identities[i]);
  free(f);
  return 0;
}

static int step(struct fixture *f, const struct nx_participant_event *event) {
  nx_participant_actions_reset(&f->actions);
  return nx_participant_step(f->p, event, f->now, &f->actions, NULL);
}

static const struct nx_participant_action *find(const struct fixture *f,
                                                enum nx_participant_action_type type) {
  for (size_t i = 0; i < f->actions.n; i++)
    if (f->actions.items[i].type == type)
      return &f->actions.items[i];
  return NULL;
}

static bool noted(const struct fixture *f, const char *kind) {
  for (size_t i = 0; i < f->actions.n; i++)
    if (f->actions.items[i].type == NX_PARTICIPANT_NOTE && !strcmp(f->actions.items[i].kind, kind))
      return true;
  return false;
}

static const uint32_t everybody[] = {1, 2, 3, 4}, others[] = {1, 3, 4};

static struct nx_invite invite(uint64_t round, uint32_t attempt) {
  return (struct nx_invite){.federation = {7},
                            .manifest = hash_of("manifest"),
                            .plan = hash_of("plan"),
                            .model = hash_of("model"),
                            .round = round,
                            .attempt = attempt,
                            .members = everybody,
                            .n_members = N,
                            .parameters = {.kind = 1, .n_aux = 6, .ring_bits = 32},
                            .phase_seconds = 10,
                            .training_seconds = 20};
}

static void say(struct fixture *f, uint32_t type, struct nx_buffer *body, uint32_t signer) {
  struct nx_buffer message = {0};
  assert_int_equal(nx_signed_message_make(f->identities[signer], 0, type, nx_buffer_view(body),
                                          nx_bytes("", 0), &message, NULL),
                   0);
  struct nx_participant_event event = {.type = NX_PARTICIPANT_MESSAGE,
                                       .message = nx_buffer_view(&message)};
  assert_int_equal(step(f, &event), 0);
  nx_buffer_finish(&message);
  nx_buffer_finish(body);
}

static void say_invite(struct fixture *f, const struct nx_invite *m) {
  struct nx_buffer body = {0};
  assert_int_equal(nx_invite_encode(m, &body, NULL), 0);
  say(f, NX_M0_INVITE, &body, 0);
}

static struct nx_hash t0_of(struct fixture *f, const struct nx_invite *m) {
  struct nx_transcript_member members[N];
  struct nx_check_context context = {members, N, f->cfg.coordinator_spki};
  struct nx_hash t0;
  for (uint32_t i = 0; i < N; i++)
    members[i] =
        (struct nx_transcript_member){f->members[i].id, f->members[i].spki, f->members[i].key};
  assert_int_equal(nx_check_invite(&context, m, &t0, NULL), 0);
  return t0;
}

static void ask_to_abort(struct fixture *f, uint64_t round, uint32_t attempt) {
  struct nx_buffer body = {0};
  struct nx_invite m = invite(round, attempt);
  struct nx_abort_request request = {t0_of(f, &m), round, attempt, "a test"};
  assert_int_equal(nx_abort_request_encode(&request, &body, NULL), 0);
  say(f, NX_MESSAGE_ABORT_REQUEST, &body, 0);
}

static int decide(struct fixture *f, uint64_t round, uint32_t attempt, bool accepted) {
  return step(f, &(struct nx_participant_event){.type = NX_PARTICIPANT_DECIDED,
                                                .round = round,
                                                .attempt = attempt,
                                                .accepted = accepted,
                                                .reason = "no"});
}

static void join(struct fixture *f, uint64_t round, uint32_t attempt) {
  struct nx_invite m = invite(round, attempt);
  say_invite(f, &m);
  assert_non_null(find(f, NX_PARTICIPANT_CONSIDER));
  assert_int_equal(decide(f, round, attempt, true), 0);
}

static struct nx_buffer journal_of(const struct fixture *f) {
  struct nx_buffer record = {0};
  const struct nx_participant_action *persist = find(f, NX_PARTICIPANT_PERSIST);
  assert_non_null(persist);
  nx_buffer_append(&record, persist->record.data, persist->record.size, NULL);
  return record;
}

static int restart(struct fixture *f, const struct nx_bytes *records, size_t n, bool torn) {
  nx_participant_destroy(f->p);
  assert_int_equal(nx_participant_create(&f->cfg, &f->p, NULL), 0);
  return step(
      f, &(struct nx_participant_event){
             .type = NX_PARTICIPANT_RESTORE, .records = records, .n_records = n, .torn = torn});
}

/* --- joining ------------------------------------------------------------------------------ */

static void joining_is_durable_before_the_advert_is_sent_and_work_begins(void **state) {
  struct fixture *f = *state;
  join(f, 1, 1);
  const struct nx_participant_action *items = f->actions.items;
  assert_int_equal(items[0].type, NX_PARTICIPANT_PERSIST);
  assert_true(items[0].replace);
  assert_int_equal(items[1].type, NX_PARTICIPANT_SEND);
  assert_int_equal(items[2].type, NX_PARTICIPANT_START_WORK);
  assert_int_equal(items[2].variant, 0);
}

static void a_refusal_by_policy_is_told_and_forgotten(void **state) {
  struct fixture *f = *state;
  struct nx_invite m = invite(1, 1);
  say_invite(f, &m);
  assert_int_equal(decide(f, 1, 1, false), 0);
  assert_null(find(f, NX_PARTICIPANT_PERSIST));
  assert_non_null(find(f, NX_PARTICIPANT_SEND));
  struct nx_participant_progress progress;
  nx_participant_progress(f->p, &progress);
  assert_string_equal(progress.phase, "idle");
}

static void the_same_invitation_again_gets_the_same_advert(void **state) {
  struct fixture *f = *state;
  struct nx_invite m = invite(1, 1);
  join(f, 1, 1);
  struct nx_bytes sent = find(f, NX_PARTICIPANT_SEND)->message;
  struct nx_hash first = nx_sha256(sent.data, sent.size);
  say_invite(f, &m);
  sent = find(f, NX_PARTICIPANT_SEND)->message;
  struct nx_hash second = nx_sha256(sent.data, sent.size);
  assert_true(nx_hash_equal(&first, &second));
  assert_null(find(f, NX_PARTICIPANT_PERSIST));
}

static void a_second_invitation_for_one_attempt_is_evidence(void **state) {
  struct fixture *f = *state;
  struct nx_invite m = invite(1, 1);
  join(f, 1, 1);
  m.phase_seconds = 11;
  say_invite(f, &m);
  assert_string_equal(find(f, NX_PARTICIPANT_EVIDENCE)->kind, "two-invites");
}

static void a_later_attempt_closes_the_earlier_one(void **state) {
  struct fixture *f = *state;
  struct nx_invite m = invite(1, 1);
  join(f, 1, 1);
  join(f, 1, 2);
  say_invite(f, &m);
  assert_true(noted(f, "old-attempt"));
  assert_null(find(f, NX_PARTICIPANT_SEND));
}

static void words_of_others_than_the_coordinator_count_for_nothing(void **state) {
  struct fixture *f = *state;
  struct nx_buffer body = {0};
  struct nx_invite m = invite(1, 1);
  assert_int_equal(nx_invite_encode(&m, &body, NULL), 0);
  say(f, NX_M0_INVITE, &body, 3); /* signed by member 3 in its name */
  assert_true(noted(f, "bad-message"));
  assert_null(find(f, NX_PARTICIPANT_CONSIDER));
}

static void who_is_not_invited_watches(void **state) {
  struct fixture *f = *state;
  struct nx_invite m = invite(1, 1);
  struct nx_participant_progress progress;
  m.members = others;
  m.n_members = 3;
  say_invite(f, &m);
  assert_null(find(f, NX_PARTICIPANT_CONSIDER));
  nx_participant_progress(f->p, &progress);
  assert_true(progress.witness);
  assert_string_equal(progress.phase, "roster");
}

/* --- votes ---------------------------------------------------------------------------------- */

static void a_vote_is_durable_before_it_is_sent_and_never_changes(void **state) {
  struct fixture *f = *state;
  join(f, 1, 1);
  ask_to_abort(f, 1, 1);
  const struct nx_participant_action *persist = find(f, NX_PARTICIPANT_PERSIST);
  const struct nx_participant_action *send = find(f, NX_PARTICIPANT_SEND);
  assert_non_null(persist);
  assert_true(persist < send);
  struct nx_hash first = nx_sha256(send->message.data, send->message.size);
  ask_to_abort(f, 1, 1);
  assert_null(find(f, NX_PARTICIPANT_PERSIST));
  send = find(f, NX_PARTICIPANT_SEND);
  struct nx_hash second = nx_sha256(send->message.data, send->message.size);
  assert_true(nx_hash_equal(&first, &second));
}

static void patience_ends_with_an_abort_vote_and_no_secrets(void **state) {
  struct fixture *f = *state;
  struct nx_invite m = invite(1, 1);
  say_invite(f, &m);
  int64_t at = find(f, NX_PARTICIPANT_SET_DEADLINE)->at;
  assert_int_equal(decide(f, 1, 1, true), 0);
  assert_true(at > f->now);
  f->now = at;
  assert_int_equal(step(f, &(struct nx_participant_event){.type = NX_PARTICIPANT_DEADLINE}), 0);
  assert_non_null(find(f, NX_PARTICIPANT_PERSIST));
  assert_non_null(find(f, NX_PARTICIPANT_SEND));
  assert_non_null(find(f, NX_PARTICIPANT_ABORTED));
}

/* --- restarts --------------------------------------------------------------------------------- */

static uint32_t sent_type(const struct fixture *f) {
  struct nx_signed_message message;
  struct nx_arena *arena;
  const struct nx_participant_action *send = find(f, NX_PARTICIPANT_SEND);
  assert_non_null(send);
  assert_int_equal(nx_arena_create(0, &arena, NULL), 0);
  assert_int_equal(nx_signed_message_decode(send->message, arena, &message, NULL), 0);
  nx_arena_destroy(arena);
  return message.type;
}

static void a_restarted_node_watches_and_votes_abort_when_asked(void **state) {
  struct fixture *f = *state;
  struct nx_participant_progress progress;
  struct nx_invite m = invite(1, 1);
  join(f, 1, 1);
  struct nx_buffer journal = journal_of(f);
  struct nx_bytes record = nx_buffer_view(&journal);
  assert_int_equal(restart(f, &record, 1, false), 0);
  say_invite(f, &m);
  assert_null(find(f, NX_PARTICIPANT_CONSIDER));
  assert_int_equal(sent_type(f), NX_MESSAGE_REFUSAL); /* so that nobody waits for it */
  nx_participant_progress(f->p, &progress);
  assert_true(progress.witness);
  ask_to_abort(f, 1, 1);
  assert_int_equal(sent_type(f), NX_M7_VOTE);
  nx_buffer_finish(&journal);
}

static void a_stored_vote_is_what_a_restarted_node_repeats(void **state) {
  struct fixture *f = *state;
  struct nx_invite m = invite(1, 1);
  join(f, 1, 1);
  struct nx_buffer joined = journal_of(f);
  ask_to_abort(f, 1, 1);
  struct nx_buffer voted = journal_of(f);
  struct nx_bytes sent = find(f, NX_PARTICIPANT_SEND)->message;
  struct nx_hash before = nx_sha256(sent.data, sent.size);
  struct nx_bytes records[] = {nx_buffer_view(&joined), nx_buffer_view(&voted)};
  assert_int_equal(restart(f, records, 2, false), 0);
  say_invite(f, &m);
  ask_to_abort(f, 1, 1);
  assert_null(find(f, NX_PARTICIPANT_PERSIST));
  sent = find(f, NX_PARTICIPANT_SEND)->message;
  struct nx_hash after = nx_sha256(sent.data, sent.size);
  assert_true(nx_hash_equal(&before, &after));
  nx_buffer_finish(&joined);
  nx_buffer_finish(&voted);
}

static void a_torn_journal_never_votes_again_in_that_attempt(void **state) {
  struct fixture *f = *state;
  struct nx_invite m = invite(1, 1);
  join(f, 1, 1);
  struct nx_buffer journal = journal_of(f);
  struct nx_bytes record = nx_buffer_view(&journal);
  assert_int_equal(restart(f, &record, 1, true), 0);
  say_invite(f, &m);
  ask_to_abort(f, 1, 1);
  assert_null(find(f, NX_PARTICIPANT_SEND));
  assert_null(find(f, NX_PARTICIPANT_PERSIST));
  join(f, 1, 2); /* the next attempt is another matter, with another update */
  assert_int_equal(find(f, NX_PARTICIPANT_START_WORK)->variant, 1);
  nx_buffer_finish(&journal);
}

/* It may die between any two records: what it catches up on and that it is in doubt are one. */
static void doubt_outlives_catching_up_in_one_record(void **state) {
  struct fixture *f = *state;
  assert_int_equal(restart(f, NULL, 0, true), 0); /* not even the joined attempt is left */
  assert_int_equal(step(f, &(struct nx_participant_event){.type = NX_PARTICIPANT_CAUGHT_UP,
                                                          .round = 4,
                                                          .model = hash_of("model")}),
                   0);
  struct nx_buffer caught_up = journal_of(f);
  struct nx_bytes record = nx_buffer_view(&caught_up);
  assert_int_equal(restart(f, &record, 1, false), 0);
  struct nx_invite m = invite(5, 1);
  say_invite(f, &m);
  assert_null(find(f, NX_PARTICIPANT_CONSIDER)); /* it may have joined this one: it looks on */
  m = invite(5, 2);
  say_invite(f, &m);
  assert_non_null(find(f, NX_PARTICIPANT_CONSIDER));
  nx_buffer_finish(&caught_up);
}

static void a_damaged_record_fails_closed(void **state) {
  struct fixture *f = *state;
  join(f, 1, 1);
  struct nx_buffer journal = journal_of(f);
  for (size_t size = 0; size < journal.size; size++) {
    struct nx_bytes cut = nx_bytes(journal.data, size);
    assert_int_equal(restart(f, &cut, 1, false), NX_E_FORMAT);
  }
  journal.data[0] ^= 4;
  struct nx_bytes record = nx_buffer_view(&journal);
  assert_int_equal(restart(f, &record, 1, false), NX_E_FORMAT);
  nx_buffer_finish(&journal);
}

/* --- the shell's own mistakes, and stale answers ------------------------------------------------
 */

static void events_that_make_no_sense_are_refused_or_ignored(void **state) {
  struct fixture *f = *state;
  assert_int_equal(step(f, &(struct nx_participant_event){.type = NX_PARTICIPANT_UPLOADED}), 0);
  assert_true(noted(f, "stale"));
  join(f, 1, 1);
  assert_int_equal(step(f, &(struct nx_participant_event){.type = NX_PARTICIPANT_RESTORE}),
                   NX_E_STATE);
  assert_int_equal(step(f, &(struct nx_participant_event){.type = 99}), NX_E_STATE);
  assert_int_equal(decide(f, 1, 1, true), 0); /* asked once, answered twice */
  assert_true(noted(f, "stale"));
  assert_int_equal(step(f, &(struct nx_participant_event){.type = NX_PARTICIPANT_UPDATE_READY,
                                                          .round = 1,
                                                          .attempt = 9}),
                   0);
  assert_true(noted(f, "stale"));
}

static void every_cut_of_a_message_is_harmless(void **state) {
  struct fixture *f = *state;
  struct nx_buffer body = {0}, message = {0};
  struct nx_invite m = invite(1, 1);
  assert_int_equal(nx_invite_encode(&m, &body, NULL), 0);
  assert_int_equal(nx_signed_message_make(f->identities[0], 0, NX_M0_INVITE, nx_buffer_view(&body),
                                          nx_bytes("", 0), &message, NULL),
                   0);
  for (size_t i = 0; i < message.size; i++) {
    assert_int_equal(step(f, &(struct nx_participant_event){.type = NX_PARTICIPANT_MESSAGE,
                                                            .message = {message.data, i}}),
                     0);
    assert_null(find(f, NX_PARTICIPANT_CONSIDER));
    message.data[i] ^= 0x20;
    assert_int_equal(step(f, &(struct nx_participant_event){.type = NX_PARTICIPANT_MESSAGE,
                                                            .message = nx_buffer_view(&message)}),
                     0);
    assert_null(find(f, NX_PARTICIPANT_CONSIDER));
    message.data[i] ^= 0x20;
  }
  nx_buffer_finish(&body);
  nx_buffer_finish(&message);
}

/* --- catching up
 * ---------------------------------------------------------------------------------- */

static struct nx_buffer seal_of(struct fixture *f, uint32_t member, uint64_t round,
                                const char *model) {
  struct nx_buffer body = {0}, message = {0};
  struct nx_sealed sealed = {round, 1, hash_of("t3"), hash_of(model)};
  assert_int_equal(nx_sealed_encode(&sealed, &body, NULL), 0);
  assert_int_equal(nx_signed_message_make(f->identities[member], member, NX_M11_SEALED,
                                          nx_buffer_view(&body), nx_bytes("", 0), &message, NULL),
                   0);
  nx_buffer_finish(&body);
  return message;
}

static void a_missed_model_needs_seals_of_enough_distinct_members(void **state) {
  struct fixture *f = *state;
  struct nx_buffer one = seal_of(f, 1, 5, "new"), three = seal_of(f, 3, 5, "new"),
                   other = seal_of(f, 3, 5, "false"), old = seal_of(f, 3, 4, "new");
  struct nx_hash model = hash_of("new");
  struct nx_bytes good[] = {nx_buffer_view(&one), nx_buffer_view(&three)};
  struct nx_bytes twice[] = {nx_buffer_view(&one), nx_buffer_view(&one)};
  struct nx_bytes split[] = {nx_buffer_view(&one), nx_buffer_view(&other)};
  struct nx_bytes stale[] = {nx_buffer_view(&one), nx_buffer_view(&old)};
  assert_int_equal(nx_seals_check(&f->cfg, 5, &model, good, 2, NULL), 0); /* n_C + 1 = 2 */
  assert_int_equal(nx_seals_check(&f->cfg, 5, &model, good, 1, NULL), NX_E_CRYPTO);
  assert_int_equal(nx_seals_check(&f->cfg, 5, &model, twice, 2, NULL), NX_E_PROTOCOL);
  assert_int_equal(nx_seals_check(&f->cfg, 5, &model, split, 2, NULL), NX_E_CRYPTO);
  assert_int_equal(nx_seals_check(&f->cfg, 5, &model, stale, 2, NULL), NX_E_CRYPTO);
  three.data[three.size - 1] ^= 1;
  assert_true(nx_seals_check(&f->cfg, 5, &model, good, 2, NULL) < 0);
  nx_buffer_finish(&one);
  nx_buffer_finish(&three);
  nx_buffer_finish(&other);
  nx_buffer_finish(&old);
}

static void caught_up_rounds_are_not_gone_back_to(void **state) {
  struct fixture *f = *state;
  struct nx_participant_progress progress;
  struct nx_invite m = invite(5, 1);
  assert_int_equal(step(f, &(struct nx_participant_event){.type = NX_PARTICIPANT_CAUGHT_UP,
                                                          .round = 5,
                                                          .model = hash_of("new")}),
                   0);
  assert_non_null(find(f, NX_PARTICIPANT_PERSIST));
  nx_participant_progress(f->p, &progress);
  assert_int_equal(progress.last_sealed, 5);
  say_invite(f, &m);
  assert_true(noted(f, "old-round"));
}

static int begin_plan(struct fixture *f, uint64_t last_sealed, const char *model) {
  return step(f, &(struct nx_participant_event){.type = NX_PARTICIPANT_CAUGHT_UP,
                                                .round = last_sealed,
                                                .model = hash_of(model)});
}

/* A run was stopped in the middle of an attempt, and the next one has another plan. */
static void another_plan_ends_the_attempt_and_forgets_no_exposure(void **state) {
  struct fixture *f = *state;
  struct nx_participant_progress progress;
  join(f, 1, 1);
  f->p->durable.exposed = true; /* as after its upload */
  assert_int_equal(begin_plan(f, 0, "of another plan"), 0);
  assert_non_null(find(f, NX_PARTICIPANT_ABORTED));
  nx_participant_progress(f->p, &progress);
  assert_int_equal(progress.round, 0);
  struct nx_hash model = hash_of("of another plan");
  assert_true(nx_hash_equal(&progress.model, &model));
  struct nx_buffer journal = journal_of(f);
  struct nx_bytes records[] = {nx_buffer_view(&journal)};
  assert_int_equal(restart(f, records, 1, false), 0);
  struct nx_invite m = invite(1, 2);
  m.model = model;
  say_invite(f, &m);
  assert_non_null(find(f, NX_PARTICIPANT_CONSIDER));
  assert_int_equal(decide(f, 1, 2, true), 0);
  assert_int_equal(find(f, NX_PARTICIPANT_START_WORK)->variant, 1);
  nx_buffer_finish(&journal);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(joining_is_durable_before_the_advert_is_sent_and_work_begins),
      TEST(a_refusal_by_policy_is_told_and_forgotten),
      TEST(the_same_invitation_again_gets_the_same_advert),
      TEST(a_second_invitation_for_one_attempt_is_evidence),
      TEST(a_later_attempt_closes_the_earlier_one),
      TEST(words_of_others_than_the_coordinator_count_for_nothing),
      TEST(who_is_not_invited_watches),
      TEST(a_vote_is_durable_before_it_is_sent_and_never_changes),
      TEST(patience_ends_with_an_abort_vote_and_no_secrets),
      TEST(a_restarted_node_watches_and_votes_abort_when_asked),
      TEST(a_stored_vote_is_what_a_restarted_node_repeats),
      TEST(a_torn_journal_never_votes_again_in_that_attempt),
      TEST(doubt_outlives_catching_up_in_one_record),
      TEST(a_damaged_record_fails_closed),
      TEST(events_that_make_no_sense_are_refused_or_ignored),
      TEST(every_cut_of_a_message_is_harmless),
      TEST(a_missed_model_needs_seals_of_enough_distinct_members),
      TEST(caught_up_rounds_are_not_gone_back_to),
      TEST(another_plan_ends_the_attempt_and_forgets_no_exposure),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
