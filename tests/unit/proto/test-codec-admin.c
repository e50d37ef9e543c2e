#include "proto/codec/codec_admin.h"

#include <math.h>
#include <stdio.h>

#include "tests/unit/proto/support.h"

static struct nx_arena *arena;

static int start(void **state) {
  struct nx_error err = {0};
  (void)state;
  return nx_arena_create(NX_ADMIN_ARENA, &arena, &err);
}

static int stop(void **state) {
  (void)state;
  nx_arena_destroy(arena);
  return 0;
}

static struct nx_admin_status a_status(void) {
  struct nx_admin_status m = {.federation_name = "Rest and arithmetic",
                              .software = "neurox-coordinator 0.1.0",
                              .run_state = 1,
                              .run = 2,
                              .first_round = 3,
                              .n_rounds = 22,
                              .round = 5,
                              .attempt = 1,
                              .kind = 2,
                              .phase = "uploads",
                              .last_sealed = 4,
                              .n_members = 6,
                              .n_connected = 5,
                              .n_invited = 1,
                              .n_cohort = 5,
                              .n_done = 3,
                              .threshold = 4,
                              .seconds_left = 17,
                              .bytes_up = 1234567890123,
                              .up_seconds = 99,
                              .manifest_sealed = true,
                              .plan_name = "eegmat",
                              .note = "waiting for 1 of 6",
                              .n_trained = 2,
                              .n_recovered = 1,
                              .ended = -7,
                              .auroc = 0.875};
  fill_bytes(m.federation, sizeof m.federation, 1);
  fill_bytes(&m.plan, sizeof m.plan, 2);
  return m;
}

static void start_and_reason_come_back_as_they_went(void **state) {
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_admin_start plan = {.plan = nx_bytes("neurox_plan: 1\n", 15)}, plan_out;
  struct nx_admin_request request = {.reason = "maintenance"}, request_out;
  struct nx_error err = {0};
  (void)state;
  must(nx_admin_start_encode(&plan, &wire, &err), &err);
  must(nx_admin_start_decode(nx_buffer_view(&wire), arena, &plan_out, &err), &err);
  assert_memory_equal(plan_out.plan.data, plan.plan.data, 15);
  wire.size = 0;
  must(nx_admin_request_encode(&request, &wire, &err), &err);
  must(nx_admin_request_decode(nx_buffer_view(&wire), arena, &request_out, &err), &err);
  assert_string_equal(request_out.reason, "maintenance");
  /* Nothing at all is a request without a reason, and no plan. */
  must(nx_admin_request_decode(nx_bytes("", 0), arena, &request_out, &err), &err);
  assert_string_equal(request_out.reason, "");
  assert_int_equal(nx_admin_start_decode(nx_bytes("", 0), arena, &plan_out, &err), NX_E_PROTOCOL);
}

static void status_comes_back_as_it_went(void **state) {
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_admin_status in = a_status(), out;
  struct nx_error err = {0};
  (void)state;
  must(nx_admin_status_encode(&in, &wire, &err), &err);
  memset(&out, 0, sizeof out);
  must(nx_admin_status_decode(nx_buffer_view(&wire), arena, &out, &err), &err);
  assert_string_equal(out.federation_name, in.federation_name);
  assert_string_equal(out.phase, "uploads");
  assert_int_equal(out.bytes_up, in.bytes_up);
  assert_int_equal(out.seconds_left, 17);
  assert_int_equal(out.threshold, 4);
  assert_true(out.manifest_sealed);
  assert_string_equal(out.plan_name, "eegmat");
  assert_string_equal(out.note, "waiting for 1 of 6");
  assert_int_equal(out.n_trained, 2);
  assert_int_equal(out.n_recovered, 1);
  assert_int_equal(out.ended, -7);
  assert_true(out.auroc == 0.875);
  assert_memory_equal(&out.plan, &in.plan, sizeof in.plan);
  assert_true(nx_hash_is_zero(&out.model));
}

static void members_come_back_in_order(void **state) {
  static struct nx_admin_member many[255];
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_admin_members in = {many, 255}, out;
  struct nx_error err = {0};
  (void)state;
  for (uint32_t i = 0; i < 255; i++) {
    many[i] = (struct nx_admin_member){
        .id = i + 1, .state = NX_MEMBER_INVITED + i % 5, .since = -5, .last_round = i, .total = 3};
    snprintf(many[i].name, sizeof many[i].name, "site-%u", i + 1);
    if (i % 2)
      fill_bytes(&many[i].identity, sizeof many[i].identity, i);
  }
  must(nx_admin_members_encode(&in, &wire, &err), &err);
  must(nx_admin_members_decode(nx_buffer_view(&wire), arena, &out, &err), &err);
  assert_int_equal(out.n, 255);
  for (size_t i = 0; i < out.n; i++) {
    assert_int_equal(out.items[i].id, i + 1);
    assert_string_equal(out.items[i].name, many[i].name);
    assert_memory_equal(&out.items[i].identity, &many[i].identity, 32);
    assert_int_equal(out.items[i].since, -5);
  }
  many[7].id = 7;
  assert_int_equal(nx_admin_members_encode(&in, &wire, &err), NX_E_INVALID);
  in.n = 256;
  assert_int_equal(nx_admin_members_encode(&in, &wire, &err), NX_E_INVALID);
}

