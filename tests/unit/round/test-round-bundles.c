/* M4, the one message that grows with the square of the members: what a round keeps for it, and
 * that it is the same whenever it is made. */
#include <stdlib.h>

#include "common/clock.h"
#include "coordinator/round/round_internal.h"
#include "crypto/agreement.h"
#include "tests/unit/cmocka_shim.h"
#include "tests/unit/round/round_members.h"

#define N 60
#define ABSENT N /* the last one sends keys and no shares */

static struct nx_identity *identities[N + 1]; /* 0: the coordinator */
static struct nx_round_member members[N];
static uint32_t everybody[N];
static struct nx_round_config cfg;
static struct nx_round *round_;
static struct nx_round_actions actions;
static struct nx_buffer records[N + 8];
static size_t n_records;
static size_t shares_bytes; /* of all M3 that were sent */

static void must(int r, const struct nx_error *err) {
  if (r < 0)
    fail_msg("%s", err->text);
}

/* What is to be durable is; the views of an action end with the next step. */
static void step(const struct nx_round_event *event) {
  struct nx_error err = {0};
  nx_round_actions_reset(&actions);
  must(nx_round_step(round_, event, NX_SECOND, &actions, &err), &err);
  for (size_t i = 0; i < actions.n; i++) {
    const struct nx_round_action *action = &actions.items[i];
    if (action->type == NX_ROUND_PERSIST)
      must(nx_buffer_append(&records[n_records++], action->record.data, action->record.size, &err),
           &err);
  }
}

static void say(uint32_t member, uint32_t type, const struct nx_buffer *body,
                struct nx_bytes detached) {
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  struct nx_error err = {0};
  must(nx_signed_message_make(identities[member], member, type, nx_buffer_view(body), detached,
                              &message, &err),
       &err);
  if (type == NX_M3_SHARES)
    shares_bytes += message.size;
  step(&(struct nx_round_event){
      .type = NX_ROUND_MESSAGE, .member = member, .message = nx_buffer_view(&message)});
}

static struct nx_point some_point(void) {
  struct nx_secret secret;
  struct nx_point point;
  struct nx_error err = {0};
  must(nx_agreement_create(&nx_entropy_system, &secret, &point, &err), &err);
  return point;
}

static void say_advert(uint32_t member) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  const struct nx_advert advert = {
      .t0 = round_->t0, .id = member, .c = some_point(), .s = some_point()};
  struct nx_error err = {0};
  must(nx_advert_encode(&advert, &body, &err), &err);
  say(member, NX_M1_ADVERT, &body, nx_bytes("", 0));
}

static void fill_box(struct nx_share_box *box, uint32_t dealer, uint32_t holder) {
  box->id = holder;
  memset(box->bytes, (int)dealer, sizeof box->bytes);
  box->bytes[0] = (uint8_t)holder;
}

static void say_shares(uint32_t member) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, detached = {0};
  struct nx_share_commitment commitments[N] = {{0}};
  struct nx_share_box boxes[N];
  const struct nx_shares shares = {round_->t1, member, commitments, N};
  struct nx_error err = {0};
  size_t n = 0;
  for (uint32_t to = 1; to <= N; to++) {
    commitments[to - 1].to = to;
    if (to == member)
      continue;
    fill_box(&boxes[n], member, to);
    commitments[to - 1].box = nx_sha256(boxes[n].bytes, sizeof boxes[n].bytes);
    n++;
  }
  must(nx_shares_encode(&shares, &body, &err), &err);
  must(nx_share_boxes_encode(boxes, n, &detached, &err), &err);
  say(member, NX_M3_SHARES, &body, nx_buffer_view(&detached));
}

static int open_round(void) {
  struct nx_error err = {0};
  must(nx_round_create(&cfg, &round_, &err), &err);
  return 0;
}

/* To the point where everybody is sent an M4. */
static int make(void **state) {
  struct nx_error err = {0};
  (void)state;
  for (uint32_t i = 0; i <= N; i++)
    must(nx_identity_create(&nx_entropy_system, &identities[i], &err), &err);
  for (uint32_t i = 0; i < N; i++)
    everybody[i] = i + 1;
  fill_members(identities, members, N);
  cfg = round_of_all(identities, members, everybody, N);
  open_round();
  for (uint32_t id = 1; id <= N; id++)
    step(&(struct nx_round_event){.type = NX_ROUND_CONNECTED, .member = id});
  step(&(struct nx_round_event){.type = NX_ROUND_BEGIN});
  for (uint32_t id = 1; id <= N; id++)
    say_advert(id);
  for (uint32_t id = 1; id < ABSENT; id++)
    say_shares(id);
  struct nx_round_event late = {.type = NX_ROUND_DEADLINE};
  nx_round_actions_reset(&actions);
  must(nx_round_step(round_, &late, 30 * NX_SECOND, &actions, &err), &err);
  for (size_t i = 0; i < actions.n; i++)
    if (actions.items[i].type == NX_ROUND_PERSIST)
      must(nx_buffer_append(&records[n_records++], actions.items[i].record.data,
                            actions.items[i].record.size, &err),
           &err);
  return 0;
}

