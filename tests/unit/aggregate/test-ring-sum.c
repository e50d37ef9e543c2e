/* Ring sum: exact to the last integer, in any order, whoever was taken out again. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/rng.h"
#include "common/size.h"
#include "coordinator/aggregate/ring_sum.h"
#include "tests/unit/cmocka_shim.h"

#define MEMBERS 5
#define N_LANES 30001
#define N_AUX 7

static char folder[64];
static struct nx_upload_spool spool;
static struct nx_upload_layout layout;
static uint32_t *lanes[MEMBERS + 1];
static uint64_t aux[MEMBERS + 1][N_AUX];

static uint8_t *packed(uint32_t member) {
  uint8_t *bytes = malloc(spool.size);
  nx_upload_pack(&layout, lanes[member], aux[member], bytes, NULL);
  return bytes;
}

/* Bytes from … to of the member's upload, in pieces that no tile ends with. */
static void write_part(struct nx_upload_writer *writer, uint32_t member, size_t from, size_t to) {
  _cleanup_free_ uint8_t *bytes = packed(member);
  for (size_t n; from < to; from += n) {
    n = NX_MIN((size_t)40001, to - from);
    assert_int_equal(nx_upload_writer_write(writer, from, nx_bytes(bytes + from, n), NULL), 0);
  }
}

static struct nx_upload_writer *begin(uint32_t member, struct nx_ring_sum *sum) {
  struct nx_upload_writer *writer = NULL;
  assert_int_equal(nx_upload_writer_create(&spool, member, sum, &writer, NULL), 0);
  return writer;
}

static void commit(struct nx_upload_writer *writer, uint32_t member) {
  _cleanup_free_ uint8_t *bytes = packed(member);
  struct nx_hash root;
  assert_int_equal(nx_upload_root(&layout, bytes, NULL, &root, NULL), 0);
  assert_int_equal(nx_upload_writer_commit(writer, &root, NULL), 0);
  nx_upload_writer_destroy(writer);
}

static void spool_upload(uint32_t member) {
  struct nx_upload_writer *writer = begin(member, NULL);
  write_part(writer, member, 0, spool.size);
  commit(writer, member);
}

static void make(uint32_t ring_bits) {
  struct nx_rng rng;
  layout = (struct nx_upload_layout){.n_lanes = N_LANES, .ring_bits = ring_bits, .n_aux = N_AUX};
  snprintf(folder, sizeof folder, "/tmp/nx-sum-XXXXXX");
  assert_non_null(mkdtemp(folder));
  assert_int_equal(nx_upload_spool_init(&spool, folder, 1, 1, &layout, NULL), 0);
  nx_rng_init(&rng, 5, ring_bits);
  for (uint32_t u = 1; u <= MEMBERS; u++) {
    lanes[u] = malloc(N_LANES * sizeof **lanes);
    for (size_t i = 0; i < N_LANES; i++)
      lanes[u][i] = (uint32_t)(nx_rng_u64(&rng) >> (64 - ring_bits));
    for (size_t i = 0; i < N_AUX; i++)
      aux[u][i] = nx_rng_u64(&rng);
  }
}

static void unmake(void) {
  for (uint32_t u = 1; u <= MEMBERS; u++)
    free(lanes[u]);
  assert_int_equal(nx_upload_spool_clear(folder, NULL), 0);
  assert_int_equal(rmdir(folder), 0);
}

static void check_sum_of(const struct nx_ring_sum *sum, const uint8_t *members, size_t n) {
  uint32_t mask = layout.ring_bits < 32 ? (UINT32_C(1) << layout.ring_bits) - 1 : UINT32_MAX;
  for (size_t i = 0; i < N_LANES; i++) {
    uint32_t expected = 0;
    for (size_t u = 0; u < n; u++)
      expected += lanes[members[u]][i];
    if ((nx_ring_sum_lanes(sum)[i] & mask) != (expected & mask))
      fail_msg("lane %zu differs", i);
  }
  for (size_t i = 0; i < N_AUX; i++) {
    uint64_t expected = 0;
    for (size_t u = 0; u < n; u++)
      expected += aux[members[u]][i];
    assert_true(nx_ring_sum_aux(sum)[i] == expected);
  }
}

