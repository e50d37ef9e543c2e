/* The round alone: beginnings, refusals, records, deadlines. Whole rounds, faults and
 * attacks are in tests/sim. */
#include <stdlib.h>

#include "common/clock.h"
#include "coordinator/round/round.h"
#include "tests/unit/cmocka_shim.h"
#include "tests/unit/round/round_members.h"

#define N 4

struct fixture {
  struct nx_identity *identities[N + 1]; /* 0: the coordinator */
  struct nx_round_member members[N];
  struct nx_round_config cfg;
  struct nx_round *round;
  struct nx_round_actions actions;
  int64_t now;
};

static const uint32_t everybody[] = {1, 2, 3, 4};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  for (uint32_t i = 0; i <= N; i++)
    assert_int_equal(nx_identity_create(&nx_entropy_system, &f->identities[i], NULL), 0);
  fill_members(f->identities, f->members, N);
  f->cfg = round_of_all(f->identities, f->members, everybody, N);
  assert_int_equal(nx_round_create(&f->cfg, &f->round, NULL), 0);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  nx_round_destroy(f->round);
  nx_round_actions_finish(&f->actions);
  for (uint32_t i = 0; i <= N; i++)
    nx_identity_destroy(f->identities[i]);
  free(f);
  return 0;
}

static int step(struct fixture *f, enum nx_round_event_type type, uint32_t member,
                struct nx_bytes message) {
  nx_round_actions_reset(&f->actions);
  return nx_round_step(f->round,
                       &(struct nx_round_event){.type = type, .member = member, .message = message},
                       f->now, &f->actions, NULL);
}

static int simple(struct fixture *f, enum nx_round_event_type type, uint32_t member) {
  return step(f, type, member, nx_bytes("", 0));
}

static const struct nx_round_action *find(const struct fixture *f, enum nx_round_action_type type) {
  for (size_t i = 0; i < f->actions.n; i++)
    if (f->actions.items[i].type == type)
      return &f->actions.items[i];
  return NULL;
}

static size_t count(const struct fixture *f, enum nx_round_action_type type) {
  size_t n = 0;
  for (size_t i = 0; i < f->actions.n; i++)
    n += f->actions.items[i].type == type;
  return n;
}

static void begin(struct fixture *f) {
  for (uint32_t id = 1; id <= N; id++)
    assert_int_equal(simple(f, NX_ROUND_CONNECTED, id), 0);
  assert_int_equal(simple(f, NX_ROUND_BEGIN, 0), 0);
}

static void an_invitation_is_durable_before_anybody_sees_it(void **state) {
  struct fixture *f = *state;
  begin(f);
  assert_int_equal(f->actions.items[0].type, NX_ROUND_PERSIST);
  assert_int_equal(count(f, NX_ROUND_SEND), N);
  assert_non_null(find(f, NX_ROUND_SET_DEADLINE));
}

static void nobody_hears_anything_before_the_beginning(void **state) {
  struct fixture *f = *state;
  assert_int_equal(simple(f, NX_ROUND_CONNECTED, 1), 0);
  assert_int_equal(count(f, NX_ROUND_SEND), 0);
}

static void too_few_adverts_end_the_attempt_with_nothing_uploaded(void **state) {
  struct fixture *f = *state;
  begin(f);
  f->now += 10 * NX_SECOND;
  assert_int_equal(simple(f, NX_ROUND_DEADLINE, 0), 0);
  const struct nx_round_action *finished = find(f, NX_ROUND_FINISHED);
  assert_non_null(finished);
  assert_int_equal(finished->outcome, NX_ROUND_NOT_UPLOADED);
  assert_int_equal(simple(f, NX_ROUND_CONNECTED, 1), 0); /* nothing happens any more */
  assert_int_equal(f->actions.n, 0);
}

