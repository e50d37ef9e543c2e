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
  assert_int_equal(nx_upload_spool_remove(folder, 7, 2, NULL, NULL), 0);
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

/* --- written over the files of uploads that nobody wants any more ---------------------------- */

static struct nx_upload_spares spares;

/* n spares with the bytes as they are now; then everybody's bytes are others. */
static void make_spares(uint32_t n) {
  assert_int_equal(nx_upload_spares_init(&spares, folder, NULL), 0);
  spool.spares = &spares;
  for (uint32_t id = 1; id <= n; id++)
    assert_int_equal(send(id, 9999, NULL), 0);
  assert_int_equal(nx_upload_spool_keep_only(&spool, NULL, 0, NULL), 0);
  assert_int_equal(spares.n, n);
  for (size_t i = 0; i < spool.size; i++)
    bytes[i] ^= 0x5a;
  assert_int_equal(nx_upload_root(&layout, bytes, NULL, &root, NULL), 0);
}

static uint64_t size_of(const char *name) {
  char path[160];
  struct stat status;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return stat(path, &status) ? UINT64_MAX : (uint64_t)status.st_size;
}

static ino_t inode_of(const char *name) {
  char path[160];
  struct stat status;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_int_equal(stat(path, &status), 0);
  return status.st_ino;
}

static void expect_whole(uint32_t member) {
  struct nx_hash read;
  const uint8_t *map = NULL;
  assert_int_equal(nx_upload_spool_root(&spool, member, &read, NULL), 0);
  assert_true(nx_hash_equal(&read, &root));
  assert_int_equal(nx_upload_spool_map(&spool, member, &map, NULL), 0);
  assert_memory_equal(map, bytes, spool.size);
  nx_upload_unmap(&spool, map);
}

static void expect_no_counts(void) {
  char command[160];
  snprintf(command, sizeof command, "! ls '%s/7-2' | grep -q came", folder);
  assert_int_equal(system(command), 0);
}

static void upload_is_written_over_a_spare(void **state) {
  (void)state;
  static const size_t pieces[] = {1000000, 24577, 997};
  make_spares(2);
  ino_t first = inode_of("spare/0"), second = inode_of("spare/1");
  for (uint32_t i = 0; i < 3; i++) { /* the third is a file of its own again */
    char name[8];
    snprintf(name, sizeof name, "7-2/%u", i + 4);
    assert_int_equal(send(i + 4, pieces[i], NULL), 0);
    expect_whole(i + 4);
    assert_true(i == 2 || inode_of(name) == (i ? first : second));
  }
  assert_int_equal(spares.n, 0);
  expect_no_counts();
  assert_int_equal(nx_upload_spool_init(&spool, folder, 7, 2, &layout, NULL), 0);
  assert_int_equal(spool.n_damaged, 0);
  nx_upload_spares_clear(&spares);
}

static void attempt_that_is_over_leaves_no_more_spares_than_it_used(void **state) {
  (void)state;
  make_spares(4);
  assert_int_equal(send(7, 9999, NULL), 0); /* over one of the four */
  spares.n_put = 0;
  assert_int_equal(nx_upload_spool_remove(folder, 7, 2, &spares, NULL), 0);
  assert_int_equal(spares.n, 1);
  assert_int_equal(nx_upload_spool_init(&spool, folder, 7, 3, &layout, NULL), 0);
  assert_int_equal(nx_upload_spool_remove(folder, 7, 3, &spares, NULL), 0);
  assert_int_equal(spares.n, 1); /* one that had no uploads says nothing */
  assert_int_equal(nx_folder_count(spares.folder), 1);
  struct nx_upload_spares later; /* of the next process */
  assert_int_equal(nx_upload_spares_init(&later, folder, NULL), 0);
  assert_int_equal(nx_folder_count(spares.folder), 0);
  assert_int_equal(nx_upload_spool_init(&spool, folder, 7, 2, &layout, NULL), 0);
  spool.spares = &spares;
  assert_int_equal(send(1, 9999, NULL), 0); /* what is gone is no spare */
  expect_whole(1);
  assert_int_equal(spares.n, 0);
  nx_upload_spares_clear(&spares);
}

static void spares_of_another_size_go(void **state) {
  (void)state;
  char path[160];
  make_spares(2);
  snprintf(path, sizeof path, "%s/7-2/1", folder);
  _cleanup_free_ uint8_t *longer = calloc(1, spool.size + 100);
  assert_int_equal(nx_file_replace(path, nx_bytes(longer, spool.size + 100), 0600, NULL), 0);
  assert_int_equal(nx_upload_spares_put(&spares, path, NULL), 0);
  assert_int_equal(spares.n, 1);
  assert_int_equal(size_of("spare/2"), spool.size + 100);
  assert_int_equal(send(1, 9999, NULL), 0);
  assert_int_equal(spares.n, 0);
  assert_int_equal(nx_folder_count(spares.folder), 0);
  expect_whole(1);
  nx_upload_spares_clear(&spares);
}

