#include "crypto/audit_receipts.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "crypto/audit_reader.h"

#define RECEIPT_CAP ((size_t)16 << 20)

/* 1: it is not there, and need not be. */
static int check_file(const char *folder, uint64_t number, struct nx_bytes hash, bool may_lack,
                      struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char name[64], path[NX_PATH_SIZE];
  snprintf(name, sizeof name, "receipt-%08" PRIu64 ".json", number);
  int r = nx_path_join(path, folder, name, err);
  if (r == 0)
    r = nx_file_read(path, RECEIPT_CAP, &text, err);
  if (r == NX_E_NOT_FOUND && may_lack)
    return 1;
  if (r == NX_E_NOT_FOUND)
    return nx_fail(err, NX_E_CRYPTO, "receipt %" PRIu64 " is missing from %s", number, folder);
  if (r < 0)
    return r;
  struct nx_hash found = nx_sha256(text.data, text.size);
  if (hash.size != sizeof found.bytes || memcmp(hash.data, found.bytes, sizeof found.bytes))
    return nx_fail(err, NX_E_CRYPTO, "receipt %" PRIu64 " is not the one that the log tells of",
                   number);
  return 0;
}

struct numbers {
  uint64_t through, deleted; /* the site's retention took receipts up to this one: so many */
  uint64_t before, last; /* the first one that this log tells of is before + 1 */
  bool continues;        /* a log under a new key: the log before it tells of those before */
};

/* Numbers run without a gap: the entries must, too. */
static int check_entry(const struct nx_audit_entry *entry, const char *folder,
                       struct numbers *numbers, struct nx_error *err) {
  uint64_t *n = &numbers->last;
  if (entry->sequence == 0)
    numbers->continues = nx_audit_is_named(entry->kind, "log.continues");
  if (!nx_audit_is_named(entry->kind, "egress.receipt"))
    return 0;
  const struct nx_audit_value *number = nx_audit_entry_field(entry, "receipt", NX_AUDIT_U64),
                              *hash = nx_audit_entry_field(entry, "sha256", NX_AUDIT_BYTES);
  if (!number || !hash)
    return nx_fail(err, NX_E_FORMAT, "entry %" PRIu64 " is no egress receipt's", entry->sequence);
  if (*n == 0 && numbers->continues && number->number > 0)
    *n = numbers->before = number->number - 1;
  if (number->number != *n + 1)
    return nx_fail(err, NX_E_CRYPTO,
                   "entry %" PRIu64 " tells of receipt %" PRIu64 ", after receipt %" PRIu64,
                   entry->sequence, number->number, *n);
  *n = number->number;
  int r = check_file(folder, number->number, hash->bytes, number->number <= numbers->through, err);
  numbers->deleted += r == 1;
  return r < 0 ? r : 0;
}

/* What the log says was deleted because its time was over; written before it was. */
static int look_for_deleted(const char *log, struct nx_audit_entry *entry, struct numbers *numbers,
                            struct nx_error *err) {
  _cleanup_(nx_audit_reader_closep) struct nx_audit_reader *reader = NULL;
  int r = nx_audit_reader_open(log, &reader, err);
  while (r == 0 && (r = nx_audit_reader_next(reader, entry, err)) == 0) {
    const struct nx_audit_value *through = nx_audit_entry_field(entry, "through", NX_AUDIT_U64),
                                *kind = nx_audit_entry_field(entry, "kind", NX_AUDIT_STRING);
    if (nx_audit_is_named(entry->kind, "retention.deleted") && through && kind &&
        nx_audit_is_named(kind->bytes, "receipts") && through->number > numbers->through)
      numbers->through = through->number;
  }
  return r < 0 ? r : 0;
}

static int check_others(const char *path, const struct numbers *numbers, struct nx_error *err) {
  DIR *folder = opendir(path);
  int r = 0;
  if (!folder)
    return nx_fail_errno(err, errno, "open folder %s", path);
  for (struct dirent *entry; r == 0 && (entry = readdir(folder));) {
    uint64_t number;
    int used = 0;
    if (sscanf(entry->d_name, "receipt-%" SCNu64 ".json%n", &number, &used) == 1 && used &&
        !entry->d_name[used] && (number < 1 || number > numbers->last))
      r = nx_fail(err, NX_E_CRYPTO, "%s: the log does not tell of this receipt", entry->d_name);
  }
  closedir(folder);
  return r;
}

int nx_audit_receipts(const char *log, const char *folder, uint64_t *n_out, uint64_t *deleted_out,
                      struct nx_error *err) {
  _cleanup_(nx_audit_reader_closep) struct nx_audit_reader *reader = NULL;
  _cleanup_free_ struct nx_audit_entry *entry = malloc(sizeof *entry);
  struct numbers numbers = {0};
  *n_out = 0;
  int r = entry ? look_for_deleted(log, entry, &numbers, err)
                : nx_fail(err, NX_E_NOMEM, "out of memory");
  if (r == 0)
    r = nx_audit_reader_open(log, &reader, err);
  while (r == 0 && (r = nx_audit_reader_next(reader, entry, err)) == 0)
    r = check_entry(entry, folder, &numbers, err);
  *n_out = numbers.last - numbers.before;
  if (deleted_out)
    *deleted_out = numbers.deleted;
  return r < 0 ? r : check_others(folder, &numbers, err);
}
