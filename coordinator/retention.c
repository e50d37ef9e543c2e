#include "coordinator/retention.h"

#include "coordinator/coordinator_config.h"
#include "crypto/retention_sweep.h"

static int is_folder(const struct nx_retention_kind *kind, const char *name,
                     const struct stat *status, struct nx_error *err) {
  (void)kind;
  (void)name;
  (void)err;
  return S_ISDIR(status->st_mode);
}

/* A blob that nothing in the store stands on. */
static int is_not_needed(const struct nx_retention_kind *kind, const char *name,
                         const struct stat *status, struct nx_error *err) {
  const struct nx_federation *f = kind->context;
  struct nx_hash hash;
  bool needed = true;
  if (!S_ISREG(status->st_mode) || nx_hash_from_hex(name, &hash, NULL) < 0)
    return 0; /* not ours */
  int r = nx_run_store_needs_blob(f->store, &hash, &needed, err);
  return r < 0 ? r : !needed;
}

static int sweep(const struct nx_federation *f, const char *folder, uint32_t days, int64_t now,
                 struct nx_retention_kind kind, struct nx_audit_log *audit, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, f->home, folder, err);
  if (r < 0 || !days)
    return r;
  kind.folder = path;
  kind.before = nx_retention_before(now, days);
  kind.context = f;
  r = nx_retention_sweep(&kind, audit, err);
  return r < 0 ? r : 0;
}

int nx_retention_pass(struct nx_federation *f, struct nx_audit_log *audit, int64_t now,
                      struct nx_error *err) {
  int r = sweep(f, "uploads", nx_coordinator_config_upload_days(f->config), now,
                (struct nx_retention_kind){.kind = "uploads", .may_go = is_folder}, audit, err);
  return r < 0 ? r
               : sweep(f, "blobs", f->config->keep_models_days, now,
                       (struct nx_retention_kind){.kind = "models", .may_go = is_not_needed}, audit,
                       err);
}
