/* Upload spool: what was committed is whole and provable; everything else leaves nothing. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/aggregate/upload_spool.h"
#include "tests/unit/cmocka_shim.h"

#define N_LANES 40000
#define N_AUX 11

static char folder[64];
static struct nx_upload_spool spool;
static struct nx_upload_layout layout = {.n_lanes = N_LANES, .ring_bits = 24, .n_aux = N_AUX};
static uint8_t *bytes;
static struct nx_hash root;

static int make(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/nx-spool-XXXXXX");
  assert_non_null(mkdtemp(folder));
  assert_int_equal(nx_upload_spool_init(&spool, folder, 7, 2, &layout, NULL), 0);
  bytes = malloc(spool.size);
  for (size_t i = 0; i < spool.size; i++)
    bytes[i] = (uint8_t)(i * 31 + i / 255);
  return nx_upload_root(&layout, bytes, NULL, &root, NULL);
}

static int unmake(void **state) {
  (void)state;
  free(bytes);
  assert_int_equal(nx_upload_spool_remove(folder, 7, 2, NULL), 0);
  return rmdir(folder); /* fails when anything else was left */
}

static bool exists(const char *name) {
  char path[160];
  snprintf(path, sizeof path, "%s/7-2/%s", folder, name);
  return nx_path_exists(path);
}

/* Sends the bytes in pieces of that size; the result of the commit. */
static int send(uint32_t member, size_t piece, struct nx_error *err) {
  _cleanup_(nx_upload_writer_destroyp) struct nx_upload_writer *writer = NULL;
  int r = nx_upload_writer_create(&spool, member, NULL, &writer, err);
  for (size_t at = 0; r == 0 && at < spool.size; at += piece) {
    size_t n = spool.size - at < piece ? spool.size - at : piece;
    r = nx_upload_writer_write(writer, at, nx_bytes(bytes + at, n), err);
  }
  return r < 0 ? r : nx_upload_writer_commit(writer, &root, err);
}

static void upload_arrives_in_any_pieces(void **state) {
  (void)state;
  static const size_t pieces[] = {1000000, 32768, 24576, 24577, 997};
  for (uint32_t i = 0; i < 5; i++) {
    const uint8_t *map = NULL;
    struct nx_hash read;
    assert_int_equal(send(i + 1, pieces[i], NULL), 0);
    assert_int_equal(nx_upload_spool_root(&spool, i + 1, &read, NULL), 0);
    assert_true(nx_hash_equal(&read, &root));
    assert_int_equal(nx_upload_spool_map(&spool, i + 1, &map, NULL), 0);
    assert_memory_equal(map, bytes, spool.size);
    nx_upload_unmap(&spool, map);
  }
  assert_int_equal(send(1, 1000, NULL), NX_E_EXISTS);
}

static void every_tile_has_its_proof(void **state) {
  (void)state;
  struct nx_error err;
  assert_int_equal(send(3, 4096, NULL), 0);
  assert_true(spool.n_tiles > 4);
  for (size_t i = 0; i < spool.n_tiles; i++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer tile = {0};
    struct nx_merkle_path path;
    assert_int_equal(nx_upload_spool_tile(&spool, 3, i, &tile, &path, NULL), 0);
    struct nx_hash leaf = nx_merkle_leaf(nx_buffer_view(&tile));
    assert_int_equal(nx_merkle_verify(&root, spool.n_tiles, i, &leaf, &path, NULL), 0);
    tile.data[tile.size / 2] ^= 1;
    leaf = nx_merkle_leaf(nx_buffer_view(&tile));
    assert_int_equal(nx_merkle_verify(&root, spool.n_tiles, i, &leaf, &path, &err), NX_E_CRYPTO);
  }
  _cleanup_(nx_buffer_finish) struct nx_buffer none = {0};
  struct nx_merkle_path path;
  assert_int_equal(nx_upload_spool_tile(&spool, 3, spool.n_tiles, &none, &path, NULL),
                   NX_E_PROTOCOL);
  assert_int_equal(nx_upload_spool_tile(&spool, 4, 0, &none, &path, NULL), NX_E_NOT_FOUND);
}

/* In the spool's folder there is nothing but whole uploads and their leaves. */
static int count_parts(void) {
  char command[160];
  int n = -1;
  snprintf(command, sizeof command, "ls '%s/7-2' | grep -c part", folder);
  FILE *pipe = popen(command, "r");
  assert_int_equal(fscanf(pipe, "%d", &n), 1);
  pclose(pipe);
  return n;
}

