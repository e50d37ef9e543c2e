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

/* Uniform in 0..n-1, unbiased. */
static int draw_below(const struct nx_entropy *entropy, uint64_t n, uint64_t *out,
                      struct nx_error *err) {
  uint64_t value, limit = UINT64_MAX - UINT64_MAX % n;
  do {
    int r = entropy->fill(entropy->context, &value, sizeof value, err);
    if (r < 0)
      return r;
  } while (value >= limit);
  *out = value % n;
  return 0;
}

static bool contains(const uint64_t *values, size_t n, uint64_t value) {
  for (size_t i = 0; i < n; i++)
    if (values[i] == value)
      return true;
  return false;
}

/* Floyd's sampling: every set of n_tiles out of `all` is equally likely. */
static int draw(struct nx_spot_check *check, uint64_t all, const struct nx_entropy *entropy,
                struct nx_error *err) {
  size_t n = check->n_tiles;
  for (size_t i = 0; i < n; i++) {
    uint64_t last = all - n + i, value = 0;
    int r = draw_below(entropy, last + 1, &value, err);
    if (r < 0)
      return r;
    check->indices[i] = contains(check->indices, i, value) ? last : value;
  }
  qsort(check->indices, n, sizeof *check->indices, by_value);
  return 0;
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

static int prepare(struct nx_spot_check *check, const struct nx_spot_member *members, uint32_t k,
                   const struct nx_entropy *entropy, struct nx_error *err) {
  size_t all = nx_upload_tiles(&check->layout);
  size_t wanted = NX_MIN((size_t)k, all);
  check->members = calloc(NX_MAX(check->n_members, (size_t)1), sizeof *members);
  check->indices = calloc(NX_MAX(wanted, (size_t)1), sizeof *check->indices);
  check->tiles = calloc(NX_MAX(wanted, (size_t)1), sizeof *check->tiles);
  if (!check->members || !check->indices || !check->tiles)
    return nx_fail(err, NX_E_NOMEM, "spot check: out of memory");
  check->n_tiles = wanted;
  memcpy(check->members, members, check->n_members * sizeof *members);
  int r = draw(check, all, entropy, err);
  for (size_t i = 0; r == 0 && i < wanted; i++)
    r = prepare_tile(check, i, err);
  return r;
}

int nx_spot_check_create(const struct nx_upload_layout *layout,
                         const struct nx_spot_member *members, size_t n_members, uint32_t k,
                         const struct nx_entropy *entropy, struct nx_spot_check **check_out,
                         struct nx_error *err) {
  int r = nx_upload_layout_check(layout, err);
  if (r < 0)
    return r;
  _cleanup_(nx_spot_check_destroyp) struct nx_spot_check *check = calloc(1, sizeof *check);
  if (!check)
    return nx_fail(err, NX_E_NOMEM, "spot check: out of memory");
  check->layout = *layout;
  check->n_members = n_members;
  r = prepare(check, members, k, entropy, err);
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

const uint64_t *nx_spot_check_tiles(const struct nx_spot_check *check, size_t *n_out) {
  *n_out = check->n_tiles;
  return check->indices;
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
