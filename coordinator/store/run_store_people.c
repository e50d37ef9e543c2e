/* The run store's people: members, their revocation, invitations, the manifest. */
#include "common/size.h"
#include "coordinator/store/sqlite_call.h"

static int read_member(sqlite3_stmt *s, struct nx_store_member *out, struct nx_error *err) {
  int r;
  *out = (struct nx_store_member){.id = (uint32_t)sqlite3_column_int64(s, 0),
                                  .enrolled = sqlite3_column_int64(s, 4),
                                  .revoked = sqlite3_column_int64(s, 5),
                                  .ends = sqlite3_column_int64(s, 6)};
  if ((r = nx_sql_column_text(s, 1, out->name, sizeof out->name, err)) < 0 ||
      (r = nx_sql_column_bytes(s, 2, &out->identity, 32, err)) < 0 ||
      (r = nx_sql_column_bytes(s, 3, &out->spki, 32, err)) < 0)
    return r;
  return 0;
}

#define MEMBER_FIELDS "SELECT id, name, identity_pk, spki, enrolled, revoked, ends"
#define MEMBER_COLUMNS MEMBER_FIELDS " FROM members "

int nx_run_store_members(struct nx_run_store *store, struct nx_store_member *out, size_t *n_out,
                         struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  *n_out = 0;
  int r = nx_sql_prepare(store, &s, err, MEMBER_COLUMNS "ORDER BY id", "");
  while (r == 0 && (r = nx_sql_step(store, s, err)) > 0 && *n_out < NX_STORE_MEMBERS)
    r = read_member(s, &out[(*n_out)++], err);
  return NX_MIN(r, 0);
}

int nx_run_store_member_by_spki(struct nx_run_store *store, const struct nx_hash *spki,
                                struct nx_store_member *out, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, MEMBER_COLUMNS "WHERE spki = ?", "b", spki, (size_t)32);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  return r ? read_member(s, out, err)
           : nx_fail(err, NX_E_NOT_FOUND, "no member of this federation has this certificate key");
}

int nx_run_store_member_certificate(struct nx_run_store *store, uint32_t member,
                                    struct nx_buffer *certificate_out, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, "SELECT certificate FROM members WHERE id = ?", "i",
                         (int64_t)member);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (r == 0)
    return nx_fail(err, NX_E_NOT_FOUND, "there is no member %u", member);
  struct nx_bytes certificate = nx_sql_column_blob(s, 0);
  return nx_buffer_append(certificate_out, certificate.data, certificate.size, err);
}

int nx_run_store_renew(struct nx_run_store *store, uint32_t member, int64_t ends,
                       struct nx_bytes certificate, struct nx_error *err) {
  NX_STORE_LOCK(store);
  int r = nx_sql_run(store, err,
                     "UPDATE members SET certificate = ?, ends = ? WHERE id = ? AND revoked = 0",
                     "bii", certificate.data, certificate.size, ends, (int64_t)member);
  if (r == 0 && !sqlite3_changes(store->db))
    return nx_fail(err, NX_E_NOT_FOUND, "there is no member %u whose certificate is valid", member);
  return r;
}

int nx_run_store_revoke(struct nx_run_store *store, const char *name, const char *reason,
                        int64_t now, struct nx_error *err) {
  NX_STORE_LOCK(store);
  int r = nx_sql_run(store, err,
                     "UPDATE members SET revoked = ?, reason = ?, logged = 0"
                     " WHERE name = ? AND revoked = 0",
                     "iss", now, reason, name);
  if (r == 0 && !sqlite3_changes(store->db))
    return nx_fail(err, NX_E_NOT_FOUND, "there is no member %s whose certificate is valid", name);
  return r;
}

int nx_run_store_unlogged_revocation(struct nx_run_store *store, struct nx_store_member *out,
                                     char reason[NX_STORE_REASON_SIZE], struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err,
                         MEMBER_FIELDS ", reason FROM members WHERE logged = 0 ORDER BY id LIMIT 1",
                         "");
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (r == 0)
    return nx_fail(err, NX_E_NOT_FOUND, "every revocation is logged");
  r = read_member(s, out, err);
  return r < 0 ? r : nx_sql_column_text(s, 7, reason, NX_STORE_REASON_SIZE, err);
}

