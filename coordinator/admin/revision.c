#include "coordinator/admin/revision.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/size.h"
#include "coordinator/admin/manifest.h"
#include "crypto/threshold.h"

/* --- the newest list ----------------------------------------------------------------------- */

struct links {
  struct nx_buffer chain, last; /* last: the newest revision, encoded */
  uint64_t n;
};

static int take_link(void *context, uint64_t number, struct nx_bytes link, struct nx_error *err) {
  struct links *links = context;
  if (number != links->n + 1)
    return nx_fail(err, NX_E_FORMAT, "revision %llu of the members' list is missing",
                   (unsigned long long)links->n + 1);
  links->n = number;
  links->last.size = 0;
  int r = nx_buffer_append(&links->last, link.data, link.size, err);
  return r < 0 ? r : nx_manifest_chain_append(&links->chain, link, err);
}

static int begin_chain(struct links *links, struct nx_bytes founders,
                       const struct nx_signature *signature, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer link = {0};
  const struct nx_manifest_revision revision = {.manifest = founders, .signature = *signature};
  int r = nx_manifest_revision_encode(&revision, &link, err);
  return r < 0 ? r : nx_manifest_chain_append(&links->chain, nx_buffer_view(&link), err);
}

static int take_newest(struct nx_federation *f, const struct links *links,
                       struct nx_buffer *bytes_out, struct nx_signature *signature_out,
                       struct nx_hash *hash_out, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_manifest_revision *revisions, newest;
  struct nx_manifest manifest;
  size_t n;
  int r = nx_arena_create(NX_MANIFEST_CHAIN_ARENA, &arena, err);
  if (r == 0)
    r = nx_manifest_chain_decode(nx_buffer_view(&links->chain), arena, &revisions, &n, err);
  if (r == 0)
    r = nx_manifest_chain_verify(revisions, n, &f->row.identity, NULL, arena, &manifest, hash_out,
                                 NULL, err);
  if (r == 0)
    r = nx_manifest_revision_decode(nx_buffer_view(&links->last), arena, &newest, err);
  if (r < 0)
    return nx_error_prefix(err, r, "the stored list of members");
  *signature_out = newest.signature;
  bytes_out->size = 0;
  return nx_buffer_append(bytes_out, newest.manifest.data, newest.manifest.size, err);
}

int nx_revision_recall(struct nx_federation *f, struct nx_buffer *bytes_out,
                       struct nx_signature *signature_out, struct nx_hash *hash_out,
                       struct nx_buffer *chain_out, struct nx_error *err) {
  struct links links = {0};
  bytes_out->size = 0;
  int r = nx_manifest_recall(f, bytes_out, signature_out, hash_out, err);
  if (r == 0)
    r = begin_chain(&links, nx_buffer_view(bytes_out), signature_out, err);
  if (r == 0)
    r = nx_run_store_visit_revisions(f->store, take_link, &links, err);
  if (r == 0 && links.n)
    r = take_newest(f, &links, bytes_out, signature_out, hash_out, err);
  if (r == 0 && links.n && chain_out)
    r = nx_buffer_append(chain_out, links.chain.data, links.chain.size, err);
  nx_buffer_finish(&links.chain);
  nx_buffer_finish(&links.last);
  return r;
}

/* The newest list, decoded: members live in the arena. */
static int read_newest(struct nx_federation *f, struct nx_arena *arena, struct nx_manifest *out,
                       struct nx_hash *hash_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_signature signature;
  int r = nx_revision_recall(f, &bytes, &signature, hash_out, NULL, err);
  if (r == NX_E_NOT_FOUND)
    return nx_fail(err, NX_E_STATE,
                   "the list of members is not sealed yet: until the first start every site that "
                   "enrols is in it");
  return r < 0 ? r : nx_manifest_decode(nx_buffer_view(&bytes), arena, out, err);
}

/* --- proposing ----------------------------------------------------------------------------- */

static int find_row(struct nx_federation *f, const char *name, struct nx_store_member *out,
                    struct nx_error *err) {
  _cleanup_free_ struct nx_store_member *rows = calloc(NX_STORE_MEMBERS, sizeof *rows);
  size_t n = 0;
  int r = rows ? nx_run_store_members(f->store, rows, &n, err)
               : nx_fail(err, NX_E_NOMEM, "out of memory for members");
  for (size_t i = 0; i < n && r == 0; i++)
    if (!strcmp(rows[i].name, name)) {
      *out = rows[i];
      return 0;
    }
  return r < 0 ? r
               : nx_fail(err, NX_E_NOT_FOUND,
                         "nobody called %s has enrolled: invite NAME first, or see members", name);
}

