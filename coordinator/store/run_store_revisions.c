#include "coordinator/store/run_store_revisions.h"

#include "common/size.h"
#include "coordinator/store/sqlite_call.h"

/* --- the proposal -------------------------------------------------------------------------- */

int nx_run_store_propose(struct nx_run_store *store, const struct nx_store_proposal *proposal,
                         struct nx_bytes body, const struct nx_signature *signature,
                         struct nx_error *err) {
  NX_STORE_LOCK(store);
  int r = nx_sql_run(store, err, "INSERT INTO proposal VALUES(1, ?, ?, ?, ?, ?, ?, ?)", "biibbbi",
                     &proposal->hash, (size_t)32, (int64_t)proposal->kind,
                     (int64_t)proposal->member, &proposal->identity, (size_t)32, body.data,
                     body.size, signature, (size_t)64, proposal->created);
  return r == NX_E_EXISTS
             ? nx_fail(err, r,
                       "a revision of the members' list is proposed already: wait for its "
                       "answers (revise --status), or take it back (revise --withdraw)")
             : r;
}

int nx_run_store_proposal(struct nx_run_store *store, struct nx_store_proposal *out,
                          struct nx_buffer *body_out, struct nx_signature *signature_out,
                          struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  struct nx_signature signature;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT hash, kind, member, identity_pk, body, signature, created"
                         " FROM proposal",
                         "");
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (r == 0)
    return nx_fail(err, NX_E_NOT_FOUND, "no revision of the members' list is proposed");
  struct nx_bytes body = nx_sql_column_blob(s, 4);
  *out = (struct nx_store_proposal){.kind = (enum nx_store_change)sqlite3_column_int64(s, 1),
                                    .member = (uint32_t)sqlite3_column_int64(s, 2),
                                    .created = sqlite3_column_int64(s, 6)};
  if ((r = nx_sql_column_bytes(s, 0, &out->hash, 32, err)) < 0 ||
      (r = nx_sql_column_bytes(s, 3, &out->identity, 32, err)) < 0 ||
      (r = nx_sql_column_bytes(s, 5, &signature, 64, err)) < 0)
    return r;
  if (signature_out)
    *signature_out = signature;
  return body_out ? nx_buffer_append(body_out, body.data, body.size, err) : 0;
}

static int forget_proposal(struct nx_run_store *store, struct nx_error *err) {
  int r = nx_sql_run(store, err, "DELETE FROM answers", "");
  return r < 0 ? r : nx_sql_run(store, err, "DELETE FROM proposal", "");
}

int nx_run_store_withdraw_proposal(struct nx_run_store *store, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_transaction_ struct nx_transaction transaction = {0};
  int r = nx_transaction_begin(store, &transaction, err);
  if (r < 0 || (r = forget_proposal(store, err)) < 0)
    return r;
  if (!sqlite3_changes(store->db))
    return nx_fail(err, NX_E_NOT_FOUND, "no revision of the members' list is proposed");
  return nx_transaction_commit(&transaction, err);
}

int nx_run_store_put_answer(struct nx_run_store *store, const struct nx_hash *hash,
                            const struct nx_store_answer *answer, struct nx_error *err) {
  NX_STORE_LOCK(store);
  return nx_sql_run(store, err, "INSERT OR REPLACE INTO answers VALUES(?, ?, ?, ?)", "biib", hash,
                    (size_t)32, (int64_t)answer->member, (int64_t)answer->approve,
                    &answer->signature, (size_t)64);
}

int nx_run_store_answers(struct nx_run_store *store, const struct nx_hash *hash,
                         struct nx_store_answer *out, size_t *n_out, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  size_t n = 0;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT member, approve, signature FROM answers WHERE hash = ?"
                         " ORDER BY member",
                         "b", hash, (size_t)32);
  while (r == 0 && (r = nx_sql_step(store, s, err)) > 0 && n < NX_STORE_MEMBERS) {
    out[n] = (struct nx_store_answer){.member = (uint32_t)sqlite3_column_int64(s, 0),
                                      .approve = sqlite3_column_int64(s, 1) != 0};
    r = nx_sql_column_bytes(s, 2, &out[n++].signature, 64, err);
  }
  *n_out = n;
  return NX_MIN(r, 0);
}

/* --- revisions ------------------------------------------------------------------------------ */

static int apply_change(struct nx_run_store *store, const struct nx_store_proposal *proposal,
                        int64_t now, struct nx_error *err) {
  int r = 0;
  if (proposal->kind == NX_CHANGE_REMOVE)
    r = nx_sql_run(store, err,
                   "UPDATE members SET revoked = ?, reason = 'removed from the members'' list',"
                   " logged = 0 WHERE id = ? AND revoked = 0",
                   "ii", now, (int64_t)proposal->member);
  if (proposal->kind == NX_CHANGE_KEY) {
    r = nx_sql_run(store, err, "UPDATE members SET identity_pk = ? WHERE id = ?", "bi",
                   &proposal->identity, (size_t)32, (int64_t)proposal->member);
    if (r == 0)
      r = nx_sql_run(store, err, "DELETE FROM new_keys WHERE member = ?", "i",
                     (int64_t)proposal->member);
  }
  return r;
}

int nx_run_store_seal_revision(struct nx_run_store *store, uint64_t number, struct nx_bytes link,
                               const struct nx_store_proposal *proposal, int64_t now,
                               struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_transaction_ struct nx_transaction transaction = {0};
  int r = nx_transaction_begin(store, &transaction, err);
  if (r < 0 ||
      (r = nx_sql_run(store, err, "INSERT INTO revisions VALUES(?, ?)", "ib", (int64_t)number,
                      link.data, link.size)) < 0 ||
      (r = apply_change(store, proposal, now, err)) < 0 || (r = forget_proposal(store, err)) < 0)
    return r;
  return nx_transaction_commit(&transaction, err);
}

int nx_run_store_visit_revisions(struct nx_run_store *store,
                                 int (*visit)(void *context, uint64_t number, struct nx_bytes link,
                                              struct nx_error *err),
                                 void *context, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, "SELECT number, link FROM revisions ORDER BY number", "");
  while (r == 0 && (r = nx_sql_step(store, s, err)) > 0)
    r = visit(context, (uint64_t)sqlite3_column_int64(s, 0), nx_sql_column_blob(s, 1), err);
  return NX_MIN(r, 0);
}

/* --- new keys --------------------------------------------------------------------------------- */

int nx_run_store_put_new_key(struct nx_run_store *store, uint32_t member,
                             const struct nx_public_key *identity, int64_t now,
                             struct nx_error *err) {
  NX_STORE_LOCK(store);
  return nx_sql_run(store, err, "INSERT OR REPLACE INTO new_keys VALUES(?, ?, ?)", "ibi",
                    (int64_t)member, identity, (size_t)32, now);
}

int nx_run_store_new_key(struct nx_run_store *store, uint32_t member, struct nx_public_key *out,
                         struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, "SELECT identity_pk FROM new_keys WHERE member = ?", "i",
                         (int64_t)member);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  return r ? nx_sql_column_bytes(s, 0, out, 32, err)
           : nx_fail(err, NX_E_NOT_FOUND, "member %u asked for no new key", member);
}
