/* Rotation: the members accepted this node's new identity key. Finished when the node starts,
 * before anything is signed: the old key closes its audit log, which is kept beside the new one.
 *
 *   audit/  …  identity.rotated (new key)  ──►  audit-1/      audit/  log.continues (old log's
 *   identity.next.key                      ──►  identity.key           root, size and key)
 *
 * A crash in between is mended by the next start. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"
#include "node/node_private.h"

static int path_of(const char *home, const char *name, char out[NX_PATH_SIZE],
                   struct nx_error *err) {
  return nx_path_join(out, home, name, err);
}

/* Is the key that waits the one that the pinned list has for this node? */
static bool is_accepted(const char *home, uint32_t member, const struct nx_identity *next) {
  _cleanup_(nx_pinned_finish) struct nx_pinned pinned = {0};
  char path[NX_PATH_SIZE];
  if (path_of(home, NX_HOME_MANIFEST, path, NULL) < 0 || nx_pinned_load(path, &pinned, NULL) < 0)
    return false;
  const struct nx_manifest_member *me = nx_pinned_find(&pinned, member);
  return me && !memcmp(&me->identity, nx_identity_public(next), sizeof me->identity);
}

struct closed_log {
  uint64_t size;
  struct nx_hash root;
  struct nx_public_key key;
};

static int close_log(const char *folder, const char *origin, const struct nx_identity *old,
                     const struct nx_identity *next, struct closed_log *out, struct nx_error *err) {
  struct nx_audit_log *log = NULL;
  int r = nx_audit_log_open(folder, origin, old, &log, err);
  if (r == 0)
    r = NX_AUDIT_APPEND(log, err, "identity.rotated",
                        NX_AUDIT_HASH("identity", nx_identity_public(next)));
  if (r < 0) {
    nx_audit_log_destroy(log);
    return r;
  }
  *out =
      (struct closed_log){nx_audit_log_size(log), nx_audit_log_root(log), *nx_identity_public(old)};
  return nx_audit_log_close(log, err);
}

static int put_aside(const char *home, const char *folder, struct nx_error *err) {
  char aside[NX_PATH_SIZE], name[32];
  for (unsigned i = 1; i < 10000; i++) {
    snprintf(name, sizeof name, NX_HOME_AUDIT "-%u", i);
    int r = path_of(home, name, aside, err);
    if (r < 0)
      return r;
    if (nx_path_exists(aside))
      continue;
    return rename(folder, aside) ? nx_fail_errno(err, errno, "put %s aside", folder)
                                 : nx_file_sync_folder_of(aside, err);
  }
  return nx_fail(err, NX_E_LIMIT, "too many audit logs in %s", home);
}

/* How the list of members came to be, so that the new log can be followed by itself. */
static int log_members(const char *home, struct nx_audit_log *log, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer chain = {0};
  struct nx_manifest_revision *revisions;
  size_t n;
  int r = nx_home_read(home, NX_HOME_MANIFEST ".chain", NX_MANIFEST_CHAIN_CAP, &chain, err);
  if (r == 0)
    r = nx_arena_create(NX_MANIFEST_CHAIN_ARENA, &arena, err);
  if (r == 0)
    r = nx_manifest_chain_decode(nx_buffer_view(&chain), arena, &revisions, &n, err);
  return r < 0 ? r : nx_manifest_chain_log(log, revisions, n, 0, err);
}

static int begin_log(const char *home, const char *folder, const char *origin,
                     const struct nx_identity *next, const struct closed_log *closed,
                     struct nx_error *err) {
  struct nx_audit_log *log = NULL;
  int r = nx_audit_log_open(folder, origin, next, &log, err);
  if (r == 0)
    r = NX_AUDIT_APPEND(log, err, "log.continues", NX_AUDIT_UINT("entries", closed->size),
                        NX_AUDIT_HASH("root", &closed->root), NX_AUDIT_HASH("key", &closed->key));
  if (r == 0)
    r = log_members(home, log, err);
  if (r < 0) {
    nx_audit_log_destroy(log);
    return r;
  }
  return nx_audit_log_close(log, err);
}

static int rotate(const char *home, const char *origin, const struct nx_identity *old,
                  const struct nx_identity *next, struct nx_error *err) {
  char folder[NX_PATH_SIZE], from[NX_PATH_SIZE], to[NX_PATH_SIZE];
  struct closed_log closed;
  int r = path_of(home, NX_HOME_AUDIT, folder, err);
  if (r == 0)
    r = path_of(home, NX_HOME_NEXT_IDENTITY, from, err);
  if (r == 0)
    r = path_of(home, NX_HOME_IDENTITY, to, err);
  if (r == 0)
    r = close_log(folder, origin, old, next, &closed, err);
  if (r == 0)
    r = put_aside(home, folder, err);
  if (r == 0 && rename(from, to))
    r = nx_fail_errno(err, errno, "put %s in its place", to);
  if (r == 0)
    r = nx_file_sync_folder_of(to, err);
  return r < 0 ? r : begin_log(home, folder, origin, next, &closed, err);
}

int nx_node_finish_rotation(const char *home, uint32_t member, const char *origin,
                            struct nx_unlock *unlock, struct nx_error *err) {
  _cleanup_(nx_identity_destroyp) struct nx_identity *old = NULL, *next = NULL;
  char path[NX_PATH_SIZE];
  int r = path_of(home, NX_HOME_NEXT_IDENTITY, path, err);
  if (r < 0 || !nx_path_exists(path))
    return r;
  if ((r = nx_home_identity(home, NX_HOME_NEXT_IDENTITY, unlock, &next, err)) < 0 ||
      (r = nx_home_identity(home, NX_HOME_IDENTITY, unlock, &old, err)) < 0)
    return r;
  if (!is_accepted(home, member, next))
    return 0;
  NX_LOG(NX_LOG_INFO, "identity.rotated");
  return rotate(home, origin, old, next, err);
}