static struct nx_manifest_member *find_listed(struct nx_manifest_member *members, size_t n,
                                              uint32_t id) {
  for (size_t i = 0; i < n; i++)
    if (members[i].id == id)
      return &members[i];
  return NULL;
}

static int add_member(struct nx_manifest_member *members, size_t *n,
                      const struct nx_store_member *row, struct nx_error *err) {
  size_t at = 0;
  if (row->revoked)
    return nx_fail(err, NX_E_STATE, "%s was revoked: invite the site anew, under another name",
                   row->name);
  if (*n == NX_MANIFEST_MEMBERS)
    return nx_fail(err, NX_E_LIMIT, "a federation has at most %d members", NX_MANIFEST_MEMBERS);
  while (at < *n && members[at].id < row->id)
    at++;
  memmove(&members[at + 1], &members[at], (*n - at) * sizeof *members);
  members[at] =
      (struct nx_manifest_member){.id = row->id, .identity = row->identity, .spki = row->spki};
  snprintf(members[at].name, sizeof members[at].name, "%s", row->name);
  (*n)++;
  return 0;
}

static int remove_member(struct nx_manifest_member *members, size_t *n,
                         struct nx_manifest_member *member, struct nx_error *err) {
  if (*n - 1 < NX_MEMBERS_MIN)
    return nx_fail(err, NX_E_STATE, "a federation of fewer than %u members opens no sum",
                   NX_MEMBERS_MIN);
  size_t at = (size_t)(member - members);
  memmove(member, member + 1, (*n - at - 1) * sizeof *members);
  (*n)--;
  return 0;
}

/* Changes the list in `members`, which has room for one more. */
static int change_list(struct nx_federation *f, struct nx_store_proposal *proposal,
                       const struct nx_store_member *row, struct nx_manifest_member *members,
                       size_t *n, struct nx_error *err) {
  struct nx_manifest_member *listed = find_listed(members, *n, row->id);
  if ((proposal->kind == NX_CHANGE_ADD) == (listed != NULL))
    return nx_fail(err, NX_E_STATE, "%s is %s the members already", row->name,
                   listed ? "among" : "not among");
  if (proposal->kind == NX_CHANGE_ADD)
    return add_member(members, n, row, err);
  if (proposal->kind == NX_CHANGE_REMOVE)
    return remove_member(members, n, listed, err);
  int r = nx_run_store_new_key(f->store, row->id, &proposal->identity, err);
  if (r == NX_E_NOT_FOUND)
    return nx_fail(err, r,
                   "%s asked for no new key: its steward runs neurox-node members new-key first",
                   row->name);
  listed->identity = proposal->identity;
  return r;
}

static int sign_and_store(struct nx_federation *f, struct nx_store_proposal *proposal,
                          const struct nx_manifest *next, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_signature signature;
  int r = nx_manifest_encode(next, &bytes, err);
  if (r == 0)
    r = nx_sign(f->identity, NX_MANIFEST_SIGNED_AS, nx_buffer_view(&bytes), &signature, err);
  if (r < 0)
    return r;
  proposal->hash = nx_sha256(bytes.data, bytes.size);
  proposal->created = nx_clock_unix();
  return nx_run_store_propose(f->store, proposal, nx_buffer_view(&bytes), &signature, err);
}

int nx_revision_propose(struct nx_federation *f, enum nx_store_change kind, const char *name,
                        struct nx_hash *hash_out, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_free_ struct nx_manifest_member *members =
      calloc(NX_MANIFEST_MEMBERS + 1, sizeof *members);
  struct nx_manifest manifest;
  struct nx_store_member row;
  struct nx_store_proposal proposal = {.kind = kind};
  struct nx_hash hash;
  int r = members ? nx_arena_create(NX_MANIFEST_CHAIN_ARENA, &arena, err)
                  : nx_fail(err, NX_E_NOMEM, "out of memory for a list of members");
  if (r == 0)
    r = read_newest(f, arena, &manifest, &hash, err);
  if (r == 0)
    r = find_row(f, name, &row, err);
  if (r < 0)
    return r;
  size_t n = manifest.n_members;
  memcpy(members, manifest.members, n * sizeof *members);
  proposal.member = row.id;
  if ((r = change_list(f, &proposal, &row, members, &n, err)) < 0)
    return r;
  manifest.members = members;
  manifest.n_members = n;
  manifest.revision++;
  manifest.previous = hash;
  manifest.sealed = nx_clock_unix();
  r = sign_and_store(f, &proposal, &manifest, err);
  *hash_out = proposal.hash;
  return r;
}

