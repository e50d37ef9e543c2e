#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/node_home.h"
#include "tests/unit/cmocka_shim.h"

struct fixture {
  char folder[64], home[NX_PATH_SIZE], building[NX_PATH_SIZE];
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/nx-home-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  nx_path_join(f->home, f->folder, "node", NULL);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  nx_home_discard(f->folder);
  free(f);
  return 0;
}

static void home_appears_whole_or_not_at_all(void **state) {
  struct fixture *f = *state;
  struct stat status;
  assert_int_equal(nx_home_begin(f->home, f->building, NULL), 0);
  assert_false(nx_path_exists(f->home));
  assert_int_equal(stat(f->building, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0700);
  nx_home_discard(f->building);
  assert_false(nx_path_exists(f->building));

  assert_int_equal(nx_home_begin(f->home, f->building, NULL), 0);
  assert_int_equal(nx_home_finish(f->building, f->home, NULL), 0);
  assert_true(nx_path_exists(f->home));
  assert_false(nx_path_exists(f->building));
}

static void empty_folder_is_taken_a_full_one_is_left_alone(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  char file[NX_PATH_SIZE];
  mkdir(f->home, 0755);
  assert_int_equal(nx_home_begin(f->home, f->building, &err), 0);
  assert_int_equal(nx_home_finish(f->building, f->home, &err), 0);
  nx_path_join(file, f->home, "mine", NULL);
  assert_int_equal(nx_file_create(file, nx_bytes("x", 1), 0600, NULL), 0);
  assert_int_equal(nx_home_begin(f->home, f->building, &err), NX_E_EXISTS);
  assert_true(nx_path_exists(file));
}

static void federation_is_remembered(void **state) {
  struct fixture *f = *state;
  char id[33], key[65], name[] = "it's ours";
  struct nx_home_federation *again = NULL, in = {.neurox_federation = 1,
                                                 .id = id,
                                                 .name = name,
                                                 .coordinator = key,
                                                 .member = 7};
  memset(id, 'a', 32);
  memset(key, 'b', 64);
  id[32] = key[64] = 0;
  assert_int_equal(nx_home_begin(f->home, f->building, NULL), 0);
  assert_int_equal(nx_home_write_federation(f->building, &in, NULL), 0);
  assert_int_equal(nx_home_finish(f->building, f->home, NULL), 0);
  assert_int_equal(nx_home_read_federation(f->home, &again, NULL), 0);
  assert_string_equal(again->name, name);
  assert_string_equal(again->coordinator, key);
  assert_int_equal(again->member, 7);
  nx_home_federation_destroy(again);
}

static void edited_federation_is_refused(void **state) {
  struct fixture *f = *state;
  struct nx_home_federation *again = NULL;
  struct nx_error err = {0};
  char path[NX_PATH_SIZE];
  static const char text[] = "neurox_federation: 1\nid: 'zz'\nname: 'x'\nmember: 0\n";
  assert_int_equal(nx_home_begin(f->home, f->building, NULL), 0);
  nx_path_join(path, f->building, NX_HOME_FEDERATION, NULL);
  assert_int_equal(nx_file_create(path, nx_bytes(text, sizeof text - 1), 0600, NULL), 0);
  assert_int_equal(nx_home_read_federation(f->building, &again, &err), NX_E_FORMAT);
}

static void folder_of_no_node_hints_at_init(void **state) {
  struct fixture *f = *state;
  struct nx_home_federation *federation = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_home_read_federation(f->home, &federation, &err), NX_E_NOT_FOUND);
  assert_non_null(strstr(err.text, "neurox-node init"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(home_appears_whole_or_not_at_all), TEST(empty_folder_is_taken_a_full_one_is_left_alone),
      TEST(federation_is_remembered),         TEST(edited_federation_is_refused),
      TEST(folder_of_no_node_hints_at_init),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
