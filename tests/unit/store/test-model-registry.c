/* Model registry: what is fetched has the hash it is asked for, or is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "coordinator/store/model_registry.h"
#include "tests/unit/cmocka_shim.h"

static char folder[64];
static struct nx_model_registry registry;

static int make_folder(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/nx-blobs-XXXXXX");
  return mkdtemp(folder) && nx_model_registry_init(&registry, folder, NULL) == 0 ? 0 : -1;
}

static void path_of(const struct nx_hash *hash, char out[160]) {
  char name[NX_HASH_HEX_SIZE];
  nx_hash_hex(hash, name);
  snprintf(out, 160, "%s/%s", folder, name);
}

static void forget(const struct nx_hash *hash) {
  char path[160];
  path_of(hash, path);
  unlink(path);
}

static int remove_folder(void **state) {
  (void)state;
  return rmdir(folder); /* fails when a temporary file was left behind */
}

static void blob_comes_back_by_its_hash(void **state) {
  (void)state;
  _cleanup_(nx_buffer_finish) struct nx_buffer out = {0};
  static uint8_t bytes[40000];
  struct nx_hash hash, again;
  memset(bytes, 7, sizeof bytes);
  assert_int_equal(nx_model_registry_put(&registry, nx_bytes(bytes, sizeof bytes), &hash, NULL), 0);
  assert_int_equal(nx_model_registry_put(&registry, nx_bytes(bytes, sizeof bytes), &again, NULL),
                   0);
  assert_true(nx_hash_equal(&hash, &again));
  assert_int_equal(nx_model_registry_get(&registry, &hash, &out, NULL), 0);
  assert_int_equal(out.size, sizeof bytes);
  assert_memory_equal(out.data, bytes, sizeof bytes);
  forget(&hash);
  assert_int_equal(nx_model_registry_get(&registry, &hash, &out, NULL), NX_E_NOT_FOUND);
}

static void changed_blob_is_refused_and_mended_by_put(void **state) {
  (void)state;
  _cleanup_(nx_buffer_finish) struct nx_buffer out = {0};
  struct nx_hash hash;
  char path[160];
  assert_int_equal(nx_model_registry_put(&registry, nx_bytes("model", 5), &hash, NULL), 0);
  path_of(&hash, path);
  assert_int_equal(truncate(path, 3), 0);
  assert_int_equal(nx_model_registry_get(&registry, &hash, &out, NULL), NX_E_FORMAT);
  assert_int_equal(out.size, 0);
  assert_int_equal(nx_model_registry_put(&registry, nx_bytes("model", 5), &hash, NULL), 0);
  assert_int_equal(nx_model_registry_get(&registry, &hash, &out, NULL), 0);
  forget(&hash);
}

static void pieces_end_where_the_blob_ends(void **state) {
  (void)state;
  struct nx_hash hash;
  struct nx_blob_file file;
  char piece[4];
  nx_model_registry_put(&registry, nx_bytes("abcdef", 6), &hash, NULL);
  assert_int_equal(nx_model_registry_open(&registry, &hash, &file, NULL), 0);
  assert_int_equal(file.size, 6);
  assert_int_equal(nx_blob_file_read(&file, 2, piece, 4, NULL), 0);
  assert_memory_equal(piece, "cdef", 4);
  assert_int_equal(nx_blob_file_read(&file, 4, piece, 4, NULL), NX_E_FORMAT);
  nx_blob_file_close(&file);
  forget(&hash);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(blob_comes_back_by_its_hash),
      TEST(changed_blob_is_refused_and_mended_by_put),
      TEST(pieces_end_where_the_blob_ends),
  };
  return cmocka_run_group_tests_name("model registry", tests, NULL, NULL);
}
