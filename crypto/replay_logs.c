#include "crypto/replay_logs.h"

#include <stdlib.h>

static bool is_of_attempt(const struct nx_audit_entry *entry, const struct nx_replay *replay) {
  const struct nx_audit_value *round = nx_audit_entry_field(entry, "round", NX_AUDIT_U64);
  const struct nx_audit_value *attempt = nx_audit_entry_field(entry, "attempt", NX_AUDIT_U64);
  return round && round->number == replay->round &&
         (!attempt || attempt->number == replay->attempt);
}

static bool is_hash(const struct nx_audit_value *value, const struct nx_hash *hash) {
  return value && value->bytes.size == NX_HASH_SIZE &&
         !memcmp(value->bytes.data, hash->bytes, NX_HASH_SIZE);
}

/* A member that is not in U3 may well have sent something: only those of U3 are compared.
 * A site's own log does not say its number: its root must be somebody's. */
static int compare_upload(const struct nx_replay *replay, const struct nx_audit_entry *entry,
                          struct nx_replay_told *told, struct nx_error *err) {
  const struct nx_audit_value *root = nx_audit_entry_field(entry, "root", NX_AUDIT_BYTES);
  const struct nx_audit_value *member = nx_audit_entry_field(entry, "member", NX_AUDIT_U64);
  bool in_u3 = !member, found = false;
  for (size_t i = 0; i < replay->n_members; i++) {
    bool is_it = !member || member->number == replay->members[i].id;
    in_u3 |= is_it;
    found |= is_it && is_hash(root, &replay->members[i].root);
  }
  if (!in_u3)
    return 0;
  if (!found)
    return nx_fail(err, NX_E_CRYPTO, "entry %llu tells of an upload that is not in the sum",
                   (unsigned long long)entry->sequence);
  told->uploads++;
  return 0;
}

static int compare_sum(const struct nx_replay *replay, const struct nx_audit_entry *entry,
                       struct nx_replay_told *told, struct nx_error *err) {
  if (!is_hash(nx_audit_entry_field(entry, "sum", NX_AUDIT_BYTES), &replay->sum))
    return nx_fail(err, NX_E_CRYPTO, "entry %llu tells of another sum",
                   (unsigned long long)entry->sequence);
  told->sums++;
  return 0;
}

static int compare_entry(const struct nx_replay *replay, const struct nx_audit_entry *entry,
                         struct nx_replay_told *told, struct nx_error *err) {
  if (!is_of_attempt(entry, replay))
    return 0;
  if (nx_audit_is_named(entry->kind, "upload.sent") ||
      nx_audit_is_named(entry->kind, "upload.received"))
    return compare_upload(replay, entry, told, err);
  if (nx_audit_is_named(entry->kind, "sum.checked") ||
      nx_audit_is_named(entry->kind, "round.opened_sum"))
    return compare_sum(replay, entry, told, err);
  return 0;
}

int nx_replay_compare_log(const struct nx_replay *replay, const char *log,
                          struct nx_replay_told *told_out, struct nx_error *err) {
  _cleanup_free_ struct nx_audit_entry *entry = malloc(sizeof *entry);
  _cleanup_(nx_audit_reader_closep) struct nx_audit_reader *reader = NULL;
  *told_out = (struct nx_replay_told){0};
  if (!entry)
    return nx_fail(err, NX_E_NOMEM, "out of memory to read an audit log");
  int r = nx_audit_reader_open(log, &reader, err);
  while (r == 0 && (r = nx_audit_reader_next(reader, entry, err)) == 0)
    r = compare_entry(replay, entry, told_out, err);
  if (r > 0) /* the end, or a tail still being written */
    return 0;
  return nx_error_prefix(err, r, "compare with %s", log);
}
