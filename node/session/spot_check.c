#include "node/session/spot_check.h"

#include <stdlib.h>
#include <string.h>

#include "common/size.h"

struct drawn_tile {
  struct nx_upload_tile where;
  uint32_t *lanes; /* running sums */
  uint64_t *aux;
  uint8_t *seen; /* [n_members] */
};

struct nx_spot_check {
  struct nx_upload_layout layout;
  size_t n_members, n_tiles; /* n_tiles: drawn, of all */
  struct nx_spot_member *members;
  uint64_t *indices; /* [n_tiles], ascending */
  struct drawn_tile *tiles;
};

static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static int prepare_tile(struct nx_spot_check *check, size_t i, struct nx_error *err) {
  struct drawn_tile *tile = &check->tiles[i];
  tile->where = nx_upload_tile(&check->layout, check->indices[i]);
  tile->lanes = calloc(NX_MAX(tile->where.n_lanes, (size_t)1), sizeof *tile->lanes);
  tile->aux = calloc(NX_MAX(tile->where.n_aux, (size_t)1), sizeof *tile->aux);
  tile->seen = calloc(check->n_members, 1);
  if (!tile->lanes || !tile->aux || !tile->seen)
    return nx_fail(err, NX_E_NOMEM, "spot check: out of memory");
  return 0;
}

static int prepare(struct nx_spot_check *check, const struct nx_spot_member *members,
                   const uint64_t *tiles, struct nx_error *err) {
  size_t all = nx_upload_tiles(&check->layout), n = check->n_tiles;
  check->members = calloc(NX_MAX(check->n_members, (size_t)1), sizeof *members);
  check->indices = calloc(NX_MAX(n, (size_t)1), sizeof *check->indices);
  check->tiles = calloc(NX_MAX(n, (size_t)1), sizeof *check->tiles);
  if (!check->members || !check->indices || !check->tiles)
    return nx_fail(err, NX_E_NOMEM, "spot check: out of memory");
  memcpy(check->members, members, check->n_members * sizeof *members);
  memcpy(check->indices, tiles, n * sizeof *tiles);
  qsort(check->indices, n, sizeof *check->indices, by_value);
  for (size_t i = 0; i < n; i++) {
    if (check->indices[i] >= all || (i && check->indices[i] == check->indices[i - 1]))
      return nx_fail(err, NX_E_INVALID, "spot check: tiles must be distinct and below %zu", all);
    int r = prepare_tile(check, i, err);
    if (r < 0)
      return r;
  }
  return 0;
}

int nx_spot_check_create(const struct nx_upload_layout *layout,
                         const struct nx_spot_member *members, size_t n_members,
                         const uint64_t *tiles, size_t n_tiles, struct nx_spot_check **check_out,
                         struct nx_error *err) {
  int r = nx_upload_layout_check(layout, err);
  if (r < 0)
    return r;
  _cleanup_(nx_spot_check_destroyp) struct nx_spot_check *check = calloc(1, sizeof *check);
  if (!check)
    return nx_fail(err, NX_E_NOMEM, "spot check: out of memory");
  check->layout = *layout;
  check->n_members = n_members;
  check->n_tiles = n_tiles;
  r = prepare(check, members, tiles, err);
  if (r < 0)
    return r;
  *check_out = nx_steal(&check);
  return 0;
}

void nx_spot_check_destroy(struct nx_spot_check *check) {
  if (!check)
    return;
  for (size_t i = 0; check->tiles && i < check->n_tiles; i++) {
    free(check->tiles[i].lanes);
    free(check->tiles[i].aux);
    free(check->tiles[i].seen);
  }
  free(check->tiles);
  free(check->indices);
  free(check->members);
  free(check);
}

static const struct nx_spot_member *find_member(const struct nx_spot_check *check, uint32_t id,
                                                size_t *index_out) {
  for (size_t i = 0; i < check->n_members; i++)
    if (check->members[i].id == id) {
      *index_out = i;
      return &check->members[i];
    }
  return NULL;
}

