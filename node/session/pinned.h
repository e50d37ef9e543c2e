/* Pinned: the list of members as this node first saw it, kept in a file. What is shown later
 * must be the same bytes, or a list that follows from it by revisions that enough members
 * approved (proto/codec/manifest_chain.h); the chain is kept in PATH.chain. */
#pragma once

#include "common/cleanup.h"
#include "proto/codec/manifest_chain.h"

struct nx_pinned {
  struct nx_manifest manifest;
  struct nx_hash hash; /* of its exact bytes */
  uint64_t replaced;   /* REVISED: the revision that was pinned before */
  struct nx_arena *arena;
};

#define NX_PINNED_NEW 1     /* pinned just now: show it to the steward */
#define NX_PINNED_REVISED 2 /* a later revision of what was pinned: it takes its place */
#define NX_PINNED_WAITING 3 /* this node is not in the list (yet): nothing was pinned */

struct nx_pinned_shown { /* what Welcome carries */
  struct nx_bytes manifest, chain;
  struct nx_signature signature;
};

struct nx_pinned_expected {
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  struct nx_public_key coordinator; /* as enrolment named it */
  struct nx_hash coordinator_spki;  /* of the connection over which it came */
  uint32_t member;                  /* this node */
  struct nx_public_key key;
  const struct nx_public_key *next_key; /* the one it asked to have instead, or NULL */
  struct nx_hash spki;
};

/* Checks the manifest that the coordinator shows. 0: the one that is pinned; NX_PINNED_NEW:
 * there was none, it passed every check and is durable now; NX_PINNED_REVISED: the same of a
 * later revision; NX_PINNED_WAITING; NX_E_DENIED: another one than is pinned, which does not
 * follow from it, or one that this node was taken out of; NX_E_CRYPTO, NX_E_PROTOCOL: badly
 * signed or formed, of another federation or coordinator, or with other keys for this node.
 * What is pinned is in the log (may be NULL) before it is in the file. Finish *pinned_out, which
 * is empty after WAITING. */
int nx_pinned_see(const char *path, const struct nx_pinned_expected *expected,
                  const struct nx_pinned_shown *shown, struct nx_audit_log *log,
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
