#include "crypto/upload.h"

#include <assert.h>
#include <stdlib.h>

#include "common/size.h"
#include "crypto/lane_kernels.h"
#include "crypto/merkle.h"

#define BLOCK_TILES 8 /* one task of the pool */

static size_t tile_lanes(uint32_t ring_bits) {
  return nx_upload_tile_size(ring_bits) * 8 / ring_bits;
}

static size_t lane_bytes(const struct nx_upload_layout *layout) {
  size_t lanes = layout->n_lanes, bits = layout->ring_bits;
  size_t bytes = lanes / 2 * (bits / 4) + (lanes % 2 * bits + 7) / 8;
  return (bytes + 7) & ~(size_t)7;
}

int nx_upload_layout_check(const struct nx_upload_layout *layout, struct nx_error *err) {
  uint32_t bits = layout->ring_bits;
  if (bits != 32 && bits != 24 && bits != 16 && bits != 12)
    return nx_fail(err, NX_E_INVALID, "upload of %u-bit lanes: 32, 24, 16 or 12 can be", bits);
  if (layout->n_lanes > SIZE_MAX / 16 || layout->n_aux > SIZE_MAX / 32)
    return nx_fail(err, NX_E_LIMIT, "upload of %zu lanes and %zu counters is too large",
                   layout->n_lanes, layout->n_aux);
  return 0;
}

size_t nx_upload_bytes(const struct nx_upload_layout *layout) {
  return lane_bytes(layout) + 8 * layout->n_aux;
}

size_t nx_upload_tile_size(uint32_t ring_bits) {
  return ring_bits == 24 || ring_bits == 12 ? 24576 : 32768;
}

size_t nx_upload_tiles(const struct nx_upload_layout *layout) {
  size_t tile = nx_upload_tile_size(layout->ring_bits);
  return (nx_upload_bytes(layout) + tile - 1) / tile;
}

struct nx_upload_tile nx_upload_tile(const struct nx_upload_layout *layout, size_t index) {
  size_t full = nx_upload_tile_size(layout->ring_bits), lanes = tile_lanes(layout->ring_bits);
  size_t at = index * full, end = NX_MIN(at + full, nx_upload_bytes(layout));
  size_t aux_at = lane_bytes(layout);
  assert(at < end);
  struct nx_upload_tile tile = {.offset = at, .size = end - at};
  tile.first_lane = NX_MIN(index * lanes, layout->n_lanes);
  tile.n_lanes = NX_MIN(lanes, layout->n_lanes - tile.first_lane);
  size_t from = NX_MAX(at, aux_at);
  tile.first_aux = (from - aux_at) / 8;
  tile.n_aux = end > from ? (end - from) / 8 : 0;
  return tile;
}

struct job {
  const struct nx_upload_layout *layout;
  const uint32_t *lanes;
  const uint64_t *aux;
  uint8_t *out;
  const uint8_t *upload;
  uint32_t *sums;
  uint64_t *aux_sums;
  struct nx_hash *leaves;
  void (*tile)(struct job *job, size_t index, const struct nx_upload_tile *tile);
};

static void run_block(void *context, size_t index, size_t worker) {
  struct job *job = context;
  size_t end = NX_MIN((index + 1) * BLOCK_TILES, nx_upload_tiles(job->layout));
  (void)worker;
  for (size_t i = index * BLOCK_TILES; i < end; i++) {
    struct nx_upload_tile tile = nx_upload_tile(job->layout, i);
    job->tile(job, i, &tile);
  }
}

static void run(struct job *job, struct nx_pool *pool,
                void (*block)(void *context, size_t index, size_t worker)) {
  size_t n = (nx_upload_tiles(job->layout) + BLOCK_TILES - 1) / BLOCK_TILES;
  if (pool && n > 1)
    nx_pool_run(pool, n, block, job);
  else
    for (size_t i = 0; i < n; i++)
      block(job, i, 0);
}

