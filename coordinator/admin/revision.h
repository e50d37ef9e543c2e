/* Revision: how the list of members changes after it was sealed. The operator proposes one
 * change; every steward is shown it by name and fingerprint; the list is revised once at least
 * t = nx_threshold_quorum(n) of its n members have approved, and no run is under way
 * (proto/codec/manifest_chain.h). The operator's own word changes nothing. */
#pragma once

#include "coordinator/admin/federation.h"
#include "coordinator/store/run_store_revisions.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/manifest_chain.h"

/* The newest list: appends its exact bytes and, when there were revisions, the whole chain to
 * chain_out (may be NULL). NX_E_NOT_FOUND before the first start; NX_E_CRYPTO, NX_E_FORMAT: the
 * store was tampered with. */
int nx_revision_recall(struct nx_federation *federation, struct nx_buffer *bytes_out,
                       struct nx_signature *signature_out, struct nx_hash *hash_out,
                       struct nx_buffer *chain_out, struct nx_error *err);

/* Proposes to add `name` (who has enrolled), to remove it, or to take the identity key that it
 * asked for. NX_E_STATE: nothing is sealed yet, or the change makes no sense; NX_E_NOT_FOUND: no
 * such member; NX_E_EXISTS: another proposal is open. */
int nx_revision_propose(struct nx_federation *federation, enum nx_store_change kind,
                        const char *name, struct nx_hash *hash_out, struct nx_error *err);

struct nx_revision_state {
  struct nx_store_proposal proposal;
  char name[NX_STORE_NAME_SIZE]; /* of the member that it is about */
  uint32_t n_members, n_needed, n_approved, n_refused;
  bool can_pass; /* not yet refused by so many that it never will */
  struct nx_store_answer answers[NX_STORE_MEMBERS];
  size_t n_answers;
};
/* NX_E_NOT_FOUND: nothing is proposed. */
int nx_revision_state(struct nx_federation *federation, struct nx_revision_state *out,
                      struct nx_error *err);
/* The proposal as a SignedMessage for members: appended. */
int nx_revision_message(struct nx_federation *federation, struct nx_buffer *out,
                        struct nx_error *err);
/* What a member says about it: a SignedMessage of type MANIFEST_APPROVE or MANIFEST_REFUSE.
 * NX_E_NOT_FOUND: of no proposal that is open; NX_E_CRYPTO: badly signed. */
int nx_revision_answer(struct nx_federation *federation, uint32_t member,
                       const struct nx_signed_message *message, struct nx_store_answer *answer_out,
                       struct nx_error *err);
/* A NEW_KEY message of a member of the list. */
int nx_revision_new_key(struct nx_federation *federation, uint32_t member,
                        const struct nx_signed_message *message, struct nx_public_key *key_out,
                        struct nx_error *err);
#define NX_REVISION_WAITS 1
/* Seals the proposal when enough have approved, in the log first; else NX_REVISION_WAITS. */
int nx_revision_seal(struct nx_federation *federation, struct nx_audit_log *log,
                     struct nx_error *err);
