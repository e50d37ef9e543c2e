#include "proto/codec/codec_session.h"

#include "proto/codec/codec_round.h"
#include "tests/unit/proto/support.h"

struct fixture {
  struct nx_arena *arena;
  struct nx_buffer wire;
};

static int start(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  struct nx_error err = {0};
  must(nx_arena_create(NX_SESSION_ARENA, &f->arena, &err), &err);
  *state = f;
  return 0;
}

static int stop(void **state) {
  struct fixture *f = *state;
  nx_arena_destroy(f->arena);
  nx_buffer_finish(&f->wire);
  free(f);
  return 0;
}

static struct nx_session_message a_hello(void) {
  struct nx_session_message m = {.kind = NX_SESSION_KIND_HELLO};
  m.hello = (struct nx_hello){
      .protocol = NX_PROTOCOL_VERSION, .software = "neurox-node 0.1.0", .last_sealed = 7};
  fill_bytes(m.hello.federation, sizeof m.hello.federation, 1);
  fill_bytes(&m.hello.model, sizeof m.hello.model, 100);
  return m;
}

static void assert_same_hello(const struct nx_hello *a, const struct nx_hello *b) {
  assert_int_equal(a->protocol, b->protocol);
  assert_memory_equal(a->federation, b->federation, sizeof a->federation);
  assert_string_equal(a->software, b->software);
  assert_int_equal(a->last_sealed, b->last_sealed);
  assert_true(nx_hash_equal(&a->model, &b->model));
}

static const struct nx_bytes two_seals[] = {{(const uint8_t *)"first", 5},
                                            {(const uint8_t *)"second", 6}};

static struct nx_session_message a_welcome(void) {
  struct nx_session_message m = {.kind = NX_SESSION_KIND_WELCOME};
  m.welcome = (struct nx_welcome){.protocol = NX_PROTOCOL_VERSION,
                                  .software = "neurox-coordinator 0.1.0",
                                  .manifest = nx_bytes("who takes part", 14),
                                  .last_sealed = 9,
                                  .first_round = 4,
                                  .sealed = two_seals,
                                  .n_sealed = 2};
  fill_bytes(&m.welcome.manifest_signature, sizeof m.welcome.manifest_signature, 3);
  fill_bytes(&m.welcome.model, sizeof m.welcome.model, 50);
  fill_bytes(&m.welcome.plan, sizeof m.welcome.plan, 60);
  return m;
}

static void hello_comes_back_as_it_went(void **state) {
  struct fixture *f = *state;
  struct nx_session_message in = a_hello(), out;
  struct nx_error err = {0};
  must(nx_session_up_encode(&in, &f->wire, &err), &err);
  must(nx_session_up_decode(nx_buffer_view(&f->wire), f->arena, &out, &err), &err);
  assert_int_equal(out.kind, NX_SESSION_KIND_HELLO);
  assert_same_hello(&out.hello, &in.hello);
}

static void welcome_comes_back_as_it_went(void **state) {
  struct fixture *f = *state;
  struct nx_session_message in = a_welcome(), out;
  struct nx_error err = {0};
  must(nx_session_down_encode(&in, &f->wire, &err), &err);
  must(nx_session_down_decode(nx_buffer_view(&f->wire), f->arena, &out, &err), &err);
  assert_int_equal(out.welcome.manifest.size, 14);
  assert_memory_equal(out.welcome.manifest.data, "who takes part", 14);
  assert_memory_equal(&out.welcome.manifest_signature, &in.welcome.manifest_signature, 64);
  assert_int_equal(out.welcome.n_sealed, 2);
  assert_int_equal(out.welcome.sealed[1].size, 6);
  assert_memory_equal(out.welcome.sealed[1].data, "second", 6);
  assert_true(nx_hash_equal(&out.welcome.model, &in.welcome.model));
  assert_true(nx_hash_equal(&out.welcome.plan, &in.welcome.plan));
  assert_int_equal(out.welcome.last_sealed, 9);
  assert_int_equal(out.welcome.first_round, 4);
}

