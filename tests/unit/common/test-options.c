#include <string.h>

#include "common/options.h"
#include "common/size.h"
#include "tests/unit/cmocka_shim.h"

struct given {
  const char *home, *words[2];
  bool force;
  size_t n_words;
};

static int parse(int argc, const char *const *argv, struct given *given, struct nx_error *err) {
  const struct nx_option options[] = {{.name = "home", .value = &given->home},
                                      {.name = "force", .flag = &given->force}};
  return nx_options_parse(argc, (char *const *)(uintptr_t)argv, options, NX_ARRAY_LENGTH(options),
                          given->words, NX_ARRAY_LENGTH(given->words), &given->n_words, err);
}

static void options_and_words_mix(void **state) {
  (void)state;
  struct given given = {0};
  const char *argv[] = {"file", "--home", "a", "--force", "--home=b", "--", "--home"};
  assert_int_equal(parse(7, argv, &given, NULL), 0);
  assert_string_equal(given.home, "b");
  assert_true(given.force);
  assert_int_equal(given.n_words, 2);
  assert_string_equal(given.words[1], "--home");
}

static void wrong_lines_are_explained(void **state) {
  (void)state;
  struct given given = {0};
  struct nx_error err = {0};
  const char *unknown[] = {"--hom"}, *missing[] = {"--home"}, *valued[] = {"--force=1"},
             *many[] = {"a", "b", "c"};
  assert_int_equal(parse(1, unknown, &given, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "--hom"));
  assert_int_equal(parse(1, missing, &given, &err), NX_E_INVALID);
  assert_int_equal(parse(1, valued, &given, &err), NX_E_INVALID);
  assert_int_equal(parse(3, many, &given, &err), NX_E_INVALID);
}

static void numbers_are_whole_and_in_range(void **state) {
  (void)state;
  uint64_t n = 0;
  assert_int_equal(nx_option_number("n", "18446744073709551615", 0, UINT64_MAX, &n, NULL), 0);
  assert_true(n == UINT64_MAX);
  static const char *const wrong[] = {"", "-1", "1x", " 1", "18446744073709551616", "0", "11"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(wrong); i++)
    assert_int_equal(nx_option_number("n", wrong[i], 1, 10, &n, NULL), NX_E_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(options_and_words_mix),
      cmocka_unit_test(wrong_lines_are_explained),
      cmocka_unit_test(numbers_are_whole_and_in_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
