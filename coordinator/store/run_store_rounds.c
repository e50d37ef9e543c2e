/* The run store's plans, runs and rounds. */
#include <signal.h>

#include "common/size.h"
#include "coordinator/store/sqlite_call.h"

int nx_run_store_put_plan(struct nx_run_store *store, const struct nx_hash *hash, const char *name,
                          struct nx_bytes text, int64_t now, struct nx_error *err) {
  NX_STORE_LOCK(store);
  return nx_sql_run(store, err, "INSERT OR IGNORE INTO plans VALUES(?, ?, ?, ?)", "bsbi", hash,
                    (size_t)32, name, text.data, text.size, now);
}

int nx_run_store_plan(struct nx_run_store *store, const struct nx_hash *hash,
                      struct nx_buffer *text_out, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, "SELECT text FROM plans WHERE hash = ?", "b", hash,
                         (size_t)32);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (r == 0)
    return nx_fail(err, NX_E_NOT_FOUND, "store: no such plan");
  struct nx_bytes text = nx_sql_column_blob(s, 0);
  return nx_buffer_append(text_out, text.data, text.size, err);
}

int nx_run_store_visit_plans(struct nx_run_store *store, size_t most,
                             int (*visit)(void *context, const struct nx_hash *hash,
                                          const char *name, struct nx_error *err),
                             void *context, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, "SELECT hash, name FROM plans ORDER BY rowid DESC LIMIT ?",
                         "i", (int64_t)most);
  while (r >= 0 && (r = nx_sql_step(store, s, err)) > 0) {
    char name[NX_STORE_NAME_SIZE];
    struct nx_hash hash;
    if ((r = nx_sql_column_bytes(s, 0, &hash, 32, err)) < 0 ||
        (r = nx_sql_column_text(s, 1, name, sizeof name, err)) < 0)
      return r;
    r = visit(context, &hash, name, err);
  }
  return r;
}

const char *nx_run_state_name(enum nx_run_state state) {
  static const char *const names[] = {
      [NX_RUN_RUNNING] = "running",   [NX_RUN_PAUSED] = "paused", [NX_RUN_STOPPED] = "stopped",
      [NX_RUN_FINISHED] = "finished", [NX_RUN_FAILED] = "failed",
  };
  bool known = (size_t)state < NX_ARRAY_LENGTH(names) && names[state];
  return known ? names[state] : "unknown";
}

static int check_idle(struct nx_run_store *store, struct nx_error *err) {
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, "SELECT id FROM runs WHERE state IN (?, ?)", "ii",
                         (int64_t)NX_RUN_RUNNING, (int64_t)NX_RUN_PAUSED);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  return r ? nx_fail(err, NX_E_STATE, "run %d is under way: stop it first",
                     (int)sqlite3_column_int64(s, 0))
           : 0;
}

int nx_run_store_start_run(struct nx_run_store *store, struct nx_store_run *run,
                           struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_transaction_ struct nx_transaction transaction = {0};
  int r = nx_transaction_begin(store, &transaction, err);
  if (r < 0 || (r = check_idle(store, err)) < 0)
    return r;
  r = nx_sql_run(store, err,
                 "INSERT INTO runs(plan, state, first_round, n_rounds, model, started)"
                 " VALUES(?, ?, ?, ?, ?, ?)",
                 "biiibi", &run->plan_hash, (size_t)32, (int64_t)run->state,
                 (int64_t)run->first_round, (int64_t)run->n_rounds, &run->model_hash, (size_t)32,
                 run->started);
  if (r < 0)
    return r;
  run->id = sqlite3_last_insert_rowid(store->db);
  return nx_transaction_commit(&transaction, err);
}

int nx_run_store_set_run_state(struct nx_run_store *store, int64_t run, enum nx_run_state state,
                               int64_t now, struct nx_error *err) {
  bool over = state != NX_RUN_RUNNING && state != NX_RUN_PAUSED;
  NX_STORE_LOCK(store);
  return nx_sql_run(store, err, "UPDATE runs SET state = ?, ended = ? WHERE id = ?", "iii",
                    (int64_t)state, over ? now : (int64_t)0, run);
}

