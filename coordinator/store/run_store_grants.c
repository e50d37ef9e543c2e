/* The run store's grants: certificates of people, and what became of them. */
#include "common/size.h"
#include "coordinator/store/sqlite_call.h"

#define GRANT_FIELDS "SELECT id, name, role, spki, granted, ends, revoked"

static int read_grant(sqlite3_stmt *s, struct nx_store_grant *out, struct nx_error *err) {
  *out = (struct nx_store_grant){.id = sqlite3_column_int64(s, 0),
                                 .role = (uint32_t)sqlite3_column_int64(s, 2),
                                 .granted = sqlite3_column_int64(s, 4),
                                 .ends = sqlite3_column_int64(s, 5),
                                 .revoked = sqlite3_column_int64(s, 6)};
  int r = nx_sql_column_text(s, 1, out->name, sizeof out->name, err);
  return r < 0 ? r : nx_sql_column_bytes(s, 3, &out->spki, 32, err);
}

/* Names are told in logs: a person's is nobody's but one. */
static int check_free(struct nx_run_store *store, const struct nx_store_grant *grant,
                      struct nx_error *err) {
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT (SELECT COUNT(*) FROM grants WHERE name = ? AND revoked = 0)"
                         " + (SELECT COUNT(*) FROM grants WHERE spki = ?)"
                         " + (SELECT COUNT(*) FROM members WHERE name = ? OR spki = ?),"
                         " (SELECT COUNT(*) FROM grants)",
                         "sbsb", grant->name, &grant->spki, (size_t)32, grant->name, &grant->spki,
                         (size_t)32);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (sqlite3_column_int64(s, 0))
    return nx_fail(err, NX_E_EXISTS,
                   "%s is a member or has a valid certificate already: revoke that one first, or "
                   "choose another name",
                   grant->name);
  if (sqlite3_column_int64(s, 1) >= NX_STORE_GRANTS)
    return nx_fail(err, NX_E_LIMIT, "at most %d people can be granted a role", NX_STORE_GRANTS);
  return 0;
}

int nx_run_store_grant(struct nx_run_store *store, struct nx_store_grant *grant,
                       struct nx_bytes certificate, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_transaction_ struct nx_transaction transaction = {0};
  int r = nx_transaction_begin(store, &transaction, err);
  if (r < 0 || (r = check_free(store, grant, err)) < 0 ||
      (r = nx_sql_run(store, err,
                      "INSERT INTO grants(name, role, spki, certificate, granted, ends)"
                      " VALUES(?, ?, ?, ?, ?, ?)",
                      "sibbii", grant->name, (int64_t)grant->role, &grant->spki, (size_t)32,
                      certificate.data, certificate.size, grant->granted, grant->ends)) < 0)
    return r;
  grant->id = sqlite3_last_insert_rowid(store->db);
  return nx_transaction_commit(&transaction, err);
}

int nx_run_store_grants(struct nx_run_store *store, struct nx_store_grant *out, size_t *n_out,
                        struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  *n_out = 0;
  int r = nx_sql_prepare(store, &s, err, GRANT_FIELDS " FROM grants ORDER BY id", "");
  while (r == 0 && (r = nx_sql_step(store, s, err)) > 0 && *n_out < NX_STORE_GRANTS)
    r = read_grant(s, &out[(*n_out)++], err);
  return NX_MIN(r, 0);
}

int nx_run_store_revoke_grant(struct nx_run_store *store, const char *name, const char *reason,
                              int64_t now, struct nx_error *err) {
  NX_STORE_LOCK(store);
  int r = nx_sql_run(store, err,
                     "UPDATE grants SET revoked = ?, reason = ?, logged = 0"
                     " WHERE name = ? AND revoked = 0",
                     "iss", now, reason, name);
  if (r == 0 && !sqlite3_changes(store->db))
    return nx_fail(err, NX_E_NOT_FOUND, "nobody called %s holds a valid certificate", name);
  return r;
}

int nx_run_store_unlogged_grant(struct nx_run_store *store, struct nx_store_grant *out,
                                char reason[NX_STORE_REASON_SIZE], struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(
      store, &s, err, GRANT_FIELDS ", reason FROM grants WHERE logged = 0 ORDER BY id LIMIT 1", "");
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (r == 0)
    return nx_fail(err, NX_E_NOT_FOUND, "every grant is logged");
  r = read_grant(s, out, err);
  return r < 0 ? r : nx_sql_column_text(s, 7, reason, NX_STORE_REASON_SIZE, err);
}

/* Only as it was read: a revocation that came meanwhile is logged too. */
int nx_run_store_mark_grant_logged(struct nx_run_store *store, const struct nx_store_grant *grant,
                                   struct nx_error *err) {
  NX_STORE_LOCK(store);
  return nx_sql_run(store, err, "UPDATE grants SET logged = 1 WHERE id = ? AND revoked = ?", "ii",
                    grant->id, grant->revoked);
}
