/* Hash: SHA-256 (FIPS 180-4), and transcripts of typed fields hashed without ambiguity.
 *
 * A transcript is H(field | field | …), where a u32 or u64 is little-endian, a hash is its
 * 32 bytes, and anything of variable length (the domain tag first of all) is preceded by
 * its length as u32. OpenSSL's routine; it neither allocates nor fails. Values: any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/error.h"

#define NX_HASH_SIZE 32
#define NX_HASH_HEX_SIZE 65 /* 64 digits and the final 0 */

struct nx_hash {
  uint8_t bytes[NX_HASH_SIZE];
};

/* A running hash; plain memory, may be copied to fork it. */
struct nx_sha256 {
  uint64_t opaque[14];
};

struct nx_hash nx_sha256(const void *data, size_t size);
void nx_sha256_init(struct nx_sha256 *sha);
void nx_sha256_update(struct nx_sha256 *sha, const void *data, size_t size);
struct nx_hash nx_sha256_final(struct nx_sha256 *sha); /* wipes sha */

bool nx_hash_equal(const struct nx_hash *a, const struct nx_hash *b);  /* constant time */
int nx_hash_compare(const struct nx_hash *a, const struct nx_hash *b); /* memcmp order */
bool nx_hash_is_zero(const struct nx_hash *hash);
void nx_hash_hex(const struct nx_hash *hash, char out[NX_HASH_HEX_SIZE]);
int nx_hash_from_hex(const char *hex, struct nx_hash *out, struct nx_error *err); /* NX_E_FORMAT */

/* Typed fields of a transcript; begin() hashes the domain tag, e.g. "SA1/ctx". */
void nx_sha256_begin(struct nx_sha256 *sha, const char *tag);
void nx_sha256_u32(struct nx_sha256 *sha, uint32_t value);
void nx_sha256_u64(struct nx_sha256 *sha, uint64_t value);
void nx_sha256_hash(struct nx_sha256 *sha, const struct nx_hash *value);
void nx_sha256_bytes(struct nx_sha256 *sha, struct nx_bytes value); /* u32 length | bytes */
