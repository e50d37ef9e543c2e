/* Three members protect an update each; their uploads add up; spot checks see every lie. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "node/session/protect.h"
#include "node/session/spot_check.h"
#include "tests/unit/cmocka_shim.h"

#define MEMBERS 3
#define LANES 20000 /* three tiles of 8192 lanes, the last with padding and counters */
#define AUX 5

struct fixture {
  char folder[64], spool[MEMBERS][NX_PATH_SIZE];
  float delta[MEMBERS][LANES];
  uint64_t aux[MEMBERS][AUX];
  struct nx_secret self[MEMBERS], pair[MEMBERS][MEMBERS];
  struct nx_encoded encoded[MEMBERS];
  struct nx_mask *masks[MEMBERS], *removal;
  struct nx_protected done[MEMBERS];
  struct nx_buffer uploads[MEMBERS], sum;
};

static const struct nx_upload_layout layout = {.n_lanes = LANES, .ring_bits = 32, .n_aux = AUX};
static const struct nx_quantize quantize = {
    .ring_bits = 32, .value_bits = 24, .value_range = 0.125, .clip_norm = 10};

static void make_keys(struct fixture *f) {
  for (int u = 0; u < MEMBERS; u++) {
    nx_secret_random(&nx_entropy_system, &f->self[u], NULL);
    for (int v = u + 1; v < MEMBERS; v++) {
      nx_secret_random(&nx_entropy_system, &f->pair[u][v], NULL);
      f->pair[v][u] = f->pair[u][v];
    }
  }
}

static void make_masks(struct fixture *f) {
  assert_int_equal(nx_mask_create(MEMBERS, NX_MASK_USUAL, &f->removal, NULL), 0);
  for (int u = 0; u < MEMBERS; u++) {
    assert_int_equal(nx_mask_create(MEMBERS, NX_MASK_USUAL, &f->masks[u], NULL), 0);
    assert_int_equal(nx_mask_add_key(f->masks[u], &f->self[u], false, NULL), 0);
    assert_int_equal(nx_mask_add_key(f->removal, &f->self[u], true, NULL), 0);
    for (int v = 0; v < MEMBERS; v++)
      if (v != u)
        assert_int_equal(nx_mask_add_key(f->masks[u], &f->pair[u][v], v < u, NULL), 0);
  }
}

static int protect(struct fixture *f, int u, struct nx_protected *out, struct nx_error *err) {
  return nx_protect(&f->encoded[u], 32, f->masks[u], f->spool[u], NULL, out, err);
}

static void protect_all(struct fixture *f) {
  struct nx_rng rng;
  nx_rng_init(&rng, 7, 0);
  for (int u = 0; u < MEMBERS; u++) {
    for (int i = 0; i < LANES; i++)
      f->delta[u][i] = (float)(0.01 * nx_rng_normal(&rng));
    for (int i = 0; i < AUX; i++)
      f->aux[u][i] = nx_rng_u64(&rng);
    snprintf(f->spool[u], sizeof f->spool[u], "%s/%d", f->folder, u);
    struct nx_error err = {0};
    if (nx_encode(&quantize, f->delta[u], NULL, LANES, f->aux[u], AUX, 1, (uint64_t)u,
                  &f->encoded[u], &err) < 0 ||
        protect(f, u, &f->done[u], &err) < 0)
      fail_msg("%s", err.text);
    assert_int_equal(nx_file_read(f->spool[u], 1 << 20, &f->uploads[u], NULL), 0);
  }
}

