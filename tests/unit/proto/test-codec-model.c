#include "proto/codec/codec_model.h"

#include "tests/unit/proto/support.h"

static void request_comes_back_as_it_went(void **state) {
  struct nx_blob_request in = {.offset = UINT64_MAX}, out;
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  fill_bytes(&in.hash, sizeof in.hash, 9);
  must(nx_blob_request_encode(&in, &wire, &err), &err);
  must(nx_blob_request_decode(nx_buffer_view(&wire), &out, &err), &err);
  assert_memory_equal(&in, &out, sizeof in);
}

/* What protobuf's own encoder writes for BlobChunk{total: 300, offset: 10, data: "abc"}. */
static void chunk_is_written_as_protobuf_writes_it(void **state) {
  static const uint8_t expected[] = {0x08, 0xac, 0x02, 0x10, 0x0a, 0x1a, 0x03, 'a', 'b', 'c'};
  const struct nx_blob_chunk in = {.total = 300, .offset = 10, .data = nx_bytes("abc", 3)};
  struct nx_blob_chunk out;
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  must(nx_blob_chunk_encode(&in, &wire, &err), &err);
  assert_int_equal(wire.size, sizeof expected);
  assert_memory_equal(wire.data, expected, sizeof expected);
  must(nx_blob_chunk_decode(nx_buffer_view(&wire), &out, &err), &err);
  assert_int_equal(out.total, 300);
  assert_int_equal(out.offset, 10);
  assert_memory_equal(out.data.data, "abc", 3);
}

static void chunk_beyond_its_blob_is_refused(void **state) {
  static const struct nx_blob_chunk wrong[] = {
      {.total = 2, .offset = 0, .data = {(const uint8_t *)"abc", 3}},
      {.total = 5, .offset = 3, .data = {(const uint8_t *)"abc", 3}},
      {.total = 5, .offset = UINT64_MAX, .data = {(const uint8_t *)"abc", 3}},
      {.total = 5, .offset = 6},
      {.total = 5, .offset = 4},
      {.total = UINT64_MAX, .data = {(const uint8_t *)"abc", NX_CHUNK_CAP + 1}}};
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    assert_int_equal(nx_blob_chunk_encode(&wrong[i], &wire, &err), NX_E_INVALID);
}

static void malformed_fields_are_refused(void **state) {
  static const struct {
    const char *bytes;
    size_t size;
  } wrong[] = {
      {"\x08", 1},                                              /* tag without a value */
      {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11},     /* above 2^64 */
      {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12}, /* eleven bytes */
      {"\x00\x01", 2},                                          /* field 0 */
      {"\x0b\x01", 2},                                          /* a group */
      {"\x1a\x05whee", 6},                                      /* data cut short */
      {"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
       "a",
       12},                                        /* nearly 2^64 long */
      {"\x0a\x01\x05", 3},                         /* total as bytes */
      {"\x19\x01\x02\x03\x04\x05\x06\x07\x08", 9}, /* data as fixed64 */
      {"\x09\x01\x02\x03\x04\x05\x06\x07\x08", 9}, /* total as fixed64 */
  };
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct nx_blob_chunk chunk;
    struct nx_error err = {0};
    if (nx_blob_chunk_decode(nx_bytes(wrong[i].bytes, wrong[i].size), &chunk, &err) !=
        NX_E_PROTOCOL)
      fail_msg("%zu was taken", i);
  }
  struct nx_blob_request request;
  struct nx_error err = {0};
  assert_int_equal(nx_blob_request_decode(nx_bytes("\x10\x01", 2), &request, &err), NX_E_PROTOCOL);
  assert_int_equal(nx_blob_request_decode(nx_bytes("\x0a\x02hi", 4), &request, &err),
                   NX_E_PROTOCOL);
}

static void unknown_fields_are_passed_over(void **state) {
  static const char bytes[] = "\x08\x03\xfd\x07\x01\x02\x03\x04\xfa\x07\x01x\x1a\x03"
                              "abc\x21"
                              "12345678";
  struct nx_blob_chunk out;
  struct nx_error err = {0};
  (void)state;
  must(nx_blob_chunk_decode(nx_bytes(bytes, sizeof bytes - 1), &out, &err), &err);
  assert_int_equal(out.total, 3);
  assert_memory_equal(out.data.data, "abc", 3);
}

static int decode_chunk(struct nx_bytes bytes, struct nx_arena *arena, struct nx_error *err) {
  struct nx_blob_chunk out;
  (void)arena;
  return nx_blob_chunk_decode(bytes, &out, err);
}

static int decode_request(struct nx_bytes bytes, struct nx_arena *arena, struct nx_error *err) {
  struct nx_blob_request out;
  (void)arena;
  return nx_blob_request_decode(bytes, &out, err);
}

static void tampered_messages_are_survived(void **state) {
  const struct nx_blob_chunk chunk = {.total = 300, .offset = 10, .data = nx_bytes("abc", 3)};
  const struct nx_blob_request request = {.offset = 1000};
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  (void)state;
  must(nx_blob_chunk_encode(&chunk, &wire, &err), &err);
  assert_true(tampered(nx_buffer_view(&wire), decode_chunk) > 0);
  wire.size = 0;
  must(nx_blob_request_encode(&request, &wire, &err), &err);
  assert_true(tampered(nx_buffer_view(&wire), decode_request) > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(request_comes_back_as_it_went),
      cmocka_unit_test(chunk_is_written_as_protobuf_writes_it),
      cmocka_unit_test(chunk_beyond_its_blob_is_refused),
      cmocka_unit_test(malformed_fields_are_refused),
      cmocka_unit_test(unknown_fields_are_passed_over),
      cmocka_unit_test(tampered_messages_are_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
