/* Pinned: the founding members as this node first saw them, kept in a file. What is shown
 * later must be the same bytes. */
#pragma once

#include "common/cleanup.h"
#include "proto/codec/codec_manifest.h"

struct nx_pinned {
  struct nx_manifest manifest;
  struct nx_hash hash; /* of its exact bytes */
  struct nx_arena *arena;
};

#define NX_PINNED_NEW 1 /* pinned just now: show it to the steward */

struct nx_pinned_expected {
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  struct nx_public_key coordinator; /* as enrolment named it */
  struct nx_hash coordinator_spki;  /* of the connection over which it came */
  uint32_t member;                  /* this node */
  struct nx_public_key key;
  struct nx_hash spki;
};

/* Checks the manifest that the coordinator shows. 0: the one that is pinned; NX_PINNED_NEW:
 * there was none, it passed every check and is durable now; NX_E_DENIED: another one than is
 * pinned; NX_E_CRYPTO, NX_E_PROTOCOL: badly signed or formed, of another federation or
 * coordinator, or without this node. Finish *pinned_out. */
int nx_pinned_see(const char *path, const struct nx_pinned_expected *expected,
                  struct nx_bytes bytes, const struct nx_signature *signature,
                  struct nx_pinned *pinned_out, struct nx_error *err);
/* NX_E_NOT_FOUND when nothing is pinned yet. */
int nx_pinned_load(const char *path, struct nx_pinned *pinned_out, struct nx_error *err);
void nx_pinned_finish(struct nx_pinned *pinned); /* zeroed is fine */

/* NULL when there is none. */
const struct nx_manifest_member *nx_pinned_find(const struct nx_pinned *pinned, uint32_t id);
/* What people read to each other of one member: the fingerprint of its identity key and
 * SPKI hash, one behind the other. */
void nx_member_fingerprint(const struct nx_public_key *identity, const struct nx_hash *spki,
                           char out[NX_FINGERPRINT_SIZE]);