/* The honest coordinator's part: add, take the masks off, write the sum's bytes. */
static void open_sum(struct fixture *f) {
  uint32_t *lanes = calloc(LANES, sizeof *lanes);
  uint64_t aux[AUX] = {0};
  for (int u = 0; u < MEMBERS; u++)
    nx_upload_add(&layout, f->uploads[u].data, lanes, aux, NULL);
  assert_int_equal(nx_mask_apply_u32(f->removal, lanes, 0, LANES, NULL, NULL), 0);
  assert_int_equal(nx_mask_apply_u64(f->removal, aux, 0, AUX, NULL, NULL), 0);
  for (int i = 0; i < LANES; i++)
    nx_buffer_append_u32(&f->sum, lanes[i], NULL);
  for (int i = 0; i < AUX; i++)
    nx_buffer_append_u64(&f->sum, aux[i], NULL);
  free(lanes);
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/nx-protect-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  make_keys(f);
  make_masks(f);
  protect_all(f);
  open_sum(f);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  for (int u = 0; u < MEMBERS; u++) {
    unlink(f->spool[u]);
    nx_mask_destroy(f->masks[u]);
    nx_encoded_finish(&f->encoded[u]);
    nx_buffer_finish(&f->uploads[u]);
  }
  nx_mask_destroy(f->removal);
  nx_buffer_finish(&f->sum);
  rmdir(f->folder);
  free(f);
  return 0;
}

static void uploads_add_up_to_the_last_integer(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < AUX; i++) {
    uint64_t expected = f->aux[0][i] + f->aux[1][i] + f->aux[2][i];
    assert_true(nx_load_le64(f->sum.data + 4 * LANES + 8 * i) == expected);
  }
  for (int i = 0; i < LANES; i++) {
    double expected = (double)f->delta[0][i] + f->delta[1][i] + f->delta[2][i];
    double got = (int32_t)nx_load_le32(f->sum.data + 4 * i) / nx_quantize_scale(&quantize);
    assert_true(fabs(got - expected) < 3 / nx_quantize_scale(&quantize) + 1e-9);
  }
}

static void one_upload_looks_like_noise(void **state) {
  struct fixture *f = *state;
  size_t ones = 0, bits = 8 * f->uploads[0].size;
  for (size_t i = 0; i < f->uploads[0].size; i++)
    ones += (size_t)__builtin_popcount(f->uploads[0].data[i]);
  assert_true(fabs((double)ones - bits / 2.0) < 6 * sqrt((double)bits) / 2);
}

static void the_same_job_gives_the_same_bytes(void **state) {
  struct fixture *f = *state;
  struct nx_protected again;
  struct nx_buffer bytes = {0};
  assert_int_equal(protect(f, 1, &again, NULL), 0);
  assert_true(nx_hash_equal(&again.root, &f->done[1].root));
  assert_int_equal(nx_file_read(f->spool[1], 1 << 20, &bytes, NULL), 0);
  assert_memory_equal(bytes.data, f->uploads[1].data, bytes.size);
  nx_buffer_finish(&bytes);
}

static void not_a_number_is_never_encoded(void **state) {
  struct fixture *f = *state;
  struct nx_encoded out;
  struct nx_error err = {0};
  f->delta[0][17] = NAN;
  assert_int_equal(nx_encode(&quantize, f->delta[0], NULL, LANES, f->aux[0], AUX, 1, 0, &out, &err),
                   NX_E_INVALID);
}

static void folder_that_is_gone_is_told(void **state) {
  struct fixture *f = *state;
  struct nx_protected out;
  struct nx_error err = {0};
  assert_true(nx_protect(&f->encoded[0], 32, f->masks[0], "/nonexistent/y", NULL, &out, &err) < 0);
  assert_non_null(strstr(err.text, "/nonexistent/y"));
}

static const uint64_t all_tiles[] = {2, 0, 1};

static struct nx_spot_check *new_check(struct fixture *f) {
  struct nx_spot_member members[MEMBERS];
  struct nx_spot_check *check = NULL;
  for (uint32_t u = 0; u < MEMBERS; u++)
    members[u] = (struct nx_spot_member){.id = u + 1, .root = f->done[u].root};
  assert_int_equal(nx_spot_check_create(&layout, members, MEMBERS, all_tiles, 3, &check, NULL), 0);
  return check;
}

