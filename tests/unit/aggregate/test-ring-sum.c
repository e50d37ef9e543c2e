/* Ring sum: exact to the last integer, in any order, whoever was taken out again. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/rng.h"
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

static void spool_upload(uint32_t member) {
  _cleanup_(nx_upload_writer_destroyp) struct nx_upload_writer *writer = NULL;
  uint8_t *bytes = malloc(spool.size);
  struct nx_hash root;
  nx_upload_pack(&layout, lanes[member], aux[member], bytes, NULL);
  assert_int_equal(nx_upload_root(&layout, bytes, NULL, &root, NULL), 0);
  assert_int_equal(nx_upload_writer_create(&spool, member, &writer, NULL), 0);
  assert_int_equal(nx_upload_writer_write(writer, 0, nx_bytes(bytes, spool.size), NULL), 0);
  assert_int_equal(nx_upload_writer_commit(writer, &root, NULL), 0);
  free(bytes);
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
  assert_int_equal(nx_mask_create(MEMBERS, &off, NULL), 0);
  assert_int_equal(nx_ring_sum_create(&spool, NULL, &sum, NULL), 0);
  for (uint32_t u = 1; u <= 3; u++) {
    _cleanup_(nx_mask_destroyp) struct nx_mask *on = NULL;
    _cleanup_(nx_secret_wipe) struct nx_secret key;
    plain[u] = malloc(N_LANES * sizeof **plain);
    memcpy(plain[u], lanes[u], N_LANES * sizeof **plain);
    memcpy(plain_aux[u], aux[u], sizeof aux[u]);
    assert_int_equal(nx_secret_random(&nx_entropy_system, &key, NULL), 0);
    assert_int_equal(nx_mask_create(1, &on, NULL), 0);
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
      cmocka_unit_test(masked_sum_opens_exactly),
      cmocka_unit_test(missing_upload_is_an_error),
  };
  return cmocka_run_group_tests_name("ring sum", tests, NULL, NULL);
}