static void small_messages_come_back_both_ways(void **state) {
  struct fixture *f = *state;
  struct nx_session_message messages[] = {
      {.kind = NX_SESSION_KIND_SIGNED, .signed_message = nx_bytes("signed", 6)},
      {.kind = NX_SESSION_KIND_HEARTBEAT,
       .heartbeat = {.number = 3, .round = 4, .attempt = 5, .done = 6, .total = 7}},
      {.kind = NX_SESSION_KIND_NOTICE,
       .notice = {.kind = NX_NOTICE_PAUSED, .text = "die Pause dauert länger"}}};
  for (size_t i = 0; i < 6; i++) {
    struct nx_session_message out;
    struct nx_error err = {0};
    f->wire.size = 0;
    must((i < 3 ? nx_session_up_encode : nx_session_down_encode)(&messages[i % 3], &f->wire, &err),
         &err);
    must((i < 3 ? nx_session_up_decode : nx_session_down_decode)(nx_buffer_view(&f->wire), f->arena,
                                                                 &out, &err),
         &err);
    assert_int_equal(out.kind, messages[i % 3].kind);
    if (i % 3 == 0)
      assert_memory_equal(out.signed_message.data, "signed", 6);
    else if (i % 3 == 1)
      assert_true(out.heartbeat.number == 3 && out.heartbeat.round == 4 &&
                  out.heartbeat.attempt == 5 && out.heartbeat.done == 6 &&
                  out.heartbeat.total == 7);
    else
      assert_string_equal(out.notice.text, messages[2].notice.text);
  }
}

static void other_protocol_is_told_apart_not_misread(void **state) {
  struct fixture *f = *state;
  struct nx_session_message in = a_hello(), out;
  struct nx_error err = {0};
  in.hello.protocol = 99;
  must(nx_session_up_encode(&in, &f->wire, &err), &err);
  must(nx_session_up_decode(nx_buffer_view(&f->wire), f->arena, &out, &err), &err);
  assert_int_equal(out.hello.protocol, 99);
  assert_string_equal(out.hello.software, "neurox-node 0.1.0");
  assert_int_equal(out.hello.last_sealed, 7);
  assert_true(nx_hash_is_zero(&out.hello.model));
}

static void unknown_fields_are_passed_over(void **state) {
  struct fixture *f = *state;
  struct nx_session_message in = a_hello(), out;
  struct nx_error err = {0};
  must(nx_session_up_encode(&in, &f->wire, &err), &err);
  must(nx_buffer_append(&f->wire, "\xfa\x07\x03new", 6, &err), &err); /* field 127 */
  must(nx_session_up_decode(nx_buffer_view(&f->wire), f->arena, &out, &err), &err);
  assert_same_hello(&out.hello, &in.hello);
}

static void what_no_decoder_would_take_is_not_sent(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  struct nx_session_message m = {.kind = NX_SESSION_KIND_HEARTBEAT,
                                 .heartbeat = {.number = 1, .done = 2, .total = 1}};
  assert_int_equal(nx_session_up_encode(&m, &f->wire, &err), NX_E_INVALID);
  m = (struct nx_session_message){.kind = NX_SESSION_KIND_NOTICE,
                                  .notice = {.kind = NX_NOTICE_INFO, .text = "\x1b[2J"}};
  assert_int_equal(nx_session_down_encode(&m, &f->wire, &err), NX_E_INVALID);
  m = (struct nx_session_message){.kind = NX_SESSION_KIND_SIGNED};
  assert_int_equal(nx_session_down_encode(&m, &f->wire, &err), NX_E_INVALID);
  m = a_welcome();
  assert_int_equal(nx_session_up_encode(&m, &f->wire, &err), NX_E_INVALID);
  m.welcome.last_sealed = 0;
  assert_int_equal(nx_session_down_encode(&m, &f->wire, &err), NX_E_INVALID);
  assert_int_equal(f->wire.size, 0);
}

