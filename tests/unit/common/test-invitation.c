/* Invitation: what is written is read back; whatever is edited into nonsense is refused. */
#include <stdlib.h>

#include "common/invitation.h"
#include "tests/unit/cmocka_shim.h"

static char pem[] = "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n";

static struct nx_invitation example(void) {
  static char hex32[] = "00112233445566778899aabbccddeeff";
  static char hex64[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
  static char name[] = "Lab: one # \"two\"", member[] = "site-0", address[] = "[::1]:7443";
  return (struct nx_invitation){1, name, hex32, member, address, address, hex64, 1800000000, pem};
}

static void file_reads_back(void **state) {
  (void)state;
  _cleanup_(nx_buffer_wipe) struct nx_buffer text = {0};
  _cleanup_(nx_invitation_destroyp) struct nx_invitation *read = NULL;
  struct nx_invitation written = example();
  assert_int_equal(nx_invitation_format(&written, &text, NULL), 0);
  assert_int_equal(nx_invitation_parse("f", nx_buffer_view(&text), &read, NULL), 0);
  assert_string_equal(read->federation_name, written.federation_name);
  assert_string_equal(read->token, written.token);
  assert_string_equal(read->address, written.address);
  assert_string_equal(read->certificate, pem);
  assert_true(read->expires == written.expires);
}

static void text_that_would_break_the_file_is_not_written(void **state) {
  (void)state;
  _cleanup_(nx_buffer_wipe) struct nx_buffer text = {0};
  struct nx_invitation i = example();
  char quote[] = "it's", line[] = "a\nb", port[] = "host:70000";
  i.member = quote;
  assert_int_equal(nx_invitation_format(&i, &text, NULL), NX_E_INVALID);
  i.member = line;
  assert_int_equal(nx_invitation_format(&i, &text, NULL), NX_E_INVALID);
  i = example();
  i.address = port;
  assert_int_equal(nx_invitation_format(&i, &text, NULL), NX_E_INVALID);
  assert_int_equal(text.size, 0);
}

/* Every byte changed in turn and every length cut: never a crash, never a token of another
 * shape. (That an edit goes unnoticed by the parser is what the fingerprint is for.) */
static void edited_files_are_read_safely(void **state) {
  (void)state;
  _cleanup_(nx_buffer_wipe) struct nx_buffer text = {0};
  struct nx_invitation written = example();
  struct nx_error err;
  assert_int_equal(nx_invitation_format(&written, &text, NULL), 0);
  for (size_t i = 0; i < 2 * text.size; i++) {
    _cleanup_(nx_invitation_destroyp) struct nx_invitation *read = NULL;
    bool cut = i >= text.size;
    size_t at = i % text.size;
    uint8_t kept = text.data[at];
    text.data[at] ^= cut ? 0 : 0x15;
    int r = nx_invitation_parse("f", nx_bytes(text.data, cut ? at : text.size), &read, &err);
    text.data[at] = kept;
    if (r == 0)
      assert_int_equal(strlen(read->token), 64);
  }
}

static void missing_and_unknown_keys_are_refused(void **state) {
  (void)state;
  static const char *const texts[] = {"", "neurox_invitation: 1\n", "neurox_invitation: 2\n",
                                      "- a list\n", "no: such key\n"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    _cleanup_(nx_invitation_destroyp) struct nx_invitation *read = NULL;
    assert_int_equal(nx_invitation_parse("f", nx_bytes(texts[i], strlen(texts[i])), &read, NULL),
                     NX_E_FORMAT);
    assert_null(read);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(file_reads_back),
      cmocka_unit_test(text_that_would_break_the_file_is_not_written),
      cmocka_unit_test(edited_files_are_read_safely),
      cmocka_unit_test(missing_and_unknown_keys_are_refused),
  };
  return cmocka_run_group_tests_name("invitation", tests, NULL, NULL);
}