/* The file is as long as ever: how much came is counted beside it. */
static void upload_over_a_spare_goes_on_where_it_broke(void **state) {
  (void)state;
  make_spares(4);
  break_off(2, 60000);
  assert_int_equal(size_of("7-2/2.kept"), 60000);
  assert_int_equal(go_on(2), 2 * 24576);
  expect_whole(2);
  struct nx_upload_writer *half_dead = NULL;
  assert_int_equal(nx_upload_writer_create(&spool, 3, NULL, &half_dead, NULL), 0);
  assert_int_equal(nx_upload_writer_write(half_dead, 0, nx_bytes(bytes, 50000), NULL), 0);
  assert_int_equal(go_on(3), 2 * 24576);
  expect_whole(3);
  nx_upload_writer_destroy(half_dead);
  assert_int_equal(spares.n, 0);
  expect_no_counts();
  nx_upload_spares_clear(&spares);
}

/* Its sender turns out to have other bytes, and begins again. */
static void upload_over_a_spare_begins_again(void **state) {
  (void)state;
  make_spares(2);
  bytes[100] ^= 1;
  break_off(4, 60000);
  bytes[100] ^= 1;
  struct nx_upload_writer *writer = NULL;
  struct nx_hash hash;
  uint64_t held;
  assert_int_equal(nx_upload_writer_create(&spool, 4, NULL, &writer, NULL), 0);
  assert_int_equal(nx_upload_writer_take_up(writer, &held, &hash, NULL), 0);
  assert_int_equal(held, 2 * 24576);
  assert_int_equal(nx_upload_writer_write(writer, 0, nx_bytes(bytes, 30000), NULL), 0);
  char command[160]; /* one tile again: what a kill now would keep */
  snprintf(command, sizeof command, "test $(cat '%s/7-2'/4.*.came | wc -c) = 1", folder);
  assert_int_equal(system(command), 0);
  assert_int_equal(
      nx_upload_writer_write(writer, 30000, nx_bytes(bytes + 30000, spool.size - 30000), NULL), 0);
  assert_int_equal(nx_upload_writer_commit(writer, &root, NULL), 0);
  nx_upload_writer_destroy(writer);
  expect_whole(4);
  expect_no_counts();
  nx_upload_spares_clear(&spares);
}

/* Whatever a kill leaves: old bytes behind the new, a count and no file, a file and no count. */
static void part_over_a_spare_that_was_killed_keeps_what_came(void **state) {
  (void)state;
  static const struct {
    uint32_t member;
    size_t n_came, counted;
    bool has_count;
    uint64_t kept, goes_on;
  } cases[] = {{5, 60000, 2, true, 2 * 24576, 2 * 24576},
               {6, 0, 0, true, UINT64_MAX, 0},
               {7, 60000, 9, true, N_LANES * 3 + N_AUX * 8, 0}, /* counted, lost by the disk */
               {8, 0, 0, false, N_LANES * 3 + N_AUX * 8, 0}};
  _cleanup_free_ uint8_t *file = malloc(spool.size);
  char path[160];
  for (size_t i = 0; i < 4; i++) {
    memset(file, 0x77, spool.size);
    memcpy(file, bytes, cases[i].n_came);
    snprintf(path, sizeof path, "%s/7-2/%u.0.part", folder, cases[i].member);
    assert_int_equal(nx_file_replace(path, nx_bytes(file, spool.size), 0600, NULL), 0);
    snprintf(path, sizeof path, "%s/7-2/%u.0.came", folder, cases[i].member);
    if (cases[i].has_count)
      assert_int_equal(nx_file_replace(path, nx_bytes(file, cases[i].counted), 0600, NULL), 0);
  }
  snprintf(path, sizeof path, "%s/7-2/9.0.came", folder);
  assert_int_equal(nx_file_replace(path, nx_bytes(file, 3), 0600, NULL), 0);
  assert_int_equal(nx_upload_spool_init(&spool, folder, 7, 2, &layout, NULL), 0);
  expect_no_counts();
  for (size_t i = 0; i < 4; i++) {
    snprintf(path, sizeof path, "7-2/%u.kept", cases[i].member);
    assert_true(size_of(path) == cases[i].kept);
    assert_true(go_on(cases[i].member) == cases[i].goes_on);
    expect_whole(cases[i].member);
  }
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
      TEST(upload_is_written_over_a_spare),
      TEST(attempt_that_is_over_leaves_no_more_spares_than_it_used),
      TEST(spares_of_another_size_go),
      TEST(upload_over_a_spare_goes_on_where_it_broke),
      TEST(upload_over_a_spare_begins_again),
      TEST(part_over_a_spare_that_was_killed_keeps_what_came),
      TEST(failing_disk_is_one_clear_error_and_leaves_nothing),
      TEST(overlapping_streams_do_not_mix),
  };
  return cmocka_run_group_tests_name("upload spool", tests, NULL, NULL);
}
