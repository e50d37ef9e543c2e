/* A coordinator that alters one tile of a hundred: how often six nodes with four checks each see
 * it, over a thousand rounds, beside what docs/threat-model.md states; and that a replay of the
 * kept uploads always does. Real uploads, proofs and masks; each node draws its tiles as the
 * participant does. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "crypto/masked_upload.h"
#include "crypto/replay.h"
#include "node/session/spot_check.h"
#include "node/session/spot_draw.h"
#include "tests/unit/cmocka_shim.h"

#define MEMBERS 6
#define TILES 100
#define CHECKS 4
#define ROUNDS 1000
#define REPLAY_EVERY 50
#define TILE_LANES ((size_t)16384) /* of twelve bits */
#define LANES (TILES * TILE_LANES)

struct round {
  char folder[64], sum_path[NX_PATH_SIZE];
  struct nx_upload_layout layout;
  struct nx_replay replay;
  struct nx_spot_member members[MEMBERS];
  uint8_t *uploads[MEMBERS];
  struct nx_hash *leaves[MEMBERS];
  struct nx_mask *removal;
  uint8_t *sum;
  size_t sum_size;
};

static struct nx_rng rng;

static int fill(void *context, void *out, size_t size, struct nx_error *err) {
  uint8_t *bytes = out;
  (void)err;
  for (size_t i = 0; i < size; i++)
    bytes[i] = (uint8_t)(nx_rng_u64(context) >> 56);
  return 0;
}
static const struct nx_entropy entropy = {fill, &rng};

static void make_member(struct round *r, uint32_t u, struct nx_secret keys[MEMBERS][MEMBERS],
                        uint32_t *sums) {
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
  _cleanup_free_ uint32_t *lanes = malloc(LANES * sizeof *lanes);
  char path[NX_PATH_SIZE], name[16];
  size_t bytes = nx_upload_bytes(&r->layout);
  assert_int_equal(nx_mask_create(MEMBERS, NX_MASK_USUAL, &mask, NULL), 0);
  for (uint32_t v = 0; v < MEMBERS; v++)
    nx_mask_add_key(mask, u < v ? &keys[u][v] : &keys[v][u], v < u, NULL);
  nx_mask_add_key(r->removal, &keys[u][u], true, NULL);
  for (size_t i = 0; i < LANES; i++)
    sums[i] += lanes[i] = (uint32_t)nx_rng_u64(&rng) & 7;
  const struct nx_masked_upload m = {r->layout, NULL, mask, NULL};
  r->uploads[u] = calloc(1, bytes);
  assert_int_equal(nx_masked_upload_from_lanes(&m, lanes, r->uploads[u], NULL), 0);
  r->leaves[u] = calloc(TILES, sizeof *r->leaves[u]);
  for (uint64_t i = 0; i < TILES; i++) {
    struct nx_upload_tile tile = nx_upload_tile(&r->layout, i);
    r->leaves[u][i] = nx_merkle_leaf(nx_bytes(r->uploads[u] + tile.offset, tile.size));
  }
  r->members[u].id = r->replay.members[u].id = u + 1;
  nx_upload_root(&r->layout, r->uploads[u], NULL, &r->members[u].root, NULL);
  r->replay.members[u].root = r->members[u].root;
  snprintf(name, sizeof name, "%u", u + 1);
  nx_path_join(path, r->folder, name, NULL);
  assert_int_equal(nx_file_create(path, nx_bytes(r->uploads[u], bytes), 0600, NULL), 0);
}

static void make_round(struct round *r) {
  static struct nx_secret keys[MEMBERS][MEMBERS]; /* [u][u]: the self key */
  _cleanup_free_ uint32_t *sums = calloc(LANES, sizeof *sums);
  strcpy(r->folder, "/tmp/nx-spot-rate-XXXXXX");
  assert_non_null(mkdtemp(r->folder));
  nx_path_join(r->sum_path, r->folder, "sum", NULL);
  r->layout = (struct nx_upload_layout){.n_lanes = LANES, .ring_bits = 12};
  assert_int_equal(nx_upload_tiles(&r->layout), TILES);
  r->replay =
      (struct nx_replay){.round = 1, .attempt = 1, .layout = r->layout, .n_members = MEMBERS};
  for (uint32_t u = 0; u < MEMBERS; u++)
    for (uint32_t v = u; v < MEMBERS; v++)
      nx_secret_random(&entropy, &keys[u][v], NULL);
  assert_int_equal(nx_mask_create(MEMBERS, NX_MASK_USUAL, &r->removal, NULL), 0);
  for (uint32_t u = 0; u < MEMBERS; u++)
    make_member(r, u, keys, sums);
  r->sum_size = 4 * LANES;
  r->sum = malloc(r->sum_size);
  for (size_t i = 0; i < LANES; i++)
    nx_store_le32(r->sum + 4 * i, sums[i] & 0xfff);
}

