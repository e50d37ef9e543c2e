/* Agreement: X25519 (RFC 7748) key pairs and the keys that a round derives from them.
 *
 *   share key  HKDF(salt T1, X25519(c_sk, c_pk), "SA1/enc" | from | to)   directional
 *   pair key   HKDF(salt T2, X25519(s_sk, s_pk), "SA1/pair" | min | max)  same at both ends
 *   self key   HKDF(salt T2, b_u, "SA1/self" | u)
 *   (ids in info are u32 little-endian; salts are the 32 bytes of the transcript hash)
 *
 * Out parameters that hold secrets are wiped on failure. Any thread. */
#pragma once

#include "crypto/hash.h"
#include "crypto/secret.h"

#define NX_POINT_SIZE 32

struct nx_point {
  uint8_t bytes[NX_POINT_SIZE]; /* an X25519 public key */
};

int nx_agreement_create(const struct nx_entropy *entropy, struct nx_secret *secret_out,
                        struct nx_point *public_out, struct nx_error *err);
/* The public key of a secret, to check a recovered s_sk against its advert. */
int nx_agreement_public(const struct nx_secret *secret, struct nx_point *public_out,
                        struct nx_error *err);
/* NX_E_CRYPTO when `theirs` is of low order, that is when the result would be zero. */
int nx_agreement_shared(const struct nx_secret *mine, const struct nx_point *theirs,
                        struct nx_secret *shared_out, struct nx_error *err);

int nx_share_key(const struct nx_secret *shared, const struct nx_hash *t1, uint32_t from,
                 uint32_t to, struct nx_secret *key_out, struct nx_error *err);
/* a and b in either order; NX_E_INVALID when equal. */
int nx_pair_key(const struct nx_secret *shared, const struct nx_hash *t2, uint32_t a, uint32_t b,
                struct nx_secret *key_out, struct nx_error *err);
int nx_self_key(const struct nx_secret *b, const struct nx_hash *t2, uint32_t id,
                struct nx_secret *key_out, struct nx_error *err);
/* Seed of a round's randomised rotation: HKDF(key hash, "SA1/rot"); not secret. The hash is
 * that of the model the round starts from: T0 binds it, it is another one every round, and it
 * is known before training ends, so that x need not wait for the roster nor change with it. */
int nx_rotation_seed(const struct nx_hash *model, uint64_t *seed_out, struct nx_error *err);
