/* Masked upload: a node's update becomes the bytes that leave it, in one pass over memory.
 *
 *   values --encode--> lanes --mask--> lanes --pack--> upload     (crypto/quantize.h, mask.h,
 *   aux ----------------------mask-------------------> upload      upload.h say what each is)
 *
 * By pieces of 2^14 lanes that stay in the second-level cache (rotated by blocks of 2^16), on a
 * worker pool; memory beside the arguments is a block or two a thread, wiped afterwards. */
#pragma once

#include "crypto/mask.h"
#include "crypto/quantize.h"
#include "crypto/upload.h"

struct nx_masked_upload {
  struct nx_upload_layout layout;
  const uint64_t *aux;        /* layout.n_aux; NULL when 0 */
  const struct nx_mask *mask; /* self and pair keys */
  struct nx_pool *pool;       /* or NULL */
};

/* The layout of an upload of n values: the same at every member. */
struct nx_upload_layout nx_masked_upload_layout(const struct nx_quantize *quantize, size_t n_values,
                                                size_t n_aux);
/* Both fill out, nx_upload_bytes() of the layout; a failure after work began zeroes it.
 * From lanes that were encoded before and stay as they are: */
int nx_masked_upload_from_lanes(const struct nx_masked_upload *upload, const uint32_t *lanes,
                                uint8_t *out, struct nx_error *err);
/* From n values, encoded here as nx_quantize_encode() does (the same bits for the same rng).
 * The layout must be nx_masked_upload_layout()'s. NX_E_INVALID for a NaN or an infinity, with
 * nothing written. report may be NULL. */
int nx_masked_upload_from_values(const struct nx_masked_upload *upload,
                                 const struct nx_quantize *quantize, const float *values, size_t n,
                                 double weight, struct nx_rng *rng, uint8_t *out,
                                 struct nx_quantize_report *report, struct nx_error *err);
