/* Protect: turns an update into what may leave the building. Fixed point with stochastic
 * rounding, masks, packed bytes, a spool file, a Merkle root.
 *
 *     delta f32[n] ─► lanes u32[n] mod 2^w ─► + masks ─► packed bytes ─► spool file ─► root
 *       aux u64[m] ───────────────────────► + masks ─┘
 *
 * The spool is written and synced before its root is signed, so that whatever happens
 * afterwards, the only bytes that can ever be sent under these masks are those. */
#pragma once

#include "common/pool.h"
#include "crypto/mask.h"
#include "crypto/quantize.h"
#include "crypto/upload.h"

struct nx_protect_job {
  struct nx_upload_layout layout;
  struct nx_quantize quantize;
  const float *delta;                      /* [n_lanes], weighted; NULL when n_lanes is 0 */
  const uint64_t *aux;                     /* [n_aux] */
  uint64_t rounding_seed, rounding_stream; /* drive the rounding only; not secret */
  const struct nx_mask *mask;              /* self key and a pair key for every peer */
  const char *spool;                       /* path; replaced atomically */
  struct nx_pool *pool;                    /* or NULL */
};

struct nx_protected {
  uint64_t bytes;
  struct nx_hash root;
  struct nx_quantize_report report;
};

/* NX_E_INVALID: a NaN or infinity in delta: nothing was written, no upload may follow.
 * NX_E_IO: the spool could not be written (disk full). */
int nx_protect(const struct nx_protect_job *job, struct nx_protected *protected_out,
               struct nx_error *err);
