#include "coordinator/retention.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define DAY (86400 * NX_SECOND)

/* What is deleted of one kind in one pass. */
struct sweep {
  const char *kind;
  int64_t before; /* Unix ns: older than this goes */
  struct nx_run_store *store;
  uint64_t files, bytes;
  struct nx_hash digest; /* chained: H(digest | name) */
};

static void count(struct sweep *sweep, const char *name, uint64_t bytes) {
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "NX-SA1/retention");
  nx_sha256_hash(&sha, &sweep->digest);
  nx_sha256_bytes(&sha, nx_bytes(name, strlen(name)));
  sweep->digest = nx_sha256_final(&sha);
  sweep->files++;
  sweep->bytes += bytes;
}

static bool is_old(const struct stat *status, int64_t before) {
  return status->st_mtim.tv_sec * NX_SECOND + status->st_mtim.tv_nsec < before;
}

static int delete_blob(struct sweep *sweep, const char *path, const char *name,
                       const struct stat *status, struct nx_error *err) {
  struct nx_hash hash;
  bool needed = true;
  if (!S_ISREG(status->st_mode) || nx_hash_from_hex(name, &hash, NULL) < 0)
    return 0; /* not ours */
  int r = nx_run_store_needs_blob(sweep->store, &hash, &needed, err);
  if (r < 0 || needed)
    return r;
  if (unlink(path))
    return nx_fail_errno(err, errno, "delete %s", path);
  count(sweep, name, (uint64_t)status->st_size);
  return 0;
}

/* nftw() has no context; the main thread alone comes here. */
static uint64_t folder_bytes;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk) {
  (void)walk;
  folder_bytes += type == FTW_F ? (uint64_t)status->st_size : 0;
  return remove(path);
}

static int delete_folder(struct sweep *sweep, const char *path, const char *name,
                         const struct stat *status, struct nx_error *err) {
  folder_bytes = 0;
  if (!S_ISDIR(status->st_mode))
    return 0;
  if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS))
    return nx_fail_errno(err, errno, "delete %s", path);
  count(sweep, name, folder_bytes);
  return 0;
}

/* In order of name, so that the digest says which. */
static int go_through(struct sweep *sweep, const char *folder,
                      int (*delete)(struct sweep *sweep, const char *path, const char *name,
                                    const struct stat *status, struct nx_error *err),
                      struct nx_error *err) {
  struct dirent **names;
  int n = scandir(folder, &names, NULL, alphasort), r = 0;
  if (n < 0)
    return errno == ENOENT ? 0 : nx_fail_errno(err, errno, "read folder %s", folder);
  for (int i = 0; i < n; i++) {
    struct stat status;
    char path[NX_PATH_SIZE];
    if (r == 0 && names[i]->d_name[0] != '.' &&
        (r = nx_path_join(path, folder, names[i]->d_name, err)) == 0 && lstat(path, &status) == 0 &&
        is_old(&status, sweep->before))
      r = delete (sweep, path, names[i]->d_name, &status, err);
    free(names[i]);
  }
  free(names);
  return r;
}

static int tell(const struct sweep *sweep, struct nx_audit_log *audit, struct nx_error *err) {
  if (!sweep->files)
    return 0;
  NX_LOG(NX_LOG_INFO, "retention.deleted", NX_STR("kind", sweep->kind),
         NX_U64("files", sweep->files), NX_U64("bytes", sweep->bytes));
  return NX_AUDIT_APPEND(audit, err, "retention.deleted", NX_AUDIT_STR("kind", sweep->kind),
                         NX_AUDIT_UINT("files", sweep->files), NX_AUDIT_UINT("bytes", sweep->bytes),
                         NX_AUDIT_INT("before", sweep->before),
                         NX_AUDIT_HASH("names", &sweep->digest));
}

int nx_retention_pass(struct nx_federation *f, struct nx_audit_log *audit, int64_t now,
                      struct nx_error *err) {
  struct sweep uploads = {.kind = "uploads", .before = now - f->config->keep_uploads_days * DAY};
  struct sweep blobs = {
      .kind = "models", .before = now - f->config->keep_models_days * DAY, .store = f->store};
  char path[NX_PATH_SIZE];
  int r = 0, told;
  if (f->config->keep_uploads_days && (r = nx_path_join(path, f->home, "uploads", err)) == 0)
    r = go_through(&uploads, path, delete_folder, err);
  if ((told = tell(&uploads, audit, r < 0 ? NULL : err)) < 0 || r < 0)
    return r < 0 ? r : told;
  if (f->config->keep_models_days && (r = nx_path_join(path, f->home, "blobs", err)) == 0)
    r = go_through(&blobs, path, delete_blob, err);
  told = tell(&blobs, audit, r < 0 ? NULL : err);
  return r < 0 ? r : told;
}
