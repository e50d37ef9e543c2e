#include <stdlib.h>

#include "common/size.h"
#include "crypto/audit_walk.h"

int nx_audit_verify(const char *log, const struct nx_public_key *key,
                    struct nx_audit_report *report_out, struct nx_error *err) {
  return nx_audit_verify_since(log, key, 0, NULL, report_out, err);
}

int nx_audit_verify_since(const char *log, const struct nx_public_key *key, uint64_t seen_n,
                          const struct nx_hash *seen_root, struct nx_audit_report *report_out,
                          struct nx_error *err) {
  struct nx_audit_seen seen = {.n = seen_n};
  struct nx_audit_paths paths;
  struct nx_audit_walk walk;
  *report_out = (struct nx_audit_report){0};
  int r = nx_audit_paths(log, &paths, err);
  if (r < 0)
    return r;
  if (seen_root)
    seen.root = *seen_root;
  r = nx_audit_walk(&paths, key, &seen, &walk, err);
  *report_out = walk.report;
  if (r == 0 && walk.tail_damaged) {
    if (err)
      *err = walk.tail_error;
    return walk.tail_error.code;
  }
  return r;
}

/* Leaves 0..n of the log; n is bounded by what the file holds. */
static int read_leaves(struct nx_audit_reader *reader, uint64_t n, struct nx_hash **leaves_out,
                       struct nx_error *err) {
  _cleanup_free_ struct nx_audit_entry *entry = malloc(sizeof *entry);
  _cleanup_free_ struct nx_hash *leaves = NULL;
  size_t allocated = 0;
  for (uint64_t i = 0; i < n; i++) {
    int r = entry ? nx_audit_reader_next(reader, entry, err)
                  : nx_fail(err, NX_E_NOMEM, "out of memory to read an audit log");
    if (r < 0)
      return r;
    if (r)
      return nx_fail(err, NX_E_NOT_FOUND, "the log has only %llu entries", (unsigned long long)i);
    if (i == allocated) {
      allocated = allocated ? 2 * allocated : 1024;
      struct nx_hash *grown = reallocarray(leaves, allocated, sizeof *leaves);
      if (!grown)
        return nx_fail(err, NX_E_NOMEM, "out of memory for %zu leaves", allocated);
      leaves = grown;
    }
    leaves[i] = entry->leaf;
  }
  *leaves_out = nx_steal(&leaves);
  return 0;
}

int nx_audit_prove_consistency(const char *log, uint64_t old_n, uint64_t n,
                               struct nx_merkle_path *path_out, struct nx_error *err) {
  _cleanup_(nx_audit_reader_closep) struct nx_audit_reader *reader = NULL;
  _cleanup_free_ struct nx_hash *leaves = NULL;
  if (old_n < 1 || old_n > n)
    return nx_fail(err, NX_E_INVALID, "%llu is no older size of a log of %llu entries",
                   (unsigned long long)old_n, (unsigned long long)n);
  int r = nx_audit_reader_open(log, &reader, err);
  if (r == 0)
    r = read_leaves(reader, n, &leaves, err);
  if (r == 0)
    nx_merkle_prove_consistency(leaves, n, old_n, path_out);
  return r;
}