int nx_run_store_mark_revocation_logged(struct nx_run_store *store, uint32_t member,
                                        struct nx_error *err) {
  NX_STORE_LOCK(store);
  return nx_sql_run(store, err, "UPDATE members SET logged = 1 WHERE id = ?", "i", (int64_t)member);
}

/* --- invitations ------------------------------------------------------------------- */

static int count(struct nx_run_store *store, sqlite3_stmt *s, int64_t *out, struct nx_error *err) {
  int r = nx_sql_step(store, s, err);
  *out = r > 0 ? sqlite3_column_int64(s, 0) : 0;
  return NX_MIN(r, 0);
}

/* A name is taken by a member or by an invitation that may still be used. */
static int check_name_free(struct nx_run_store *store, const char *name, int64_t now,
                           struct nx_error *err) {
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int64_t taken;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT (SELECT COUNT(*) FROM members WHERE name = ?) + (SELECT COUNT(*)"
                         " FROM invitations WHERE name = ? AND used = 0 AND expires > ?)",
                         "ssi", name, name, now);
  if (r < 0 || (r = count(store, s, &taken, err)) < 0)
    return r;
  return taken ? nx_fail(err, NX_E_EXISTS,
                         "%s is a member or has an invitation that is still open: choose another "
                         "name or wait until it expires",
                         name)
               : 0;
}

/* The lowest id that neither a member nor an open invitation has. */
static int next_member_id(struct nx_run_store *store, int64_t now, uint32_t *id_out,
                          struct nx_error *err) {
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT id FROM members UNION SELECT member FROM invitations"
                         " WHERE used = 0 AND expires > ? ORDER BY 1",
                         "i", now);
  uint32_t next = 1;
  while (r == 0 && (r = nx_sql_step(store, s, err)) > 0) {
    r = 0;
    if (sqlite3_column_int64(s, 0) != next)
      break;
    next++;
  }
  if (r < 0)
    return r;
  if (next > NX_STORE_MEMBERS)
    return nx_fail(err, NX_E_LIMIT, "a federation holds at most %d members", NX_STORE_MEMBERS);
  *id_out = next;
  return 0;
}

int nx_run_store_invite(struct nx_run_store *store, struct nx_store_invitation *invitation,
                        struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_transaction_ struct nx_transaction transaction = {0};
  int r = nx_transaction_begin(store, &transaction, err);
  if (r < 0 || (r = check_name_free(store, invitation->name, invitation->created, err)) < 0 ||
      (r = next_member_id(store, invitation->created, &invitation->member, err)) < 0 ||
      (r = nx_sql_run(store, err, "INSERT INTO invitations VALUES(?, ?, ?, ?, ?, 0, 0)", "bisii",
                      &invitation->token_hash, (size_t)32, (int64_t)invitation->member,
                      invitation->name, invitation->created, invitation->expires)) < 0)
    return r;
  return nx_transaction_commit(&transaction, err);
}

int nx_run_store_invite_again(struct nx_run_store *store, struct nx_store_invitation *invitation,
                              struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, "SELECT id FROM members WHERE name = ? AND revoked = 0",
                         "s", invitation->name);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (r == 0)
    return nx_fail(err, NX_E_NOT_FOUND, "there is no member %s that was not revoked",
                   invitation->name);
  invitation->member = (uint32_t)sqlite3_column_int64(s, 0);
  return nx_sql_run(store, err, "INSERT INTO invitations VALUES(?, ?, ?, ?, ?, 0, 0)", "bisii",
                    &invitation->token_hash, (size_t)32, (int64_t)invitation->member,
                    invitation->name, invitation->created, invitation->expires);
}

#define INVITATION_COLUMNS                                                                         \
  "SELECT token_hash, member, name, created, expires, used FROM invitations "

/* The row that the statement found; `missing` when it found none. */
static int step_invitation(struct nx_run_store *store, sqlite3_stmt *s,
                           struct nx_store_invitation *out, const char *missing,
                           struct nx_error *err) {
  int r = nx_sql_step(store, s, err);
  if (r <= 0)
    return r < 0 ? r : nx_fail(err, NX_E_NOT_FOUND, "%s", missing);
  *out = (struct nx_store_invitation){.member = (uint32_t)sqlite3_column_int64(s, 1),
                                      .created = sqlite3_column_int64(s, 3),
                                      .expires = sqlite3_column_int64(s, 4),
                                      .used = sqlite3_column_int64(s, 5)};
  if ((r = nx_sql_column_bytes(s, 0, &out->token_hash, 32, err)) < 0)
    return r;
  return nx_sql_column_text(s, 2, out->name, sizeof out->name, err);
}

