/* Sign: Ed25519 identities (RFC 8032), signatures bound to the name of a message, and
 * fingerprints that people read to each other.
 *
 * What is signed is "NX-SA1/<message>" with its final zero byte, then the body, so that a
 * signature on an M1 can never be shown as one on an M7. */
#pragma once

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/error.h"
#include "common/rng.h"
#include "crypto/passphrase.h"

#define NX_PUBLIC_KEY_SIZE 32
#define NX_SIGNATURE_SIZE 64
#define NX_FINGERPRINT_SIZE 50 /* ten groups of four hex digits, nine spaces, final 0 */

struct nx_public_key {
  uint8_t bytes[NX_PUBLIC_KEY_SIZE];
};

struct nx_signature {
  uint8_t bytes[NX_SIGNATURE_SIZE];
};

/* A key pair in guarded memory; const after creation, so any thread may sign with it. */
struct nx_identity;

int nx_identity_create(const struct nx_entropy *entropy, struct nx_identity **identity_out,
                       struct nx_error *err);
/* Writes the seed, mode 0600, whole or not at all; NX_E_EXISTS rather than overwrite. As it is, or
 * under a passphrase when there is one (key_file.h). */
int nx_identity_save(const struct nx_identity *identity, const char *path,
                     const struct nx_passphrase *passphrase, struct nx_error *err);
/* NX_E_NOT_FOUND, NX_E_FORMAT, or NX_E_DENIED: others could read the file, or its passphrase is
 * wrong or not to be had. unlock may be NULL where no file is protected. */
int nx_identity_load(const char *path, struct nx_unlock *unlock, struct nx_identity **identity_out,
                     struct nx_error *err);
const struct nx_public_key *nx_identity_public(const struct nx_identity *identity);
void nx_identity_destroy(struct nx_identity *identity); /* wipes; NULL is fine */
NX_DEFINE_CLEANUP(struct nx_identity *, nx_identity_destroy)

/* message: the short name, e.g. "M1". NX_E_NOMEM or NX_E_LIMIT (body over 64 MiB). */
int nx_sign(const struct nx_identity *identity, const char *message, struct nx_bytes body,
            struct nx_signature *signature_out, struct nx_error *err);
/* 0, or NX_E_CRYPTO when this key did not sign this body under this name. */
int nx_verify(const struct nx_public_key *key, const char *message, struct nx_bytes body,
              const struct nx_signature *signature, struct nx_error *err);

/* "3f2a 91c0 …": the first 160 bits of H("SA1/fingerprint" | data). */
void nx_fingerprint(struct nx_bytes data, char out[NX_FINGERPRINT_SIZE]);
/* Does a person's text (any case; spaces, dashes and colons ignored) name this data? */
bool nx_fingerprint_matches(struct nx_bytes data, const char *text);
