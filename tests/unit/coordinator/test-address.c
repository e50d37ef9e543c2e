/* Address: what people write is read back as they meant it. */
#include <string.h>

#include "coordinator/address.h"
#include "tests/unit/cmocka_shim.h"

static void host_and_port_come_apart_and_together(void **state) {
  (void)state;
  static const struct {
    const char *text, *host;
    uint16_t port;
  } cases[] = {{"hub.example.org:7443", "hub.example.org", 7443},
               {"127.0.0.1:0", "127.0.0.1", 0},
               {"[::1]:65535", "::1", 65535}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nx_address address;
    char text[NX_ADDRESS_SIZE];
    assert_int_equal(nx_address_parse(cases[i].text, &address, NULL), 0);
    assert_string_equal(address.host, cases[i].host);
    assert_int_equal(address.port, cases[i].port);
    nx_address_format(&address, text);
    assert_string_equal(text, cases[i].text);
  }
}

static void nonsense_is_refused_in_words(void **state) {
  (void)state;
  static const char *const texts[] = {"",     "host",     ":1",      "host:",   "host:-1",
                                      "[]:1", "host:1x",  "::1:80",  "a b:1",   "host:65536",
                                      "'h:1", "host\n:1", "h/../:1", "host:+1", "host: 1"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    struct nx_address address;
    struct nx_error err = {0};
    if (nx_address_parse(texts[i], &address, &err) != NX_E_INVALID)
      fail_msg("'%s' was taken", texts[i]);
    assert_true(err.text[0]);
  }
}

static void names_numbers_and_any_are_told_apart(void **state) {
  (void)state;
  struct nx_address address;
  nx_address_parse("0.0.0.0:1", &address, NULL);
  assert_true(nx_address_is_any(&address) && nx_address_is_numeric(&address));
  nx_address_parse("[::]:1", &address, NULL);
  assert_true(nx_address_is_any(&address) && nx_address_is_numeric(&address));
  nx_address_parse("hub.example.org:1", &address, NULL);
  assert_false(nx_address_is_any(&address) || nx_address_is_numeric(&address));
}

static void free_port_is_chosen(void **state) {
  (void)state;
  struct nx_address address;
  nx_address_parse("127.0.0.1:0", &address, NULL);
  assert_int_equal(nx_address_probe(&address, NULL), 0);
  assert_true(address.port > 0);
  nx_address_parse("203.0.113.7:7443", &address, NULL); /* of nobody (RFC 5737) */
  assert_int_equal(nx_address_probe(&address, NULL), NX_E_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(host_and_port_come_apart_and_together),
      cmocka_unit_test(nonsense_is_refused_in_words),
      cmocka_unit_test(names_numbers_and_any_are_told_apart),
      cmocka_unit_test(free_port_is_chosen),
  };
  return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
