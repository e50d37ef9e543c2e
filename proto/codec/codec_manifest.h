/* Codec of manifest.proto: the members, as every node pins them. Rules as in
 * codec_session.h. The manifest's hash is the SHA-256 of its exact bytes; its fingerprint is
 * nx_fingerprint() of them. */
#pragma once

#include "common/arena.h"
#include "common/bytes.h"
#include "crypto/hash.h"
#include "crypto/sign.h"
#include "crypto/transcript.h"

#define NX_MANIFEST_VERSION 1u
#define NX_MANIFEST_SIGNED_AS "manifest" /* nx_sign(coordinator, NX_MANIFEST_SIGNED_AS, bytes) */
#define NX_MANIFEST_NAME_SIZE 65
#define NX_MANIFEST_MEMBERS 255

struct nx_manifest_member {
  uint32_t id; /* 1..255, strictly ascending */
  char name[NX_MANIFEST_NAME_SIZE];
  struct nx_public_key identity;
  struct nx_hash spki;
};

struct nx_manifest {
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  char name[NX_MANIFEST_NAME_SIZE];
  struct nx_public_key coordinator;
  struct nx_hash coordinator_spki;
  int64_t sealed;                           /* Unix ns */
  uint64_t revision;                        /* 0: the founders */
  struct nx_hash previous;                  /* the manifest that it replaces; zero in revision 0 */
  const struct nx_manifest_member *members; /* in the arena */
  size_t n_members;                         /* 3..255; names, keys and SPKIs distinct */
};

int nx_manifest_encode(const struct nx_manifest *m, struct nx_buffer *out, struct nx_error *err);
/* Checks the form only: the signature is the caller's to check, over the same bytes. */
int nx_manifest_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_manifest *out,
                       struct nx_error *err);

/* A member asks for its identity key to be replaced in the next revision. */
#define NX_NEW_KEY_PROOF "new-key-proof"
struct nx_new_key {
  struct nx_public_key identity;
  struct nx_signature proof;
};
/* Signs the proof with the new key for `member`, whose present key is `present`. */
int nx_new_key_make(const struct nx_identity *identity, uint32_t member,
                    const struct nx_public_key *present, struct nx_buffer *out,
                    struct nx_error *err);
/* NX_E_CRYPTO: whoever asks does not hold the new key. */
int nx_new_key_read(struct nx_bytes body, uint32_t member, const struct nx_public_key *present,
                    struct nx_arena *arena, struct nx_new_key *out, struct nx_error *err);