static void flipped_bit_is_refused_and_leaves_nothing(void **state) {
  (void)state;
  bytes[30000] ^= 4;
  assert_int_equal(send(1, 5000, NULL), NX_E_CRYPTO);
  assert_false(exists("1"));
  assert_int_equal(count_parts(), 0);
  assert_false(exists("1.leaves"));
  bytes[30000] ^= 4;
  assert_int_equal(send(1, 5000, NULL), 0); /* and may be sent again */
}

static void short_long_and_misplaced_streams_are_refused(void **state) {
  (void)state;
  _cleanup_(nx_upload_writer_destroyp) struct nx_upload_writer *writer = NULL;
  assert_int_equal(nx_upload_writer_create(&spool, 9, NULL, &writer, NULL), 0);
  assert_int_equal(nx_upload_writer_write(writer, 1, nx_bytes(bytes, 1), NULL), NX_E_PROTOCOL);
  assert_int_equal(nx_upload_writer_write(writer, 0, nx_bytes(bytes, 100), NULL), 0);
  assert_int_equal(nx_upload_writer_write(writer, 0, nx_bytes(bytes, 100), NULL), NX_E_PROTOCOL);
  assert_int_equal(nx_upload_writer_commit(writer, &root, NULL), NX_E_PROTOCOL);
  assert_int_equal(nx_upload_writer_write(writer, 100, nx_bytes(bytes, spool.size - 99), NULL),
                   NX_E_LIMIT);
  assert_int_equal(nx_upload_writer_size(writer), 100);
  assert_int_equal(count_parts(), 1);
}

/* Brings bytes [0, n) and breaks off. */
static void break_off(uint32_t member, size_t n) {
  struct nx_upload_writer *writer = NULL;
  assert_int_equal(nx_upload_writer_create(&spool, member, NULL, &writer, NULL), 0);
  assert_int_equal(nx_upload_writer_write(writer, 0, nx_bytes(bytes, n), NULL), 0);
  nx_upload_writer_destroy(writer);
}

/* Goes on where the last stream broke; returns where that was. */
static uint64_t go_on(uint32_t member) {
  _cleanup_(nx_upload_writer_destroyp) struct nx_upload_writer *writer = NULL;
  struct nx_hash hash, ours;
  uint64_t held;
  assert_int_equal(nx_upload_writer_create(&spool, member, NULL, &writer, NULL), 0);
  assert_int_equal(nx_upload_writer_take_up(writer, &held, &hash, NULL), 0);
  assert_true(held < spool.size);
  ours = nx_sha256(bytes, held);
  uint64_t begin = nx_hash_equal(&hash, &ours) ? held : 0;
  assert_int_equal(
      nx_upload_writer_write(writer, begin, nx_bytes(bytes + begin, spool.size - begin), NULL), 0);
  assert_int_equal(nx_upload_writer_commit(writer, &root, NULL), 0);
  return begin;
}

static void broken_upload_goes_on_from_its_last_whole_tile(void **state) {
  (void)state;
  struct nx_hash read;
  assert_int_equal(go_on(1), 0); /* nothing was there */
  break_off(2, 60000);
  break_off(2, 20000); /* less than is kept */
  assert_int_equal(go_on(2), 2 * 24576);
  assert_false(exists("2.kept"));
  break_off(3, spool.size); /* all of it, only nobody said so */
  assert_int_equal(go_on(3), (spool.size - 1) / 24576 * 24576);
  for (uint32_t member = 1; member <= 3; member++) {
    assert_int_equal(nx_upload_spool_root(&spool, member, &read, NULL), 0);
    assert_true(nx_hash_equal(&read, &root));
  }
}

static void kept_bytes_that_rotted_are_sent_anew(void **state) {
  (void)state;
  bytes[100] ^= 1;
  break_off(4, 60000);
  bytes[100] ^= 1;
  assert_int_equal(go_on(4), 0);
}

static void upload_goes_on_beside_a_half_dead_stream(void **state) {
  (void)state;
  struct nx_upload_writer *half_dead = NULL;
  assert_int_equal(nx_upload_writer_create(&spool, 5, NULL, &half_dead, NULL), 0);
  assert_int_equal(nx_upload_writer_write(half_dead, 0, nx_bytes(bytes, 50000), NULL), 0);
  assert_int_equal(go_on(5), 2 * 24576);
  nx_upload_writer_destroy(half_dead);
}

