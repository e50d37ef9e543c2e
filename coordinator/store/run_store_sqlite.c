/* Opening, the schema and its migrations. People are in run_store_people.c, plans, runs and
 * rounds in run_store_rounds.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "coordinator/store/sqlite_call.h"

#define APPLICATION_ID 0x4e585331 /* "NXS1" */
#define BUSY_MS 5000

/* migrations[v] lifts schema v to v + 1. Never edit one that was released: add the next. */
static const char *const migrations[] = {
    "CREATE TABLE federation(one INTEGER PRIMARY KEY CHECK(one = 1), id BLOB NOT NULL,"
    " name TEXT NOT NULL, identity_pk BLOB NOT NULL, spki BLOB NOT NULL,"
    " operator_spki BLOB NOT NULL, created INTEGER NOT NULL);"
    "CREATE TABLE members(id INTEGER PRIMARY KEY CHECK(id BETWEEN 1 AND 255),"
    " name TEXT NOT NULL UNIQUE, identity_pk BLOB NOT NULL UNIQUE, spki BLOB NOT NULL UNIQUE,"
    " certificate BLOB NOT NULL, enrolled INTEGER NOT NULL);"
    "CREATE TABLE invitations(token_hash BLOB PRIMARY KEY, member INTEGER NOT NULL,"
    " name TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " used INTEGER NOT NULL DEFAULT 0, logged INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE manifest(one INTEGER PRIMARY KEY CHECK(one = 1), body BLOB NOT NULL,"
    " signature BLOB NOT NULL);"
    "CREATE TABLE plans(hash BLOB PRIMARY KEY, name TEXT NOT NULL, text BLOB NOT NULL,"
    " submitted INTEGER NOT NULL);"
    "CREATE TABLE runs(id INTEGER PRIMARY KEY, plan BLOB NOT NULL REFERENCES plans(hash),"
    " state INTEGER NOT NULL, first_round INTEGER NOT NULL, n_rounds INTEGER NOT NULL,"
    " model BLOB NOT NULL, started INTEGER NOT NULL, ended INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE records(sequence INTEGER PRIMARY KEY AUTOINCREMENT, round INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL);"
    "CREATE INDEX records_by_round ON records(round);"
    "CREATE TABLE sealed(round INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, kind INTEGER NOT "
    "NULL,"
    " run INTEGER NOT NULL REFERENCES runs(id), model BLOB NOT NULL, sum BLOB NOT NULL,"
    " t3 BLOB NOT NULL, n_cohort INTEGER NOT NULL, n_recovered INTEGER NOT NULL,"
    " bytes_up INTEGER NOT NULL, opened INTEGER NOT NULL, sealed INTEGER NOT NULL,"
    " aux BLOB NOT NULL, survivors BLOB NOT NULL);"
    "CREATE TABLE signatures(round INTEGER NOT NULL, member INTEGER NOT NULL REFERENCES "
    "members(id),"
    " message BLOB NOT NULL, PRIMARY KEY(round, member));",
    "ALTER TABLE members ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE members ADD COLUMN reason TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE members ADD COLUMN logged INTEGER NOT NULL DEFAULT 1;",
    "CREATE TABLE grants(id INTEGER PRIMARY KEY, name TEXT NOT NULL, role INTEGER NOT NULL,"
    " spki BLOB NOT NULL UNIQUE, certificate BLOB NOT NULL, granted INTEGER NOT NULL,"
    " ends INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,"
    " reason TEXT NOT NULL DEFAULT '', logged INTEGER NOT NULL DEFAULT 0);"
    "CREATE UNIQUE INDEX grants_by_name ON grants(name) WHERE revoked = 0;"
    "ALTER TABLE members ADD COLUMN ends INTEGER NOT NULL DEFAULT 0;",
    "CREATE TABLE revisions(number INTEGER PRIMARY KEY CHECK(number > 0), link BLOB NOT NULL);"
    "CREATE TABLE proposal(one INTEGER PRIMARY KEY CHECK(one = 1), hash BLOB NOT NULL,"
    " kind INTEGER NOT NULL, member INTEGER NOT NULL, identity_pk BLOB NOT NULL,"
    " body BLOB NOT NULL, signature BLOB NOT NULL, created INTEGER NOT NULL);"
    "CREATE TABLE answers(hash BLOB NOT NULL, member INTEGER NOT NULL REFERENCES members(id),"
    " approve INTEGER NOT NULL, signature BLOB NOT NULL, PRIMARY KEY(hash, member));"
    "CREATE TABLE new_keys(member INTEGER PRIMARY KEY REFERENCES members(id),"
    " identity_pk BLOB NOT NULL, asked INTEGER NOT NULL);",
};

static int64_t pragma(struct nx_run_store *store, const char *sql, struct nx_error *err) {
  _cleanup_statement_ sqlite3_stmt *statement = NULL;
  int r = nx_sql_prepare(store, &statement, err, sql, "");
  if (r == 0)
    r = nx_sql_step(store, statement, err);
  return r == 1 ? sqlite3_column_int64(statement, 0) : r;
}

/* Lifts the schema one version, or not at all. */
static int migrate_one(struct nx_run_store *store, int64_t version, struct nx_error *err) {
  _cleanup_transaction_ struct nx_transaction transaction = {0};
  char mark[64];
  snprintf(mark, sizeof mark, "PRAGMA user_version = %d", (int)version + 1);
  int r = nx_transaction_begin(store, &transaction, err);
  if (r < 0)
    return r;
  if (sqlite3_exec(store->db, migrations[version], NULL, NULL, NULL) != SQLITE_OK ||
      sqlite3_exec(store->db, mark, NULL, NULL, NULL) != SQLITE_OK)
    return nx_sql_fail(store, err);
  return nx_transaction_commit(&transaction, err);
}

static int sync_file(const char *path, struct nx_error *err) {
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fchmod(fd, 0600) || fsync(fd))
    return nx_fail_errno(err, errno, "write %s", path);
  return nx_file_sync_folder_of(path, err);
}