static void free_round(struct round *r) {
  char command[128];
  for (int u = 0; u < MEMBERS; u++) {
    free(r->uploads[u]);
    free(r->leaves[u]);
  }
  free(r->sum);
  nx_mask_destroy(r->removal);
  snprintf(command, sizeof command, "rm -r '%s'", r->folder);
  assert_int_equal(system(command), 0);
}

/* One node's look: 0, or NX_E_CRYPTO when it saw something. */
static int look(const struct round *r) {
  _cleanup_(nx_spot_check_destroyp) struct nx_spot_check *check = NULL;
  uint64_t tiles[CHECKS];
  assert_int_equal(nx_spot_draw(&entropy, TILES, CHECKS, tiles, NULL), 0);
  assert_int_equal(
      nx_spot_check_create(&r->layout, r->members, MEMBERS, tiles, CHECKS, &check, NULL), 0);
  for (int u = 0; u < MEMBERS; u++)
    for (int k = 0; k < CHECKS; k++) {
      struct nx_merkle_path path;
      struct nx_upload_tile tile = nx_upload_tile(&r->layout, tiles[k]);
      nx_merkle_prove(r->leaves[u], TILES, tiles[k], &path);
      assert_int_equal(nx_spot_check_add(check, r->members[u].id, tiles[k],
                                         nx_bytes(r->uploads[u] + tile.offset, tile.size), &path,
                                         NULL),
                       0);
    }
  return nx_spot_check_compare(check, r->removal, nx_bytes(r->sum, r->sum_size), NULL);
}

static bool is_seen(const struct round *r) {
  for (int node = 0; node < MEMBERS; node++)
    if (look(r) < 0)
      return true;
  return false;
}

/* The coordinator keeps the uploads; the record says what it gave out. */
static void replay_finds(struct round *r, uint64_t tile) {
  struct nx_replay found;
  struct nx_replay_tiles tiles;
  r->replay.sum = nx_sha256(r->sum, r->sum_size);
  assert_int_equal(nx_replay_write(r->folder, &r->replay, r->removal, NULL), 0);
  assert_int_equal(nx_file_replace(r->sum_path, nx_bytes(r->sum, r->sum_size), 0600, NULL), 0);
  assert_int_equal(nx_replay_verify(r->folder, r->sum_path, &found, &tiles, NULL), NX_E_CRYPTO);
  assert_int_equal(tiles.n_bad, 1);
  assert_int_equal(tiles.first_bad, tile);
}

static void one_tile_of_a_hundred_is_seen_at_the_stated_rate(void **state) {
  static struct round r;
  (void)state;
  nx_rng_init(&rng, 2026, 5);
  make_round(&r);
  assert_int_equal(look(&r), 0); /* the honest sum */
  size_t seen = 0, replayed = 0;
  for (size_t i = 0; i < ROUNDS; i++) {
    uint64_t tile = nx_rng_below(&rng, TILES);
    uint8_t *lie = r.sum + 4 * (tile * TILE_LANES + nx_rng_below(&rng, TILE_LANES));
    *lie ^= 1;
    seen += is_seen(&r);
    if (i % REPLAY_EVERY == 0) {
      replay_finds(&r, tile);
      replayed++;
    }
    *lie ^= 1;
  }
  free_round(&r);
  /* Drawn without putting back, a node misses with 1 - k/tiles, which (1 - f)^k bounds. */
  double exact = 1 - pow(1 - (double)CHECKS / TILES, MEMBERS);
  double stated = 1 - pow(1 - 1.0 / TILES, CHECKS * MEMBERS);
  double deviation = sqrt(ROUNDS * exact * (1 - exact));
  print_message(
      "# seen in %zu of %d rounds; expected %.1f (stated: at least %.1f), sd %.1f; replay "
      "saw %zu of %zu\n",
      seen, ROUNDS, ROUNDS * exact, ROUNDS * stated, deviation, replayed, replayed);
  assert_true(fabs((double)seen - ROUNDS * exact) < 4 * deviation);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_tile_of_a_hundred_is_seen_at_the_stated_rate),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