#define RUN_COLUMNS                                                                                \
  "SELECT id, plan, state, first_round, n_rounds, model, started, ended FROM runs "

static int step_run(struct nx_run_store *store, sqlite3_stmt *s, struct nx_store_run *out,
                    struct nx_error *err) {
  int r = nx_sql_step(store, s, err);
  if (r <= 0)
    return r < 0 ? r : nx_fail(err, NX_E_NOT_FOUND, "no run has been started yet");
  *out = (struct nx_store_run){
      .id = sqlite3_column_int64(s, 0),
      .state = (enum nx_run_state)sqlite3_column_int(s, 2),
      .first_round = (uint64_t)sqlite3_column_int64(s, 3),
      .n_rounds = (uint64_t)sqlite3_column_int64(s, 4),
      .started = sqlite3_column_int64(s, 6),
      .ended = sqlite3_column_int64(s, 7),
  };
  if ((r = nx_sql_column_bytes(s, 1, &out->plan_hash, 32, err)) < 0)
    return r;
  return nx_sql_column_bytes(s, 5, &out->model_hash, 32, err);
}

int nx_run_store_last_run(struct nx_run_store *store, struct nx_store_run *out,
                          struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, RUN_COLUMNS "ORDER BY id DESC LIMIT 1", "");
  return r < 0 ? r : step_run(store, s, out, err);
}

int nx_run_store_run(struct nx_run_store *store, int64_t id, struct nx_store_run *out,
                     struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, RUN_COLUMNS "WHERE id = ?", "i", id);
  return r < 0 ? r : step_run(store, s, out, err);
}

int nx_run_store_needs_blob(struct nx_run_store *store, const struct nx_hash *hash,
                            bool *needed_out, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT 1 FROM runs WHERE model = ? OR plan = ?"
                         " UNION SELECT 1 FROM plans WHERE hash = ?",
                         "bbb", hash, (size_t)32, hash, (size_t)32, hash, (size_t)32);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  *needed_out = r > 0;
  return 0;
}

void nx_run_store_drill(struct nx_run_store *store, uint32_t kind, uint32_t n, bool before) {
  NX_STORE_LOCK(store);
  store->drill = n;
  store->drill_kind = kind;
  store->drill_before = before;
}

/* Called on both sides of a change. */
static void drill(struct nx_run_store *store, uint32_t kind, bool before) {
  if ((!store->drill_kind || store->drill_kind == kind) && store->drill && store->drill_before == before && --store->drill == 0)
    raise(SIGKILL);
}

/* --- records of the round core ----------------------------------------------------- */

int nx_run_store_append_record(struct nx_run_store *store, const struct nx_store_record *record,
                               struct nx_error *err) {
  NX_STORE_LOCK(store);
  drill(store, record->kind, true);
  int r =
      nx_sql_run(store, err, "INSERT INTO records(round, attempt, kind, body) VALUES(?, ?, ?, ?)",
                 "iiib", (int64_t)record->round, (int64_t)record->attempt, (int64_t)record->kind,
                 record->body.data, record->body.size);
  drill(store, record->kind, false);
  return r;
}

int nx_run_store_visit_records(struct nx_run_store *store, uint64_t from_round,
                               int (*visit)(void *context, const struct nx_store_record *record,
                                            struct nx_error *err),
                               void *context, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT round, attempt, kind, body FROM records WHERE round >= ?"
                         " ORDER BY sequence",
                         "i", (int64_t)from_round);
  while (r == 0 && (r = nx_sql_step(store, s, err)) > 0) {
    struct nx_store_record record = {.round = (uint64_t)sqlite3_column_int64(s, 0),
                                     .attempt = (uint32_t)sqlite3_column_int64(s, 1),
                                     .kind = (uint32_t)sqlite3_column_int64(s, 2),
                                     .body = nx_sql_column_blob(s, 3)};
    r = visit(context, &record, err);
  }
  return NX_MIN(r, 0);
}

