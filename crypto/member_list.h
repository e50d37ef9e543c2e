/* Member list: what the signature of a member under a revised manifest of members covers. It
 * needs no manifest to be checked, only what a log tells of the members (neurox-audit members).
 *
 *   digest    = H("SA1/members" | n u32 | per member: id u32 | u32 size, name | identity | spki)
 *   statement = previous manifest's hash | revision u64 | this manifest's hash | digest
 *
 * Members in order of id; integers little-endian. Signed with nx_sign() under the name
 * "manifest-approve" or "manifest-refuse". A revision is valid with the approvals of at least
 * t = nx_threshold_quorum(n) of the n members of the list that it replaces. */
#pragma once

#include "crypto/hash.h"
#include "crypto/sign.h"

#define NX_MEMBERS_STATEMENT_SIZE (32 + 8 + 32 + 32)
#define NX_MEMBERS_APPROVE "manifest-approve"
#define NX_MEMBERS_REFUSE "manifest-refuse"

struct nx_member_digest {
  struct nx_sha256 sha;
};
void nx_member_digest_begin(struct nx_member_digest *digest, uint32_t n);
void nx_member_digest_add(struct nx_member_digest *digest, uint32_t id, struct nx_bytes name,
                          const struct nx_public_key *identity, const struct nx_hash *spki);
struct nx_hash nx_member_digest_end(struct nx_member_digest *digest);

void nx_members_statement(const struct nx_hash *previous, uint64_t revision,
                          const struct nx_hash *manifest, const struct nx_hash *digest,
                          uint8_t out[NX_MEMBERS_STATEMENT_SIZE]);