static void sum_has_no_order_and_takes_members_out(void **state) {
  (void)state;
  static const uint32_t bits[] = {32, 24, 16, 12};
  for (size_t k = 0; k < 4; k++) {
    make(bits[k]);
    _cleanup_(nx_pool_destroyp) struct nx_pool *pool = NULL;
    _cleanup_(nx_ring_sum_destroyp) struct nx_ring_sum *sum = NULL;
    assert_int_equal(nx_pool_create(2, &pool, NULL), 0);
    assert_int_equal(nx_ring_sum_create(&spool, pool, &sum, NULL), 0);
    for (uint32_t u = MEMBERS; u >= 1; u--)
      spool_upload(u);
    for (uint32_t u = 1; u <= 4; u++)
      assert_int_equal(nx_ring_sum_add(sum, u, NULL), 0);
    assert_int_equal(nx_ring_sum_add(sum, 2, NULL), 0); /* again: adds nothing */
    check_sum_of(sum, (uint8_t[]){1, 2, 3, 4}, 4);
    const uint8_t settled[] = {5, 3, 1};
    assert_int_equal(nx_ring_sum_settle(sum, settled, 3, NULL), 0);
    check_sum_of(sum, settled, 3);
    unmake();
  }
}

/* Five uploads at once, each in the sum as far as it has come; what breaks is out again. */
static void tiles_are_added_as_they_come(void **state) {
  (void)state;
  static const uint32_t bits[] = {32, 24, 16, 12};
  for (size_t k = 0; k < 4; k++) {
    make(bits[k]);
    _cleanup_(nx_ring_sum_destroyp) struct nx_ring_sum *sum = NULL;
    struct nx_upload_writer *writers[MEMBERS + 1];
    assert_int_equal(nx_ring_sum_create(&spool, NULL, &sum, NULL), 0);
    for (uint32_t u = 1; u <= MEMBERS; u++)
      writers[u] = begin(u, sum);
    for (uint32_t u = 1; u <= MEMBERS; u++)
      write_part(writers[u], u, 0, spool.size - (u == 4));
    for (uint32_t u = 1; u <= 3; u++)
      commit(writers[u], u);
    nx_upload_writer_destroy(writers[4]); /* its line broke one byte from the end */
    assert_int_equal(nx_ring_sum_add(sum, 1, NULL), 0);
    assert_int_equal(nx_ring_sum_add(sum, 3, NULL), 0);
    const uint8_t came[] = {1, 2, 3, 5};
    check_sum_of(sum, came, 4);
    const uint8_t settled[] = {3, 1}; /* 2: whole, and not wanted; 5: never committed */
    assert_int_equal(nx_ring_sum_settle(sum, settled, 2, NULL), 0);
    check_sum_of(sum, settled, 2);
    commit(writers[5], 5); /* too late */
    check_sum_of(sum, settled, 2);
    assert_int_equal(nx_ring_sum_settle(sum, came, 4, NULL), 0);
    check_sum_of(sum, came, 4);
    unmake();
  }
}

/* A second stream of a member goes on where the first, which is half dead, is; a third begins
 * anew. Each upload counts once. */
static void streams_of_one_member_count_once(void **state) {
  (void)state;
  make(32);
  _cleanup_(nx_ring_sum_destroyp) struct nx_ring_sum *sum = NULL;
  uint64_t held;
  struct nx_hash hash;
  assert_int_equal(nx_ring_sum_create(&spool, NULL, &sum, NULL), 0);
  struct nx_upload_writer *half_dead = begin(1, sum);
  write_part(half_dead, 1, 0, 70000);
  struct nx_upload_writer *second = begin(1, sum);
  assert_int_equal(nx_upload_writer_take_up(second, &held, &hash, NULL), 0);
  assert_int_equal(held, 65536);
  write_part(second, 1, held, spool.size);
  commit(second, 1);
  assert_int_equal(nx_ring_sum_add(sum, 1, NULL), 0);
  check_sum_of(sum, (uint8_t[]){1}, 1);
  write_part(half_dead, 1, 70000, spool.size);
  nx_upload_writer_destroy(half_dead);
  check_sum_of(sum, (uint8_t[]){1}, 1);

  struct nx_upload_writer *broken = begin(2, sum);
  write_part(broken, 3, 0, 70000); /* of another upload */
  nx_upload_writer_destroy(broken);
  struct nx_upload_writer *anew = begin(2, sum);
  assert_int_equal(nx_upload_writer_take_up(anew, &held, &hash, NULL), 0);
  assert_int_equal(held, 65536);
  write_part(anew, 2, 0, spool.size);
  commit(anew, 2);
  assert_int_equal(nx_ring_sum_add(sum, 2, NULL), 0);
  check_sum_of(sum, (uint8_t[]){1, 2}, 2);
  unmake();
}

