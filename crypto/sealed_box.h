/* Sealed box: one message under one directional share key. ChaCha20-Poly1305 (RFC 8439)
 * with a zero nonce, which is sound only because a share key seals exactly one message;
 * associated data T1 | from | to (u32 little-endian). Any thread. */
#pragma once

#include "crypto/hash.h"
#include "crypto/secret.h"

#define NX_SEALED_BOX_TAG_SIZE 16
/* What M3 carries: b-share | s-share. */
#define NX_SEALED_SHARES_SIZE (2 * NX_SECRET_SIZE + NX_SEALED_BOX_TAG_SIZE)

/* out: plain.size + NX_SEALED_BOX_TAG_SIZE bytes, ciphertext then tag. */
int nx_sealed_box_seal(const struct nx_secret *key, const struct nx_hash *t1, uint32_t from,
                       uint32_t to, struct nx_bytes plain, uint8_t *out, struct nx_error *err);
/* plain_out: sealed.size - NX_SEALED_BOX_TAG_SIZE bytes, zeroed on failure (NX_E_CRYPTO). */
int nx_sealed_box_open(const struct nx_secret *key, const struct nx_hash *t1, uint32_t from,
                       uint32_t to, struct nx_bytes sealed, uint8_t *plain_out,
                       struct nx_error *err);
