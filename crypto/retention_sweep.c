#include "crypto/retention_sweep.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

#define DAY (86400 * NX_SECOND)

int64_t nx_retention_before(int64_t now, uint32_t days) {
  return now - days * DAY;
}

/* What goes, in order of name, so that the digest says which. */
struct going {
  struct dirent **names; /* of the folder; those that stay become NULL */
  int n, n_going;
  uint64_t bytes;
  struct nx_hash digest; /* chained: H(digest | name) */
};

static void finish(struct going *going) {
  for (int i = 0; i < going->n; i++)
    free(going->names[i]);
  free(going->names);
}

static void chain(struct nx_hash *digest, const char *name) {
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "NX-SA1/retention");
  nx_sha256_hash(&sha, digest);
  nx_sha256_bytes(&sha, nx_bytes(name, strlen(name)));
  *digest = nx_sha256_final(&sha);
}

/* nftw() has no context. */
static _Thread_local uint64_t tree_bytes;

static int add_bytes(const char *path, const struct stat *status, int type, struct FTW *walk) {
  (void)path;
  (void)walk;
  tree_bytes += type == FTW_F ? (uint64_t)status->st_size : 0;
  return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk) {
  (void)status;
  (void)type;
  (void)walk;
  return remove(path);
}

static uint64_t bytes_of(const char *path) {
  tree_bytes = 0;
  nftw(path, add_bytes, 16, FTW_PHYS);
  return tree_bytes;
}

static bool is_old(const struct stat *status, int64_t before) {
  return status->st_mtim.tv_sec * NX_SECOND + status->st_mtim.tv_nsec < before;
}

/* 1: it goes. */
static int look_at(const struct nx_retention_kind *kind, const char *name, struct going *going,
                   struct nx_error *err) {
  char path[NX_PATH_SIZE];
  struct stat status;
  int r = nx_path_join(path, kind->folder, name, err);
  if (r < 0 || name[0] == '.' || lstat(path, &status) || !is_old(&status, kind->before))
    return r < 0 ? r : 0;
  if (kind->may_go && (r = kind->may_go(kind, name, &status, err)) <= 0)
    return r;
  going->n_going++;
  going->bytes += bytes_of(path);
  chain(&going->digest, name);
  return 1;
}

static int collect(const struct nx_retention_kind *kind, struct going *going,
                   struct nx_error *err) {
  going->n = scandir(kind->folder, &going->names, NULL, alphasort);
  if (going->n < 0) {
    going->n = 0;
    return errno == ENOENT ? 0 : nx_fail_errno(err, errno, "read folder %s", kind->folder);
  }
  for (int i = 0; i < going->n; i++) {
    int r = look_at(kind, going->names[i]->d_name, going, err);
    if (r < 0)
      return r;
    if (r == 0)
      free(nx_steal(&going->names[i]));
  }
  return 0;
}

static int tell(const struct nx_retention_kind *kind, const struct going *going,
                struct nx_audit_log *log, struct nx_error *err) {
  const struct nx_audit_field fields[] = {
      NX_AUDIT_STR("kind", kind->kind),       NX_AUDIT_UINT("files", (uint64_t)going->n_going),
      NX_AUDIT_UINT("bytes", going->bytes),   NX_AUDIT_INT("before", kind->before),
      NX_AUDIT_HASH("names", &going->digest), NX_AUDIT_UINT("through", kind->through)};
  NX_LOG(NX_LOG_INFO, "retention.deleted", NX_STR("kind", kind->kind),
         NX_U64("files", (uint64_t)going->n_going), NX_U64("bytes", going->bytes));
  return nx_audit_log_append(log, "retention.deleted", fields, kind->through ? 6 : 5, NULL, err);
}

int nx_retention_sweep(const struct nx_retention_kind *kind, struct nx_audit_log *log,
                       struct nx_error *err) {
  _cleanup_(finish) struct going going = {0};
  int r = collect(kind, &going, err);
  if (r < 0 || !going.n_going || (r = tell(kind, &going, log, err)) < 0)
    return r;
  for (int i = 0; i < going.n; i++) {
    char path[NX_PATH_SIZE];
    if (!going.names[i])
      continue;
    if ((r = nx_path_join(path, kind->folder, going.names[i]->d_name, err)) < 0)
      return r;
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) && errno != ENOENT)
      return nx_fail_errno(err, errno, "delete %s", path);
  }
  return going.n_going;
}