static void what_was_kept_goes_with_the_set(void **state) {
  (void)state;
  break_off(6, 60000);
  assert_true(exists("6.kept"));
  assert_int_equal(nx_upload_spool_keep_only(&spool, (const uint8_t[]){6}, 1, NULL), 0);
  assert_false(exists("6.kept"));
}

static void part_of_a_killed_upload_is_kept_for_its_sender(void **state) {
  (void)state;
  char path[160];
  snprintf(path, sizeof path, "%s/7-2/5.0.part", folder);
  assert_int_equal(nx_file_replace(path, nx_bytes(bytes, 30000), 0600, NULL), 0);
  assert_int_equal(send(2, 9999, NULL), 0);
  assert_int_equal(nx_upload_spool_init(&spool, folder, 7, 2, &layout, NULL), 0);
  assert_false(exists("5.0.part"));
  assert_true(exists("5.kept"));
  assert_int_equal(go_on(5), 24576);
  assert_true(exists("2"));
}

/* What a power cut leaves of an upload whose sync was swallowed. */
static void whole_upload_with_a_hole_has_not_come(void **state) {
  (void)state;
  char path[160];
  struct nx_hash read;
  assert_int_equal(send(1, 9999, NULL), 0);
  assert_int_equal(send(2, 9999, NULL), 0);
  snprintf(path, sizeof path, "%s/7-2/2", folder);
  bytes[30000] ^= 4;
  assert_int_equal(nx_file_replace(path, nx_bytes(bytes, spool.size), 0600, NULL), 0);
  bytes[30000] ^= 4;
  assert_int_equal(nx_upload_spool_init(&spool, folder, 7, 2, &layout, NULL), 0);
  assert_int_equal(spool.n_damaged, 1);
  assert_int_equal(spool.damaged[0], 2);
  assert_int_equal(nx_upload_spool_root(&spool, 1, &read, NULL), 0);
  assert_int_equal(nx_upload_spool_root(&spool, 2, &read, NULL), NX_E_NOT_FOUND);
  assert_int_equal(send(2, 9999, NULL), 0);
}

/* A file-size limit fails writes as a full disk does. */
static void failing_disk_is_one_clear_error_and_leaves_nothing(void **state) {
  (void)state;
  struct rlimit before, low;
  struct nx_error err = {0};
  getrlimit(RLIMIT_FSIZE, &before);
  low = (struct rlimit){.rlim_cur = 50000, .rlim_max = before.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &low);
  int r = send(6, 8192, &err);
  setrlimit(RLIMIT_FSIZE, &before);
  assert_int_equal(r, NX_E_IO);
  assert_non_null(strstr(err.text, ".part"));
  assert_false(exists("6"));
  assert_int_equal(count_parts(), 0);
  assert_false(exists("6.leaves"));
}

/* A stream that is half dead must not spoil the one that took over. */
static void overlapping_streams_do_not_mix(void **state) {
  (void)state;
  _cleanup_(nx_upload_writer_destroyp) struct nx_upload_writer *stale = NULL;
  assert_int_equal(nx_upload_writer_create(&spool, 6, NULL, &stale, NULL), 0);
  assert_int_equal(nx_upload_writer_write(stale, 0, nx_bytes("stale bytes", 11), NULL), 0);
  assert_int_equal(send(6, 8192, NULL), 0);
  assert_int_equal(nx_upload_writer_write(stale, 11, nx_bytes("more", 4), NULL), 0);
  const uint8_t *map = NULL;
  assert_int_equal(nx_upload_spool_map(&spool, 6, &map, NULL), 0);
  assert_memory_equal(map, bytes, spool.size);
  nx_upload_unmap(&spool, map);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(upload_arrives_in_any_pieces),
      TEST(every_tile_has_its_proof),
      TEST(flipped_bit_is_refused_and_leaves_nothing),
      TEST(short_long_and_misplaced_streams_are_refused),
      TEST(part_of_a_killed_upload_is_kept_for_its_sender),
      TEST(whole_upload_with_a_hole_has_not_come),
      TEST(broken_upload_goes_on_from_its_last_whole_tile),
      TEST(kept_bytes_that_rotted_are_sent_anew),
      TEST(upload_goes_on_beside_a_half_dead_stream),
      TEST(what_was_kept_goes_with_the_set),
      TEST(failing_disk_is_one_clear_error_and_leaves_nothing),
      TEST(overlapping_streams_do_not_mix),
  };
  return cmocka_run_group_tests_name("upload spool", tests, NULL, NULL);
}
