/* Audit walk: entries and checkpoints of a log read side by side, every root recomputed.
 * What verification and reopening have in common. Internal. */
#pragma once

#include "crypto/audit_format.h"

struct nx_audit_seen {
  uint64_t n; /* 0: nothing was seen before */
  struct nx_hash root;
};

struct nx_audit_walk {
  struct nx_audit_seen seen;
  struct nx_audit_report report;
  struct nx_merkle tree;      /* over all good entries */
  uint64_t entries_end;       /* byte behind the last good entry */
  uint64_t checkpoints_end;   /* byte behind the last good checkpoint */
  bool tail_damaged;          /* an entry behind the last checkpoint does not parse */
  struct nx_error tail_error; /* why */
};

/* key NULL: the one of public.key. seen NULL: nothing. Whatever is wrong with what a checkpoint
 * covers is an error; what is wrong behind the last one is told in the walk. */
int nx_audit_walk(const struct nx_audit_paths *paths, const struct nx_public_key *key,
                  const struct nx_audit_seen *seen, struct nx_audit_walk *walk_out,
                  struct nx_error *err);
