/* Log: one line an event, "time level event key=value …" on stderr (or a file); time is UTC
 * to the millisecond.
 * Never samples, subject names or keys; this is not the audit log. Thread-safe. */
#pragma once

#include <stdint.h>
#include <stdio.h>

enum nx_log_level { NX_LOG_DEBUG, NX_LOG_INFO, NX_LOG_WARNING, NX_LOG_ERROR, NX_LOG_SILENT };

struct nx_log_field {
  const char *key;
  enum { NX_FIELD_STRING, NX_FIELD_U64, NX_FIELD_I64, NX_FIELD_F64, NX_FIELD_HASH } type;
  union {
    const char *string; /* quoted when it holds spaces or quotes; controls become '?' */
    uint64_t u64;
    int64_t i64;
    double f64;
    const uint8_t *hash; /* 32 bytes, printed as its first 12 hex digits */
  };
};

#define NX_STR(k, v) ((struct nx_log_field){.key = (k), .type = NX_FIELD_STRING, .string = (v)})
#define NX_U64(k, v) ((struct nx_log_field){.key = (k), .type = NX_FIELD_U64, .u64 = (v)})
#define NX_I64(k, v) ((struct nx_log_field){.key = (k), .type = NX_FIELD_I64, .i64 = (v)})
#define NX_F64(k, v) ((struct nx_log_field){.key = (k), .type = NX_FIELD_F64, .f64 = (v)})
#define NX_HASH(k, v) ((struct nx_log_field){.key = (k), .type = NX_FIELD_HASH, .hash = (v)})

/* NX_LOG(NX_LOG_INFO, "round.opened", NX_U64("round", 3), NX_STR("site", name)); */
#define NX_LOG(level, event, ...)                                                                  \
  do {                                                                                             \
    const struct nx_log_field fields_[] = {__VA_ARGS__};                                           \
    nx_log_write((level), (event), fields_, sizeof fields_ / sizeof *fields_);                     \
  } while (0)

void nx_log_write(enum nx_log_level level, const char *event, const struct nx_log_field *fields,
                  size_t n_fields);
/* Lines below the level are dropped; stream NULL means stderr. Call before threads start. */
void nx_log_setup(enum nx_log_level level, FILE *stream);