static int read_invitation(struct nx_run_store *store, const struct nx_hash *token_hash,
                           struct nx_store_invitation *out, struct nx_error *err) {
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, INVITATION_COLUMNS "WHERE token_hash = ?", "b", token_hash,
                         (size_t)32);
  return r < 0 ? r
               : step_invitation(store, s, out,
                                 "this federation made no such invitation: ask its operator for a "
                                 "new one",
                                 err);
}

int nx_run_store_withdraw_invitation(struct nx_run_store *store, const struct nx_hash *token_hash,
                                     struct nx_error *err) {
  NX_STORE_LOCK(store);
  int r = nx_sql_run(store, err, "DELETE FROM invitations WHERE token_hash = ? AND used = 0", "b",
                     token_hash, (size_t)32);
  if (r == 0 && !sqlite3_changes(store->db))
    return nx_fail(err, NX_E_NOT_FOUND, "there is no such unused invitation");
  return r;
}

int nx_run_store_unlogged_invitation(struct nx_run_store *store, struct nx_store_invitation *out,
                                     struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(
      store, &s, err, INVITATION_COLUMNS "WHERE logged = 0 ORDER BY created, member LIMIT 1", "");
  return r < 0 ? r : step_invitation(store, s, out, "every invitation is logged", err);
}

int nx_run_store_mark_logged(struct nx_run_store *store, const struct nx_hash *token_hash,
                             struct nx_error *err) {
  NX_STORE_LOCK(store);
  return nx_sql_run(store, err, "UPDATE invitations SET logged = 1 WHERE token_hash = ?", "b",
                    token_hash, (size_t)32);
}

int nx_run_store_invitation(struct nx_run_store *store, const struct nx_hash *token_hash,
                            struct nx_store_invitation *out, struct nx_error *err) {
  NX_STORE_LOCK(store);
  return read_invitation(store, token_hash, out, err);
}

int nx_run_store_pending_invitations(struct nx_run_store *store, int64_t now, uint32_t *n_out,
                                     struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int64_t n;
  int r = nx_sql_prepare(
      store, &s, err, "SELECT COUNT(*) FROM invitations WHERE used = 0 AND expires > ?", "i", now);
  if (r < 0 || (r = count(store, s, &n, err)) < 0)
    return r;
  *n_out = (uint32_t)n;
  return 0;
}

/* The invitation is spent. The log tells apart who asks: with the keys that spent it, it is a
 * replay, since a site makes new ones whenever it asks again. */
static int refuse_used(struct nx_run_store *store, const struct nx_store_invitation *invitation,
                       const struct nx_public_key *identity, const struct nx_hash *spki,
                       struct nx_error *err) {
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT id FROM members WHERE id = ? AND identity_pk = ? AND spki = ?",
                         "ibb", (int64_t)invitation->member, identity, (size_t)32, spki,
                         (size_t)32);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (r)
    return nx_fail(err, NX_E_EXISTS,
                   "the invitation of %s was used already, by this very request: it is a replay, "
                   "or its answer was lost (then ask the operator to revoke %s and to invite the "
                   "site under another name)",
                   invitation->name, invitation->name);
  return nx_fail(err, NX_E_EXISTS,
                 "the invitation of %s was used already: ask the operator for a new one",
                 invitation->name);
}

/* 1: a member that is in has come for its next certificate; 0: the invitation is a new one's. */
static int come_back(struct nx_run_store *store, const struct nx_store_invitation *invitation,
                     const struct nx_public_key *identity, const struct nx_hash *spki,
                     struct nx_bytes certificate, int64_t ends, int64_t now,
                     struct nx_store_member *member_out, struct nx_error *err) {
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, MEMBER_COLUMNS "WHERE id = ?", "i",
                         (int64_t)invitation->member);
  if (r < 0 || (r = nx_sql_step(store, s, err)) <= 0 || (r = read_member(s, member_out, err)) < 0)
    return r;
  if (member_out->revoked || memcmp(&member_out->identity, identity, sizeof *identity) ||
      !nx_hash_equal(&member_out->spki, spki))
    return nx_fail(err, NX_E_DENIED,
                   "this invitation is for a member that is in, and these are not its keys (or it "
                   "was revoked meanwhile)");
  member_out->ends = ends;
  member_out->readmitted = true;
  if ((r = nx_sql_run(store, err, "UPDATE invitations SET used = ? WHERE token_hash = ?", "ib", now,
                      &invitation->token_hash, (size_t)32)) < 0 ||
      (r = nx_sql_run(store, err, "UPDATE members SET certificate = ?, ends = ? WHERE id = ?",
                      "bii", certificate.data, certificate.size, ends,
                      (int64_t)invitation->member)) < 0)
    return r;
  return 1;
}

