/* Protect: turns an update into what may leave the building, in two steps.
 *
 *   delta f32[n] ─► fixed point, stochastic rounding ─► x: lanes u32[n] mod 2^w   nx_encode()
 *     aux u64[m] ──────────────────────────────────────►    u64[m]
 *   x + masks ─► packed bytes y ─► spool file ─► Merkle root                      nx_protect()
 *
 * x stays in this process and may serve another attempt when the first certainly opens
 * nothing. y is written and synced before its root is signed, so that whatever happens
 * afterwards the only bytes that can ever be sent under these masks are those. */
#pragma once

#include "common/pool.h"
#include "crypto/mask.h"
#include "crypto/quantize.h"
#include "crypto/upload.h"

/* The update as integers, in clear. */
struct nx_encoded {
  size_t n_lanes, n_aux;
  uint32_t *lanes; /* [n_lanes], mod 2^w */
  uint64_t *aux;   /* [n_aux] */
  struct nx_quantize_report report;
};

/* delta: [n_values], weighted; NULL when n_values is 0. residual: [n_values] of error feedback
 * (crypto/quantize.h), read and replaced, or NULL. seed and stream drive the rounding only and
 * are not secret. There are nx_quantize_lanes() lanes. NX_E_INVALID: a NaN or infinity in
 * delta: no upload may follow. */
int nx_encode(const struct nx_quantize *quantize, const float *delta, float *residual,
              size_t n_values, const uint64_t *aux, size_t n_aux, uint64_t seed, uint64_t stream,
              struct nx_encoded *encoded_out, struct nx_error *err);
/* From lanes that are whole numbers already, noise included (node/train/private_update.h). */
int nx_encode_lanes(const uint32_t *lanes, size_t n_lanes, const uint64_t *aux, size_t n_aux,
                    struct nx_encoded *encoded_out, struct nx_error *err);
void nx_encoded_finish(struct nx_encoded *encoded); /* wipes, frees; zeroed is fine */

struct nx_protected {
  uint64_t bytes; /* of y */
  struct nx_hash root;
};

/* ring_bits: w. mask: the self key and a pair key for every peer. spool: path, replaced
 * atomically. pool may be NULL. encoded stays as it is. NX_E_IO: the spool could not be
 * written (disk full). */
int nx_protect(const struct nx_encoded *encoded, uint32_t ring_bits, const struct nx_mask *mask,
               const char *spool, struct nx_pool *pool, struct nx_protected *protected_out,
               struct nx_error *err);
