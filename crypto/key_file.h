/* Key file: a private key at rest, as it is (mode 0600) or under a passphrase.
 *
 *   neurox-protected-key-1
 *   argon2id 3 268435456 <salt, 32 hex digits>          passes, bytes of memory
 *   xchacha20poly1305 <nonce, 48 hex digits>
 *   sealed <the key file's bytes and a tag of 16, in hex>
 *   sha256 <over all before this line>
 *
 * What is sealed is the unprotected file, byte for byte: an identity ("neurox-identity-1 …") or a
 * PEM. The first three lines are the AEAD's associated data. The hash tells damage from a wrong
 * passphrase and protects nothing: it covers only what anybody with the file can see.
 * Argon2id: RFC 9106; the AEAD: draft-irtf-cfrg-xchacha-03; both are libsodium's. */
#pragma once

#include <stdbool.h>

#include "common/bytes.h"
#include "common/rng.h"
#include "crypto/passphrase.h"

#define NX_KEY_CAP ((size_t)8 << 10)       /* bytes of an unprotected key file */
#define NX_KEY_FILE_CAP ((size_t)18 << 10) /* of a protected one */
#define NX_KEY_PASSES_MOST 16
#define NX_KEY_MEMORY_MOST ((size_t)1 << 30) /* what a file may make us spend, before it is believed */

struct nx_key_cost {
  uint32_t passes;
  size_t memory; /* bytes, for the moment in which a key is opened */
};

/* libsodium's "moderate": 3 passes over 256 MiB, some 0.7 s. */
extern const struct nx_key_cost nx_key_cost_usual;

/* A private key in guarded memory. */
struct nx_key {
  uint8_t *bytes;
  size_t size;
};

void nx_key_finish(struct nx_key *key); /* wipes */

/* What a protected file says without a passphrase. */
struct nx_key_header {
  struct nx_key_cost cost;
  uint8_t salt[16], nonce[24];
  struct nx_bytes associated; /* of the file */
  struct nx_bytes sealed;     /* hex, of the file */
};

bool nx_key_file_is_protected(struct nx_bytes file);
/* NX_E_FORMAT: damaged, or no such file; NX_E_UNSUPPORTED: a cost beyond the caps. */
int nx_key_file_parse(struct nx_bytes file, struct nx_key_header *header_out, struct nx_error *err);

/* Appends the protected file. NX_E_NOMEM when cost->memory is not to be had. */
int nx_key_file_protect(struct nx_bytes key, const struct nx_passphrase *passphrase,
                        const struct nx_key_cost *cost, const struct nx_entropy *entropy,
                        struct nx_buffer *file_out, struct nx_error *err);
/* NX_E_DENIED: the passphrase is wrong. NX_E_FORMAT: the file is damaged. */
int nx_key_file_open(struct nx_bytes file, const struct nx_passphrase *passphrase,
                     struct nx_key *key_out, struct nx_error *err);

/* Reads either kind. A protected one is opened with what `unlock` has or finds; unlock NULL: it is
 * refused. NX_E_NOT_FOUND, or NX_E_DENIED when others could read the file. */
int nx_key_file_read(const char *path, struct nx_unlock *unlock, struct nx_key *key_out,
                     struct nx_error *err);
/* The same where a buffer is wanted (what TLS takes); wipe it. */
int nx_key_file_read_buffer(const char *path, struct nx_unlock *unlock, struct nx_buffer *out,
                            struct nx_error *err);
/* Writes a new file, mode 0600, whole or not at all: as it is, or under the passphrase if there is
 * one, at the usual cost, so that no unprotected copy is ever on a disk. NX_E_EXISTS. */
int nx_key_file_create(const char *path, struct nx_bytes key,
                       const struct nx_passphrase *passphrase, struct nx_error *err);
/* Whether the file at path is there and protected. */
bool nx_key_file_at_is_protected(const char *path);
