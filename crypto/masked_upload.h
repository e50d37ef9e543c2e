/* Masked upload: a node's encoded update becomes the bytes that leave it, in one pass over memory.
 *
 *   lanes --mask--> lanes --pack--> upload     (crypto/quantize.h makes the lanes, as soon as
 *   aux ----mask------------------> upload      training ends; mask.h, upload.h say the rest)
 *
 * By pieces of 2^14 lanes that stay in the second-level cache, on a worker pool; memory beside the
 * arguments is a piece a thread, wiped afterwards. */
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
/* Fills out, nx_upload_bytes() of the layout; a failure after work began zeroes it. The lanes
 * stay as they are. */
int nx_masked_upload_from_lanes(const struct nx_masked_upload *upload, const uint32_t *lanes,
                                uint8_t *out, struct nx_error *err);
