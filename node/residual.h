/* Residual: what rounding took away from this site's last update, kept between rounds for error
 * feedback (crypto/quantize.h) in HOME/residual, so that neither a restart nor an idle release
 * costs precision. It belongs to one run of one plan. Made of this site's own data as the
 * recordings are, it is kept as they are: in clear, 0600, never sent; one file, replaced whole
 * by every sealed round.
 *
 *   "NX-RESIDUAL-1\n" pad to 16 | plan hash 32 | first round u64 | n u64 | float32 [n] | SHA-256 of
 *   all before. Little-endian. */
#pragma once

#include <stdbool.h>

#include "crypto/hash.h"

struct nx_residual_key {
  struct nx_hash plan;
  uint64_t first_round; /* of the run */
};

/* Durable when it returns. */
int nx_residual_save(const char *home, const struct nx_residual_key *key, const float *values,
                     size_t n, struct nx_error *err);
/* 1: values filled. 0: there is none for this run and size. NX_E_FORMAT: it is damaged. */
int nx_residual_load(const char *home, const struct nx_residual_key *key, float *values, size_t n,
                     struct nx_error *err);
/* For data that may no longer be used. None there is fine. */
int nx_residual_forget(const char *home, struct nx_error *err);
