#include "crypto/member_list.h"

void nx_member_digest_begin(struct nx_member_digest *digest, uint32_t n) {
  nx_sha256_begin(&digest->sha, "SA1/members");
  nx_sha256_u32(&digest->sha, n);
}

void nx_member_digest_add(struct nx_member_digest *digest, uint32_t id, struct nx_bytes name,
                          const struct nx_public_key *identity, const struct nx_hash *spki) {
  nx_sha256_u32(&digest->sha, id);
  nx_sha256_bytes(&digest->sha, name);
  nx_sha256_update(&digest->sha, identity->bytes, sizeof identity->bytes);
  nx_sha256_hash(&digest->sha, spki);
}

struct nx_hash nx_member_digest_end(struct nx_member_digest *digest) {
  return nx_sha256_final(&digest->sha);
}

void nx_members_statement(const struct nx_hash *previous, uint64_t revision,
                          const struct nx_hash *manifest, const struct nx_hash *digest,
                          uint8_t out[NX_MEMBERS_STATEMENT_SIZE]) {
  memcpy(out, previous->bytes, 32);
  nx_store_le64(out + 32, revision);
  memcpy(out + 40, manifest->bytes, 32);
  memcpy(out + 72, digest->bytes, 32);
}