static void doubled_member_is_refused(void **state) {
  static const char twice[] = "\x0a\x04\x08\x03\x18\x04\x0a\x04\x08\x03\x18\x04";
  struct nx_admin_members out;
  struct nx_error err = {0};
  (void)state;
  must(nx_admin_members_decode(nx_bytes(twice, 6), arena, &out, &err), &err);
  assert_int_equal(nx_admin_members_decode(nx_bytes(twice, 12), arena, &out, &err), NX_E_PROTOCOL);
}

static struct nx_admin_event an_event(void) {
  struct nx_admin_event m = {.time = 1700000000000000000,
                             .name = "round.sealed",
                             .member = 3,
                             .text = "five of six",
                             .has_status = true,
                             .has_sealed = true,
                             .status = a_status(),
                             .sealed = {.round = 5,
                                        .attempt = 1,
                                        .kind = 2,
                                        .n_cohort = 6,
                                        .n_survivors = 5,
                                        .n_recovered = 1,
                                        .weight = 4.5,
                                        .train_loss = .61,
                                        .held_out_loss = .66,
                                        .auroc = NAN,
                                        .balanced_accuracy = NAN,
                                        .calibration_error = .125,
                                        .seconds = 2.5,
                                        .bytes_up = 777}};
  fill_bytes(&m.sealed.model, sizeof m.sealed.model, 4);
  return m;
}

static void event_comes_back_as_it_went(void **state) {
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_admin_event in = an_event(), out;
  struct nx_error err = {0};
  (void)state;
  must(nx_admin_event_encode(&in, &wire, &err), &err);
  must(nx_admin_event_decode(nx_buffer_view(&wire), arena, &out, &err), &err);
  assert_int_equal(out.time, in.time);
  assert_string_equal(out.name, "round.sealed");
  assert_string_equal(out.status.phase, "uploads");
  assert_true(out.sealed.train_loss == .61);
  assert_true(isnan(out.sealed.auroc));
  assert_true(out.sealed.calibration_error == .125);
  assert_int_equal(out.sealed.bytes_up, 777);
  in.sealed.auroc = INFINITY;
  assert_int_equal(nx_admin_event_encode(&in, &wire, &err), NX_E_INVALID);
  in = (struct nx_admin_event){.name = "node.connected", .member = 2};
  wire.size = 0;
  must(nx_admin_event_encode(&in, &wire, &err), &err);
  must(nx_admin_event_decode(nx_buffer_view(&wire), arena, &out, &err), &err);
  assert_false(out.has_status || out.has_sealed);
}

static int decode_event(struct nx_bytes bytes, struct nx_arena *where, struct nx_error *err) {
  struct nx_admin_event out;
  return nx_admin_event_decode(bytes, where, &out, err);
}

static int decode_members(struct nx_bytes bytes, struct nx_arena *where, struct nx_error *err) {
  struct nx_admin_members out;
  return nx_admin_members_decode(bytes, where, &out, err);
}

static void tampered_messages_are_survived(void **state) {
  static struct nx_admin_member two[2] = {{.id = 1, .name = "one", .state = NX_MEMBER_IDLE},
                                          {.id = 2, .name = "two", .state = NX_MEMBER_AWAY}};
  const struct nx_admin_members members = {two, 2};
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_admin_event event = an_event();
  struct nx_error err = {0};
  (void)state;
  must(nx_admin_event_encode(&event, &wire, &err), &err);
  assert_true(tampered(nx_buffer_view(&wire), decode_event) > wire.size / 2);
  wire.size = 0;
  must(nx_admin_members_encode(&members, &wire, &err), &err);
  assert_true(tampered(nx_buffer_view(&wire), decode_members) > wire.size / 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(start_and_reason_come_back_as_they_went),
      cmocka_unit_test(status_comes_back_as_it_went),
      cmocka_unit_test(members_come_back_in_order),
      cmocka_unit_test(doubled_member_is_refused),
      cmocka_unit_test(event_comes_back_as_it_went),
      cmocka_unit_test(tampered_messages_are_survived),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
