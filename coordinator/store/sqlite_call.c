#include "coordinator/store/sqlite_call.h"

#include <stdarg.h>

/* A row that names one that is not there: never written so, the file has lost something. */
static bool is_torn_apart(int sqlite_code) {
  return sqlite_code == SQLITE_CONSTRAINT_FOREIGNKEY;
}

static int code_of(int sqlite_code) {
  if (is_torn_apart(sqlite_code))
    return NX_E_FORMAT;
  switch (sqlite_code & 0xff) {
  case SQLITE_NOMEM:
    return NX_E_NOMEM;
  case SQLITE_CONSTRAINT:
    return NX_E_EXISTS;
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return NX_E_STATE;
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return NX_E_FORMAT;
  case SQLITE_PERM:
  case SQLITE_READONLY:
  case SQLITE_AUTH:
    return NX_E_DENIED;
  default:
    return NX_E_IO;
  }
}

static const char *advice(int sqlite_code) {
  if (is_torn_apart(sqlite_code))
    return "; the store is damaged, restore a backup";
  switch (sqlite_code & 0xff) {
  case SQLITE_FULL:
    return "; free disk space and start again";
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return "; another process holds the store, try again";
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return "; the store is damaged, restore a backup";
  case SQLITE_READONLY:
  case SQLITE_PERM:
  case SQLITE_CANTOPEN:
    return "; check the permissions of the home folder";
  default:
    return "";
  }
}

int nx_sql_fail(struct nx_run_store *store, struct nx_error *err) {
  int code = sqlite3_extended_errcode(store->db);
  return nx_fail(err, code_of(code), "store: %s%s", sqlite3_errmsg(store->db), advice(code));
}

static int bind(sqlite3_stmt *statement, const char *types, va_list *arguments) {
  int e = SQLITE_OK;
  for (int i = 1; *types && e == SQLITE_OK; types++, i++) {
    if (*types == 'i') {
      e = sqlite3_bind_int64(statement, i, va_arg(*arguments, int64_t));
    } else if (*types == 's') {
      e = sqlite3_bind_text(statement, i, va_arg(*arguments, const char *), -1, SQLITE_TRANSIENT);
    } else {
      const void *data = va_arg(*arguments, const void *);
      size_t size = va_arg(*arguments, size_t);
      e = sqlite3_bind_blob64(statement, i, data ? data : "", size, SQLITE_TRANSIENT);
    }
  }
  return e;
}

static int prepare(struct nx_run_store *store, sqlite3_stmt **statement_out, struct nx_error *err,
                   const char *sql, const char *types, va_list *arguments) {
  _cleanup_statement_ sqlite3_stmt *statement = NULL;
  if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK ||
      bind(statement, types, arguments) != SQLITE_OK)
    return nx_sql_fail(store, err);
  *statement_out = nx_steal(&statement);
  return 0;
}

int nx_sql_prepare(struct nx_run_store *store, sqlite3_stmt **statement_out, struct nx_error *err,
                   const char *sql, const char *types, ...) {
  va_list arguments;
  va_start(arguments, types);
  int r = prepare(store, statement_out, err, sql, types, &arguments);
  va_end(arguments);
  return r;
}

int nx_sql_step(struct nx_run_store *store, sqlite3_stmt *statement, struct nx_error *err) {
  int e = sqlite3_step(statement);
  if (e == SQLITE_ROW)
    return 1;
  return e == SQLITE_DONE ? 0 : nx_sql_fail(store, err);
}

int nx_sql_run(struct nx_run_store *store, struct nx_error *err, const char *sql, const char *types,
               ...) {
  _cleanup_statement_ sqlite3_stmt *statement = NULL;
  va_list arguments;
  va_start(arguments, types);
  int r = prepare(store, &statement, err, sql, types, &arguments);
  va_end(arguments);
  while (r == 0 && (r = nx_sql_step(store, statement, err)) > 0)
    r = 0;
  return r;
}

int nx_sql_column_bytes(sqlite3_stmt *statement, int column, void *out, size_t size,
                        struct nx_error *err) {
  struct nx_bytes blob = nx_sql_column_blob(statement, column);
  if (blob.size != size)
    return nx_fail(err, NX_E_FORMAT, "store: %s has %zu bytes instead of %zu: restore a backup",
                   sqlite3_column_name(statement, column), blob.size, size);
  memcpy(out, blob.data, size);
  return 0;
}

int nx_sql_column_text(sqlite3_stmt *statement, int column, char *out, size_t size,
                       struct nx_error *err) {
  const unsigned char *text = sqlite3_column_text(statement, column);
  size_t n = (size_t)sqlite3_column_bytes(statement, column);
  if (!text || n >= size)
    return nx_fail(err, NX_E_FORMAT, "store: %s is too long: restore a backup",
                   sqlite3_column_name(statement, column));
  memcpy(out, text, n);
  out[n] = 0;
  return 0;
}

struct nx_bytes nx_sql_column_blob(sqlite3_stmt *statement, int column) {
  const void *data = sqlite3_column_blob(statement, column);
  return nx_bytes(data, data ? (size_t)sqlite3_column_bytes(statement, column) : 0);
}

void nx_sql_finalize(sqlite3_stmt **statement) {
  sqlite3_finalize(*statement);
}

int nx_transaction_begin(struct nx_run_store *store, struct nx_transaction *transaction,
                         struct nx_error *err) {
  int r = nx_sql_run(store, err, "BEGIN IMMEDIATE", "");
  if (r == 0)
    transaction->store = store;
  return r;
}

int nx_transaction_commit(struct nx_transaction *transaction, struct nx_error *err) {
  int r = nx_sql_run(transaction->store, err, "COMMIT", "");
  if (r == 0)
    transaction->store = NULL;
  return r;
}

void nx_transaction_rollback(struct nx_transaction *transaction) {
  if (transaction->store && !sqlite3_get_autocommit(transaction->store->db))
    sqlite3_exec(transaction->store->db, "ROLLBACK", NULL, NULL, NULL);
}
