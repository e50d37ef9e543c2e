/* The SHA256_* calls are deprecated in OpenSSL 3 because they bypass providers. That is
 * what is wanted here: the same assembly, no allocation, no way to fail. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/hash.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

static_assert(sizeof(SHA256_CTX) <= sizeof(struct nx_sha256), "nx_sha256 must hold a SHA256_CTX");

static SHA256_CTX *state_of(struct nx_sha256 *sha) {
  return (SHA256_CTX *)(void *)sha->opaque;
}

void nx_sha256_init(struct nx_sha256 *sha) {
  SHA256_Init(state_of(sha));
}

void nx_sha256_update(struct nx_sha256 *sha, const void *data, size_t size) {
  if (size)
    SHA256_Update(state_of(sha), data, size);
}

struct nx_hash nx_sha256_final(struct nx_sha256 *sha) {
  struct nx_hash hash;
  SHA256_Final(hash.bytes, state_of(sha));
  OPENSSL_cleanse(sha, sizeof *sha);
  return hash;
}

struct nx_hash nx_sha256(const void *data, size_t size) {
  struct nx_sha256 sha;
  nx_sha256_init(&sha);
  nx_sha256_update(&sha, data, size);
  return nx_sha256_final(&sha);
}

bool nx_hash_equal(const struct nx_hash *a, const struct nx_hash *b) {
  return CRYPTO_memcmp(a->bytes, b->bytes, NX_HASH_SIZE) == 0;
}

int nx_hash_compare(const struct nx_hash *a, const struct nx_hash *b) {
  return memcmp(a->bytes, b->bytes, NX_HASH_SIZE);
}

bool nx_hash_is_zero(const struct nx_hash *hash) {
  static const struct nx_hash zero;
  return nx_hash_equal(hash, &zero);
}

void nx_hash_hex(const struct nx_hash *hash, char out[NX_HASH_HEX_SIZE]) {
  nx_hex_encode(hash->bytes, NX_HASH_SIZE, out);
}

int nx_hash_from_hex(const char *hex, struct nx_hash *out, struct nx_error *err) {
  return nx_hex_decode(hex, out->bytes, NX_HASH_SIZE, err);
}

void nx_sha256_begin(struct nx_sha256 *sha, const char *tag) {
  nx_sha256_init(sha);
  nx_sha256_bytes(sha, nx_bytes(tag, strlen(tag)));
}

void nx_sha256_u32(struct nx_sha256 *sha, uint32_t value) {
  uint8_t le[4];
  nx_store_le32(le, value);
  nx_sha256_update(sha, le, sizeof le);
}

void nx_sha256_u64(struct nx_sha256 *sha, uint64_t value) {
  uint8_t le[8];
  nx_store_le64(le, value);
  nx_sha256_update(sha, le, sizeof le);
}

void nx_sha256_hash(struct nx_sha256 *sha, const struct nx_hash *value) {
  nx_sha256_update(sha, value->bytes, NX_HASH_SIZE);
}

void nx_sha256_bytes(struct nx_sha256 *sha, struct nx_bytes value) {
  assert(value.size <= UINT32_MAX);
  nx_sha256_u32(sha, (uint32_t)value.size);
  nx_sha256_update(sha, value.data, value.size);
}
