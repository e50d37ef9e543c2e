/* Audit format: the bytes of crypto/audit_log.h's three files, written and parsed. Internal. */
#pragma once

#include "common/file.h"
#include "crypto/audit_reader.h"

#define NX_AUDIT_MAGIC "NXAUDIT1"
#define NX_AUDIT_MAGIC_SIZE 8
#define NX_AUDIT_VERSION 1
#define NX_AUDIT_CHECK_SIZE 4 /* bytes of the leaf behind every body */
#define NX_AUDIT_CHECKPOINT_CAP 512
#define NX_AUDIT_SIGNED_NAME "audit"

struct nx_audit_paths {
  char entries[NX_PATH_SIZE], checkpoints[NX_PATH_SIZE], key[NX_PATH_SIZE];
};
/* log: the folder, or its entries.log. */
int nx_audit_paths(const char *log, struct nx_audit_paths *paths_out, struct nx_error *err);

/* Appends u32 size | body with sequence and time left 0; NX_E_INVALID names the field. */
int nx_audit_entry_write(const char *kind, const struct nx_audit_field *fields, size_t n_fields,
                         struct nx_buffer *out, struct nx_error *err);
/* Fills in what only the log knows, on what nx_audit_entry_write() appended. */
void nx_audit_entry_stamp(uint8_t *framed, uint64_t sequence, int64_t unix_ns);

int nx_audit_checkpoint_write(const struct nx_audit_checkpoint *checkpoint,
                              const struct nx_identity *identity, struct nx_buffer *out,
                              struct nx_error *err);
int nx_audit_checkpoint_parse(struct nx_bytes body, struct nx_audit_checkpoint *checkpoint_out,
                              struct nx_error *err);

int nx_audit_key_write(const char *path, const char *origin, const struct nx_public_key *key,
                       struct nx_error *err);
int nx_audit_key_read(const char *path, char origin_out[NX_AUDIT_NAME_MAX + 1],
                      struct nx_public_key *key_out, struct nx_error *err);

/* Is it 1..255 bytes of printable ASCII without spaces? */
bool nx_audit_is_name(struct nx_bytes name);
/* Is it 1..255 bytes without control characters? Spaces and UTF-8 may be. */
bool nx_audit_is_origin(struct nx_bytes origin);
