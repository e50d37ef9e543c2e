#include "proto/codec/codec_support.h"

#include "tests/unit/proto/support.h"

static void texts_are_utf8_without_controls(void **state) {
  static const char *const good[] = {"", "plain", "Klinik für Schlaf", "東京", "\U0001f9e0"};
  static const char *const bad[] = {"two\nlines",
                                    "\x1b[31m",
                                    "\x7f",
                                    "\xc2\x85", /* controls, C1 too */
                                    "\xff",
                                    "\xc3",
                                    "\xe2\x82",
                                    "\xc0\xaf", /* not UTF-8, cut, overlong */
                                    "\xed\xa0\x80",
                                    "\xf4\x90\x80\x80",
                                    "\xf0\x8f\xbf\xbf"};
  struct nx_error err = {0};
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    assert_int_equal(nx_codec_check_text(good[i], 64, "text", &err), 0);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (nx_codec_check_text(bad[i], 64, "text", &err) != NX_E_INVALID)
      fail_msg("%zu was taken", i);
}

static void text_that_does_not_fit_is_refused(void **state) {
  char out[6];
  struct nx_error err = {0};
  (void)state;
  assert_int_equal(nx_codec_text("12345", out, sizeof out, "name", &err), 0);
  assert_string_equal(out, "12345");
  assert_int_equal(nx_codec_text("123456", out, sizeof out, "name", &err), NX_E_PROTOCOL);
  assert_non_null(strstr(err.text, "name"));
  assert_string_equal(out, "12345");
}

static void missing_hash_is_the_zero_hash(void **state) {
  struct nx_hash hash, zero = {0};
  struct nx_error err = {0};
  (void)state;
  memset(&hash, 1, sizeof hash);
  assert_int_equal(nx_codec_hash_field(&hash).len, sizeof hash);
  assert_int_equal(nx_codec_hash_field(&zero).len, 0);
  must(nx_codec_hash((ProtobufCBinaryData){0}, &hash, "model", &err), &err);
  assert_true(nx_hash_is_zero(&hash));
  assert_int_equal(nx_codec_hash(nx_codec_field("short", 5), &hash, "model", &err), NX_E_PROTOCOL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(texts_are_utf8_without_controls),
      cmocka_unit_test(text_that_does_not_fit_is_refused),
      cmocka_unit_test(missing_hash_is_the_zero_hash),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
