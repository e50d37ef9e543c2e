/* Manifest: who a federation is. Sealed once by the coordinator, shown by name and
 * fingerprint to every steward, pinned by every node; its hash enters every T0. Exact bytes:
 *
 *   "NXMANIF1" | federation 16 | str federation name | u64 revision |
 *   coordinator: Ed25519 key 32 | SPKI hash 32 |
 *   u32 n | n * (u32 id | str name | Ed25519 key 32 | SPKI hash 32)
 *   str: u32 size | bytes; integers little-endian; members by id, strictly ascending
 *
 * The coordinator signs the bytes under the name "manifest" (crypto/sign.h). */
#pragma once

#include "common/cleanup.h"
#include "crypto/hash.h"
#include "crypto/sign.h"
#include "crypto/threshold.h"
#include "crypto/transcript.h"

#define NX_MANIFEST_NAME_SIZE 65 /* 64 bytes of UTF-8 without control characters, final 0 */

struct nx_manifest_member {
  uint32_t id; /* 1..255 */
  char name[NX_MANIFEST_NAME_SIZE];
  struct nx_public_key key;
  struct nx_hash spki; /* of its TLS key */
};

struct nx_manifest {
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  char name[NX_MANIFEST_NAME_SIZE];
  uint64_t revision; /* 1 for the founders */
  struct nx_public_key coordinator_key;
  struct nx_hash coordinator_spki;
  size_t n_members;
  struct nx_manifest_member members[NX_MEMBERS_MAX];
};

/* Appends the bytes. NX_E_INVALID when a decoder would not take them. */
int nx_manifest_encode(const struct nx_manifest *manifest, struct nx_buffer *out,
                       struct nx_error *err);
/* *manifest_out is filled, nothing in it is allocated (it is large: not for a stack that is
 * small). NX_E_FORMAT: truncated, unsorted, doubled keys, something left over … */
int nx_manifest_decode(struct nx_bytes bytes, struct nx_manifest *manifest_out,
                       struct nx_error *err);
/* That the coordinator named inside signed these bytes; NX_E_CRYPTO. */
int nx_manifest_verify(const struct nx_manifest *manifest, struct nx_bytes bytes,
                       const struct nx_signature *signature, struct nx_error *err);
/* NULL when there is none. */
const struct nx_manifest_member *nx_manifest_find(const struct nx_manifest *manifest, uint32_t id);
/* What people read to each other of one member: the fingerprint of its two keys. */
void nx_manifest_fingerprint(const struct nx_manifest_member *member,
                             char out[NX_FINGERPRINT_SIZE]);
