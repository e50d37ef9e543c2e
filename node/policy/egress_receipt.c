#include "node/policy/egress_receipt.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/size.h"
#include "crypto/audit_reader.h"
#include "node/policy/egress.h"

#define DRAFT ".draft"
#define RECEIPT_CAP ((size_t)16 << 20)
#define CHECK_SIZE 12
#define ROW_BODY (NX_EGRESS_ROW_SIZE - CHECK_SIZE) /* u64 u32 16 u64 u64 32 i64 i64, 8 zeros */

void nx_egress_row_add(struct nx_egress_row *row, struct nx_bytes message, int64_t now) {
  struct nx_hash hash = nx_sha256(message.data, message.size);
  struct nx_sha256 sha;
  nx_sha256_init(&sha);
  nx_sha256_update(&sha, row->digest.bytes, sizeof row->digest.bytes);
  nx_sha256_update(&sha, hash.bytes, sizeof hash.bytes);
  row->digest = nx_sha256_final(&sha);
  row->messages++;
  row->bytes += message.size;
  if (!row->first)
    row->first = now;
  row->last = now;
}

void nx_egress_row_pack(const struct nx_egress_row *row, uint8_t out[NX_EGRESS_ROW_SIZE]) {
  memset(out, 0, NX_EGRESS_ROW_SIZE);
  nx_store_le64(out, row->round);
  nx_store_le32(out + 8, row->attempt);
  memcpy(out + 12, row->kind, sizeof row->kind);
  nx_store_le64(out + 28, row->messages);
  nx_store_le64(out + 36, row->bytes);
  memcpy(out + 44, row->digest.bytes, sizeof row->digest.bytes);
  nx_store_le64(out + 76, (uint64_t)row->first);
  nx_store_le64(out + 84, (uint64_t)row->last);
  struct nx_hash check = nx_sha256(out, ROW_BODY);
  memcpy(out + ROW_BODY, check.bytes, CHECK_SIZE);
}

bool nx_egress_row_unpack(const uint8_t bytes[NX_EGRESS_ROW_SIZE], struct nx_egress_row *out) {
  struct nx_hash check = nx_sha256(bytes, ROW_BODY);
  if (memcmp(check.bytes, bytes + ROW_BODY, CHECK_SIZE) || bytes[12 + NX_EGRESS_KIND_SIZE - 1])
    return false;
  *out = (struct nx_egress_row){.round = nx_load_le64(bytes),
                                .attempt = nx_load_le32(bytes + 8),
                                .messages = nx_load_le64(bytes + 28),
                                .bytes = nx_load_le64(bytes + 36),
                                .first = (int64_t)nx_load_le64(bytes + 76),
                                .last = (int64_t)nx_load_le64(bytes + 84)};
  memcpy(out->kind, bytes + 12, sizeof out->kind);
  memcpy(out->digest.bytes, bytes + 44, sizeof out->digest.bytes);
  return true;
}

/* ---- the file ---------------------------------------------------------------------------------
 */

static void add_time(cJSON *object, const char *key, int64_t at) {
  char text[21];
  nx_clock_format(at, text);
  cJSON_AddStringToObject(object, key, text);
}

static void add_hash(cJSON *object, const char *key, const struct nx_hash *hash) {
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(hash, hex);
  cJSON_AddStringToObject(object, key, hex);
}

static void add_row(cJSON *list, const struct nx_egress_row *row) {
  cJSON *object = cJSON_CreateObject();
  cJSON_AddItemToArray(list, object);
  cJSON_AddStringToObject(object, "kind", row->kind);
  cJSON_AddStringToObject(object, "purpose", nx_egress_purpose(row->kind));
  cJSON_AddNumberToObject(object, "attempt", row->attempt);
  cJSON_AddNumberToObject(object, "messages", (double)row->messages);
  cJSON_AddNumberToObject(object, "bytes", (double)row->bytes);
  add_hash(object, "digest", &row->digest);
  add_time(object, "first", row->first);
  add_time(object, "last", row->last);
}

static char *text_of(const struct nx_egress_receipt *receipt, uint64_t *bytes_out,
                     uint64_t *messages_out) {
  cJSON *object = cJSON_CreateObject();
  *bytes_out = *messages_out = 0;
  for (size_t i = 0; i < receipt->n; i++) {
    *bytes_out += receipt->rows[i].bytes;
    *messages_out += receipt->rows[i].messages;
  }
  cJSON_AddNumberToObject(object, "neurox_receipt", 1);
  cJSON_AddNumberToObject(object, "number", (double)receipt->number);
  cJSON_AddStringToObject(object, "site", receipt->site);
  add_hash(object, "destination", &receipt->destination);
  cJSON_AddNumberToObject(object, "round", (double)receipt->round);
  cJSON_AddNumberToObject(object, "messages", (double)*messages_out);
  cJSON_AddNumberToObject(object, "bytes", (double)*bytes_out);
  cJSON *list = cJSON_AddArrayToObject(object, "what");
  for (size_t i = 0; list && i < receipt->n; i++)
    add_row(list, &receipt->rows[i]);
  char *text = cJSON_Print(object);
  cJSON_Delete(object);
  return text;
}

static int path_of(const char *folder, uint64_t number, const char *suffix, char out[NX_PATH_SIZE],
                   struct nx_error *err) {
  char name[64];
  snprintf(name, sizeof name, "receipt-%08" PRIu64 ".json%s", number, suffix);
  return nx_path_join(out, folder, name, err);
}

