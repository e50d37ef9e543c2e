/* Run store: revisions of the list of members. A proposal gathers answers; when it is sealed it
 * becomes the newest revision, and the members' rows follow. Bodies are opaque here. */
#pragma once

#include "coordinator/store/run_store.h"

enum nx_store_change { NX_CHANGE_ADD = 1, NX_CHANGE_REMOVE = 2, NX_CHANGE_KEY = 3 };

struct nx_store_proposal {
  struct nx_hash hash;       /* of the proposed manifest's bytes */
  enum nx_store_change kind; /* what it changes about `member` */
  uint32_t member;
  struct nx_public_key identity; /* KEY: the new one */
  int64_t created;
};

/* NX_E_EXISTS: one is open already. */
int nx_run_store_propose(struct nx_run_store *store, const struct nx_store_proposal *proposal,
                         struct nx_bytes body, const struct nx_signature *signature,
                         struct nx_error *err);
/* NX_E_NOT_FOUND: none is open. body_out and signature_out may be NULL. */
int nx_run_store_proposal(struct nx_run_store *store, struct nx_store_proposal *out,
                          struct nx_buffer *body_out, struct nx_signature *signature_out,
                          struct nx_error *err);
/* Takes it back with its answers; NX_E_NOT_FOUND. */
int nx_run_store_withdraw_proposal(struct nx_run_store *store, struct nx_error *err);

struct nx_store_answer {
  uint32_t member;
  bool approve;
  struct nx_signature signature;
};
/* A member may change its mind until it is sealed: the last answer counts. */
int nx_run_store_put_answer(struct nx_run_store *store, const struct nx_hash *hash,
                            const struct nx_store_answer *answer, struct nx_error *err);
/* In order of member; out holds NX_STORE_MEMBERS. */
int nx_run_store_answers(struct nx_run_store *store, const struct nx_hash *hash,
                         struct nx_store_answer *out, size_t *n_out, struct nx_error *err);

/* The proposal becomes revision `number` (its encoded ManifestRevision): a removed member's
 * certificate is worth nothing from now on, a new key takes the old one's place. All or none. */
int nx_run_store_seal_revision(struct nx_run_store *store, uint64_t number, struct nx_bytes link,
                               const struct nx_store_proposal *proposal, int64_t now,
                               struct nx_error *err);
/* Calls visit for each sealed revision from 1 on, in order. */
int nx_run_store_visit_revisions(struct nx_run_store *store,
                                 int (*visit)(void *context, uint64_t number, struct nx_bytes link,
                                              struct nx_error *err),
                                 void *context, struct nx_error *err);

/* The identity key that a member asks to have instead; the last one counts. */
int nx_run_store_put_new_key(struct nx_run_store *store, uint32_t member,
                             const struct nx_public_key *identity, int64_t now,
                             struct nx_error *err);
/* NX_E_NOT_FOUND: it asked for none. */
int nx_run_store_new_key(struct nx_run_store *store, uint32_t member, struct nx_public_key *out,
                         struct nx_error *err);