static int unmake(void **state) {
  (void)state;
  nx_round_actions_finish(&actions);
  nx_round_destroy(round_);
  for (size_t i = 0; i < n_records; i++)
    nx_buffer_finish(&records[i]);
  for (uint32_t i = 0; i <= N; i++)
    nx_identity_destroy(identities[i]);
  return 0;
}

static struct nx_buffer bundle_of(uint32_t member) {
  struct nx_buffer out = {0};
  struct nx_error err = {0};
  must(nx_round_bundle(round_, member, &out, &err), &err);
  return out;
}

static void a_round_keeps_what_was_dealt_and_no_bundle_of_anybody(void **state) {
  (void)state;
  _cleanup_(nx_buffer_finish) struct nx_buffer one = bundle_of(1);
  size_t n = 0;
  for (size_t i = 0; i < actions.n; i++)
    n += actions.items[i].type == NX_ROUND_SEND_BUNDLE;
  assert_int_equal(n, N);
  assert_true(one.size > shares_bytes / 2); /* all that was signed, for each of them */
  /* M3 as signed, its boxes and what they were committed to. */
  assert_true(nx_arena_used(round_->arena) < 3 * shares_bytes);
  assert_true(nx_shared_view(round_->bundled).size < one.size);
  assert_true(nx_arena_used(actions.arena) < 2 * one.size); /* the record */
}

static void bundles_share_their_beginning_and_end_with_the_boxes_of_one(void **state) {
  (void)state;
  struct nx_bytes common = nx_shared_view(round_->bundled);
  for (uint32_t id = 1; id <= N; id++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer whole = bundle_of(id);
    _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
    struct nx_signed_message message;
    struct nx_bundle bundle;
    struct nx_error err = {0};
    struct nx_bytes body = nx_signed_message_body(nx_buffer_view(&whole));
    assert_true(body.size >= common.size);
    assert_memory_equal(body.data, common.data, common.size);
    must(nx_arena_create(0, &arena, &err), &err);
    must(nx_signed_message_decode(nx_buffer_view(&whole), arena, &message, &err), &err);
    assert_int_equal(message.body.size, body.size);
    must(nx_signed_message_verify(&message, nx_identity_public(identities[0]), &err), &err);
    must(nx_bundle_decode(message.body, arena, &bundle, &err), &err);
    assert_int_equal(bundle.n, N - 1);
    assert_int_equal(bundle.n_boxes, id == ABSENT ? 0 : N - 2);
    for (size_t i = 0; i < bundle.n_boxes; i++) {
      struct nx_share_box box;
      fill_box(&box, bundle.boxes[i].id, id);
      assert_memory_equal(box.bytes, bundle.boxes[i].bytes, sizeof box.bytes);
    }
  }
}

static void a_bundle_is_the_same_again_and_after_a_restart(void **state) {
  struct nx_bytes views[N + 8];
  struct nx_error err = {0};
  (void)state;
  for (size_t i = 0; i < n_records; i++)
    views[i] = nx_buffer_view(&records[i]);
  _cleanup_(nx_buffer_finish) struct nx_buffer first = bundle_of(7), again = bundle_of(7);
  assert_int_equal(first.size, again.size);
  assert_memory_equal(first.data, again.data, first.size);
  nx_round_destroy(round_);
  open_round();
  nx_round_actions_reset(&actions);
  must(nx_round_step(round_,
                     &(struct nx_round_event){
                         .type = NX_ROUND_RESTORE, .records = views, .n_records = n_records},
                     NX_SECOND, &actions, &err),
       &err);
  again.size = 0;
  must(nx_round_bundle(round_, 7, &again, &err), &err);
  assert_int_equal(first.size, again.size);
  assert_memory_equal(first.data, again.data, first.size);
  nx_round_actions_reset(&actions);
  must(nx_round_step(round_, &(struct nx_round_event){.type = NX_ROUND_CONNECTED, .member = 7},
                     NX_SECOND, &actions, &err),
       &err);
  bool told = false;
  for (size_t i = 0; i < actions.n; i++)
    told |= actions.items[i].type == NX_ROUND_SEND_BUNDLE && !actions.items[i].again;
  assert_true(told);
}

/* The last test: nothing follows. */
static void a_retired_round_still_knows_its_seal(void **state) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, message = {0};
  const struct nx_sealed sealed = {.round = cfg.round, .attempt = cfg.attempt};
  struct nx_error err = {0};
  uint32_t member = 0;
  (void)state;
  nx_round_retire(round_);
  assert_null(round_->arena);
  assert_null(round_->bundled);
  must(nx_sealed_encode(&sealed, &body, &err), &err);
  must(nx_signed_message_make(identities[5], 5, NX_M11_SEALED, nx_buffer_view(&body),
                              nx_bytes("", 0), &message, &err),
       &err);
  must(nx_round_check_seal(round_, nx_buffer_view(&message), &member, &err), &err);
  assert_int_equal(member, 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_round_keeps_what_was_dealt_and_no_bundle_of_anybody),
      cmocka_unit_test(bundles_share_their_beginning_and_end_with_the_boxes_of_one),
      cmocka_unit_test(a_bundle_is_the_same_again_and_after_a_restart),
      cmocka_unit_test(a_retired_round_still_knows_its_seal),
  };
  return cmocka_run_group_tests(tests, make, unmake);
}
