/* Spot check: a node's own look at whether the opened sum is the sum of what was certified.
 * Tiles that the node drew are asked for from every upload that T3 binds, checked each
 * against its Merkle root, added up, rid of the released masks, and compared. If a fraction
 * f of the tiles was altered, n nodes with k checks each all miss it with probability
 * (1-f)^(nk). Pure; one thread.
 *
 * The sum's bytes: n_lanes u32 LE, each mod 2^w, then n_aux u64 LE. */
#pragma once

#include "common/cleanup.h"
#include "crypto/mask.h"
#include "crypto/merkle.h"
#include "crypto/upload.h"

struct nx_spot_member {
  uint32_t id;
  struct nx_hash root; /* of its upload, as in T3 */
};

struct nx_spot_check;

/* tiles: n distinct indices, below nx_upload_tiles(). */
int nx_spot_check_create(const struct nx_upload_layout *layout,
                         const struct nx_spot_member *members, size_t n_members,
                         const uint64_t *tiles, size_t n_tiles, struct nx_spot_check **check_out,
                         struct nx_error *err);
void nx_spot_check_destroy(struct nx_spot_check *check); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_spot_check *, nx_spot_check_destroy)

/* One (member, tile) as it arrives, in any order. NX_E_PROTOCOL: not asked for, twice, of a
 * wrong size; NX_E_CRYPTO: the proof does not fit the member's root. */
int nx_spot_check_add(struct nx_spot_check *check, uint32_t member, uint64_t tile,
                      struct nx_bytes data, const struct nx_merkle_path *path,
                      struct nx_error *err);

/* When all have come. mask: what the released secrets take off a sum. NX_E_PROTOCOL: tiles
 * are missing; NX_E_CRYPTO: the sum is not the sum, with the tile. */
int nx_spot_check_compare(struct nx_spot_check *check, const struct nx_mask *mask,
                          struct nx_bytes sum, struct nx_error *err);
