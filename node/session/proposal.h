/* Proposal: a revision of the list of members that the coordinator proposes, as it waits in this
 * node's folder for the steward's answer. */
#pragma once

#include "crypto/sign.h"
#include "node/session/pinned.h"

struct nx_proposal {
  struct nx_arena *arena;
  struct nx_manifest next; /* in the arena */
  struct nx_hash hash;     /* of its exact bytes */
};

/* A ManifestRevision's bytes, as the coordinator sent them: signed by it, well-formed, and
 * following on what is pinned? NX_E_CRYPTO, NX_E_PROTOCOL. Finish *out. */
int nx_proposal_check(const struct nx_pinned *pinned, struct nx_bytes bytes,
                      struct nx_proposal *out, struct nx_error *err);
/* The one in the file; NX_E_NOT_FOUND: none waits. */
int nx_proposal_load(const char *path, const struct nx_pinned *pinned, struct nx_proposal *out,
                     struct nx_error *err);
void nx_proposal_finish(struct nx_proposal *proposal); /* zeroed is fine */

/* The steward's answer as a SignedMessage: appended. */
int nx_proposal_answer(const struct nx_proposal *proposal, const struct nx_identity *identity,
                       uint32_t member, bool approve, struct nx_buffer *out, struct nx_error *err);