/* --- answers ---------------------------------------------------------------------------------- */

static int name_of(struct nx_federation *f, uint32_t id, char out[NX_STORE_NAME_SIZE],
                   struct nx_error *err) {
  _cleanup_free_ struct nx_store_member *rows = calloc(NX_STORE_MEMBERS, sizeof *rows);
  size_t n = 0;
  int r = rows ? nx_run_store_members(f->store, rows, &n, err)
               : nx_fail(err, NX_E_NOMEM, "out of memory for members");
  for (size_t i = 0; i < n && r == 0; i++)
    if (rows[i].id == id)
      memcpy(out, rows[i].name, NX_STORE_NAME_SIZE);
  return r;
}

int nx_revision_state(struct nx_federation *f, struct nx_revision_state *out,
                      struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_manifest manifest;
  struct nx_hash hash;
  *out = (struct nx_revision_state){0};
  int r = nx_run_store_proposal(f->store, &out->proposal, NULL, NULL, err);
  if (r == 0)
    r = nx_arena_create(NX_MANIFEST_CHAIN_ARENA, &arena, err);
  if (r == 0)
    r = read_newest(f, arena, &manifest, &hash, err);
  if (r == 0)
    r = name_of(f, out->proposal.member, out->name, err);
  if (r == 0)
    r = nx_run_store_answers(f->store, &out->proposal.hash, out->answers, &out->n_answers, err);
  if (r < 0)
    return r;
  out->n_members = (uint32_t)manifest.n_members;
  out->n_needed = nx_threshold_quorum(out->n_members);
  for (size_t i = 0; i < out->n_answers; i++)
    out->answers[i].approve ? out->n_approved++ : out->n_refused++;
  out->can_pass = out->n_refused + out->n_needed <= out->n_members;
  return 0;
}

int nx_revision_message(struct nx_federation *f, struct nx_buffer *out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0}, body = {0};
  struct nx_store_proposal proposal;
  struct nx_manifest_revision revision = {0};
  int r = nx_run_store_proposal(f->store, &proposal, &bytes, &revision.signature, err);
  if (r < 0)
    return r;
  revision.manifest = nx_buffer_view(&bytes);
  if ((r = nx_manifest_revision_encode(&revision, &body, err)) < 0)
    return r;
  return nx_signed_message_make(f->identity, NX_COORDINATOR, NX_MESSAGE_MANIFEST_PROPOSAL,
                                nx_buffer_view(&body), nx_bytes("", 0), out, err);
}

/* The proposed list, the one before, and what is signed about it. */
struct pending {
  struct nx_arena *arena;
  struct nx_buffer bytes;
  struct nx_store_proposal proposal;
  struct nx_signature signature;
  struct nx_manifest old, next;
  struct nx_hash old_hash;
};

static void pending_finish(struct pending *pending) {
  nx_arena_destroy(pending->arena);
  nx_buffer_finish(&pending->bytes);
}

static int read_pending(struct nx_federation *f, struct pending *out, struct nx_error *err) {
  *out = (struct pending){0};
  int r = nx_run_store_proposal(f->store, &out->proposal, &out->bytes, &out->signature, err);
  if (r == 0)
    r = nx_arena_create(NX_MANIFEST_CHAIN_ARENA, &out->arena, err);
  if (r == 0)
    r = read_newest(f, out->arena, &out->old, &out->old_hash, err);
  return r < 0 ? r : nx_manifest_decode(nx_buffer_view(&out->bytes), out->arena, &out->next, err);
}

static const struct nx_manifest_member *member_of(const struct nx_manifest *manifest, uint32_t id,
                                                  struct nx_error *err) {
  for (size_t i = 0; i < manifest->n_members; i++)
    if (manifest->members[i].id == id)
      return &manifest->members[i];
  nx_fail(err, NX_E_DENIED, "member %u is not in the list of members", id);
  return NULL;
}