static struct drawn_tile *find_tile(struct nx_spot_check *check, uint64_t index) {
  const uint64_t *at =
      bsearch(&index, check->indices, check->n_tiles, sizeof *check->indices, by_value);
  return at ? &check->tiles[at - check->indices] : NULL;
}

int nx_spot_check_add(struct nx_spot_check *check, uint32_t member, uint64_t index,
                      struct nx_bytes data, const struct nx_merkle_path *path,
                      struct nx_error *err) {
  size_t at = 0;
  const struct nx_spot_member *owner = find_member(check, member, &at);
  struct drawn_tile *tile = find_tile(check, index);
  if (!owner || !tile)
    return nx_fail(err, NX_E_PROTOCOL, "tile %llu of member %u was not asked for",
                   (unsigned long long)index, member);
  if (tile->seen[at])
    return nx_fail(err, NX_E_PROTOCOL, "tile %llu of member %u came twice",
                   (unsigned long long)index, member);
  if (data.size != tile->where.size)
    return nx_fail(err, NX_E_PROTOCOL, "tile %llu of member %u has %zu bytes, not %zu",
                   (unsigned long long)index, member, data.size, tile->where.size);
  struct nx_hash leaf = nx_merkle_leaf(data);
  int r = nx_merkle_verify(&owner->root, nx_upload_tiles(&check->layout), index, &leaf, path, err);
  if (r < 0)
    return nx_error_prefix(err, r, "tile %llu of member %u", (unsigned long long)index, member);
  nx_upload_add_tile(&check->layout, &tile->where, data.data, tile->lanes, tile->aux);
  tile->seen[at] = 1;
  return 0;
}

/* True when the tile's lanes and counters are those of the sum. */
static bool equals_sum(const struct nx_upload_layout *layout, const struct drawn_tile *tile,
                       const uint8_t *sum) {
  uint32_t keep = layout->ring_bits == 32 ? UINT32_MAX : (1u << layout->ring_bits) - 1;
  const uint8_t *lanes = sum + 4 * tile->where.first_lane;
  const uint8_t *aux = sum + 4 * layout->n_lanes + 8 * tile->where.first_aux;
  for (size_t i = 0; i < tile->where.n_lanes; i++)
    if (nx_load_le32(lanes + 4 * i) != (tile->lanes[i] & keep))
      return false;
  for (size_t i = 0; i < tile->where.n_aux; i++)
    if (nx_load_le64(aux + 8 * i) != tile->aux[i])
      return false;
  return true;
}

static int compare_tile(struct nx_spot_check *check, size_t i, const struct nx_mask *mask,
                        const uint8_t *sum, struct nx_error *err) {
  struct drawn_tile *tile = &check->tiles[i];
  unsigned long long index = check->indices[i];
  for (size_t m = 0; m < check->n_members; m++)
    if (!tile->seen[m])
      return nx_fail(err, NX_E_PROTOCOL, "tile %llu of member %u is missing", index,
                     check->members[m].id);
  int r =
      nx_mask_apply_u32(mask, tile->lanes, tile->where.first_lane, tile->where.n_lanes, NULL, err);
  if (r == 0)
    r = nx_mask_apply_u64(mask, tile->aux, tile->where.first_aux, tile->where.n_aux, NULL, err);
  if (r < 0)
    return r;
  if (!equals_sum(&check->layout, tile, sum))
    return nx_fail(err, NX_E_CRYPTO, "the opened sum is not the sum of the uploads (tile %llu)",
                   index);
  return 0;
}

int nx_spot_check_compare(struct nx_spot_check *check, const struct nx_mask *mask,
                          struct nx_bytes sum, struct nx_error *err) {
  if (sum.size != 4 * check->layout.n_lanes + 8 * check->layout.n_aux)
    return nx_fail(err, NX_E_PROTOCOL, "the opened sum has %zu bytes, not %zu", sum.size,
                   4 * check->layout.n_lanes + 8 * check->layout.n_aux);
  for (size_t i = 0; i < check->n_tiles; i++) {
    int r = compare_tile(check, i, mask, sum.data, err);
    if (r < 0)
      return r;
  }
  return 0;
}
