#include "proto/codec/manifest_chain.h"

#include <string.h>

#include "crypto/threshold.h"
#include "manifest.pb-c.h"
#include "proto/codec/codec_members.h"
#include "proto/codec/codec_session.h"

/* --- to the wire and back ------------------------------------------------------------------ */

int nx_manifest_revision_encode(const struct nx_manifest_revision *m, struct nx_buffer *out,
                                struct nx_error *err) {
  Neurox__V1__ManifestRevision wire = NEUROX__V1__MANIFEST_REVISION__INIT;
  Neurox__V1__ManifestApproval items[NX_MANIFEST_MEMBERS], *pointers[NX_MANIFEST_MEMBERS];
  if (m->n_approvals > NX_MANIFEST_MEMBERS)
    return nx_fail(err, NX_E_INVALID, "manifest revision: %zu approvals", m->n_approvals);
  for (size_t i = 0; i < m->n_approvals; i++) {
    items[i] = (Neurox__V1__ManifestApproval)NEUROX__V1__MANIFEST_APPROVAL__INIT;
    items[i].member = m->approvals[i].member;
    items[i].signature =
        nx_codec_field(&m->approvals[i].signature, sizeof m->approvals[i].signature);
    pointers[i] = &items[i];
  }
  wire.manifest = nx_codec_field(m->manifest.data, m->manifest.size);
  wire.signature = nx_codec_field(&m->signature, sizeof m->signature);
  wire.approvals = pointers;
  wire.n_approvals = m->n_approvals;
  return nx_codec_pack(&wire.base, out, err);
}

static int read_revision(const Neurox__V1__ManifestRevision *wire, struct nx_arena *arena,
                         struct nx_manifest_revision *out, struct nx_error *err) {
  struct nx_manifest_approval *approvals = NULL;
  uint32_t last = 0;
  if (wire->n_approvals > NX_MANIFEST_MEMBERS || wire->manifest.len > NX_MANIFEST_CAP)
    return nx_fail(err, NX_E_PROTOCOL, "manifest revision: %zu approvals, %zu bytes",
                   wire->n_approvals, wire->manifest.len);
  *out = (struct nx_manifest_revision){.manifest = nx_codec_view(wire->manifest),
                                       .n_approvals = wire->n_approvals};
  int r = nx_codec_fixed(wire->signature, &out->signature, sizeof out->signature,
                         "manifest revision: signature", err);
  if (r == 0)
    r = nx_wire_array(arena, wire->n_approvals, sizeof *approvals, &approvals, err);
  for (size_t i = 0; i < wire->n_approvals && r == 0; i++) {
    approvals[i].member = wire->approvals[i]->member;
    r = nx_wire_next_id("manifest approvals", wire->approvals[i]->member, &last, err);
    if (r == 0)
      r = nx_codec_fixed(wire->approvals[i]->signature, &approvals[i].signature,
                         sizeof approvals[i].signature, "manifest approval: signature", err);
  }
  out->approvals = approvals;
  return r;
}

int nx_manifest_revision_decode(struct nx_bytes bytes, struct nx_arena *arena,
                                struct nx_manifest_revision *out, struct nx_error *err) {
  Neurox__V1__ManifestRevision *wire;
  int r = nx_wire_unpack(&neurox__v1__manifest_revision__descriptor, "manifest revision", bytes,
                         2 * NX_MANIFEST_CAP, arena, &wire, err);
  return r < 0 ? r : read_revision(wire, arena, out, err);
}

/* A repeated field is the same whether its messages were packed together or one by one. */
int nx_manifest_chain_append(struct nx_buffer *chain, struct nx_bytes revision,
                             struct nx_error *err) {
  uint8_t head[1 + 10] = {1 << 3 | 2}; /* field 1, length-delimited */
  size_t n = 1;
  for (size_t size = revision.size; n == 1 || size; size >>= 7)
    head[n++] = (uint8_t)((size & 0x7f) | (size >> 7 ? 0x80 : 0));
  if (chain->size + n + revision.size > NX_MANIFEST_CHAIN_CAP)
    return nx_fail(err, NX_E_LIMIT,
                   "the list of members was revised so often that its history takes more than %zu "
                   "MiB: make a new federation",
                   NX_MANIFEST_CHAIN_CAP >> 20);
  int r = nx_buffer_append(chain, head, n, err);
  return r < 0 ? r : nx_buffer_append(chain, revision.data, revision.size, err);
}