static void members_that_are_gone_are_waited_for_only_a_little(void **state) {
  struct fixture *f = *state;
  begin(f);
  for (uint32_t id = 1; id <= N; id++)
    assert_int_equal(simple(f, NX_ROUND_LOST, id), 0);
  assert_null(find(f, NX_ROUND_FINISHED));
  f->now += 5 * NX_SECOND;
  assert_int_equal(simple(f, NX_ROUND_DEADLINE, 0), 0);
  assert_non_null(find(f, NX_ROUND_FINISHED));
}

static void the_silent_are_asked_again_less_and_less(void **state) {
  struct fixture *f = *state;
  begin(f);
  f->now += 5 * NX_SECOND - 1;
  assert_int_equal(simple(f, NX_ROUND_DEADLINE, 0), 0);
  assert_int_equal(count(f, NX_ROUND_SEND), 0);
  f->now += 1;
  assert_int_equal(simple(f, NX_ROUND_DEADLINE, 0), 0);
  assert_int_equal(count(f, NX_ROUND_SEND), N);
  assert_int_equal(simple(f, NX_ROUND_DEADLINE, 0), 0);
  assert_int_equal(count(f, NX_ROUND_SEND), 0);
}

static void an_operators_abort_before_any_bundle_needs_no_votes(void **state) {
  struct fixture *f = *state;
  begin(f);
  assert_int_equal(simple(f, NX_ROUND_ABORT, 0), 0);
  assert_int_equal(find(f, NX_ROUND_FINISHED)->outcome, NX_ROUND_NOT_UPLOADED);
}

static void a_restart_says_the_same_bytes_again(void **state) {
  struct fixture *f = *state;
  struct nx_buffer record = {0}, sent = {0};
  begin(f);
  const struct nx_round_action *persist = find(f, NX_ROUND_PERSIST), *send = find(f, NX_ROUND_SEND);
  nx_buffer_append(&record, persist->record.data, persist->record.size, NULL);
  nx_buffer_append(&sent, send->message.data, send->message.size, NULL);
  nx_round_destroy(f->round);
  assert_int_equal(nx_round_create(&f->cfg, &f->round, NULL), 0);
  struct nx_bytes records[] = {nx_buffer_view(&record)};
  nx_round_actions_reset(&f->actions);
  assert_int_equal(nx_round_step(f->round,
                                 &(struct nx_round_event){
                                     .type = NX_ROUND_RESTORE, .records = records, .n_records = 1},
                                 f->now, &f->actions, NULL),
                   0);
  assert_null(find(f, NX_ROUND_PERSIST));
  assert_int_equal(simple(f, NX_ROUND_CONNECTED, 2), 0);
  send = find(f, NX_ROUND_SEND);
  assert_non_null(send);
  assert_int_equal(send->message.size, sent.size);
  assert_memory_equal(send->message.data, sent.data, sent.size);
  nx_buffer_finish(&record);
  nx_buffer_finish(&sent);
}

static void records_of_another_attempt_are_not_taken(void **state) {
  struct fixture *f = *state;
  struct nx_buffer record = {0};
  begin(f);
  const struct nx_round_action *persist = find(f, NX_ROUND_PERSIST);
  nx_buffer_append(&record, persist->record.data, persist->record.size, NULL);
  nx_round_destroy(f->round);
  f->cfg.attempt = 2;
  assert_int_equal(nx_round_create(&f->cfg, &f->round, NULL), 0);
  struct nx_round_event event = {.type = NX_ROUND_RESTORE, .n_records = 1};
  struct nx_bytes whole = nx_buffer_view(&record);
  event.records = &whole;
  nx_round_actions_reset(&f->actions);
  assert_int_equal(nx_round_step(f->round, &event, 0, &f->actions, NULL), NX_E_FORMAT);
  struct nx_bytes cut = nx_bytes(record.data, record.size - 1);
  event.records = &cut;
  assert_true(nx_round_step(f->round, &event, 0, &f->actions, NULL) < 0);
  nx_buffer_finish(&record);
}