/* What was summed and cannot be read back as it came: the sum is made anew from the spool. */
static void disk_that_forgets_spoils_no_sum(void **state) {
  (void)state;
  make(32);
  _cleanup_(nx_ring_sum_destroyp) struct nx_ring_sum *sum = NULL;
  char path[NX_PATH_SIZE];
  assert_int_equal(nx_ring_sum_create(&spool, NULL, &sum, NULL), 0);
  struct nx_upload_writer *whole = begin(1, sum), *lost = begin(2, sum);
  write_part(whole, 1, 0, spool.size);
  write_part(lost, 2, 0, 70000);
  commit(whole, 1);
  assert_int_equal(nx_ring_sum_add(sum, 1, NULL), 0);
  DIR *dir = opendir(spool.folder);
  size_t found = 0;
  for (struct dirent *entry; (entry = readdir(dir));)
    if (!strncmp(entry->d_name, "2.", 2)) {
      assert_int_equal(nx_path_join(path, spool.folder, entry->d_name, NULL), 0);
      int fd = open(path, O_WRONLY);
      assert_int_equal(pwrite(fd, "rot", 3, 40000), 3);
      close(fd);
      found++;
    }
  closedir(dir);
  assert_int_equal(found, 1);
  nx_upload_writer_destroy(lost);
  assert_int_equal(nx_ring_sum_settle(sum, (uint8_t[]){1}, 1, NULL), 0);
  check_sum_of(sum, (uint8_t[]){1}, 1);
  unmake();
}

static struct nx_ring_sum *shared;

static void *write_upload(void *context) {
  uint32_t member = (uint32_t)(uintptr_t)context;
  struct nx_upload_writer *writer = begin(member, shared);
  write_part(writer, member, 0, spool.size - (member == MEMBERS));
  if (member < MEMBERS)
    commit(writer, member);
  else
    nx_upload_writer_destroy(writer);
  return NULL;
}

/* All at once, one of which breaks; settled behind them, or at any moment in between. */
static void uploads_come_from_many_threads(void **state) {
  (void)state;
  static const uint8_t came[] = {1, 2, 3, 4};
  for (int in_between = 0; in_between < 2; in_between++) {
    make(24);
    pthread_t threads[MEMBERS + 1];
    assert_int_equal(nx_ring_sum_create(&spool, NULL, &shared, NULL), 0);
    for (uint32_t u = 1; u <= MEMBERS; u++)
      assert_int_equal(pthread_create(&threads[u], NULL, write_upload, (void *)(uintptr_t)u), 0);
    if (in_between)
      assert_int_equal(nx_ring_sum_settle(shared, NULL, 0, NULL), 0);
    for (uint32_t u = 1; u <= MEMBERS; u++)
      pthread_join(threads[u], NULL);
    for (uint32_t u = 1; u < MEMBERS; u++)
      assert_int_equal(nx_ring_sum_add(shared, u, NULL), 0);
    check_sum_of(shared, came, 4);
    assert_int_equal(nx_ring_sum_settle(shared, came, 4, NULL), 0);
    check_sum_of(shared, came, 4);
    nx_ring_sum_destroy(nx_steal(&shared));
    unmake();
  }
}

/* The attempt is dropped while an upload is coming in. */
static void stream_outlives_its_sum(void **state) {
  (void)state;
  make(16);
  struct nx_ring_sum *sum = NULL;
  assert_int_equal(nx_ring_sum_create(&spool, NULL, &sum, NULL), 0);
  struct nx_upload_writer *writer = begin(1, sum);
  write_part(writer, 1, 0, 40000);
  nx_ring_sum_destroy(sum);
  write_part(writer, 1, 40000, spool.size);
  nx_upload_writer_destroy(writer);
  unmake();
}

