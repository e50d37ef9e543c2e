/* Manifest chain: the list of members and how it came to be. Revision 0 was sealed at the first
 * start and pinned by people; every later one is valid only with the approvals of at least t of
 * the members of the list that it replaces (crypto/member_list.h), so that neither a coordinator
 * nor whoever steals its key can put anybody in or out.
 *
 *   revision 0 ◄── hash, >= t approvals ── revision 1 ◄── hash, >= t approvals ── revision 2 …
 *
 * Codec rules as in codec_session.h. Any thread. */
#pragma once

#include "crypto/audit_log.h"
#include "crypto/member_list.h"
#include "proto/codec/codec_manifest.h"

#define NX_MANIFEST_CHAIN_CAP ((size_t)8 << 20) /* fits a Welcome: some thousand small revisions   \
                                                 */
#define NX_MANIFEST_CHAIN_MOST 16384
#define NX_MANIFEST_CHAIN_ARENA ((size_t)192 << 20)

struct nx_manifest_approval {
  uint32_t member;
  struct nx_signature signature; /* "manifest-approve", over nx_manifest_statement() */
};

struct nx_manifest_revision {
  struct nx_bytes manifest; /* exact bytes */
  struct nx_signature signature;
  const struct nx_manifest_approval *approvals; /* ascending; none in revision 0 or a proposal */
  size_t n_approvals;
};

int nx_manifest_revision_encode(const struct nx_manifest_revision *m, struct nx_buffer *out,
                                struct nx_error *err);
int nx_manifest_revision_decode(struct nx_bytes bytes, struct nx_arena *arena,
                                struct nx_manifest_revision *out, struct nx_error *err);

/* Appends one encoded revision to an encoded chain, which may be empty: no need to decode. */
int nx_manifest_chain_append(struct nx_buffer *chain, struct nx_bytes revision,
                             struct nx_error *err);
int nx_manifest_chain_decode(struct nx_bytes bytes, struct nx_arena *arena,
                             struct nx_manifest_revision **revisions_out, size_t *n_out,
                             struct nx_error *err);

/* What a member signs about the manifest whose bytes have this hash. */
void nx_manifest_statement(const struct nx_manifest *manifest, const struct nx_hash *hash,
                           uint8_t out[NX_MEMBERS_STATEMENT_SIZE]);

/* Is `next` a list that may follow on `old` (of hash old_hash): same federation and coordinator,
 * the number after, naming old_hash? NX_E_PROTOCOL says what is not. Approvals are not looked
 * at: what a proposal has to pass. */
int nx_manifest_check_follows(const struct nx_manifest *old, const struct nx_hash *old_hash,
                              const struct nx_manifest *next, struct nx_error *err);
/* Valid approvals by distinct members of `old`. */
size_t nx_manifest_count_approvals(const struct nx_manifest *old, const struct nx_manifest *next,
                                   const struct nx_hash *next_hash,
                                   const struct nx_manifest_approval *approvals, size_t n);

/* Walks revisions 0..n-1: signatures of the coordinator, order, approvals. NX_E_CRYPTO or
 * NX_E_PROTOCOL with the revision's number. The last list and its hash are given out; so is,
 * when `pinned` is not NULL, whether it is one of them. */
int nx_manifest_chain_verify(const struct nx_manifest_revision *revisions, size_t n,
                             const struct nx_public_key *coordinator, const struct nx_hash *pinned,
                             struct nx_arena *arena, struct nx_manifest *last_out,
                             struct nx_hash *hash_out, bool *has_pinned_out, struct nx_error *err);

/* Writes revisions from number `from` on into an audit log, as crypto/audit_members.h reads
 * them. They were verified before. */
int nx_manifest_chain_log(struct nx_audit_log *log, const struct nx_manifest_revision *revisions,
                          size_t n, uint64_t from, struct nx_error *err);

/* What a revision changes, for people: one call a change. kind: "adds", "removes", "new key of". */
typedef void (*nx_manifest_change)(void *context, const char *kind,
                                   const struct nx_manifest_member *member);
void nx_manifest_compare(const struct nx_manifest *old, const struct nx_manifest *next,
                         nx_manifest_change change, void *context);
