#include "node/policy/ledger_store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/file.h"
#include "common/size.h"

#define SCHEMA_VERSION 1
#define BUSY_MS 5000
#define HEAD_SUFFIX ".head"
#define HEAD_CAP 256

struct nx_ledger_store {
  sqlite3 *db;
  sqlite3_stmt *insert;
  char head[NX_PATH_SIZE];
  bool writes;
  uint64_t n; /* events */
  struct nx_hash chain;
  bool failed;
};

static const char schema[] =
    "CREATE TABLE events("
    " sequence INTEGER PRIMARY KEY, refund INTEGER NOT NULL, at INTEGER NOT NULL,"
    " dataset TEXT NOT NULL, plan BLOB NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " steps INTEGER NOT NULL, unit INTEGER NOT NULL, kind INTEGER NOT NULL, q REAL NOT NULL,"
    " sigma REAL NOT NULL, mu REAL NOT NULL, l1 REAL NOT NULL, l2 REAL NOT NULL,"
    " delta REAL NOT NULL, chain BLOB NOT NULL)";

static int fail_sql(struct nx_ledger_store *store, struct nx_error *err) {
  int code = sqlite3_errcode(store->db) & 0xff;
  bool damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR;
  return nx_fail(err, damaged ? NX_E_FORMAT : NX_E_IO, "%s%s", sqlite3_errmsg(store->db),
                 damaged               ? ": it is damaged, restore a backup"
                 : code == SQLITE_FULL ? ": free disk space"
                                       : "");
}

static int run_sql(struct nx_ledger_store *store, const char *sql, struct nx_error *err) {
  return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail_sql(store, err);
}

/* ---- the chain ------------------------------------------------------------------------------ */

static void hash_real(struct nx_sha256 *sha, double value) {
  uint64_t pattern;
  memcpy(&pattern, &value, sizeof pattern);
  nx_sha256_u64(sha, pattern);
}

static struct nx_hash chain_of(const struct nx_hash *before, const struct nx_ledger_event *event) {
  const struct nx_ledger_charge *c = &event->charge;
  const double reals[] = {c->step.q,          c->step.sigma,      c->step.skellam.mu,
                          c->step.skellam.l1, c->step.skellam.l2, c->delta};
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "NX-LEDGER1");
  nx_sha256_hash(&sha, before);
  nx_sha256_u32(&sha, event->is_refund);
  nx_sha256_u64(&sha, (uint64_t)c->at);
  nx_sha256_bytes(&sha, nx_bytes(c->dataset, strlen(c->dataset)));
  nx_sha256_hash(&sha, &c->plan);
  nx_sha256_u64(&sha, c->round);
  nx_sha256_u32(&sha, c->attempt);
  nx_sha256_u64(&sha, c->n_steps);
  nx_sha256_u32(&sha, (uint32_t)c->unit);
  nx_sha256_u32(&sha, (uint32_t)c->step.kind);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(reals); i++)
    hash_real(&sha, reals[i]);
  return nx_sha256_final(&sha);
}

/* ---- the head ------------------------------------------------------------------------------- */

static int write_head(struct nx_ledger_store *store, struct nx_error *err) {
  char text[HEAD_CAP], hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(&store->chain, hex);
  int n = snprintf(text, sizeof text, "neurox-ledger 1 %" PRIu64 " %s\n", store->n, hex);
  return nx_file_replace(store->head, nx_bytes(text, (size_t)n), 0600, err);
}

struct head {
  bool there;
  uint64_t n;
  struct nx_hash chain;
};

