#include "node/session/pinned.h"

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

static int refuse_another(const char *path, const struct nx_hash *shown, struct nx_error *err) {
  struct nx_pinned before;
  int r = nx_pinned_load(path, &before, err);
  if (r < 0)
    return nx_error_prefix(err, r, "%s", path);
  bool same = nx_hash_equal(&before.hash, shown);
  nx_pinned_finish(&before);
  return same ? 0
              : nx_fail(err, NX_E_DENIED,
                        "the coordinator shows another list of members than the one pinned here "
                        "(neurox-node members): ask its operator why, by telephone");
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
  if (!me || !same_key(&me->identity, &expected->key) || !nx_hash_equal(&me->spki, &expected->spki))
    return nx_fail(err, NX_E_PROTOCOL, "the members' list does not have this node with its keys");
  return 0;
}

int nx_pinned_see(const char *path, const struct nx_pinned_expected *expected,
                  struct nx_bytes bytes, const struct nx_signature *signature,
                  struct nx_pinned *pinned_out, struct nx_error *err) {
  struct nx_pinned shown;
  bool known = nx_path_exists(path);
  int r = nx_verify(&expected->coordinator, NX_MANIFEST_SIGNED_AS, bytes, signature, err);
  if (r < 0)
    return nx_error_prefix(err, r, "the coordinator's list of members");
  r = decode(bytes, &shown, err);
  if (r < 0)
    return r;
  if (known)
    r = refuse_another(path, &shown.hash, err);
  if (r == 0)
    r = check(&shown, expected, err);
  if (r == 0 && !known)
    r = nx_file_create(path, bytes, 0600, err);
  if (r < 0) {
    nx_pinned_finish(&shown);
    return r;
  }
  *pinned_out = shown;
  return known ? 0 : NX_PINNED_NEW;
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