static void pack_tile(struct job *job, size_t index, const struct nx_upload_tile *tile) {
  (void)index;
  uint8_t *out = job->out + tile->offset, *aux = out + tile->size - 8 * tile->n_aux;
  size_t bits = job->layout->ring_bits;
  size_t used = tile->n_lanes / 2 * (bits / 4) + (tile->n_lanes % 2 * bits + 7) / 8;
  memset(out + used, 0, (size_t)(aux - out) - used);
  nx_lane_kernels()->pack(job->lanes + tile->first_lane, tile->n_lanes, job->layout->ring_bits,
                          out);
  for (size_t i = 0; i < tile->n_aux; i++)
    nx_store_le64(aux + 8 * i, job->aux[tile->first_aux + i]);
}

void nx_upload_pack(const struct nx_upload_layout *layout, const uint32_t *lanes,
                    const uint64_t *aux, uint8_t *out, struct nx_pool *pool) {
  struct job job = {.layout = layout, .lanes = lanes, .aux = aux, .out = out, .tile = pack_tile};
  run(&job, pool, run_block);
}

void nx_upload_add_tile(const struct nx_upload_layout *layout, const struct nx_upload_tile *tile,
                        const uint8_t *tile_bytes, uint32_t *sums, uint64_t *aux_sums) {
  const uint8_t *aux = tile_bytes + tile->size - 8 * tile->n_aux;
  nx_lane_kernels()->unpack_add(tile_bytes, tile->n_lanes, layout->ring_bits, sums);
  for (size_t i = 0; i < tile->n_aux; i++)
    aux_sums[i] += nx_load_le64(aux + 8 * i);
}

static void add_tile(struct job *job, size_t index, const struct nx_upload_tile *tile) {
  (void)index;
  nx_upload_add_tile(job->layout, tile, job->upload + tile->offset, job->sums + tile->first_lane,
                     job->aux_sums + tile->first_aux);
}

void nx_upload_add(const struct nx_upload_layout *layout, const uint8_t *upload, uint32_t *sums,
                   uint64_t *aux_sums, struct nx_pool *pool) {
  struct job job = {
      .layout = layout, .upload = upload, .sums = sums, .aux_sums = aux_sums, .tile = add_tile};
  run(&job, pool, run_block);
}

/* All tiles but an upload's last are of one size. */
static void hash_block(void *context, size_t index, size_t worker) {
  struct job *job = context;
  size_t n = nx_upload_tiles(job->layout), first = index * BLOCK_TILES;
  size_t end = NX_MIN(first + BLOCK_TILES, n), last = NX_MIN(end, n - 1);
  size_t full = nx_upload_tile_size(job->layout->ring_bits);
  (void)worker;
  nx_merkle_leaves(job->upload + first * full, full, last - first, job->leaves + first);
  if (last < end) {
    struct nx_upload_tile tile = nx_upload_tile(job->layout, last);
    job->leaves[last] = nx_merkle_leaf(nx_bytes(job->upload + tile.offset, tile.size));
  }
}

void nx_upload_leaves(const struct nx_upload_layout *layout, const uint8_t *upload,
                      struct nx_hash *leaves_out, struct nx_pool *pool) {
  struct job job = {.layout = layout, .upload = upload, .leaves = leaves_out};
  run(&job, pool, hash_block);
}

int nx_upload_root(const struct nx_upload_layout *layout, const uint8_t *upload,
                   struct nx_pool *pool, struct nx_hash *root_out, struct nx_error *err) {
  size_t n = nx_upload_tiles(layout);
  _cleanup_free_ struct nx_hash *leaves = calloc(n ? n : 1, sizeof *leaves);
  if (!leaves)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the hashes of %zu tiles", n);
  nx_upload_leaves(layout, upload, leaves, pool);
  *root_out = nx_merkle_root(leaves, n);
  return 0;
}
