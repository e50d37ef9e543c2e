#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/bytes.h"
#include "common/file.h"
#include "tests/unit/cmocka_shim.h"

static void buffer_refuses_to_grow_past_its_cap(void **state) {
  (void)state;
  _cleanup_(nx_buffer_finish) struct nx_buffer b = {.cap = 8};
  struct nx_error err = {0};
  assert_int_equal(nx_buffer_append(&b, "12345678", 8, &err), 0);
  assert_int_equal(nx_buffer_append(&b, "9", 1, &err), NX_E_LIMIT);
  assert_int_equal(b.size, 8);
  assert_memory_equal(b.data, "12345678", 8);
}

static void reader_fails_once_and_for_all(void **state) {
  (void)state;
  struct nx_reader r = nx_reader(nx_bytes("\1\0\0\0\2", 5));
  assert_int_equal(nx_reader_u32(&r), 1);
  assert_int_equal(nx_reader_u64(&r), 0);
  assert_true(r.failed);
  assert_null(nx_reader_take(&r, 1).data);
}

static void hex_round_trips_and_names_the_bad_digit(void **state) {
  (void)state;
  uint8_t in[3] = {0x00, 0xab, 0xff}, out[3];
  char hex[7];
  struct nx_error err = {0};
  nx_hex_encode(in, 3, hex);
  assert_string_equal(hex, "00abff");
  assert_int_equal(nx_hex_decode("00ABff", out, 3, &err), 0);
  assert_memory_equal(in, out, 3);
  assert_int_equal(nx_hex_decode("00xbff", out, 3, &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "character 3"));
}

static void errors_gather_a_prefix_from_each_layer(void **state) {
  (void)state;
  struct nx_error err = {0};
  int r = nx_fail(&err, NX_E_IO, "short\nread");
  r = nx_error_prefix(&err, r, "read chunk %d", 7);
  assert_int_equal(r, NX_E_IO);
  assert_string_equal(err.text, "read chunk 7: short?read");
  assert_int_equal(nx_fail(NULL, NX_E_IO, "nobody listens"), NX_E_IO);
}

static void arena_zeroes_aligns_and_obeys_its_cap(void **state) {
  (void)state;
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  assert_int_equal(nx_arena_create(1 << 20, &arena, NULL), 0);
  uint8_t *p = nx_arena_alloc(arena, 100, 1);
  assert_non_null(p);
  assert_int_equal((uintptr_t)p % 64, 0);
  memset(p, 0xff, 100);
  nx_arena_reset(arena);
  p = nx_arena_alloc(arena, 100, 1);
  for (int i = 0; i < 100; i++)
    assert_int_equal(p[i], 0);
  assert_null(nx_arena_alloc(arena, 2 << 20, 1));
  assert_null(nx_arena_alloc(arena, SIZE_MAX / 2, 4));
}

static void file_is_created_once_and_replaced_whole(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-test-XXXXXX", path[NX_PATH_SIZE];
  assert_non_null(mkdtemp(folder));
  assert_int_equal(nx_path_join(path, folder, "key", NULL), 0);
  assert_int_equal(nx_file_create(path, nx_bytes("old", 3), 0600, NULL), 0);
  assert_int_equal(nx_file_create(path, nx_bytes("new", 3), 0600, NULL), NX_E_EXISTS);
  assert_int_equal(nx_file_replace(path, nx_bytes("newer", 5), 0600, NULL), 0);
  struct stat status;
  assert_int_equal(stat(path, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
  _cleanup_(nx_buffer_finish) struct nx_buffer b = {0};
  assert_int_equal(nx_file_read(path, 5, &b, NULL), 0);
  assert_memory_equal(b.data, "newer", 5);
  assert_int_equal(nx_file_read(path, 4, &b, NULL), NX_E_LIMIT);
  int lock = -1, second = -1;
  assert_int_equal(nx_folder_lock(folder, &lock, NULL), 0);
  assert_int_equal(nx_folder_lock(folder, &second, NULL), NX_E_STATE);
  close(lock);
  unlink(path);
  nx_path_join(path, folder, ".lock", NULL);
  unlink(path);
  assert_int_equal(rmdir(folder), 0); /* no temporary file is left behind */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(buffer_refuses_to_grow_past_its_cap),
      cmocka_unit_test(reader_fails_once_and_for_all),
      cmocka_unit_test(hex_round_trips_and_names_the_bad_digit),
      cmocka_unit_test(errors_gather_a_prefix_from_each_layer),
      cmocka_unit_test(arena_zeroes_aligns_and_obeys_its_cap),
      cmocka_unit_test(file_is_created_once_and_replaced_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