int nx_manifest_chain_decode(struct nx_bytes bytes, struct nx_arena *arena,
                             struct nx_manifest_revision **revisions_out, size_t *n_out,
                             struct nx_error *err) {
  Neurox__V1__ManifestChain *wire;
  struct nx_manifest_revision *revisions;
  int r = nx_wire_unpack(&neurox__v1__manifest_chain__descriptor, "manifest chain", bytes,
                         NX_MANIFEST_CHAIN_CAP, arena, &wire, err);
  if (r < 0)
    return r;
  if (!wire->n_revisions || wire->n_revisions > NX_MANIFEST_CHAIN_MOST)
    return nx_fail(err, NX_E_PROTOCOL, "manifest chain: %zu revisions", wire->n_revisions);
  r = nx_wire_array(arena, wire->n_revisions, sizeof *revisions, &revisions, err);
  for (size_t i = 0; i < wire->n_revisions && r == 0; i++)
    r = read_revision(wire->revisions[i], arena, &revisions[i], err);
  *revisions_out = revisions;
  *n_out = wire->n_revisions;
  return r;
}

/* --- what makes a chain ----------------------------------------------------------------------- */

static struct nx_hash digest_of(const struct nx_manifest *manifest) {
  struct nx_member_digest digest;
  nx_member_digest_begin(&digest, (uint32_t)manifest->n_members);
  for (size_t i = 0; i < manifest->n_members; i++) {
    const struct nx_manifest_member *m = &manifest->members[i];
    nx_member_digest_add(&digest, m->id, nx_bytes(m->name, strlen(m->name)), &m->identity,
                         &m->spki);
  }
  return nx_member_digest_end(&digest);
}

void nx_manifest_statement(const struct nx_manifest *manifest, const struct nx_hash *hash,
                           uint8_t out[NX_MEMBERS_STATEMENT_SIZE]) {
  struct nx_hash digest = digest_of(manifest);
  nx_members_statement(&manifest->previous, manifest->revision, hash, &digest, out);
}

static const struct nx_manifest_member *find_member(const struct nx_manifest *manifest,
                                                    uint32_t id) {
  for (size_t i = 0; i < manifest->n_members; i++)
    if (manifest->members[i].id == id)
      return &manifest->members[i];
  return NULL;
}

size_t nx_manifest_count_approvals(const struct nx_manifest *old, const struct nx_manifest *next,
                                   const struct nx_hash *next_hash,
                                   const struct nx_manifest_approval *approvals, size_t n) {
  uint8_t statement[NX_MEMBERS_STATEMENT_SIZE];
  bool counted[256] = {false};
  size_t count = 0;
  nx_manifest_statement(next, next_hash, statement);
  for (size_t i = 0; i < n; i++) {
    const struct nx_manifest_member *member = find_member(old, approvals[i].member);
    if (!member || counted[member->id] ||
        nx_verify(&member->identity, NX_MEMBERS_APPROVE, nx_bytes(statement, sizeof statement),
                  &approvals[i].signature, NULL) < 0)
      continue;
    counted[member->id] = true;
    count++;
  }
  return count;
}

int nx_manifest_check_follows(const struct nx_manifest *old, const struct nx_hash *old_hash,
                              const struct nx_manifest *next, struct nx_error *err) {
  if (memcmp(old->federation, next->federation, sizeof old->federation))
    return nx_fail(err, NX_E_PROTOCOL, "it is of another federation");
  if (memcmp(&old->coordinator, &next->coordinator, sizeof old->coordinator) ||
      !nx_hash_equal(&old->coordinator_spki, &next->coordinator_spki))
    return nx_fail(err, NX_E_PROTOCOL, "it names another coordinator");
  if (next->revision != old->revision + 1 || !nx_hash_equal(&next->previous, old_hash))
    return nx_fail(err, NX_E_PROTOCOL, "it does not follow on revision %llu",
                   (unsigned long long)old->revision);
  return 0;
}

struct walk {
  struct nx_manifest manifest;
  struct nx_hash hash;
};

/* Revision i behind walk->manifest, which it replaces there. */
static int take_step(struct walk *walk, const struct nx_manifest_revision *revision, size_t i,
                     const struct nx_public_key *coordinator, struct nx_arena *arena,
                     struct nx_error *err) {
  struct walk next = {.hash = nx_sha256(revision->manifest.data, revision->manifest.size)};
  int r =
      nx_verify(coordinator, NX_MANIFEST_SIGNED_AS, revision->manifest, &revision->signature, err);
  if (r == 0)
    r = nx_manifest_decode(revision->manifest, arena, &next.manifest, err);
  if (r == 0 && i == 0 && next.manifest.revision)
    r = nx_fail(err, NX_E_PROTOCOL, "the chain does not begin with the founders");
  if (r == 0 && i)
    r = nx_manifest_check_follows(&walk->manifest, &walk->hash, &next.manifest, err);
  if (r < 0)
    return r;
  uint32_t needed = i ? nx_threshold_quorum((uint32_t)walk->manifest.n_members) : 0;
  size_t n = i ? nx_manifest_count_approvals(&walk->manifest, &next.manifest, &next.hash,
                                             revision->approvals, revision->n_approvals)
               : 0;
  if (n < needed)
    return nx_fail(err, NX_E_CRYPTO, "%zu of %zu members approved of it, %u are needed", n,
                   walk->manifest.n_members, needed);
  *walk = next;
  return 0;
}

