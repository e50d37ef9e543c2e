/* Upload: the bytes of one masked vector, "y" of the protocol, and its tiles.
 *
 *   | n_lanes lanes, w bits each, little-endian bit order | 0-padding to 8 bytes | n_aux u64 LE |
 *   |<------ tile 0 ------>|<------ tile 1 ------>| …            last tile short
 *
 * w = 32: 4 bytes a lane; 24: 3; 16: 2; 12: two lanes in 3 bytes (low bits first). A tile
 * holds whole lanes only: 32768 bytes for w of 32 and 16, 24576 for 24 and 12. A leaf of an
 * upload's Merkle tree is one tile. Any thread. */
#pragma once

#include "common/bytes.h"
#include "common/pool.h"
#include "crypto/hash.h"

struct nx_upload_layout {
  size_t n_lanes;     /* u32 lanes mod 2^w */
  uint32_t ring_bits; /* w: 32, 24, 16 or 12 */
  size_t n_aux;       /* u64 lanes */
};

struct nx_upload_tile {
  size_t offset, size;        /* bytes within the upload */
  size_t first_lane, n_lanes; /* what of the vector it holds */
  size_t first_aux, n_aux;
};

/* NX_E_INVALID (w) or NX_E_LIMIT (sizes overflow). The functions below want a layout that
 * passed. */
int nx_upload_layout_check(const struct nx_upload_layout *layout, struct nx_error *err);
size_t nx_upload_bytes(const struct nx_upload_layout *layout);
size_t nx_upload_tile_size(uint32_t ring_bits);
size_t nx_upload_tiles(const struct nx_upload_layout *layout);
/* index < nx_upload_tiles(). */
struct nx_upload_tile nx_upload_tile(const struct nx_upload_layout *layout, size_t index);

/* Packs a whole vector (lanes taken mod 2^w) into nx_upload_bytes() bytes. pool may be NULL. */
void nx_upload_pack(const struct nx_upload_layout *layout, const uint32_t *lanes,
                    const uint64_t *aux, uint8_t *out, struct nx_pool *pool);
/* Adds a whole upload to running sums: n_lanes u32 (mod 2^32; reduce mod 2^w at the end) and
 * n_aux u64. */
void nx_upload_add(const struct nx_upload_layout *layout, const uint8_t *upload, uint32_t *sums,
                   uint64_t *aux_sums, struct nx_pool *pool);
/* Adds one tile, tile->n_lanes lanes to sums and tile->n_aux to aux_sums. */
void nx_upload_add_tile(const struct nx_upload_layout *layout, const struct nx_upload_tile *tile,
                        const uint8_t *tile_bytes, uint32_t *sums, uint64_t *aux_sums);

/* Leaf hashes of all tiles, nx_upload_tiles() of them. */
void nx_upload_leaves(const struct nx_upload_layout *layout, const uint8_t *upload,
                      struct nx_hash *leaves_out, struct nx_pool *pool);
/* What a node signs and T3 binds: the Merkle root over them. NX_E_NOMEM. */
int nx_upload_root(const struct nx_upload_layout *layout, const uint8_t *upload,
                   struct nx_pool *pool, struct nx_hash *root_out, struct nx_error *err);
