/* Stillness: who does not move while the round waits counts as gone, by name; who is slow and moves
 * is waited for to the end of the phase; a coordinator that was held up itself judges nobody. */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/size.h"
#include "coordinator/round/round.h"
#include "tests/unit/cmocka_shim.h"
#include "tests/unit/round/round_members.h"

#define N 4
#define PHASE 600
#define STILLNESS (40 * NX_SECOND)

struct fixture {
  struct nx_identity *identities[N + 1]; /* 0: the coordinator */
  struct nx_round_member members[N];
  struct nx_round *round;
  struct nx_round_actions actions;
  int64_t now, deadline;
  bool finished, still[N + 1]; /* as noted so far */
  char why[NX_ERROR_TEXT_SIZE];
};

static const uint32_t everybody[] = {1, 2, 3, 4};

static void make_round(struct fixture *f, int64_t stillness) {
  struct nx_round_config cfg = round_of_all(f->identities, f->members, everybody, N);
  cfg.phase_seconds = PHASE;
  cfg.stillness = stillness;
  nx_round_destroy(f->round);
  f->deadline = NX_NEVER;
  assert_int_equal(nx_round_create(&cfg, &f->round, NULL), 0);
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  for (uint32_t i = 0; i <= N; i++)
    assert_int_equal(nx_identity_create(&nx_entropy_system, &f->identities[i], NULL), 0);
  fill_members(f->identities, f->members, N);
  f->now = 1000 * NX_SECOND;
  make_round(f, STILLNESS);
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

static void step(struct fixture *f, const struct nx_round_event *event) {
  nx_round_actions_reset(&f->actions);
  assert_int_equal(nx_round_step(f->round, event, f->now, &f->actions, NULL), 0);
  for (size_t i = 0; i < f->actions.n; i++) {
    const struct nx_round_action *action = &f->actions.items[i];
    if (action->type == NX_ROUND_SET_DEADLINE)
      f->deadline = action->at;
    f->finished |= action->type == NX_ROUND_FINISHED;
    if (action->type == NX_ROUND_NOTE && !strcmp(action->kind, "still")) {
      f->still[action->member] = true;
      snprintf(f->why, sizeof f->why, "%s", action->reason);
    } else if (action->type == NX_ROUND_NOTE && !strcmp(action->kind, "moves")) {
      f->still[action->member] = false;
    }
  }
}

static void begin(struct fixture *f, uint32_t still) {
  for (uint32_t id = 1; id <= N; id++)
    step(f,
         &(struct nx_round_event){.type = NX_ROUND_CONNECTED, .member = id, .still = id == still});
  step(f, &(struct nx_round_event){.type = NX_ROUND_BEGIN});
}

static void moved(struct fixture *f, uint32_t id, int64_t at) {
  step(f, &(struct nx_round_event){.type = NX_ROUND_MOVED, .member = id, .at = at});
}

/* Lets `seconds` pass, and every deadline come when it is due. */
static void pass(struct fixture *f, int64_t seconds) {
  int64_t until = f->now + seconds * NX_SECOND;
  while (f->deadline <= until && !f->finished) {
    f->now = NX_MAX(f->now, f->deadline);
    step(f, &(struct nx_round_event){.type = NX_ROUND_DEADLINE});
  }
  f->now = until;
}

static unsigned n_still(const struct fixture *f) {
  unsigned n = 0;
  for (uint32_t id = 1; id <= N; id++)
    n += f->still[id];
  return n;
}

static void who_does_not_move_counts_as_gone_by_name(void **state) {
  struct fixture *f = *state;
  struct nx_round_progress progress;
  begin(f, 0);
  pass(f, 30);
  moved(f, 1, f->now);
  pass(f, 9);
  assert_int_equal(n_still(f), 0);
  pass(f, 1);
  assert_int_equal(n_still(f), 3);
  assert_false(f->still[1]);
  assert_non_null(strstr(f->why, "40 s"));
  assert_non_null(strstr(f->why, "adverts"));
  nx_round_progress(f->round, &progress);
  assert_int_equal(progress.n_still, 3);
  assert_int_equal(progress.n_connected, 4);
  assert_false(f->finished); /* member 1 is waited for */
  pass(f, 30);
  assert_true(f->finished); /* long before the phase's 600 s */
}

static void who_is_slow_and_moves_is_waited_for_to_the_end_of_the_phase(void **state) {
  struct fixture *f = *state;
  begin(f, 0);
  for (int64_t t = 0; t + 35 < PHASE; t += 35) {
    pass(f, 35);
    for (uint32_t id = 1; id <= N; id++)
      moved(f, id, f->now);
    assert_int_equal(n_still(f), 0);
    assert_false(f->finished);
  }
  pass(f, 35);
  assert_int_equal(n_still(f), 0);
  assert_true(f->finished);
}

/* What the shell saw is told with its own time, which may lie back. */
static void an_old_movement_counts_from_when_it_was(void **state) {
  struct fixture *f = *state;
  begin(f, 0);
  pass(f, 39);
  moved(f, 1, f->now - 20 * NX_SECOND);
  pass(f, 19);
  assert_false(f->still[1]);
  assert_true(f->still[2]);
  pass(f, 1);
  assert_true(f->still[1]);
}

static void who_moves_again_is_waited_for_again(void **state) {
  struct fixture *f = *state;
  begin(f, 0);
  pass(f, 30);
  moved(f, 1, f->now);
  pass(f, 20);
  assert_int_equal(n_still(f), 3);
  moved(f, 2, f->now - 45 * NX_SECOND); /* that was before */
  assert_true(f->still[2]);
  moved(f, 2, f->now);
  assert_false(f->still[2]);
  pass(f, 39);
  assert_true(f->still[1]);
  assert_false(f->finished);
  pass(f, 1);
  assert_true(f->finished);
}

static void a_message_is_a_movement(void **state) {
  struct fixture *f = *state;
  begin(f, 0);
  pass(f, 30);
  step(f, &(struct nx_round_event){
              .type = NX_ROUND_MESSAGE, .member = 3, .message = nx_bytes("garbage", 7)});
  pass(f, 20);
  assert_false(f->still[3]);
  assert_int_equal(n_still(f), 3);
}

static void who_was_still_before_is_not_waited_for_and_hears_all_the_same(void **state) {
  struct fixture *f = *state;
  size_t sent = 0;
  begin(f, 4);
  for (size_t i = 0; i < f->actions.n; i++)
    sent += f->actions.items[i].type == NX_ROUND_SEND;
  assert_int_equal(sent, N);
  for (uint32_t id = 1; id < 4; id++)
    step(f, &(struct nx_round_event){.type = NX_ROUND_LOST, .member = id});
  pass(f, 5);
  assert_true(f->finished); /* nobody is left to be waited for */
}

static void a_coordinator_that_was_held_up_judges_nobody(void **state) {
  struct fixture *f = *state;
  begin(f, 0);
  f->now += 300 * NX_SECOND; /* it was stopped: what they sent waits in its sockets */
  step(f, &(struct nx_round_event){.type = NX_ROUND_DEADLINE});
  assert_int_equal(n_still(f), 0);
  pass(f, 39);
  assert_int_equal(n_still(f), 0);
  pass(f, 1);
  assert_int_equal(n_still(f), 4);
}

static void without_the_setting_only_the_phase_ends_it(void **state) {
  struct fixture *f = *state;
  make_round(f, 0);
  begin(f, 0);
  pass(f, PHASE - 1);
  assert_int_equal(n_still(f), 0);
  assert_false(f->finished);
  pass(f, 1);
  assert_true(f->finished);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(who_does_not_move_counts_as_gone_by_name),
      TEST(who_is_slow_and_moves_is_waited_for_to_the_end_of_the_phase),
      TEST(an_old_movement_counts_from_when_it_was),
      TEST(who_moves_again_is_waited_for_again),
      TEST(a_message_is_a_movement),
      TEST(who_was_still_before_is_not_waited_for_and_hears_all_the_same),
      TEST(a_coordinator_that_was_held_up_judges_nobody),
      TEST(without_the_setting_only_the_phase_ends_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