static int read_head(const char *path, struct head *out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char line[HEAD_CAP + 1], hex[NX_HASH_HEX_SIZE];
  int used = 0;
  *out = (struct head){0};
  if (!nx_path_exists(path))
    return 0;
  int r = nx_file_read(path, HEAD_CAP, &text, err);
  if (r < 0)
    return r;
  memcpy(line, text.data, text.size);
  line[text.size] = 0;
  if (strlen(line) != text.size ||
      sscanf(line, "neurox-ledger 1 %" SCNu64 " %64[0-9a-f]\n%n", &out->n, hex, &used) != 2 ||
      (size_t)used != text.size || nx_hash_from_hex(hex, &out->chain, NULL) < 0)
    return nx_fail(err, NX_E_FORMAT, "%s is damaged: restore a backup", path);
  out->there = true;
  return 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool read_row(sqlite3_stmt *row, struct nx_ledger_event *event, struct nx_hash *chain_out) {
  struct nx_ledger_charge *c = &event->charge;
  const unsigned char *dataset = sqlite3_column_text(row, 3);
  size_t size = (size_t)sqlite3_column_bytes(row, 3);
  if (!dataset || size >= sizeof c->dataset || sqlite3_column_bytes(row, 4) != NX_HASH_SIZE ||
      sqlite3_column_bytes(row, 16) != NX_HASH_SIZE)
    return false;
  *event = (struct nx_ledger_event){.is_refund = sqlite3_column_int(row, 1)};
  c->at = sqlite3_column_int64(row, 2);
  memcpy(c->dataset, dataset, size);
  memcpy(c->plan.bytes, sqlite3_column_blob(row, 4), NX_HASH_SIZE);
  c->round = (uint64_t)sqlite3_column_int64(row, 5);
  c->attempt = (uint32_t)sqlite3_column_int64(row, 6);
  c->n_steps = (uint64_t)sqlite3_column_int64(row, 7);
  c->unit = (enum nx_privacy_unit)sqlite3_column_int(row, 8);
  c->step.kind = (enum nx_privacy_step_kind)sqlite3_column_int(row, 9);
  c->step.q = sqlite3_column_double(row, 10);
  c->step.sigma = sqlite3_column_double(row, 11);
  c->step.skellam.mu = sqlite3_column_double(row, 12);
  c->step.skellam.l1 = sqlite3_column_double(row, 13);
  c->step.skellam.l2 = sqlite3_column_double(row, 14);
  c->delta = sqlite3_column_double(row, 15);
  memcpy(chain_out->bytes, sqlite3_column_blob(row, 16), NX_HASH_SIZE);
  return true;
}

static void finalize(sqlite3_stmt **statement) {
  sqlite3_finalize(*statement);
}

/* Where the head's event must be found with the head's chain. */
static int check_against_head(const struct nx_ledger_store *store, const struct head *head,
                              bool met, struct nx_error *err) {
  if (!head->there && store->n <= 1) /* killed before the first head was written */
    return 0;
  if (!head->there || store->n < head->n || !met)
    return nx_fail(err, NX_E_FORMAT,
                   "it holds %" PRIu64 " events but %s%" PRIu64
                   ": charges are lost; restore a backup of ledger.db and ledger.db.head",
                   store->n, head->there ? "its head remembers " : "its head is gone, of at least ",
                   head->there ? head->n : 2);
  if (store->writes && store->n > head->n + 1)
    return nx_fail(err, NX_E_FORMAT,
                   "it holds %" PRIu64 " events and its head only %" PRIu64
                   ": the head is an old one; restore a backup of both",
                   store->n, head->n);
  return 0;
}

static int read_events(struct nx_ledger_store *store, const struct head *head,
                       int (*visit)(void *context, const struct nx_ledger_event *event,
                                    struct nx_error *err),
                       void *context, struct nx_error *err) {
  _cleanup_(finalize) sqlite3_stmt *row = NULL;
  bool met = head->there && head->n == 0;
  if (sqlite3_prepare_v2(store->db, "SELECT * FROM events ORDER BY sequence", -1, &row, NULL) !=
      SQLITE_OK)
    return fail_sql(store, err);
  for (int e; (e = sqlite3_step(row)) != SQLITE_DONE;) {
    struct nx_ledger_event event;
    struct nx_hash chain;
    if (e != SQLITE_ROW)
      return fail_sql(store, err);
    if (!read_row(row, &event, &chain) || sqlite3_column_int64(row, 0) != (int64_t)store->n + 1)
      return nx_fail(err, NX_E_FORMAT, "event %" PRIu64 " is damaged: restore a backup",
                     store->n + 1);
    store->chain = chain_of(&store->chain, &event);
    store->n++;
    if (!nx_hash_equal(&chain, &store->chain))
      return nx_fail(err, NX_E_FORMAT,
                     "event %" PRIu64 " was changed after it was written: restore a backup",
                     store->n);
    if (head->there && store->n == head->n)
      met = nx_hash_equal(&chain, &head->chain);
    int r = visit(context, &event, err);
    if (r < 0)
      return r;
  }
  return check_against_head(store, head, met, err);
}

/* ---- opening -------------------------------------------------------------------------------- */

static int open_db(const char *path, bool create, struct nx_ledger_store *store,
                   struct nx_error *err) {
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
  if (sqlite3_open_v2(path, &store->db, flags, NULL) != SQLITE_OK)
    return store->db ? fail_sql(store, err) : nx_fail(err, NX_E_NOMEM, "out of memory");
  sqlite3_busy_timeout(store->db, BUSY_MS);
  return run_sql(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", err);
}

static int schema_version(struct nx_ledger_store *store, int *version_out, struct nx_error *err) {
  _cleanup_(finalize) sqlite3_stmt *row = NULL;
  if (sqlite3_prepare_v2(store->db, "PRAGMA user_version", -1, &row, NULL) != SQLITE_OK ||
      sqlite3_step(row) != SQLITE_ROW)
    return fail_sql(store, err);
  *version_out = sqlite3_column_int(row, 0);
  return 0;
}

/* Table and version come together or not at all. */
static int create_schema(struct nx_ledger_store *store, const char *path, struct nx_error *err) {
  char sql[sizeof schema + 128];
  snprintf(sql, sizeof sql, "BEGIN IMMEDIATE; %s; PRAGMA user_version = %d; COMMIT", schema,
           SCHEMA_VERSION);
  int r = run_sql(store, sql, err);
  if (r == 0 && chmod(path, 0600))
    r = nx_fail(err, NX_E_IO, "cannot make %s private", path);
  return r < 0 ? r : nx_file_sync_folder_of(path, err);
}

static int prepare_schema(struct nx_ledger_store *store, const char *path, const struct head *head,
                          struct nx_error *err) {
  int version = 0;
  int r = schema_version(store, &version, err);
  if (r == 0 && version == 0 && store->writes && !head->there)
    return create_schema(store, path, err);
  if (r == 0 && version != SCHEMA_VERSION)
    return nx_fail(err, NX_E_FORMAT, "%s is of version %d, not %d: restore a backup", path, version,
                   SCHEMA_VERSION);
  return r;
}

static int prepare_insert(struct nx_ledger_store *store, struct nx_error *err) {
  static const char sql[] =
      "INSERT INTO events VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)";
  return sqlite3_prepare_v2(store->db, sql, -1, &store->insert, NULL) == SQLITE_OK
             ? 0
             : fail_sql(store, err);
}

int nx_ledger_store_open(const char *path, bool create,
                         int (*visit)(void *context, const struct nx_ledger_event *event,
                                      struct nx_error *err),
                         void *context, struct nx_ledger_store **store_out, struct nx_error *err) {
  struct head head;
  struct nx_ledger_store *store = calloc(1, sizeof *store);
  if (!store)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  store->writes = create;
  int n = snprintf(store->head, sizeof store->head, "%s" HEAD_SUFFIX, path);
  int r = n > 0 && (size_t)n < sizeof store->head
              ? read_head(store->head, &head, err) /* before the events: they only grow */
              : nx_fail(err, NX_E_LIMIT, "%s is too long", path);
  if (r == 0 && !nx_path_exists(path) && (head.there || !create))
    r = nx_fail(err, head.there ? NX_E_FORMAT : NX_E_NOT_FOUND, "%s is not there%s", path,
                head.there ? " but its head is: restore a backup" : "");
  if (r == 0)
    r = open_db(path, create, store, err);
  if (r == 0)
    r = prepare_schema(store, path, &head, err);
  if (r == 0)
    r = read_events(store, &head, visit, context, err);
  if (r == 0)
    r = prepare_insert(store, err);
  if (r == 0 && create && store->n && (!head.there || head.n != store->n))
    r = write_head(store, err); /* killed between the event and its head */
  if (r < 0) {
    nx_ledger_store_close(store);
    return r;
  }
  *store_out = store;
  return 0;
}

void nx_ledger_store_close(struct nx_ledger_store *store) {
  if (!store)
    return;
  sqlite3_finalize(store->insert);
  sqlite3_close(store->db);
  free(store);
}

/* ---- writing -------------------------------------------------------------------------------- */

static bool bind(sqlite3_stmt *s, uint64_t sequence, const struct nx_ledger_event *event,
                 const struct nx_hash *chain) {
  const struct nx_ledger_charge *c = &event->charge;
  const double reals[] = {c->step.q,          c->step.sigma,      c->step.skellam.mu,
                          c->step.skellam.l1, c->step.skellam.l2, c->delta};
  const struct {
    int column;
    int64_t value;
  } wholes[] = {{1, (int64_t)sequence},
                {2, event->is_refund},
                {3, c->at},
                {6, (int64_t)c->round},
                {7, c->attempt},
                {8, (int64_t)c->n_steps},
                {9, (int64_t)c->unit},
                {10, (int64_t)c->step.kind}};
  bool good = true;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(wholes); i++)
    good &= sqlite3_bind_int64(s, wholes[i].column, wholes[i].value) == SQLITE_OK;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(reals); i++)
    good &= sqlite3_bind_double(s, 11 + (int)i, reals[i]) == SQLITE_OK;
  good &= sqlite3_bind_text(s, 4, c->dataset, -1, SQLITE_STATIC) == SQLITE_OK;
  good &= sqlite3_bind_blob(s, 5, c->plan.bytes, NX_HASH_SIZE, SQLITE_STATIC) == SQLITE_OK;
  good &= sqlite3_bind_blob(s, 17, chain->bytes, NX_HASH_SIZE, SQLITE_STATIC) == SQLITE_OK;
  return good;
}

int nx_ledger_store_append(struct nx_ledger_store *store, const struct nx_ledger_event *event,
                           struct nx_error *err) {
  struct nx_hash chain = chain_of(&store->chain, event);
  if (store->failed || !store->writes)
    return nx_fail(err, NX_E_IO, "%s",
                   store->failed ? "a write failed before: restart the node" : "open for reading");
  store->failed = true;
  int e = bind(store->insert, store->n + 1, event, &chain) ? sqlite3_step(store->insert)
                                                           : SQLITE_MISUSE;
  int r = e == SQLITE_DONE ? 0 : fail_sql(store, err);
  sqlite3_reset(store->insert);
  if (r < 0)
    return r;
  store->n++;
  store->chain = chain;
  r = write_head(store, err);
  store->failed = r < 0;
  return r;
}