static void wrong_fields_are_refused_by_name(void **state) {
  struct fixture *f = *state;
  static const struct {
    const char *bytes;
    size_t size;
    const char *word;
  } wrong[] = {
      {"", 0, "kind"},                                    /* nothing */
      {"\x0a\x02\x08\x01", 4, "federation"},              /* hello without one */
      {"\x0a\x06\x08\x01\x12\x02hi", 8, "federation"},    /* of two bytes */
      {"\x0a\x04\x1a\x02\x1b[", 6, "software"},           /* an escape sequence */
      {"\x0a\x04\x1a\x02\xc0\x80", 6, "software"},        /* overlong UTF-8 */
      {"\x12\x00", 2, "signed message of 0"},             /* empty */
      {"\x1a\x00", 2, "heartbeat"},                       /* number 0 */
      {"\x1a\x04\x08\x01\x20\x09", 6, "more is done"},    /* 9 of 0 */
      {"\x22\x02\x08\x63", 4, "unknown kind"},            /* notice */
      {"\x22\x04\x08\x01\x12\x09", 6, "no such message"}, /* cut short */
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct nx_session_message out;
    struct nx_error err = {0};
    int r = nx_session_up_decode(nx_bytes(wrong[i].bytes, wrong[i].size), f->arena, &out, &err);
    assert_int_equal(r, NX_E_PROTOCOL);
    if (!strstr(err.text, wrong[i].word))
      fail_msg("%zu: %s", i, err.text);
  }
}

/* 2 bytes on the wire each, a hundred and more in memory. */
static void many_small_parts_hit_the_arenas_cap(void **state) {
  struct nx_buffer wire = {0};
  struct nx_arena *arena = NULL;
  struct nx_session_message out;
  struct nx_error err = {0};
  (void)state;
  must(nx_arena_create((size_t)1 << 20, &arena, &err), &err);
  must(nx_buffer_append(&wire, "\x0a\x80\x80\x02", 4, &err), &err); /* welcome of 32768 bytes */
  for (int i = 0; i < 16384; i++)
    must(nx_buffer_append(&wire, "\x3a\x00", 2, &err), &err); /* an empty seal */
  assert_true(nx_session_down_decode(nx_buffer_view(&wire), arena, &out, &err) < 0);
  nx_arena_destroy(arena);
  nx_buffer_finish(&wire);
}

static void message_over_the_cap_is_not_unpacked(void **state) {
  struct fixture *f = *state;
  struct nx_session_message out;
  struct nx_error err = {0};
  uint8_t *bytes = calloc(1, NX_MESSAGE_CAP_MAIN + 1);
  assert_int_equal(
      nx_session_up_decode(nx_bytes(bytes, NX_MESSAGE_CAP_MAIN + 1), f->arena, &out, &err),
      NX_E_LIMIT);
  free(bytes);
}

static int decode_up(struct nx_bytes bytes, struct nx_arena *arena, struct nx_error *err) {
  struct nx_session_message out;
  return nx_session_up_decode(bytes, arena, &out, err);
}

static int decode_down(struct nx_bytes bytes, struct nx_arena *arena, struct nx_error *err) {
  struct nx_session_message out;
  return nx_session_down_decode(bytes, arena, &out, err);
}

static void tampered_messages_are_survived(void **state) {
  struct fixture *f = *state;
  struct nx_session_message hello = a_hello(), welcome = a_welcome();
  struct nx_error err = {0};
  must(nx_session_up_encode(&hello, &f->wire, &err), &err);
  assert_true(tampered(nx_buffer_view(&f->wire), decode_up) > f->wire.size / 2);
  f->wire.size = 0;
  must(nx_session_down_encode(&welcome, &f->wire, &err), &err);
  assert_true(tampered(nx_buffer_view(&f->wire), decode_down) > f->wire.size / 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(hello_comes_back_as_it_went, start, stop),
      cmocka_unit_test_setup_teardown(welcome_comes_back_as_it_went, start, stop),
      cmocka_unit_test_setup_teardown(small_messages_come_back_both_ways, start, stop),
      cmocka_unit_test_setup_teardown(other_protocol_is_told_apart_not_misread, start, stop),
      cmocka_unit_test_setup_teardown(unknown_fields_are_passed_over, start, stop),
      cmocka_unit_test_setup_teardown(what_no_decoder_would_take_is_not_sent, start, stop),
      cmocka_unit_test_setup_teardown(wrong_fields_are_refused_by_name, start, stop),
      cmocka_unit_test(many_small_parts_hit_the_arenas_cap),
      cmocka_unit_test_setup_teardown(message_over_the_cap_is_not_unpacked, start, stop),
      cmocka_unit_test_setup_teardown(tampered_messages_are_survived, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