int nx_run_store_mark(struct nx_run_store *store, uint64_t *mark_out, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, "PRAGMA data_version", "");
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  /* The one counts what others commit, the other what this connection changes. */
  *mark_out =
      ((uint64_t)sqlite3_column_int64(s, 0) << 32) + (uint64_t)sqlite3_total_changes64(store->db);
  return 0;
}

int nx_run_store_back_up(struct nx_run_store *store, const char *path, struct nx_error *err) {
  NX_STORE_LOCK(store);
  int r = nx_sql_run(store, err, "VACUUM INTO ?", "s", path);
  return r < 0 ? r : sync_file(path, err);
}

/* A copy as it was, PATH.schema-N, before anything is changed. */
static int back_up(struct nx_run_store *store, const char *path, int64_t version,
                   struct nx_error *err) {
  char copy[NX_PATH_SIZE];
  if (snprintf(copy, sizeof copy, "%s.schema-%d", path, (int)version) >= (int)sizeof copy)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", path);
  unlink(copy);
  int r = nx_sql_run(store, err, "VACUUM INTO ?", "s", copy);
  if (r == 0)
    r = sync_file(copy, err);
  return r < 0 ? nx_error_prefix(err, r, "back up %s before migrating it", path) : 0;
}

static int migrate(struct nx_run_store *store, const char *path, struct nx_error *err) {
  int64_t version = pragma(store, "PRAGMA user_version", err);
  const int64_t newest = (int64_t)NX_ARRAY_LENGTH(migrations);
  if (version < 0)
    return (int)version;
  if (version > newest)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "store %s was written by a newer version (schema %d, this program knows %d): "
                   "update this program",
                   path, (int)version, (int)newest);
  int r = version && version < newest ? back_up(store, path, version, err) : 0;
  if (r < 0)
    return r;
  for (; version < newest; version++)
    if ((r = migrate_one(store, version, err)) < 0)
      return nx_error_prefix(err, r, "migrate %s to schema %d", path, (int)version + 1);
  return 0;
}