int nx_revision_answer(struct nx_federation *f, uint32_t member,
                       const struct nx_signed_message *message, struct nx_store_answer *answer_out,
                       struct nx_error *err) {
  _cleanup_(pending_finish) struct pending pending;
  uint8_t statement[NX_MEMBERS_STATEMENT_SIZE];
  int r = read_pending(f, &pending, err);
  if (r < 0)
    return r;
  const struct nx_manifest_member *listed = member_of(&pending.old, member, err);
  if (!listed)
    return NX_E_DENIED;
  nx_manifest_statement(&pending.next, &pending.proposal.hash, statement);
  if (message->signer != member || message->body.size != sizeof statement ||
      memcmp(message->body.data, statement, sizeof statement))
    return nx_fail(err, NX_E_NOT_FOUND, "member %u answers another proposal than the present one",
                   member);
  if ((r = nx_signed_message_verify(message, &listed->identity, err)) < 0)
    return r;
  *answer_out = (struct nx_store_answer){.member = member,
                                         .approve = message->type == NX_MESSAGE_MANIFEST_APPROVE,
                                         .signature = message->signature};
  return nx_run_store_put_answer(f->store, &pending.proposal.hash, answer_out, err);
}

int nx_revision_new_key(struct nx_federation *f, uint32_t member,
                        const struct nx_signed_message *message, struct nx_public_key *key_out,
                        struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_manifest manifest;
  struct nx_hash hash;
  struct nx_new_key request;
  int r = nx_arena_create(NX_MANIFEST_CHAIN_ARENA, &arena, err);
  if (r == 0)
    r = read_newest(f, arena, &manifest, &hash, err);
  if (r < 0)
    return r;
  const struct nx_manifest_member *listed = member_of(&manifest, member, err);
  if (!listed || message->signer != member)
    return NX_E_DENIED;
  if ((r = nx_signed_message_verify(message, &listed->identity, err)) < 0 ||
      (r = nx_new_key_read(message->body, member, &listed->identity, arena, &request, err)) < 0)
    return r;
  *key_out = request.identity;
  return nx_run_store_put_new_key(f->store, member, &request.identity, nx_clock_unix(), err);
}

/* --- sealing ------------------------------------------------------------------------------------
 */

static int make_link(struct nx_federation *f, const struct pending *pending,
                     struct nx_audit_log *log, struct nx_buffer *link, struct nx_error *err) {
  _cleanup_free_ struct nx_store_answer *answers = calloc(NX_STORE_MEMBERS, sizeof *answers);
  struct nx_manifest_approval approvals[NX_STORE_MEMBERS];
  size_t n = 0, n_answers = 0;
  int r = answers
              ? nx_run_store_answers(f->store, &pending->proposal.hash, answers, &n_answers, err)
              : nx_fail(err, NX_E_NOMEM, "out of memory for answers");
  if (r < 0)
    return r;
  for (size_t i = 0; i < n_answers; i++)
    if (answers[i].approve)
      approvals[n++] = (struct nx_manifest_approval){answers[i].member, answers[i].signature};
  if (nx_manifest_count_approvals(&pending->old, &pending->next, &pending->proposal.hash, approvals,
                                  n) < nx_threshold_quorum((uint32_t)pending->old.n_members))
    return NX_REVISION_WAITS;
  const struct nx_manifest_revision revision = {.manifest = nx_buffer_view(&pending->bytes),
                                                .signature = pending->signature,
                                                .approvals = approvals,
                                                .n_approvals = n};
  int e = nx_manifest_chain_log(log, &revision, 1, 0, err);
  return e < 0 ? e : nx_manifest_revision_encode(&revision, link, err);
}

int nx_revision_seal(struct nx_federation *f, struct nx_audit_log *log, struct nx_error *err) {
  _cleanup_(pending_finish) struct pending pending;
  _cleanup_(nx_buffer_finish) struct nx_buffer link = {0};
  int r = read_pending(f, &pending, err);
  if (r == 0)
    r = nx_manifest_check_follows(&pending.old, &pending.old_hash, &pending.next, err);
  if (r == 0)
    r = make_link(f, &pending, log, &link, err);
  if (r)
    return r;
  return nx_run_store_seal_revision(f->store, pending.next.revision, nx_buffer_view(&link),
                                    &pending.proposal, nx_clock_unix(), err);
}
