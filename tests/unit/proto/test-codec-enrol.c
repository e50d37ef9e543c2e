#include "proto/codec/codec_enrol.h"

#include "proto/codec/codec_round.h"
#include "tests/unit/proto/support.h"

static struct nx_arena *arena;

static int start(void **state) {
  struct nx_error err = {0};
  (void)state;
  return nx_arena_create((size_t)1 << 20, &arena, &err);
}

static int stop(void **state) {
  (void)state;
  nx_arena_destroy(arena);
  return 0;
}

static struct nx_enrol_request a_request(void) {
  struct nx_enrol_request m = {.protocol = NX_PROTOCOL_VERSION,
                               .software = "neurox-node 0.1.0",
                               .csr = nx_bytes("-----BEGIN", 10)};
  fill_bytes(m.federation, sizeof m.federation, 1);
  fill_bytes(m.token, sizeof m.token, 2);
  fill_bytes(&m.identity, sizeof m.identity, 3);
  fill_bytes(&m.signature, sizeof m.signature, 4);
  return m;
}

static struct nx_enrol_response a_response(void) {
  struct nx_enrol_response m = {
      .member = 255, .name = "Klinik für Schlaf", .certificate = nx_bytes("-----BEGIN", 10)};
  fill_bytes(&m.coordinator, sizeof m.coordinator, 5);
  return m;
}

static void request_comes_back_as_it_went(void **state) {
  struct nx_enrol_request in = a_request(), out;
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  must(nx_enrol_request_encode(&in, &wire, &err), &err);
  must(nx_enrol_request_decode(nx_buffer_view(&wire), arena, &out, &err), &err);
  assert_memory_equal(out.federation, in.federation, sizeof in.federation);
  assert_memory_equal(out.token, in.token, sizeof in.token);
  assert_memory_equal(&out.identity, &in.identity, sizeof in.identity);
  assert_memory_equal(&out.signature, &in.signature, sizeof in.signature);
  assert_string_equal(out.software, in.software);
  assert_int_equal(out.csr.size, 10);
  assert_memory_equal(out.csr.data, in.csr.data, 10);
}

static void response_comes_back_as_it_went(void **state) {
  struct nx_enrol_response in = a_response(), out;
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  must(nx_enrol_response_encode(&in, &wire, &err), &err);
  must(nx_enrol_response_decode(nx_buffer_view(&wire), arena, &out, &err), &err);
  assert_int_equal(out.member, 255);
  assert_string_equal(out.name, in.name);
  assert_memory_equal(out.certificate.data, in.certificate.data, 10);
  assert_memory_equal(&out.coordinator, &in.coordinator, sizeof in.coordinator);
}

static void other_protocol_is_told_apart_not_misread(void **state) {
  struct nx_enrol_request in = a_request(), out;
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  in.protocol = 99;
  must(nx_enrol_request_encode(&in, &wire, &err), &err);
  must(nx_enrol_request_decode(nx_buffer_view(&wire), arena, &out, &err), &err);
  assert_int_equal(out.protocol, 99);
  assert_int_equal(out.csr.size, 0);
}

static void wrong_fields_are_refused(void **state) {
  struct nx_enrol_response response = a_response(), out;
  struct nx_enrol_request request = a_request(), request_out;
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  response.member = 256;
  assert_int_equal(nx_enrol_response_encode(&response, &wire, &err), NX_E_INVALID);
  response = a_response();
  response.name[0] = 0;
  assert_int_equal(nx_enrol_response_encode(&response, &wire, &err), NX_E_INVALID);
  response = a_response();
  strcpy(response.name, "two\nlines");
  assert_int_equal(nx_enrol_response_encode(&response, &wire, &err), NX_E_INVALID);
  request.csr.size = NX_ENROL_PEM_CAP + 1;
  assert_int_equal(nx_enrol_request_encode(&request, &wire, &err), NX_E_INVALID);
  assert_int_equal(nx_enrol_request_decode(nx_bytes("\x08\x01", 2), arena, &request_out, &err),
                   NX_E_PROTOCOL);
  assert_int_equal(nx_enrol_response_decode(nx_bytes("\x08\x01", 2), arena, &out, &err),
                   NX_E_PROTOCOL);
}

static int decode_request(struct nx_bytes bytes, struct nx_arena *where, struct nx_error *err) {
  struct nx_enrol_request out;
  return nx_enrol_request_decode(bytes, where, &out, err);
}

static int decode_response(struct nx_bytes bytes, struct nx_arena *where, struct nx_error *err) {
  struct nx_enrol_response out;
  return nx_enrol_response_decode(bytes, where, &out, err);
}

static void tampered_messages_are_survived(void **state) {
  struct nx_enrol_request request = a_request();
  struct nx_enrol_response response = a_response();
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  must(nx_enrol_request_encode(&request, &wire, &err), &err);
  assert_true(tampered(nx_buffer_view(&wire), decode_request) > wire.size / 2);
  wire.size = 0;
  must(nx_enrol_response_encode(&response, &wire, &err), &err);
  assert_true(tampered(nx_buffer_view(&wire), decode_response) > wire.size / 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(request_comes_back_as_it_went),
      cmocka_unit_test(response_comes_back_as_it_went),
      cmocka_unit_test(other_protocol_is_told_apart_not_misread),
      cmocka_unit_test(wrong_fields_are_refused),
      cmocka_unit_test(tampered_messages_are_survived),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
