#include "node/residual.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "tests/unit/cmocka_shim.h"

enum { N = 1000 };

static const struct nx_residual_key key = {{{1, 2, 3}}, 7};
static char home[] = "/tmp/nx-residual-XXXXXX";
static char path[64];

static int make_home(void **state) {
  float values[N];
  (void)state;
  snprintf(home, sizeof home, "/tmp/nx-residual-XXXXXX");
  assert_non_null(mkdtemp(home));
  snprintf(path, sizeof path, "%s/residual", home);
  for (int i = 0; i < N; i++)
    values[i] = (float)i / 3 - 100;
  assert_int_equal(nx_residual_save(home, &key, values, N, NULL), 0);
  return 0;
}

static int remove_home(void **state) {
  (void)state;
  assert_int_equal(nx_residual_forget(home, NULL), 0);
  assert_int_equal(nx_residual_forget(home, NULL), 0); /* none there */
  return rmdir(home);
}

static void what_was_saved_is_read_after_a_restart(void **state) {
  (void)state;
  float values[N] = {0};
  struct stat info;
  assert_int_equal(nx_residual_load(home, &key, values, N, NULL), 1);
  for (int i = 0; i < N; i++)
    assert_true(values[i] == (float)i / 3 - 100);
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
}

static void another_plan_run_or_size_has_none(void **state) {
  (void)state;
  float values[N + 1] = {[0] = 5};
  struct nx_residual_key other = key;
  other.plan.bytes[31] = 1;
  assert_int_equal(nx_residual_load(home, &other, values, N, NULL), 0);
  other = key;
  other.first_round++;
  assert_int_equal(nx_residual_load(home, &other, values, N, NULL), 0);
  assert_int_equal(nx_residual_load(home, &key, values, N - 1, NULL), 0);
  assert_int_equal(nx_residual_load(home, &key, values, N + 1, NULL), 0);
  assert_true(values[0] == 5);
  assert_int_equal(nx_residual_forget(home, NULL), 0);
  assert_int_equal(nx_residual_load(home, &key, values, N, NULL), 0);
}

static void a_damaged_file_is_refused_whole(void **state) {
  (void)state;
  float values[N] = {[0] = 5};
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {0};
  struct nx_error err = {0};
  assert_int_equal(nx_file_read(path, 1 << 20, &file, NULL), 0);
  file.data[file.size / 2] ^= 1;
  assert_int_equal(nx_file_replace(path, nx_buffer_view(&file), 0600, NULL), 0);
  assert_int_equal(nx_residual_load(home, &key, values, N, &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, path));
  file.data[file.size / 2] ^= 1;
  for (size_t size = 0; size < file.size; size += 97) {
    assert_int_equal(nx_file_replace(path, nx_bytes(file.data, size), 0600, NULL), 0);
    assert_int_equal(nx_residual_load(home, &key, values, N, NULL), NX_E_FORMAT);
  }
  assert_true(values[0] == 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_was_saved_is_read_after_a_restart, make_home,
                                      remove_home),
      cmocka_unit_test_setup_teardown(another_plan_run_or_size_has_none, make_home, remove_home),
      cmocka_unit_test_setup_teardown(a_damaged_file_is_refused_whole, make_home, remove_home),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