static int setup(struct nx_run_store *store, struct nx_error *err) {
  static const char settings[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                 "PRAGMA foreign_keys = ON; PRAGMA cache_size = -256;"
                                 "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
                                 "PRAGMA secure_delete = ON;";
  sqlite3_busy_timeout(store->db, BUSY_MS);
  if (sqlite3_exec(store->db, settings, NULL, NULL, NULL) != SQLITE_OK)
    return nx_sql_fail(store, err);
  return 0;
}

/* What a process that was killed committed may be in memory only, and whoever reads it acts on
 * it: a checkpoint syncs the log first. Another process that is at it does the same. */
static int make_sure(struct nx_run_store *store, struct nx_error *err) {
  int e = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
  return e == SQLITE_OK || e == SQLITE_BUSY || e == SQLITE_LOCKED ? 0 : nx_sql_fail(store, err);
}

static int check_application(struct nx_run_store *store, const char *path, bool fresh,
                             struct nx_error *err) {
  char mark[64];
  if (fresh) {
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d", APPLICATION_ID);
    return nx_sql_run(store, err, mark, "");
  }
  int64_t id = pragma(store, "PRAGMA application_id", err);
  if (id < 0)
    return (int)id;
  if (id != APPLICATION_ID)
    return nx_fail(err, NX_E_FORMAT, "%s is not a coordinator's store", path);
  return 0;
}

/* A disk that swallowed a sync leaves a store that opens and has lost rows: no round may go on
 * from that. Both return no row, or "ok", when all is well. */
static int check_whole(struct nx_run_store *store, struct nx_error *err) {
  static const char *const checks[] = {"PRAGMA quick_check(1)", "PRAGMA foreign_key_check"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(checks); i++) {
    _cleanup_statement_ sqlite3_stmt *statement = NULL;
    int r = nx_sql_prepare(store, &statement, err, checks[i], "");
    if (r == 0)
      r = nx_sql_step(store, statement, err);
    if (r < 0)
      return r;
    const char *found = r ? (const char *)sqlite3_column_text(statement, 0) : "ok";
    if (!found || strcmp(found, "ok") != 0)
      return nx_fail(err, NX_E_FORMAT, "the store is damaged (%s%s): restore a backup",
                     i ? "rows that others refer to are gone, in " : "",
                     found ? found : "no answer");
  }
  return 0;
}

static int open_store(const char *path, bool fresh, struct nx_run_store **store_out,
                      struct nx_error *err) {
  _cleanup_(nx_run_store_destroyp) struct nx_run_store *store = calloc(1, sizeof *store);
  if (!store)
    return nx_fail(err, NX_E_NOMEM, "open store %s", path);
  pthread_mutex_init(&store->lock, NULL);
  int e = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (e != SQLITE_OK)
    return nx_fail(err, NX_E_IO, "open store %s: %s", path, sqlite3_errstr(e));
  sqlite3_extended_result_codes(store->db, 1);
  int r = check_application(store, path, fresh, err);
  if (r == 0)
    r = setup(store, err);
  if (r == 0)
    r = migrate(store, path, err);
  if (r == 0)
    r = make_sure(store, err);
  if (r == 0 && !fresh)
    r = check_whole(store, err);
  if (r < 0)
    return nx_error_prefix(err, r, "open store %s", path);
  *store_out = nx_steal(&store);
  return 0;
}

int nx_run_store_create(const char *path, struct nx_run_store **store_out, struct nx_error *err) {
  /* Made by hand so that it is ours alone from its first byte. */
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return nx_fail_errno(err, errno, "create store %s", path);
  close(fd);
  return open_store(path, true, store_out, err);
}

int nx_run_store_open(const char *path, struct nx_run_store **store_out, struct nx_error *err) {
  if (!nx_path_exists(path))
    return nx_fail(err, NX_E_NOT_FOUND, "no store at %s: run neurox-coordinator init first", path);
  return open_store(path, false, store_out, err);
}

void nx_run_store_destroy(struct nx_run_store *store) {
  if (!store)
    return;
  sqlite3_close(store->db);
  pthread_mutex_destroy(&store->lock);
  free(store);
}

int nx_run_store_put_federation(struct nx_run_store *store,
                                const struct nx_store_federation *federation,
                                struct nx_error *err) {
  NX_STORE_LOCK(store);
  return nx_sql_run(store, err, "INSERT INTO federation VALUES(1, ?, ?, ?, ?, ?, ?)", "bsbbbi",
                    federation->id, sizeof federation->id, federation->name, &federation->identity,
                    (size_t)32, &federation->spki, (size_t)32, &federation->operator_spki,
                    (size_t)32, federation->created);
}

int nx_run_store_federation(struct nx_run_store *store, struct nx_store_federation *out,
                            struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  *out = (struct nx_store_federation){0};
  int r = nx_sql_prepare(
      store, &s, err, "SELECT id, name, identity_pk, spki, operator_spki, created FROM federation",
      "");
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (r == 0)
    return nx_fail(err, NX_E_NOT_FOUND, "store: holds no federation: run init first");
  if ((r = nx_sql_column_bytes(s, 0, out->id, sizeof out->id, err)) < 0 ||
      (r = nx_sql_column_text(s, 1, out->name, sizeof out->name, err)) < 0 ||
      (r = nx_sql_column_bytes(s, 2, &out->identity, 32, err)) < 0 ||
      (r = nx_sql_column_bytes(s, 3, &out->spki, 32, err)) < 0 ||
      (r = nx_sql_column_bytes(s, 4, &out->operator_spki, 32, err)) < 0)
    return r;
  out->created = sqlite3_column_int64(s, 5);
  return 0;
}