/* --- sealed rounds ----------------------------------------------------------------- */

static int insert_sealed(struct nx_run_store *store, const struct nx_store_sealed *sealed,
                         struct nx_bytes aux, const uint8_t *survivors, struct nx_error *err) {
  if (aux.size > NX_STORE_AUX_BYTES)
    return nx_fail(err, NX_E_LIMIT, "store: %zu bytes of aux sums are more than %zu", aux.size,
                   NX_STORE_AUX_BYTES);
  int r =
      nx_sql_run(store, err, "INSERT INTO sealed VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                 "iiiibbbiiiiibb", (int64_t)sealed->round, (int64_t)sealed->attempt,
                 (int64_t)sealed->kind, sealed->run, &sealed->model_hash, (size_t)32,
                 &sealed->sum_hash, (size_t)32, &sealed->t3, (size_t)32, (int64_t)sealed->n_cohort,
                 (int64_t)sealed->n_recovered, (int64_t)sealed->bytes_up, sealed->opened,
                 sealed->sealed, aux.data, aux.size, survivors, (size_t)sealed->n_survivors);
  return r == NX_E_EXISTS ? nx_error_prefix(err, r, "round is sealed already") : r;
}

int nx_run_store_seal_round(struct nx_run_store *store, const struct nx_store_sealed *sealed,
                            struct nx_bytes aux, const uint8_t *survivors, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_transaction_ struct nx_transaction transaction = {0};
  drill(store, NX_STORE_DRILL_SEALED, true);
  int r = nx_transaction_begin(store, &transaction, err);
  if (r < 0 || (r = insert_sealed(store, sealed, aux, survivors, err)) < 0 ||
      (r = nx_sql_run(store, err, "UPDATE runs SET model = ? WHERE id = ?", "bi",
                      &sealed->model_hash, (size_t)32, sealed->run)) < 0 ||
      (r = nx_sql_run(store, err, "DELETE FROM records WHERE round <= ?", "i",
                      (int64_t)sealed->round)) < 0)
    return r;
  r = nx_transaction_commit(&transaction, err);
  drill(store, NX_STORE_DRILL_SEALED, false);
  return r;
}

int nx_run_store_totals(struct nx_run_store *store, int64_t run, struct nx_store_totals *out,
                        struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT COUNT(*), COALESCE(SUM(kind = 2), 0), COALESCE(SUM(bytes_up), 0),"
                         " COALESCE(SUM(n_recovered), 0) FROM sealed WHERE run = ?",
                         "i", run);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  *out = (struct nx_store_totals){.n_sealed = (uint64_t)sqlite3_column_int64(s, 0),
                                  .n_trained = (uint64_t)sqlite3_column_int64(s, 1),
                                  .bytes_up = (uint64_t)sqlite3_column_int64(s, 2),
                                  .n_recovered = (uint32_t)sqlite3_column_int64(s, 3)};
  return 0;
}

#define SEALED_COLUMNS                                                                             \
  "SELECT round, attempt, kind, run, model, sum, t3, n_cohort, length(survivors), n_recovered,"    \
  " bytes_up, opened, sealed FROM sealed "

static int read_sealed(struct nx_run_store *store, sqlite3_stmt *s, struct nx_store_sealed *out,
                       struct nx_error *err) {
  int r = nx_sql_step(store, s, err);
  if (r <= 0)
    return r < 0 ? r : nx_fail(err, NX_E_NOT_FOUND, "no such sealed round");
  *out = (struct nx_store_sealed){
      .round = (uint64_t)sqlite3_column_int64(s, 0),
      .attempt = (uint32_t)sqlite3_column_int64(s, 1),
      .kind = (uint32_t)sqlite3_column_int64(s, 2),
      .run = sqlite3_column_int64(s, 3),
      .n_cohort = (uint32_t)sqlite3_column_int64(s, 7),
      .n_survivors = (uint32_t)sqlite3_column_int64(s, 8),
      .n_recovered = (uint32_t)sqlite3_column_int64(s, 9),
      .bytes_up = (uint64_t)sqlite3_column_int64(s, 10),
      .opened = sqlite3_column_int64(s, 11),
      .sealed = sqlite3_column_int64(s, 12),
  };
  if ((r = nx_sql_column_bytes(s, 4, &out->model_hash, 32, err)) < 0 ||
      (r = nx_sql_column_bytes(s, 5, &out->sum_hash, 32, err)) < 0)
    return r;
  return nx_sql_column_bytes(s, 6, &out->t3, 32, err);
}

