/* Audit log: an append-only file that nobody can rewrite unseen.
 *
 * Entries are the leaves of an RFC 9162 tree; checkpoints sign its size and root. A log is
 * a folder of three files:
 *
 *   entries.log      "NXAUDIT1", then per entry: u32 size | body | first 4 bytes of the leaf
 *                    body: u8 version 1 | u64 sequence | i64 unix ns | str kind | u8 n_fields |
 *                          n_fields * (u8 type | str name | value)
 *                    str: u16 size | bytes;  value: u64, i64, or u32 size | bytes
 *                    leaf = H(0x00 | body)
 *   checkpoints.log  per checkpoint: u32 size | body | 64-byte signature under "NX-SA1/audit"
 *                    body: u8 version 1 | u64 tree size | 32-byte root | i64 unix ns | str origin
 *   public.key       "neurox-audit-key-1 ORIGIN HEX\n": lets anybody verify offline
 *
 * All integers little-endian. One process writes a log (a lock refuses a second); any
 * thread may append. What an entry says: hashes, counts, rounds, names of sites; never
 * samples, subject names or keys. */
#pragma once

#include "crypto/hash.h"
#include "crypto/sign.h"

#define NX_AUDIT_ENTRY_CAP ((uint32_t)1 << 20) /* largest body, bytes */
#define NX_AUDIT_FIELDS_MAX 64
#define NX_AUDIT_NAME_MAX 255 /* bytes of a kind, a field name or an origin */

enum nx_audit_type { NX_AUDIT_STRING = 1, NX_AUDIT_U64 = 2, NX_AUDIT_I64 = 3, NX_AUDIT_BYTES = 4 };

struct nx_audit_field {
  const char *name; /* printable ASCII without spaces */
  enum nx_audit_type type;
  union {
    const char *string; /* UTF-8 */
    uint64_t u64;
    int64_t i64;
    struct nx_bytes bytes;
  };
};

#define NX_AUDIT_STR(n, v)                                                                         \
  ((struct nx_audit_field){.name = (n), .type = NX_AUDIT_STRING, .string = (v)})
#define NX_AUDIT_UINT(n, v) ((struct nx_audit_field){.name = (n), .type = NX_AUDIT_U64, .u64 = (v)})
#define NX_AUDIT_INT(n, v) ((struct nx_audit_field){.name = (n), .type = NX_AUDIT_I64, .i64 = (v)})
#define NX_AUDIT_HASH(n, v)                                                                        \
  ((struct nx_audit_field){                                                                        \
      .name = (n), .type = NX_AUDIT_BYTES, .bytes = {(v)->bytes, sizeof(v)->bytes}})
#define NX_AUDIT_DATA(n, d, s)                                                                     \
  ((struct nx_audit_field){.name = (n), .type = NX_AUDIT_BYTES, .bytes = nx_bytes((d), (s))})

struct nx_audit_log;

/* Opens or makes the log in `folder` (made when missing, mode 0700). identity must outlive
 * it; origin names the writer ("coordinator", a site). An unfinished last entry, which a
 * crash can leave, is cut off and told in the log itself ("log.recovered"); a damaged entry
 * that a checkpoint already covers is NX_E_FORMAT and the log stays shut. NX_E_STATE when
 * another process has it open, NX_E_CRYPTO when it belongs to another key. */
int nx_audit_log_open(const char *folder, const char *origin, const struct nx_identity *identity,
                      struct nx_audit_log **log_out, struct nx_error *err);
/* Returns when the entry is on disk. Writers that come together share one fsync. After a
 * write error the log refuses every further append (NX_E_IO). */
int nx_audit_log_append(struct nx_audit_log *log, const char *kind,
                        const struct nx_audit_field *fields, size_t n_fields,
                        uint64_t *sequence_out, struct nx_error *err);
/* NX_AUDIT_APPEND(log, &err, "round.opened", NX_AUDIT_UINT("round", 3), NX_AUDIT_HASH("t0", &t0))
 */
#define NX_AUDIT_APPEND(log, err, kind, ...)                                                       \
  nx_audit_log_append((log), (kind), (const struct nx_audit_field[]){__VA_ARGS__},                 \
                      sizeof((const struct nx_audit_field[]){__VA_ARGS__}) /                       \
                          sizeof(struct nx_audit_field),                                           \
                      NULL, (err))
/* Signs what was appended so far; nothing new is no error. */
int nx_audit_log_checkpoint(struct nx_audit_log *log, struct nx_error *err);
uint64_t nx_audit_log_size(struct nx_audit_log *log); /* entries */
struct nx_hash nx_audit_log_root(struct nx_audit_log *log);
/* Checkpoints, then closes. The log is gone in any case. */
int nx_audit_log_close(struct nx_audit_log *log, struct nx_error *err);
void nx_audit_log_destroy(struct nx_audit_log *log); /* closes without a checkpoint */
NX_DEFINE_CLEANUP(struct nx_audit_log *, nx_audit_log_destroy)
