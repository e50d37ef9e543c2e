/* Audit reader: goes through a log of crypto/audit_log.h, and verifies one offline.
 * One thread; memory does not grow with the log. */
#pragma once

#include "common/cleanup.h"
#include "crypto/audit_log.h"
#include "crypto/merkle.h"

/* Views into the reader, valid until its next step. Strings of fields are not
 * zero-terminated here: use the bytes of every string field. */
struct nx_audit_value {
  struct nx_bytes name;
  enum nx_audit_type type;
  uint64_t number;       /* u64, or i64 as its bit pattern */
  struct nx_bytes bytes; /* string and bytes */
};

struct nx_audit_entry {
  uint64_t sequence; /* 0 for the first */
  int64_t unix_ns;
  struct nx_bytes kind;
  size_t n_fields;
  struct nx_audit_value fields[NX_AUDIT_FIELDS_MAX];
  struct nx_hash leaf;
};

#define NX_AUDIT_END 1  /* no more entries */
#define NX_AUDIT_TORN 2 /* the file ends inside an entry */

struct nx_audit_reader;

/* log: the folder, or its entries.log. */
int nx_audit_reader_open(const char *log, struct nx_audit_reader **reader_out,
                         struct nx_error *err);
/* 0, NX_AUDIT_END, NX_AUDIT_TORN, or NX_E_FORMAT with the entry's number and offset. */
int nx_audit_reader_next(struct nx_audit_reader *reader, struct nx_audit_entry *entry_out,
                         struct nx_error *err);
uint64_t nx_audit_reader_offset(const struct nx_audit_reader *reader); /* of the next entry */
void nx_audit_reader_close(struct nx_audit_reader *reader);
NX_DEFINE_CLEANUP(struct nx_audit_reader *, nx_audit_reader_close)

/* Parses one body; NX_E_FORMAT says what is wrong with it. */
int nx_audit_entry_parse(struct nx_bytes body, struct nx_audit_entry *entry_out,
                         struct nx_error *err);

bool nx_audit_is_named(struct nx_bytes name, const char *text);
/* The entry's field of that name and type, or NULL. */
const struct nx_audit_value *nx_audit_entry_field(const struct nx_audit_entry *entry,
                                                  const char *name, enum nx_audit_type type);

struct nx_audit_checkpoint {
  uint64_t size;
  struct nx_hash root;
  int64_t unix_ns;
  char origin[NX_AUDIT_NAME_MAX + 1];
};

struct nx_audit_report {
  uint64_t entries, checkpoints;
  uint64_t signed_entries; /* covered by the last checkpoint */
  uint64_t backward_steps; /* entries older than their predecessor: a clock was set back */
  bool torn; /* a file ends inside an entry or checkpoint: a crash, or still written */
  int64_t first_ns, last_ns;
  char origin[NX_AUDIT_NAME_MAX + 1];
  struct nx_public_key key;
  struct nx_hash root; /* over all entries */
};

/* Reads every entry, recomputes the root at every checkpoint, checks each signature, the
 * sequence and the origin. key NULL: the one in public.key, which proves only that the log
 * is consistent with itself. 0, NX_E_CRYPTO or NX_E_FORMAT (tampered, with the first place
 * that is wrong), NX_E_NOT_FOUND, NX_E_IO. The report is filled as far as it got. */
int nx_audit_verify(const char *log, const struct nx_public_key *key,
                    struct nx_audit_report *report_out, struct nx_error *err);
/* The same, and that the first seen_n entries are still those whose root was seen then
 * (both printed at an earlier verification): nothing was rewritten between two visits. */
int nx_audit_verify_since(const char *log, const struct nx_public_key *key, uint64_t seen_n,
                          const struct nx_hash *seen_root, struct nx_audit_report *report_out,
                          struct nx_error *err);
/* A consistency proof between the trees of sizes old_n <= n, to show to somebody who holds
 * only the older checkpoint. Reads the log once; 32 bytes of memory an entry. */
int nx_audit_prove_consistency(const char *log, uint64_t old_n, uint64_t n,
                               struct nx_merkle_path *path_out, struct nx_error *err);