static int add_member(struct nx_run_store *store, const struct nx_store_invitation *invitation,
                      const struct nx_store_member *member, struct nx_bytes certificate,
                      struct nx_error *err) {
  int r = nx_sql_run(store, err, "UPDATE invitations SET used = ? WHERE token_hash = ?", "ib",
                     member->enrolled, &invitation->token_hash, (size_t)32);
  if (r < 0)
    return r;
  r = nx_sql_run(store, err,
                 "INSERT INTO members(id, name, identity_pk, spki, certificate, enrolled, ends)"
                 " VALUES(?, ?, ?, ?, ?, ?, ?)",
                 "isbbbii", (int64_t)member->id, member->name, &member->identity, (size_t)32,
                 &member->spki, (size_t)32, certificate.data, certificate.size, member->enrolled,
                 member->ends);
  if (r == NX_E_EXISTS)
    return nx_fail(err, NX_E_EXISTS, "another member has this name or these keys: make new keys");
  return r;
}

int nx_run_store_enrol(struct nx_run_store *store, const struct nx_hash *token_hash, int64_t now,
                       const struct nx_public_key *identity, const struct nx_hash *spki,
                       struct nx_bytes certificate, int64_t ends,
                       struct nx_store_member *member_out, struct nx_buffer *certificate_out,
                       struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_transaction_ struct nx_transaction transaction = {0};
  struct nx_store_invitation invitation;
  int r = nx_transaction_begin(store, &transaction, err);
  if (r < 0 || (r = read_invitation(store, token_hash, &invitation, err)) < 0)
    return r;
  if (invitation.used)
    return refuse_used(store, &invitation, identity, spki, err);
  if (invitation.expires <= now)
    return nx_fail(err, NX_E_TIMEOUT,
                   "this invitation has expired: ask the operator for a new one");
  if ((r = come_back(store, &invitation, identity, spki, certificate, ends, now, member_out, err)))
    return r < 0 || (r = nx_transaction_commit(&transaction, err)) < 0
               ? r
               : nx_buffer_append(certificate_out, certificate.data, certificate.size, err);
  *member_out = (struct nx_store_member){.id = invitation.member, .enrolled = now, .ends = ends};
  memcpy(member_out->name, invitation.name, sizeof invitation.name);
  member_out->identity = *identity;
  member_out->spki = *spki;
  if ((r = add_member(store, &invitation, member_out, certificate, err)) < 0 ||
      (r = nx_transaction_commit(&transaction, err)) < 0)
    return r;
  return nx_buffer_append(certificate_out, certificate.data, certificate.size, err);
}

/* --- the manifest ------------------------------------------------------------------ */

int nx_run_store_put_manifest(struct nx_run_store *store, struct nx_bytes body,
                              const struct nx_signature *signature, struct nx_error *err) {
  NX_STORE_LOCK(store);
  int r = nx_sql_run(store, err, "INSERT INTO manifest VALUES(1, ?, ?)", "bb", body.data, body.size,
                     signature, (size_t)64);
  return r == NX_E_EXISTS ? nx_fail(err, r, "the manifest of members is sealed already") : r;
}

int nx_run_store_manifest(struct nx_run_store *store, struct nx_buffer *body_out,
                          struct nx_signature *signature_out, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, "SELECT body, signature FROM manifest", "");
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (r == 0)
    return nx_fail(err, NX_E_NOT_FOUND, "the manifest of members is not sealed yet");
  struct nx_bytes body = nx_sql_column_blob(s, 0);
  if ((r = nx_sql_column_bytes(s, 1, signature_out, 64, err)) < 0)
    return r;
  return nx_buffer_append(body_out, body.data, body.size, err);
}
