#include "proto/codec/codec_renew.h"

#include "tests/unit/proto/support.h"

static struct nx_arena *arena;

static int start(void **state) {
  (void)state;
  return nx_arena_create((size_t)1 << 20, &arena, NULL);
}

static int stop(void **state) {
  (void)state;
  nx_arena_destroy(arena);
  return 0;
}

static struct nx_renew_request a_request(void) {
  struct nx_renew_request m = {.csr = nx_bytes("-----BEGIN", 10)};
  fill_bytes(&m.signature, sizeof m.signature, 4);
  return m;
}

static struct nx_renew_response a_response(void) {
  return (struct nx_renew_response){.certificate = nx_bytes("certificate", 11),
                                    .roots = nx_bytes("roots", 5),
                                    .crosses = nx_bytes("cross", 5)};
}

static void both_come_back_as_they_went(void **state) {
  struct nx_renew_request request = a_request(), request_out;
  struct nx_renew_response response = a_response(), response_out;
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  must(nx_renew_request_encode(&request, &wire, &err), &err);
  must(nx_renew_request_decode(nx_buffer_view(&wire), arena, &request_out, &err), &err);
  assert_memory_equal(&request_out.signature, &request.signature, sizeof request.signature);
  assert_int_equal(request_out.csr.size, 10);
  wire.size = 0;
  must(nx_renew_response_encode(&response, &wire, &err), &err);
  must(nx_renew_response_decode(nx_buffer_view(&wire), arena, &response_out, &err), &err);
  assert_memory_equal(response_out.certificate.data, "certificate", 11);
  assert_memory_equal(response_out.roots.data, "roots", 5);
  assert_memory_equal(response_out.crosses.data, "cross", 5);
}

/* Cut at every byte, it is refused: nothing in it is optional but the crosses at its end. */
static void what_is_cut_is_refused(void **state) {
  struct nx_renew_request request = a_request(), request_out;
  struct nx_renew_response response = a_response(), response_out;
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  must(nx_renew_request_encode(&request, &wire, &err), &err);
  for (size_t n = 0; n < wire.size; n++)
    assert_true(nx_renew_request_decode(nx_bytes(wire.data, n), arena, &request_out, NULL) < 0);
  response.crosses = nx_bytes(NULL, 0);
  wire.size = 0;
  must(nx_renew_response_encode(&response, &wire, &err), &err);
  for (size_t n = 0; n < wire.size; n++)
    assert_true(nx_renew_response_decode(nx_bytes(wire.data, n), arena, &response_out, NULL) < 0);
}

static void nothing_and_too_much_are_refused(void **state) {
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_renew_response response = a_response();
  (void)state;
  response.roots = nx_bytes(NULL, 0);
  assert_int_equal(nx_renew_response_encode(&response, &wire, NULL), NX_E_INVALID);
  response = a_response();
  response.crosses.size = NX_RENEW_PEM_CAP + 1;
  assert_int_equal(nx_renew_response_encode(&response, &wire, NULL), NX_E_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(both_come_back_as_they_went, start, stop),
      cmocka_unit_test_setup_teardown(what_is_cut_is_refused, start, stop),
      cmocka_unit_test_setup_teardown(nothing_and_too_much_are_refused, start, stop),
  };
  return cmocka_run_group_tests_name("codec renew", tests, NULL, NULL);
}
