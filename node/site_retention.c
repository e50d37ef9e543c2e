#include "node/site_retention.h"

#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "crypto/retention_sweep.h"
#include "node/node_home.h"
#include "node/policy/egress_receipt.h"
#include "node/subject_records.h"

struct pass {
  const char *home;
  int64_t now;
  struct nx_audit_log *audit;
};

static int sweep(const struct pass *pass, const char *folder, uint32_t days,
                 struct nx_retention_kind kind, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, pass->home, folder, err);
  if (r < 0 || !days)
    return r;
  kind.folder = path;
  kind.before = nx_retention_before(pass->now, days);
  r = nx_retention_sweep(&kind, pass->audit, err);
  return r < 0 ? r : 0;
}

/* One file of a folder whose others stay. */
static int is_named(const struct nx_retention_kind *kind, const char *name,
                    const struct stat *status, struct nx_error *err) {
  (void)status;
  (void)err;
  return !strcmp(name, kind->context);
}

static int is_not_held(const struct nx_retention_kind *kind, const char *name,
                       const struct stat *status, struct nx_error *err) {
  char held[NX_HASH_HEX_SIZE];
  (void)status;
  (void)err;
  nx_hash_hex(kind->context, held);
  return strcmp(name, held) != 0;
}

/* ---- receipts: without a gap, so from the first on ------------------------------------------- */

static int is_receipt(const struct nx_retention_kind *kind, const char *name,
                      const struct stat *status, struct nx_error *err) {
  uint64_t number = nx_egress_receipt_number(name);
  (void)status;
  (void)err;
  return number >= 1 && number <= kind->through;
}

static int sweep_receipts(const struct pass *pass, uint32_t days, struct nx_error *err) {
  struct nx_retention_kind kind = {.kind = "receipts", .may_go = is_receipt};
  char folder[NX_PATH_SIZE];
  int r = nx_path_join(folder, pass->home, NX_HOME_EGRESS, err);
  if (r < 0 || !days)
    return r;
  r = nx_egress_receipt_old(folder, nx_retention_before(pass->now, days), &kind.through, err);
  return r < 0 || !kind.through ? r : sweep(pass, NX_HOME_EGRESS, days, kind, err);
}

int nx_site_retention_pass(const char *home, const struct nx_node_config *config,
                           const struct nx_hash *model, int64_t now, struct nx_audit_log *audit,
                           struct nx_error *err) {
  const struct nx_node_days days = nx_node_config_days(config);
  const struct pass pass = {home, now, audit};
  const struct {
    const char *folder;
    uint32_t days;
    struct nx_retention_kind kind;
  } kinds[] = {
      {NX_HOME_SPOOL, days.uploads, {.kind = "uploads"}},
      {".", days.uploads, {.kind = "residual", .may_go = is_named, .context = NX_HOME_RESIDUAL}},
      {NX_HOME_MODELS,
       model ? days.models : 0,
       {.kind = "models", .may_go = is_not_held, .context = model}},
      {NX_HOME_ANSWERS, days.answers, {.kind = "answers"}},
      {NX_HOME_SUBJECTS,
       days.answers,
       {.kind = "unusable", .may_go = is_named, .context = "unusable"}},
  };
  for (size_t i = 0; i < NX_ARRAY_LENGTH(kinds); i++) {
    int r = sweep(&pass, kinds[i].folder, kinds[i].days, kinds[i].kind, err);
    if (r < 0)
      return nx_error_prefix(err, r, "retention of %s", kinds[i].kind.kind);
  }
  int r = sweep_receipts(&pass, days.receipts, err);
  return r < 0 ? nx_error_prefix(err, r, "retention of receipts") : 0;
}
