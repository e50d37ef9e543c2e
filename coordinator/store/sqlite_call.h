/* SQLite call: the few lines around SQLite that every store query needs. Private to
 * coordinator/store. */
#pragma once

#include <pthread.h>
#include <sqlite3.h>

#include "coordinator/store/run_store.h"

struct nx_run_store {
  sqlite3 *db;
  pthread_mutex_t lock;
  uint32_t drill; /* changes until this process kills itself; 0: never */
  uint32_t drill_kind; /* of these only; 0: all */
  bool drill_before;
};

/* Compiles sql and binds the arguments after types, one letter each:
 * i = int64_t, s = const char *, b = const void *, size_t. Finalise with the cleanup. */
int nx_sql_prepare(struct nx_run_store *store, sqlite3_stmt **statement_out, struct nx_error *err,
                   const char *sql, const char *types, ...);
/* 1 when a row is there, 0 at the end. */
int nx_sql_step(struct nx_run_store *store, sqlite3_stmt *statement, struct nx_error *err);
/* Prepares, runs to the end, finalises. */
int nx_sql_run(struct nx_run_store *store, struct nx_error *err, const char *sql, const char *types,
               ...);
/* NX_E_* for the connection's last error, with SQLite's words and what to do. */
int nx_sql_fail(struct nx_run_store *store, struct nx_error *err);

/* A column of exactly `size` bytes; NX_E_FORMAT otherwise (a damaged store). */
int nx_sql_column_bytes(sqlite3_stmt *statement, int column, void *out, size_t size,
                        struct nx_error *err);
int nx_sql_column_text(sqlite3_stmt *statement, int column, char *out, size_t size,
                       struct nx_error *err);
struct nx_bytes nx_sql_column_blob(sqlite3_stmt *statement, int column);

void nx_sql_finalize(sqlite3_stmt **statement);
#define _cleanup_statement_ _cleanup_(nx_sql_finalize)

/* Holds the store's lock until the variable goes. */
struct nx_store_hold {
  struct nx_run_store *store;
};
static inline struct nx_store_hold nx_store_hold(struct nx_run_store *store) {
  pthread_mutex_lock(&store->lock);
  return (struct nx_store_hold){store};
}
static inline void nx_store_release(struct nx_store_hold *hold) {
  pthread_mutex_unlock(&hold->store->lock);
}
#define NX_STORE_LOCK(store)                                                                       \
  _cleanup_(nx_store_release) __attribute__((unused)) struct nx_store_hold hold_ =                 \
      nx_store_hold(store)

/* BEGIN IMMEDIATE … COMMIT; a transaction that was not committed rolls back when its
 * variable goes. */
struct nx_transaction {
  struct nx_run_store *store; /* NULL when committed or never begun */
};
int nx_transaction_begin(struct nx_run_store *store, struct nx_transaction *transaction,
                         struct nx_error *err);
int nx_transaction_commit(struct nx_transaction *transaction, struct nx_error *err);
void nx_transaction_rollback(struct nx_transaction *transaction);
#define _cleanup_transaction_ _cleanup_(nx_transaction_rollback)
