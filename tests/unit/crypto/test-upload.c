#include "crypto/upload.h"

#include "crypto/lane_kernels.h"
#include "crypto/merkle.h"
#include "tests/unit/crypto/support.h"

static const uint32_t widths[] = {32, 24, 16, 12};

/* Bit k of lane i is bit i * w + k of the string. */
static void pack_plainly(const uint32_t *lanes, size_t n, uint32_t w, uint8_t *out) {
  for (size_t i = 0; i < n; i++)
    for (uint32_t k = 0; k < w; k++)
      out[(i * w + k) / 8] |= (uint8_t)((lanes[i] >> k & 1) << (i * w + k) % 8);
}

static void kernels_pack_and_unpack_as_defined(void **state) {
  (void)state;
  enum { N = 400 };
  const struct nx_lane_kernels *kernels[] = {&nx_lane_kernels_plain, nx_lane_kernels()};
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 2);
  for (size_t n = 0; n < N; n++)
    for (size_t wi = 0; wi < 4; wi++)
      for (size_t k = 0; k < 2; k++) {
        uint32_t w = widths[wi], lanes[N], sums[N];
        uint8_t want[4 * N + 1] = {0}, got[4 * N + 1];
        size_t size = (n * w + 7) / 8;
        for (size_t i = 0; i < n; i++)
          lanes[i] = (uint32_t)nx_rng_u64(&rng), sums[i] = (uint32_t)i;
        pack_plainly(lanes, n, w, want);
        memset(got, 0xee, sizeof got);
        kernels[k]->pack(lanes, n, w, got);
        assert_memory_equal(want, got, size);
        assert_int_equal(got[size], 0xee);
        kernels[k]->unpack_add(got, n, w, sums);
        for (size_t i = 0; i < n; i++)
          assert_int_equal(sums[i], (uint32_t)i + (lanes[i] & (0xffffffffu >> (32 - w))));
      }
}

static void tiles_cover_the_upload_once(void **state) {
  (void)state;
  static const size_t sizes[][2] = {{0, 1},     {1, 0},     {8192, 0},    {8192, 518},
                                    {8191, 12}, {16384, 3}, {21846, 518}, {100001, 4097}};
  for (size_t k = 0; k < 8; k++)
    for (size_t wi = 0; wi < 4; wi++) {
      const struct nx_upload_layout layout = {sizes[k][0], widths[wi], sizes[k][1]};
      size_t bytes = 0, lanes = 0, aux = 0;
      assert_int_equal(nx_upload_layout_check(&layout, NULL), 0);
      for (size_t i = 0; i < nx_upload_tiles(&layout); i++) {
        struct nx_upload_tile tile = nx_upload_tile(&layout, i);
        assert_int_equal(tile.offset, bytes);
        assert_int_equal(tile.offset % nx_upload_tile_size(layout.ring_bits), 0);
        assert_true(tile.n_lanes == 0 || tile.first_lane == lanes);
        assert_true(tile.n_aux == 0 || tile.first_aux == aux);
        bytes += tile.size;
        lanes += tile.n_lanes;
        aux += tile.n_aux;
      }
      assert_int_equal(bytes, nx_upload_bytes(&layout));
      assert_int_equal(lanes, layout.n_lanes);
      assert_int_equal(aux, layout.n_aux);
    }
}

static void uploads_add_up_whole_and_tile_by_tile(void **state) {
  (void)state;
  enum { N = 50001, A = 5000 };
  static uint32_t lanes[N], sums[N], tiled[N];
  static uint64_t aux[A], aux_sums[A], aux_tiled[A];
  static uint8_t upload[4 * N + 8 + 8 * A];
  struct nx_rng rng;
  _cleanup_(nx_pool_destroyp) struct nx_pool *pool = NULL;
  assert_int_equal(nx_pool_create(2, &pool, NULL), 0);
  nx_rng_init(&rng, 1, 3);
  for (size_t i = 0; i < N; i++)
    lanes[i] = (uint32_t)nx_rng_u64(&rng);
  for (size_t i = 0; i < A; i++)
    aux[i] = nx_rng_u64(&rng);
  for (size_t wi = 0; wi < 4; wi++) {
    const struct nx_upload_layout layout = {N, widths[wi], A};
    uint32_t modulo = 0xffffffffu >> (32 - widths[wi]);
    assert_true(nx_upload_bytes(&layout) <= sizeof upload);
    memset(sums, 0, sizeof sums), memset(aux_sums, 0, sizeof aux_sums);
    memset(tiled, 0, sizeof tiled), memset(aux_tiled, 0, sizeof aux_tiled);
    memset(upload, 0xee, sizeof upload);
    nx_upload_pack(&layout, lanes, aux, upload, pool);
    nx_upload_add(&layout, upload, sums, aux_sums, pool);
    nx_upload_add(&layout, upload, sums, aux_sums, NULL);
    for (size_t i = 0; i < nx_upload_tiles(&layout); i++) {
      struct nx_upload_tile tile = nx_upload_tile(&layout, i);
      nx_upload_add_tile(&layout, &tile, upload + tile.offset, tiled + tile.first_lane,
                         aux_tiled + tile.first_aux);
    }
    for (size_t i = 0; i < N; i++) {
      assert_int_equal(sums[i] & modulo, 2 * lanes[i] & modulo);
      assert_int_equal(tiled[i], lanes[i] & modulo);
    }
    for (size_t i = 0; i < A; i++)
      assert_true(aux_sums[i] == 2 * aux[i] && aux_tiled[i] == aux[i]);
  }
}

static void root_covers_every_byte_of_the_upload(void **state) {
  (void)state;
  const struct nx_upload_layout layout = {20000, 24, 7};
  static uint32_t lanes[20000];
  uint64_t aux[7] = {1, 2, 3, 4, 5, 6, 7};
  static uint8_t upload[61000];
  struct nx_hash root, other, leaves[3];
  struct nx_merkle_path path;
  nx_upload_pack(&layout, lanes, aux, upload, NULL);
  assert_int_equal(nx_upload_tiles(&layout), 3);
  assert_int_equal(nx_upload_root(&layout, upload, NULL, &root, NULL), 0);
  nx_upload_leaves(&layout, upload, leaves, NULL);
  nx_merkle_prove(leaves, 3, 1, &path);
  assert_int_equal(nx_merkle_verify(&root, 3, 1, &leaves[1], &path, NULL), 0);
  for (size_t at = 0; at < nx_upload_bytes(&layout); at += 997) {
    upload[at] ^= 4;
    assert_int_equal(nx_upload_root(&layout, upload, NULL, &other, NULL), 0);
    assert_false(nx_hash_equal(&root, &other));
    upload[at] ^= 4;
  }
}

static void impossible_layouts_are_refused(void **state) {
  (void)state;
  assert_int_equal(nx_upload_layout_check(&(struct nx_upload_layout){1, 31, 1}, NULL),
                   NX_E_INVALID);
  assert_int_equal(nx_upload_layout_check(&(struct nx_upload_layout){SIZE_MAX, 32, 1}, NULL),
                   NX_E_LIMIT);
  assert_int_equal(nx_upload_layout_check(&(struct nx_upload_layout){1, 32, SIZE_MAX}, NULL),
                   NX_E_LIMIT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kernels_pack_and_unpack_as_defined),
      cmocka_unit_test(tiles_cover_the_upload_once),
      cmocka_unit_test(uploads_add_up_whole_and_tile_by_tile),
      cmocka_unit_test(root_covers_every_byte_of_the_upload),
      cmocka_unit_test(impossible_layouts_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
