/* Retention sweep: what has lain in a folder longer than a declared period goes, and an audit log
 * says so. Both ends use it: a coordinator's home (coordinator/retention.h) and a node's
 * (node/site_retention.h). Age is the file's modification time. */
#pragma once

#include <sys/stat.h>

#include "crypto/audit_log.h"

struct nx_retention_kind {
  const char *kind;   /* "uploads", "models", …: as the entry names it */
  const char *folder; /* none there is fine */
  int64_t before;     /* Unix ns: what was written earlier goes */
  uint64_t through;   /* receipts: the last number that goes, for the entry; 0: not of numbers */
  /* May this one go? 1: yes, 0: no, NX_E_*. NULL: whatever is there. Folders go with all that is
   * in them. */
  int (*may_go)(const struct nx_retention_kind *kind, const char *name, const struct stat *status,
                struct nx_error *err);
  const void *context;
};

/* Days before `now`, both for `before`. */
int64_t nx_retention_before(int64_t now, uint32_t days);

/* One pass over one kind. If anything goes: one entry, retention.deleted (kind, files, bytes,
 * before, a digest chained over the sorted names, through), then the deletions, so that nothing
 * is ever missing that no entry tells of; what a crash leaves is told and deleted by the next
 * pass. One thread at a time. Returns how many went, or NX_E_*. */
int nx_retention_sweep(const struct nx_retention_kind *kind, struct nx_audit_log *log,
                       struct nx_error *err);
