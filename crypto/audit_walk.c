#include "crypto/audit_walk.h"

#include <stdlib.h>

#include "crypto/audit_stream.h"

#define CHECKPOINT_RECORD (4 + NX_AUDIT_CHECKPOINT_CAP + NX_SIGNATURE_SIZE)

/* The checkpoint that comes next, already verified but for its root. */
struct upcoming {
  struct nx_stream stream;
  struct nx_audit_checkpoint checkpoint;
  bool there;
};

static int check_checkpoint(struct nx_audit_walk *walk, const struct nx_audit_checkpoint *previous,
                            const struct nx_audit_checkpoint *checkpoint, struct nx_error *err) {
  if (strcmp(checkpoint->origin, walk->report.origin))
    return nx_fail(err, NX_E_CRYPTO, "it is of \"%s\", the log of \"%s\"", checkpoint->origin,
                   walk->report.origin);
  if (checkpoint->size <= previous->size)
    return nx_fail(err, NX_E_CRYPTO, "it covers %llu entries after one that covered %llu",
                   (unsigned long long)checkpoint->size, (unsigned long long)previous->size);
  return 0;
}

static int next_checkpoint(struct nx_audit_walk *walk, struct upcoming *upcoming,
                           struct nx_error *err) {
  struct nx_bytes body;
  const uint8_t *tail;
  struct nx_signature signature;
  const struct nx_audit_checkpoint previous = upcoming->checkpoint;
  walk->checkpoints_end = upcoming->stream.offset;
  int r = nx_stream_record(&upcoming->stream, NX_AUDIT_CHECKPOINT_CAP, NX_SIGNATURE_SIZE, &body,
                           &tail, err);
  upcoming->there = r == 0;
  walk->report.torn |= r == NX_STREAM_TORN;
  if (r > 0)
    return 0;
  if (r == 0) {
    memcpy(signature.bytes, tail, sizeof signature.bytes);
    r = nx_verify(&walk->report.key, NX_AUDIT_SIGNED_NAME, body, &signature, err);
  }
  if (r == 0)
    r = nx_audit_checkpoint_parse(body, &upcoming->checkpoint, err);
  if (r == 0)
    r = check_checkpoint(walk, &previous, &upcoming->checkpoint, err);
  return r < 0 ? nx_error_prefix(err, r, "checkpoint %llu",
                                 (unsigned long long)walk->report.checkpoints)
               : 0;
}

/* When the tree has the size of the next checkpoint it must have its root. */
static int meet_checkpoint(struct nx_audit_walk *walk, struct upcoming *upcoming,
                           struct nx_error *err) {
  if (!upcoming->there || upcoming->checkpoint.size != walk->tree.n)
    return 0;
  struct nx_hash root = nx_merkle_root_of(&walk->tree);
  if (!nx_hash_equal(&root, &upcoming->checkpoint.root))
    return nx_fail(err, NX_E_CRYPTO,
                   "checkpoint %llu: the %llu entries are not those that were signed: an entry "
                   "was changed, taken out or put in",
                   (unsigned long long)walk->report.checkpoints, (unsigned long long)walk->tree.n);
  walk->report.checkpoints++;
  walk->report.signed_entries = walk->tree.n;
  return next_checkpoint(walk, upcoming, err);
}

static void note_entry(struct nx_audit_walk *walk, const struct nx_audit_entry *entry) {
  struct nx_audit_report *report = &walk->report;
  report->backward_steps += report->entries && entry->unix_ns < report->last_ns;
  if (!report->entries++)
    report->first_ns = entry->unix_ns;
  report->last_ns = entry->unix_ns;
  nx_merkle_add(&walk->tree, &entry->leaf);
}

static int check_seen(const struct nx_audit_walk *walk, struct nx_error *err) {
  if (walk->seen.n == 0 || walk->seen.n != walk->tree.n)
    return 0;
  struct nx_hash root = nx_merkle_root_of(&walk->tree);
  if (nx_hash_equal(&root, &walk->seen.root))
    return 0;
  return nx_fail(err, NX_E_CRYPTO,
                 "the first %llu entries are not those you saw before: the log was rewritten",
                 (unsigned long long)walk->seen.n);
}

/* The entries end here, well or not: nothing that was signed may be missing. */
static int end_of_entries(struct nx_audit_walk *walk, const struct upcoming *upcoming, int reason,
                          const struct nx_error *damage, struct nx_error *err) {
  if (upcoming->there && reason < 0) {
    if (err)
      *err = *damage;
    return nx_error_prefix(err, reason, "an entry that a checkpoint covers is damaged");
  }
  if (upcoming->there)
    return nx_fail(err, NX_E_CRYPTO,
                   "checkpoint %llu covers %llu entries, but only %llu are left: the log was cut",
                   (unsigned long long)walk->report.checkpoints,
                   (unsigned long long)upcoming->checkpoint.size, (unsigned long long)walk->tree.n);
  if (walk->seen.n > walk->tree.n)
    return nx_fail(err, NX_E_CRYPTO, "you saw %llu entries before, but only %llu are left",
                   (unsigned long long)walk->seen.n, (unsigned long long)walk->tree.n);
  walk->report.torn |= reason == NX_AUDIT_TORN;
  walk->tail_damaged = reason < 0;
  walk->tail_error = *damage;
  walk->report.root = nx_merkle_root_of(&walk->tree);
  return 0;
}

static int walk_entries(struct nx_audit_walk *walk, struct nx_audit_reader *reader,
                        struct upcoming *upcoming, struct nx_error *err) {
  _cleanup_free_ struct nx_audit_entry *entry = malloc(sizeof *entry);
  struct nx_error damage = {0};
  if (!entry)
    return nx_fail(err, NX_E_NOMEM, "out of memory to read an audit log");
  for (;;) {
    walk->entries_end = nx_audit_reader_offset(reader);
    int r = nx_audit_reader_next(reader, entry, &damage);
    if (r == NX_E_IO) {
      if (err)
        *err = damage;
      return r;
    }
    if (r)
      return end_of_entries(walk, upcoming, r, &damage, err);
    note_entry(walk, entry);
    r = meet_checkpoint(walk, upcoming, err);
    if (r == 0)
      r = check_seen(walk, err);
    if (r < 0)
      return r;
  }
}

int nx_audit_walk(const struct nx_audit_paths *paths, const struct nx_public_key *key,
                  const struct nx_audit_seen *seen, struct nx_audit_walk *walk_out,
                  struct nx_error *err) {
  struct nx_audit_walk *walk = walk_out;
  _cleanup_(nx_audit_reader_closep) struct nx_audit_reader *reader = NULL;
  struct upcoming upcoming = {.stream.fd = -1};
  *walk = (struct nx_audit_walk){0};
  if (seen)
    walk->seen = *seen;
  int r = nx_audit_key_read(paths->key, walk->report.origin, &walk->report.key, err);
  if (r < 0)
    return r;
  if (key && memcmp(key->bytes, walk->report.key.bytes, NX_PUBLIC_KEY_SIZE))
    return nx_fail(err, NX_E_CRYPTO, "the log is signed with another key than the one you gave");
  r = nx_audit_reader_open(paths->entries, &reader, err);
  if (r == 0)
    r = nx_stream_open(&upcoming.stream, paths->checkpoints, CHECKPOINT_RECORD, err);
  if (r == 0)
    r = next_checkpoint(walk, &upcoming, err);
  if (r == 0)
    r = walk_entries(walk, reader, &upcoming, err);
  nx_stream_finish(&upcoming.stream);
  return r;
}
