#include "node/session/pinned.h"

#include <stdio.h>
#include <string.h>

#include "common/file.h"

#define PINNED_CAP ((size_t)1 << 20)

static bool same_key(const struct nx_public_key *a, const struct nx_public_key *b) {
  return !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static int decode(struct nx_bytes bytes, struct nx_pinned *out, struct nx_error *err) {
  struct nx_pinned pinned = {.hash = nx_sha256(bytes.data, bytes.size)};
  int r = nx_arena_create(8 * PINNED_CAP, &pinned.arena, err);
  if (r == 0)
    r = nx_manifest_decode(bytes, pinned.arena, &pinned.manifest, err);
  if (r < 0) {
    nx_pinned_finish(&pinned);
    return r;
  }
  *out = pinned;
  return 0;
}

void nx_pinned_finish(struct nx_pinned *pinned) {
  nx_arena_destroy(pinned->arena);
  *pinned = (struct nx_pinned){0};
}

int nx_pinned_load(const char *path, struct nx_pinned *pinned_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  int r = nx_file_read(path, PINNED_CAP, &bytes, err);
  return r < 0 ? r : decode(nx_buffer_view(&bytes), pinned_out, err);
}

static int refuse_another(struct nx_error *err) {
  return nx_fail(err, NX_E_DENIED,
                 "the coordinator shows another list of members than the one pinned here "
                 "(neurox-node members): ask its operator why, by telephone");
}

/* Does the chain lead from the founders over what is pinned (NULL: nothing) to what is shown? */
static int follow_chain(const struct nx_pinned_expected *expected,
                        const struct nx_pinned_shown *shown, const struct nx_hash *pinned,
                        const struct nx_hash *hash, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_manifest_revision *revisions;
  struct nx_manifest last;
  struct nx_hash last_hash;
  size_t n;
  bool has_pinned = false;
  int r = nx_arena_create(NX_MANIFEST_CHAIN_ARENA, &arena, err);
  if (r == 0)
    r = nx_manifest_chain_decode(shown->chain, arena, &revisions, &n, err);
  if (r == 0)
    r = nx_manifest_chain_verify(revisions, n, &expected->coordinator, pinned, arena, &last,
                                 &last_hash, &has_pinned, err);
  if (r < 0)
    return nx_error_prefix(err, r, "the coordinator's list of members");
  return nx_hash_equal(&last_hash, hash) && (has_pinned || !pinned) ? 0 : refuse_another(err);
}

static int check(const struct nx_pinned *pinned, const struct nx_pinned_expected *expected,
                 struct nx_error *err) {
  const struct nx_manifest *manifest = &pinned->manifest;
  if (memcmp(manifest->federation, expected->federation, sizeof manifest->federation))
    return nx_fail(err, NX_E_PROTOCOL, "the coordinator shows the members of another federation");
  if (!same_key(&manifest->coordinator, &expected->coordinator))
    return nx_fail(err, NX_E_PROTOCOL,
                   "the members' list names another coordinator than enrolment did");
  if (!nx_hash_equal(&manifest->coordinator_spki, &expected->coordinator_spki))
    return nx_fail(err, NX_E_PROTOCOL,
                   "the coordinator's certificate is not the one that the members' list names");
  const struct nx_manifest_member *me = nx_pinned_find(pinned, expected->member);
  if (!me)
    return NX_PINNED_WAITING;
  bool mine = same_key(&me->identity, &expected->key) ||
              (expected->next_key && same_key(&me->identity, expected->next_key));
  if (!mine || !nx_hash_equal(&me->spki, &expected->spki))
    return nx_fail(err, NX_E_PROTOCOL, "the members' list does not have this node with its keys");
  return 0;
}

/* NX_PINNED_NEW, NX_PINNED_REVISED or 0 for what is shown, before it is looked at by itself. */
static int compare_with_pinned(const char *path, const struct nx_pinned_expected *expected,
                               const struct nx_pinned_shown *shown, struct nx_pinned *now,
                               struct nx_error *err) {
  struct nx_pinned before;
  int r = nx_path_exists(path) ? nx_pinned_load(path, &before, err) : NX_PINNED_NEW;
  if (r < 0)
    return nx_error_prefix(err, r, "%s", path);
  if (r == NX_PINNED_NEW) {
    r = now->manifest.revision ? follow_chain(expected, shown, NULL, &now->hash, err) : 0;
    return r < 0 ? r : NX_PINNED_NEW;
  }
  bool same = nx_hash_equal(&before.hash, &now->hash);
  bool later = now->manifest.revision > before.manifest.revision;
  now->replaced = before.manifest.revision;
  if (!same)
    r = later ? follow_chain(expected, shown, &before.hash, &now->hash, err) : refuse_another(err);
  nx_pinned_finish(&before);
  return r < 0 ? r : same ? 0 : NX_PINNED_REVISED;
}

/* Revisions from number `from` on, as the chain tells them. */
static int log_revisions(const struct nx_pinned_shown *shown, uint64_t from,
                         struct nx_audit_log *log, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_manifest_revision founders = {.manifest = shown->manifest,
                                          .signature = shown->signature},
                              *revisions = &founders;
  size_t n = 1;
  int r = nx_arena_create(NX_MANIFEST_CHAIN_ARENA, &arena, err);
  if (r == 0 && shown->chain.size)
    r = nx_manifest_chain_decode(shown->chain, arena, &revisions, &n, err);
  return r < 0 ? r : nx_manifest_chain_log(log, revisions, n, from, err);
}

/* The chain first: a list without the chain that justifies it is never on disk. */
static int keep(const char *path, const struct nx_pinned_shown *shown, bool replace,
                struct nx_error *err) {
  char chain[NX_PATH_SIZE];
  if (snprintf(chain, sizeof chain, "%s.chain", path) >= (int)sizeof chain)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", path);
  int r = shown->chain.size ? nx_file_replace(chain, shown->chain, 0600, err) : 0;
  if (r < 0)
    return r;
  return replace ? nx_file_replace(path, shown->manifest, 0600, err)
                 : nx_file_create(path, shown->manifest, 0600, err);
}

int nx_pinned_see(const char *path, const struct nx_pinned_expected *expected,
                  const struct nx_pinned_shown *shown, struct nx_audit_log *log,
                  struct nx_pinned *pinned_out, struct nx_error *err) {
  struct nx_pinned now = {0};
  int known = 0;
  int r = nx_verify(&expected->coordinator, NX_MANIFEST_SIGNED_AS, shown->manifest,
                    &shown->signature, err);
  if (r < 0)
    return nx_error_prefix(err, r, "the coordinator's list of members");
  r = decode(shown->manifest, &now, err);
  if (r == 0)
    r = known = compare_with_pinned(path, expected, shown, &now, err);
  if (r >= 0)
    r = check(&now, expected, err);
  if (r == NX_PINNED_WAITING && known != NX_PINNED_NEW)
    r = nx_fail(err, NX_E_DENIED, "the members took this site out of their list (revision %llu)",
                (unsigned long long)now.manifest.revision);
  if (r == 0 && known && log)
    r = log_revisions(shown, known == NX_PINNED_NEW ? 0 : now.replaced + 1, log, err);
  if (r == 0 && known)
    r = keep(path, shown, known == NX_PINNED_REVISED, err);
  if (r) {
    nx_pinned_finish(&now);
    *pinned_out = now;
    return r;
  }
  *pinned_out = now;
  return known;
}

const struct nx_manifest_member *nx_pinned_find(const struct nx_pinned *pinned, uint32_t id) {
  for (size_t i = 0; i < pinned->manifest.n_members; i++)
    if (pinned->manifest.members[i].id == id)
      return &pinned->manifest.members[i];
  return NULL;
}

void nx_member_fingerprint(const struct nx_public_key *identity, const struct nx_hash *spki,
                           char out[NX_FINGERPRINT_SIZE]) {
  uint8_t keys[NX_PUBLIC_KEY_SIZE + NX_HASH_SIZE];
  memcpy(keys, identity->bytes, NX_PUBLIC_KEY_SIZE);
  memcpy(keys + NX_PUBLIC_KEY_SIZE, spki->bytes, NX_HASH_SIZE);
  nx_fingerprint(nx_bytes(keys, sizeof keys), out);
}