/* Three nodes mask with random keys; the sum of the masked uploads opens to the exact sum,
 * and its bytes are little-endian. */
static void masked_sum_opens_exactly(void **state) {
  (void)state;
  make(24);
  _cleanup_(nx_mask_destroyp) struct nx_mask *off = NULL;
  _cleanup_(nx_ring_sum_destroyp) struct nx_ring_sum *sum = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  uint32_t *plain[MEMBERS + 1];
  uint64_t plain_aux[MEMBERS + 1][N_AUX];
  assert_int_equal(nx_crypto_init(NULL), 0);
  assert_int_equal(nx_mask_create(MEMBERS, NX_MASK_USUAL, &off, NULL), 0);
  assert_int_equal(nx_ring_sum_create(&spool, NULL, &sum, NULL), 0);
  for (uint32_t u = 1; u <= 3; u++) {
    _cleanup_(nx_mask_destroyp) struct nx_mask *on = NULL;
    _cleanup_(nx_secret_wipe) struct nx_secret key;
    plain[u] = malloc(N_LANES * sizeof **plain);
    memcpy(plain[u], lanes[u], N_LANES * sizeof **plain);
    memcpy(plain_aux[u], aux[u], sizeof aux[u]);
    assert_int_equal(nx_secret_random(&nx_entropy_system, &key, NULL), 0);
    assert_int_equal(nx_mask_create(1, NX_MASK_USUAL, &on, NULL), 0);
    assert_int_equal(nx_mask_add_key(on, &key, false, NULL), 0);
    assert_int_equal(nx_mask_add_key(off, &key, true, NULL), 0);
    assert_int_equal(nx_mask_apply_u32(on, lanes[u], 0, N_LANES, NULL, NULL), 0);
    assert_int_equal(nx_mask_apply_u64(on, aux[u], 0, N_AUX, NULL, NULL), 0);
    spool_upload(u);
    assert_int_equal(nx_ring_sum_add(sum, u, NULL), 0);
  }
  assert_int_equal(nx_ring_sum_open(sum, off, NULL), 0);
  for (uint32_t u = 1; u <= 3; u++) {
    memcpy(lanes[u], plain[u], N_LANES * sizeof **plain);
    memcpy(aux[u], plain_aux[u], sizeof aux[u]);
    free(plain[u]);
  }
  check_sum_of(sum, (uint8_t[]){1, 2, 3}, 3);
  assert_int_equal(nx_ring_sum_bytes(sum, &bytes, NULL), 0);
  assert_int_equal(bytes.size, N_LANES * 4 + N_AUX * 8);
  for (size_t i = 0; i < N_LANES; i++)
    assert_int_equal(nx_load_le32(bytes.data + 4 * i), nx_ring_sum_lanes(sum)[i]);
  for (size_t i = 0; i < N_AUX; i++)
    assert_true(nx_load_le64(bytes.data + 4 * N_LANES + 8 * i) == nx_ring_sum_aux(sum)[i]);
  unmake();
}

static void missing_upload_is_an_error(void **state) {
  (void)state;
  make(32);
  _cleanup_(nx_ring_sum_destroyp) struct nx_ring_sum *sum = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_ring_sum_create(&spool, NULL, &sum, NULL), 0);
  assert_int_equal(nx_ring_sum_add(sum, 1, &err), NX_E_NOT_FOUND);
  assert_non_null(strstr(err.text, "member 1"));
  unmake();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sum_has_no_order_and_takes_members_out),
      cmocka_unit_test(tiles_are_added_as_they_come),
      cmocka_unit_test(streams_of_one_member_count_once),
      cmocka_unit_test(disk_that_forgets_spoils_no_sum),
      cmocka_unit_test(uploads_come_from_many_threads),
      cmocka_unit_test(stream_outlives_its_sum),
      cmocka_unit_test(masked_sum_opens_exactly),
      cmocka_unit_test(missing_upload_is_an_error),
  };
  return cmocka_run_group_tests_name("ring sum", tests, NULL, NULL);
}
