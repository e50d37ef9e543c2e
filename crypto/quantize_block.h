/* Quantize block: encoding of one block at a time, for quantize.c and masked_upload.c. Internal.
 */
#pragma once

#include "crypto/quantize.h"

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
/* Encodes a block's lanes; scratch: a block of floats when q rotates, else unused. Returns how
 * many components were clamped. */
size_t nx_quantize_block(const struct nx_quantize_blocks *blocks, size_t index, uint32_t *lanes_out,
                         float *scratch);
