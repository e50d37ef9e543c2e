/* Quantize block: encoding by blocks and pieces of them, for quantize.c and masked_upload.c.
 * Internal.
 */
#pragma once

#include "crypto/quantize.h"

#define NX_QUANTIZE_PIECE ((size_t)16384) /* of a block: what one tile of a mask holds */

struct nx_quantize_blocks {
  const struct nx_quantize *q;
  const float *values;
  size_t n, n_lanes, n_blocks;
  double factor, limit;
  uint32_t modulo;
  uint64_t seed;
};

/* Checks the values, clips, draws the seed; norm_out may be NULL. */
int nx_quantize_blocks_init(struct nx_quantize_blocks *blocks, const struct nx_quantize *q,
                            const float *values, size_t n, double weight, struct nx_rng *rng,
                            struct nx_pool *pool, double *norm_out, struct nx_error *err);
size_t nx_quantize_block_lanes(const struct nx_quantize_blocks *blocks, size_t index);
/* The floats of a block, nx_quantize_block_lanes() of them: rotated and padded in scratch when q
 * rotates (a block of floats, else unused). */
const float *nx_quantize_block_floats(const struct nx_quantize_blocks *blocks, size_t index,
                                      float *scratch);
/* Encodes piece `piece` of these floats (the block's last may be short) into lanes_out. Returns
 * how many components were clamped. Rounding draws afresh for every piece. */
size_t nx_quantize_piece(const struct nx_quantize_blocks *blocks, size_t index, size_t piece,
                         const float *floats, uint32_t *lanes_out);