static void what_the_shell_may_not_do_is_an_error(void **state) {
  struct fixture *f = *state;
  assert_int_equal(simple(f, NX_ROUND_UNMASKED, 0), NX_E_STATE);
  assert_int_equal(simple(f, NX_ROUND_CONNECTED, 9), NX_E_STATE); /* not in the manifest */
  assert_int_equal(simple(f, 99, 0), NX_E_STATE);
  begin(f);
  assert_int_equal(simple(f, NX_ROUND_BEGIN, 0), NX_E_STATE);
  struct nx_upload_header header;
  assert_int_equal(nx_round_check_upload(f->round, 1, nx_bytes("x", 1), &header, NULL), NX_E_STATE);
}

static void garbage_and_other_peoples_messages_are_noted(void **state) {
  struct fixture *f = *state;
  struct nx_buffer body = {0}, message = {0};
  struct nx_refusal refusal = {3, 1, NX_REFUSAL_INVITE, "no"};
  begin(f);
  assert_int_equal(step(f, NX_ROUND_MESSAGE, 1, nx_bytes("garbage", 7)), 0);
  assert_string_equal(find(f, NX_ROUND_NOTE)->kind, "bad-message");
  assert_int_equal(nx_refusal_encode(&refusal, &body, NULL), 0);
  assert_int_equal(nx_signed_message_make(f->identities[2], 2, NX_MESSAGE_REFUSAL,
                                          nx_buffer_view(&body), nx_bytes("", 0), &message, NULL),
                   0);
  assert_int_equal(step(f, NX_ROUND_MESSAGE, 1, nx_buffer_view(&message)), 0);
  assert_string_equal(find(f, NX_ROUND_NOTE)->kind, "bad-message"); /* signed by 2 */
  assert_int_equal(step(f, NX_ROUND_MESSAGE, 2, nx_buffer_view(&message)), 0);
  assert_string_equal(find(f, NX_ROUND_NOTE)->kind, "refused");
  nx_buffer_finish(&body);
  nx_buffer_finish(&message);
}

static void rounds_that_cannot_hold_are_not_made(void **state) {
  struct fixture *f = *state;
  struct nx_round *round = NULL;
  struct nx_round_config cfg = f->cfg;
  cfg.n_cohort = 2;
  assert_int_equal(nx_round_create(&cfg, &round, NULL), NX_E_LIMIT);
  cfg = f->cfg;
  cfg.minimum_members = 5;
  assert_int_equal(nx_round_create(&cfg, &round, NULL), NX_E_LIMIT);
  cfg = f->cfg;
  cfg.parameters = (struct nx_transcript_parameters){.kind = 2,
                                                     .n_lanes = 10,
                                                     .ring_bits = 12,
                                                     .value_bits = 11,
                                                     .value_range = 1,
                                                     .clip_norm = 1};
  assert_true(nx_round_create(&cfg, &round, NULL) < 0); /* 4 Q overflows 12 bits */
  cfg.parameters.value_bits = 9;
  assert_int_equal(nx_round_create(&cfg, &round, NULL), 0);
  nx_round_destroy(round);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_invitation_is_durable_before_anybody_sees_it),
      TEST(nobody_hears_anything_before_the_beginning),
      TEST(too_few_adverts_end_the_attempt_with_nothing_uploaded),
      TEST(members_that_are_gone_are_waited_for_only_a_little),
      TEST(the_silent_are_asked_again_less_and_less),
      TEST(an_operators_abort_before_any_bundle_needs_no_votes),
      TEST(a_restart_says_the_same_bytes_again),
      TEST(records_of_another_attempt_are_not_taken),
      TEST(what_the_shell_may_not_do_is_an_error),
      TEST(garbage_and_other_peoples_messages_are_noted),
      TEST(rounds_that_cannot_hold_are_not_made),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