int nx_run_store_last_sealed(struct nx_run_store *store, struct nx_store_sealed *out,
                             struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, SEALED_COLUMNS "ORDER BY round DESC LIMIT 1", "");
  return r < 0 ? r : read_sealed(store, s, out, err);
}

int nx_run_store_sealed(struct nx_run_store *store, uint64_t round, struct nx_store_sealed *out,
                        struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, SEALED_COLUMNS "WHERE round = ?", "i", (int64_t)round);
  return r < 0 ? r : read_sealed(store, s, out, err);
}

int nx_run_store_sealed_aux(struct nx_run_store *store, uint64_t round, struct nx_buffer *aux_out,
                            struct nx_buffer *survivors_out, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err, "SELECT aux, survivors FROM sealed WHERE round = ?", "i",
                         (int64_t)round);
  if (r < 0 || (r = nx_sql_step(store, s, err)) < 0)
    return r;
  if (r == 0)
    return nx_fail(err, NX_E_NOT_FOUND, "no such sealed round");
  struct nx_bytes aux = nx_sql_column_blob(s, 0), survivors = nx_sql_column_blob(s, 1);
  if ((r = nx_buffer_append(aux_out, aux.data, aux.size, err)) < 0)
    return r;
  return nx_buffer_append(survivors_out, survivors.data, survivors.size, err);
}

/* --- signatures over sealed rounds (M11) ------------------------------------------- */

/* 1 when the very same signature is there, 0 when none is, NX_E_EXISTS when another is. */
static int compare_signature(struct nx_run_store *store, uint64_t round, uint32_t member,
                             struct nx_bytes message, struct nx_error *err) {
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT message FROM signatures WHERE round = ? AND member = ?", "ii",
                         (int64_t)round, (int64_t)member);
  if (r < 0 || (r = nx_sql_step(store, s, err)) <= 0)
    return r;
  struct nx_bytes held = nx_sql_column_blob(s, 0);
  if (held.size == message.size && !memcmp(held.data, message.data, held.size))
    return 1;
  return nx_fail(err, NX_E_EXISTS, "member %u signed round %llu twice, differently", member,
                 (unsigned long long)round);
}

int nx_run_store_put_signature(struct nx_run_store *store, uint64_t round, uint32_t member,
                               struct nx_bytes message, struct nx_error *err) {
  NX_STORE_LOCK(store);
  int r = compare_signature(store, round, member, message, err);
  if (r != 0)
    return NX_MIN(r, 0);
  return nx_sql_run(store, err, "INSERT INTO signatures VALUES(?, ?, ?)", "iib", (int64_t)round,
                    (int64_t)member, message.data, message.size);
}

int nx_run_store_visit_signatures(struct nx_run_store *store, uint64_t round,
                                  int (*visit)(void *context, uint32_t member,
                                               struct nx_bytes message, struct nx_error *err),
                                  void *context, struct nx_error *err) {
  NX_STORE_LOCK(store);
  _cleanup_statement_ sqlite3_stmt *s = NULL;
  int r = nx_sql_prepare(store, &s, err,
                         "SELECT member, message FROM signatures WHERE round = ? ORDER BY member",
                         "i", (int64_t)round);
  while (r == 0 && (r = nx_sql_step(store, s, err)) > 0)
    r = visit(context, (uint32_t)sqlite3_column_int64(s, 0), nx_sql_column_blob(s, 1), err);
  return NX_MIN(r, 0);
}