static int add_tile(struct fixture *f, struct nx_spot_check *check, uint32_t u, uint64_t tile,
                    const uint8_t *upload) {
  struct nx_hash leaves[8];
  struct nx_merkle_path path;
  nx_upload_leaves(&layout, f->uploads[u].data, leaves, NULL);
  nx_merkle_prove(leaves, nx_upload_tiles(&layout), tile, &path);
  struct nx_upload_tile where = nx_upload_tile(&layout, tile);
  return nx_spot_check_add(check, u + 1, tile, nx_bytes(upload + where.offset, where.size), &path,
                           NULL);
}

static void add_all(struct fixture *f, struct nx_spot_check *check) {
  for (size_t i = 0; i < 3; i++)
    for (uint32_t u = 0; u < MEMBERS; u++)
      assert_int_equal(add_tile(f, check, u, all_tiles[i], f->uploads[u].data), 0);
}

static int checked(struct fixture *f) {
  _cleanup_(nx_spot_check_destroyp) struct nx_spot_check *check = new_check(f);
  add_all(f, check);
  return nx_spot_check_compare(check, f->removal, nx_buffer_view(&f->sum), NULL);
}

static void honest_sum_passes_and_altered_ones_do_not(void **state) {
  struct fixture *f = *state;
  assert_int_equal(checked(f), 0);
  f->sum.data[4 * 9000 + 2] ^= 1;
  assert_int_equal(checked(f), NX_E_CRYPTO);
  f->sum.data[4 * 9000 + 2] ^= 1;
  f->sum.data[4 * LANES + 8] ^= 1;
  assert_int_equal(checked(f), NX_E_CRYPTO);
  f->sum.data[4 * LANES + 8] ^= 1;
  f->sum.size--;
  assert_int_equal(checked(f), NX_E_PROTOCOL);
  f->sum.size++;
}

static void swapped_tiles_are_named(void **state) {
  struct fixture *f = *state;
  _cleanup_(nx_spot_check_destroyp) struct nx_spot_check *check = new_check(f);
  assert_int_equal(add_tile(f, check, 0, 0, f->uploads[1].data), NX_E_CRYPTO);
  assert_int_equal(add_tile(f, check, 0, 0, f->uploads[0].data), 0);
  assert_int_equal(add_tile(f, check, 0, 0, f->uploads[0].data), NX_E_PROTOCOL);
  assert_int_equal(nx_spot_check_add(check, 9, 0, nx_bytes("", 0), NULL, NULL), NX_E_PROTOCOL);
  assert_int_equal(nx_spot_check_add(check, 1, 99, nx_bytes("", 0), NULL, NULL), NX_E_PROTOCOL);
  assert_int_equal(nx_spot_check_add(check, 1, 1, nx_bytes("", 0), NULL, NULL), NX_E_PROTOCOL);
  assert_int_equal(nx_spot_check_compare(check, f->removal, nx_buffer_view(&f->sum), NULL),
                   NX_E_PROTOCOL);
}

static void doubled_and_missing_tiles_cannot_be_drawn(void **state) {
  struct fixture *f = *state;
  const struct nx_spot_member member = {.id = 1, .root = f->done[0].root};
  const uint64_t doubled[] = {1, 1}, beyond[] = {3};
  struct nx_spot_check *check = NULL;
  assert_int_equal(nx_spot_check_create(&layout, &member, 1, doubled, 2, &check, NULL),
                   NX_E_INVALID);
  assert_int_equal(nx_spot_check_create(&layout, &member, 1, beyond, 1, &check, NULL),
                   NX_E_INVALID);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(uploads_add_up_to_the_last_integer),
      TEST(one_upload_looks_like_noise),
      TEST(the_same_job_gives_the_same_bytes),
      TEST(not_a_number_is_never_encoded),
      TEST(folder_that_is_gone_is_told),
      TEST(honest_sum_passes_and_altered_ones_do_not),
      TEST(swapped_tiles_are_named),
      TEST(doubled_and_missing_tiles_cannot_be_drawn),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