int nx_egress_receipt_draft(const char *folder, const struct nx_egress_receipt *receipt,
                            struct nx_audit_log *log, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  uint64_t bytes, messages;
  _cleanup_free_ char *text = text_of(receipt, &bytes, &messages);
  if (!text)
    return nx_fail(err, NX_E_NOMEM, "egress: out of memory");
  struct nx_hash hash = nx_sha256(text, strlen(text));
  int r = path_of(folder, receipt->number, DRAFT, path, err);
  if (r == 0)
    r = nx_file_replace(path, nx_bytes(text, strlen(text)), 0600, err);
  if (r < 0)
    return r;
  return NX_AUDIT_APPEND(log, err, "egress.receipt", NX_AUDIT_UINT("receipt", receipt->number),
                         NX_AUDIT_UINT("round", receipt->round),
                         NX_AUDIT_UINT("messages", messages), NX_AUDIT_UINT("bytes", bytes),
                         NX_AUDIT_HASH("sha256", &hash),
                         NX_AUDIT_HASH("destination", &receipt->destination));
}

int nx_egress_receipt_name(const char *folder, uint64_t number, struct nx_error *err) {
  char draft[NX_PATH_SIZE], path[NX_PATH_SIZE];
  int r = path_of(folder, number, DRAFT, draft, err);
  if (r == 0)
    r = path_of(folder, number, "", path, err);
  if (r < 0)
    return r;
  if (rename(draft, path))
    return nx_fail_errno(err, errno, "name %s", path);
  return nx_file_sync_folder_of(path, err);
}

static bool tells_of(const struct nx_audit_entry *entry, uint64_t number,
                     const struct nx_hash *hash, uint64_t *round_out) {
  if (!nx_audit_is_named(entry->kind, "egress.receipt"))
    return false;
  const struct nx_audit_value *n = nx_audit_entry_field(entry, "receipt", NX_AUDIT_U64),
                              *sum = nx_audit_entry_field(entry, "sha256", NX_AUDIT_BYTES),
                              *round = nx_audit_entry_field(entry, "round", NX_AUDIT_U64);
  if (!n || !sum || !round || n->number != number || sum->bytes.size != sizeof hash->bytes ||
      memcmp(sum->bytes.data, hash->bytes, sizeof hash->bytes))
    return false;
  *round_out = round->number;
  return true;
}

int nx_egress_receipt_find(const char *folder, uint64_t number, const char *audit_folder,
                           uint64_t *round_out, struct nx_error *err) {
  _cleanup_(nx_audit_reader_closep) struct nx_audit_reader *reader = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  _cleanup_free_ struct nx_audit_entry *entry = malloc(sizeof *entry);
  char path[NX_PATH_SIZE];
  bool found = false;
  int r = path_of(folder, number, DRAFT, path, err);
  if (r < 0 || !nx_path_exists(path))
    return r;
  if (!entry)
    return nx_fail(err, NX_E_NOMEM, "egress: out of memory");
  if ((r = nx_file_read(path, RECEIPT_CAP, &text, err)) < 0 ||
      (r = nx_audit_reader_open(audit_folder, &reader, err)) < 0)
    return r;
  struct nx_hash hash = nx_sha256(text.data, text.size);
  while (!found && (r = nx_audit_reader_next(reader, entry, err)) == 0)
    found = tells_of(entry, number, &hash, round_out);
  if (r < 0)
    return r;
  if (!found && unlink(path))
    return nx_fail_errno(err, errno, "remove %s", path);
  return found ? NX_EGRESS_LOGGED : 0;
}

uint64_t nx_egress_receipt_number(const char *name) {
  uint64_t number;
  int used = 0;
  return sscanf(name, "receipt-%" SCNu64 ".json%n", &number, &used) == 1 && used && !name[used]
             ? number
             : 0;
}

/* Lowest and highest number there; both 0 when there is none. */
static int bounds(const char *folder, uint64_t *first_out, uint64_t *last_out,
                  struct nx_error *err) {
  DIR *entries = opendir(folder);
  if (!entries)
    return nx_fail_errno(err, errno, "open folder %s", folder);
  *first_out = *last_out = 0;
  for (struct dirent *entry; (entry = readdir(entries));) {
    uint64_t number = nx_egress_receipt_number(entry->d_name);
    if (number && (!*first_out || number < *first_out))
      *first_out = number;
    *last_out = NX_MAX(*last_out, number);
  }
  closedir(entries);
  return 0;
}

int nx_egress_receipt_next(const char *folder, uint64_t *next_out, struct nx_error *err) {
  uint64_t first, last = 0;
  int r = bounds(folder, &first, &last, err);
  *next_out = last + 1;
  return r;
}

int nx_egress_receipt_old(const char *folder, int64_t before, uint64_t *through_out,
                          struct nx_error *err) {
  uint64_t first, last;
  int r = bounds(folder, &first, &last, err);
  *through_out = 0;
  for (uint64_t number = first; r == 0 && number < last; number++) {
    char path[NX_PATH_SIZE];
    struct stat status;
    if ((r = path_of(folder, number, "", path, err)) < 0 || stat(path, &status) ||
        status.st_mtim.tv_sec * NX_SECOND >= before)
      break;
    *through_out = number;
  }
  return r;
}