int nx_manifest_chain_verify(const struct nx_manifest_revision *revisions, size_t n,
                             const struct nx_public_key *coordinator, const struct nx_hash *pinned,
                             struct nx_arena *arena, struct nx_manifest *last_out,
                             struct nx_hash *hash_out, bool *has_pinned_out, struct nx_error *err) {
  struct walk walk = {0};
  bool has_pinned = false;
  for (size_t i = 0; i < n; i++) {
    int r = take_step(&walk, &revisions[i], i, coordinator, arena, err);
    if (r < 0)
      return nx_error_prefix(err, r, "revision %zu of the members' list", i);
    has_pinned |= pinned && nx_hash_equal(pinned, &walk.hash);
  }
  if (!n)
    return nx_fail(err, NX_E_PROTOCOL, "an empty chain of members' lists");
  *last_out = walk.manifest;
  *hash_out = walk.hash;
  if (has_pinned_out)
    *has_pinned_out = has_pinned;
  return 0;
}

/* --- for logs and people ------------------------------------------------------------------------
 */

static int log_members(struct nx_audit_log *log, const struct nx_manifest *manifest,
                       struct nx_error *err) {
  int r = 0;
  for (size_t i = 0; i < manifest->n_members && r == 0; i++) {
    const struct nx_manifest_member *m = &manifest->members[i];
    r = NX_AUDIT_APPEND(log, err, "member.listed", NX_AUDIT_UINT("revision", manifest->revision),
                        NX_AUDIT_UINT("id", m->id), NX_AUDIT_STR("name", m->name),
                        NX_AUDIT_HASH("identity", &m->identity), NX_AUDIT_HASH("spki", &m->spki));
  }
  return r;
}

static int log_revision(struct nx_audit_log *log, const struct nx_manifest_revision *revision,
                        const struct nx_manifest *manifest, struct nx_error *err) {
  struct nx_hash hash = nx_sha256(revision->manifest.data, revision->manifest.size);
  int r = log_members(log, manifest, err);
  for (size_t i = 0; i < revision->n_approvals && r == 0; i++)
    r = NX_AUDIT_APPEND(log, err, "manifest.approved",
                        NX_AUDIT_UINT("revision", manifest->revision),
                        NX_AUDIT_UINT("member", revision->approvals[i].member),
                        NX_AUDIT_HASH("signature", &revision->approvals[i].signature));
  return r < 0 ? r
               : NX_AUDIT_APPEND(log, err, "manifest.revised",
                                 NX_AUDIT_UINT("revision", manifest->revision),
                                 NX_AUDIT_HASH("manifest", &hash),
                                 NX_AUDIT_HASH("previous", &manifest->previous),
                                 NX_AUDIT_UINT("members", manifest->n_members));
}

int nx_manifest_chain_log(struct nx_audit_log *log, const struct nx_manifest_revision *revisions,
                          size_t n, uint64_t from, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_manifest manifest;
  int r = nx_arena_create(NX_MANIFEST_CHAIN_ARENA, &arena, err);
  for (size_t i = (size_t)from; i < n && r == 0; i++) {
    nx_arena_reset(arena);
    r = nx_manifest_decode(revisions[i].manifest, arena, &manifest, err);
    if (r == 0)
      r = log_revision(log, &revisions[i], &manifest, err);
  }
  return r;
}

void nx_manifest_compare(const struct nx_manifest *old, const struct nx_manifest *next,
                         nx_manifest_change change, void *context) {
  for (size_t i = 0; i < next->n_members; i++) {
    const struct nx_manifest_member *now = &next->members[i], *before = find_member(old, now->id);
    if (!before)
      change(context, "adds", now);
    else if (memcmp(&before->identity, &now->identity, sizeof now->identity) ||
             !nx_hash_equal(&before->spki, &now->spki))
      change(context, "new key of", now);
    else if (strcmp(before->name, now->name))
      change(context, "renames", now);
  }
  for (size_t i = 0; i < old->n_members; i++)
    if (!find_member(next, old->members[i].id))
      change(context, "removes", &old->members[i]);
}
