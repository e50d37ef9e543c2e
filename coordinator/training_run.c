#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/size.h"
#include "coordinator/training_run_internal.h"

void nx_training_run_note(struct nx_training_run *run, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(run->note, sizeof run->note, format, arguments);
  va_end(arguments);
}

enum nx_round_kind nx_training_run_kind(const struct nx_training_run *run) {
  return nx_plan_round_kind(run->plan, run->round - run->row.first_round);
}

bool nx_training_run_is_over(const struct nx_training_run *run) {
  return run->row.state != NX_RUN_RUNNING && run->row.state != NX_RUN_PAUSED;
}

/* --- beginning --------------------------------------------------------------------- */

static int make_run(const struct nx_training_run_config *config, struct nx_bytes plan_text,
                    struct nx_training_run **run_out, struct nx_error *err) {
  _cleanup_(nx_training_run_destroyp) struct nx_training_run *run = calloc(1, sizeof *run);
  if (!run)
    return nx_fail(err, NX_E_NOMEM, "run");
  run->config = *config;
  run->core_deadline = NX_NEVER;
  run->metrics = nx_run_metrics(NULL, 0);
  int r = nx_path_join(run->uploads, config->federation->home, "uploads", err);
  if (r < 0 || (r = nx_upload_spares_init(&run->spares, run->uploads, err)) < 0 ||
      (r = nx_plan_parse("plan", plan_text, &run->plan, err)) < 0 ||
      (r = nx_plan_check(run->plan, (uint32_t)config->n_members, err)) < 0)
    return r;
  *run_out = nx_steal(&run);
  return 0;
}

static int see_round(void *context, const struct nx_store_record *record, struct nx_error *err) {
  uint64_t *round = context;
  (void)err;
  *round = NX_MAX(*round, record->round + 1);
  return 0;
}

/* The first round of a new run: behind whatever was sealed before, and behind a round that an
 * earlier run began and never sealed: members joined it, and never go back to it. Behind what
 * members have sealed, too, when this store is an older one that was restored. */
static int number_rounds(struct nx_training_run *run, struct nx_error *err) {
  struct nx_store_sealed last;
  int r = nx_run_store_last_sealed(run->config.federation->store, &last, err);
  if (r < 0 && r != NX_E_NOT_FOUND)
    return r;
  uint64_t round = NX_MAX(r == 0 ? last.round : 0, run->config.last_elsewhere) + 1;
  r = nx_run_store_visit_records(run->config.federation->store, round, see_round, &round, err);
  if (r < 0)
    return r;
  run->row.first_round = run->round = round;
  run->row.n_rounds = nx_plan_rounds(run->plan);
  return 0;
}

static int keep_plan(struct nx_training_run *run, struct nx_bytes text, struct nx_error *err) {
  int r = nx_model_registry_put(run->config.registry, text, &run->row.plan_hash, err);
  if (r < 0)
    return r;
  return nx_run_store_put_plan(run->config.federation->store, &run->row.plan_hash, run->plan->name,
                               text, nx_clock_unix(), err);
}

int nx_training_run_start(const struct nx_training_run_config *config, struct nx_bytes plan,
                          int64_t now, struct nx_training_run **run_out, struct nx_error *err) {
  _cleanup_(nx_training_run_destroyp) struct nx_training_run *run = NULL;
  int r = make_run(config, plan, &run, err);
  if (r < 0 || (r = number_rounds(run, err)) < 0 ||
      (r = nx_model_first(run->plan, config->registry, &run->model, err)) < 0 ||
      (r = nx_model_publish(run->model, config->registry, &run->row.model_hash, err)) < 0 ||
      (r = keep_plan(run, plan, err)) < 0)
    return r;
  run->row.state = NX_RUN_RUNNING;
  run->row.started = nx_clock_unix();
  if ((r = nx_run_store_start_run(config->federation->store, &run->row, err)) < 0 ||
      (r = nx_upload_spool_clear(run->uploads, err)) < 0 ||
      (r = NX_AUDIT_APPEND(
           config->audit, err, "plan.started", NX_AUDIT_HASH("plan", &run->row.plan_hash),
           NX_AUDIT_STR("name", run->plan->name), NX_AUDIT_HASH("model", &run->row.model_hash),
           NX_AUDIT_UINT("first_round", run->row.first_round),
           NX_AUDIT_UINT("rounds", run->row.n_rounds))) < 0)
    return r;
  run->gather_until = now + NX_GATHER;
  run->next_try = now;
  NX_LOG(NX_LOG_INFO, "plan.started", NX_STR("plan", run->plan->name),
         NX_HASH("hash", run->row.plan_hash.bytes), NX_U64("rounds", run->row.n_rounds));
  *run_out = nx_steal(&run);
  return 0;
}

/* --- going on after a restart -------------------------------------------------------- */

/* The records of the newest attempt of the present round. */
struct recalled {
  struct nx_training_run *run;
  bool ended;
  struct nx_buffer cohort, bodies; /* bodies: u32 size | body, one after another */
  size_t n_bodies;
};

static int append_body(struct nx_buffer *out, struct nx_bytes body, struct nx_error *err) {
  int r = nx_buffer_append_u32(out, (uint32_t)body.size, err);
  return r < 0 ? r : nx_buffer_append(out, body.data, body.size, err);
}

static void read_accused(struct nx_training_run *run, struct nx_bytes body) {
  struct nx_reader reader = nx_reader(body);
  nx_reader_u32(&reader); /* the outcome */
  memset(run->excluded, 0, sizeof run->excluded);
  while (reader.rest.size && !reader.failed)
    run->excluded[nx_reader_u32(&reader) & 0xff] = true;
}

static void read_opened(struct nx_training_run *run, struct nx_bytes body) {
  struct nx_reader reader = nx_reader(body);
  struct nx_opened_attempt *opened = &run->last_opened;
  *opened = (struct nx_opened_attempt){.round = run->round, .attempt = run->attempt};
  for (size_t i = 0; i < NX_HASH_SIZE / 4; i++)
    nx_store_le32(opened->t3.bytes + 4 * i, nx_reader_u32(&reader));
  while (reader.rest.size && !reader.failed && opened->n_members < NX_STORE_MEMBERS)
    opened->members[opened->n_members++] = (uint8_t)nx_reader_u32(&reader);
  run->has_opened = true;
}

static int recall(void *context, const struct nx_store_record *record, struct nx_error *err) {
  struct recalled *recalled = context;
  struct nx_training_run *run = recalled->run;
  if (record->round != run->round)
    return 0;
  if (record->kind == NX_RECORD_ATTEMPT_BEGUN) {
    run->attempt = record->attempt;
    recalled->ended = false;
    recalled->cohort.size = recalled->bodies.size = recalled->n_bodies = 0;
    return nx_buffer_append(&recalled->cohort, record->body.data, record->body.size, err);
  }
  if (record->kind == NX_RECORD_ATTEMPT_ENDED) {
    recalled->ended = true;
    read_accused(run, record->body);
    return 0;
  }
  if (record->kind == NX_RECORD_ATTEMPT_OPENED) {
    read_opened(run, record->body);
    return 0;
  }
  recalled->n_bodies++;
  return append_body(&recalled->bodies, record->body, err);
}

/* What had come in before the restart. */
static void count_uploads(struct nx_training_run *run) {
  struct nx_hash root;
  for (uint32_t i = 0; i < run->n_cohort; i++)
    if (nx_upload_spool_root(&run->spool, run->cohort[i], &root, NULL) == 0)
      run->bytes_up += run->spool.size;
}

/* The attempt that was under way goes on from what the core had written down. */
static int restore_attempt(struct nx_training_run *run, const struct recalled *recalled,
                           int64_t now, struct nx_error *err) {
  struct nx_reader cohort = nx_reader(nx_buffer_view(&recalled->cohort));
  struct nx_reader bodies = nx_reader(nx_buffer_view(&recalled->bodies));
  _cleanup_free_ struct nx_bytes *records = calloc(recalled->n_bodies + 1, sizeof *records);
  if (!records)
    return nx_fail(err, NX_E_NOMEM, "restore the round");
  for (run->n_cohort = 0; cohort.rest.size && run->n_cohort < NX_STORE_MEMBERS; run->n_cohort++)
    run->cohort[run->n_cohort] = nx_reader_u32(&cohort);
  for (size_t i = 0; i < recalled->n_bodies; i++)
    records[i] = nx_reader_take(&bodies, nx_reader_u32(&bodies));
  int r = nx_training_run_make_attempt(run, err);
  if (r < 0)
    return r;
  if (run->has_opened)
    run->last_opened.spool = run->spool;
  count_uploads(run);
  NX_LOG(NX_LOG_INFO, "round.resumed", NX_U64("round", run->round), NX_U64("attempt", run->attempt),
         NX_U64("records", recalled->n_bodies));
  struct nx_round_event event = {
      .type = NX_ROUND_RESTORE, .records = records, .n_records = recalled->n_bodies};
  if (!recalled->n_bodies)
    event = (struct nx_round_event){.type = NX_ROUND_BEGIN};
  return nx_training_run_feed(run, &event, now, err);
}

static int recall_round(struct nx_training_run *run, int64_t now, struct nx_error *err) {
  struct recalled recalled = {.run = run, .ended = true};
  int r =
      nx_run_store_visit_records(run->config.federation->store, run->round, recall, &recalled, err);
  if (r == 0 && !recalled.ended)
    r = restore_attempt(run, &recalled, now, err);
  nx_buffer_finish(&recalled.cohort);
  nx_buffer_finish(&recalled.bodies);
  return r;
}

/* Bytes, dropouts and the last sums of the rounds that were sealed before the restart. */
static int recall_totals(struct nx_training_run *run, struct nx_error *err) {
  struct nx_run_status status;
  int r = nx_run_status_from_store(run->config.federation, &status, err);
  if (r < 0)
    return r;
  run->round = run->row.first_round + status.n_sealed;
  run->run_bytes_up = status.bytes_up;
  run->run_recovered = status.n_recovered;
  run->metrics.train_loss = status.train_loss;
  run->metrics.held_out_loss = status.held_out_loss;
  run->metrics.auroc = status.auroc;
  run->metrics.balanced_accuracy = status.balanced_accuracy;
  run->metrics.calibration_error = status.calibration_error;
  run->metrics.r_squared = status.r_squared;
  run->metrics.correlation = status.correlation;
  return 0;
}

/* A backup has no uploads, and may lack a sum that its round needed no more when files were copied.
 * Such a round cannot be taken up, and nobody but a new run can follow it. */
static int take_up(struct nx_training_run *run, int64_t now, struct nx_error *err) {
  struct nx_error why = {0};
  /* Killed between its last seal and saying so: there is nothing left to do. */
  if (nx_training_run_has_all(run))
    return nx_training_run_end(run, NX_RUN_FINISHED, err);
  int r = recall_round(run, now, &why);
  if (r != NX_E_NOT_FOUND)
    return r < 0 ? nx_fail(err, r, "%s", why.text) : 0;
  nx_training_run_note(
      run,
      "round %llu was under way and this folder lacks what it needs to go on, as a "
      "backup does (%s); start the plan anew",
      (unsigned long long)run->round, why.text);
  nx_training_run_drop_attempt(run);
  return nx_training_run_end(run, NX_RUN_FAILED, err);
}

int nx_training_run_resume(const struct nx_training_run_config *config, int64_t now,
                           struct nx_training_run **run_out, struct nx_error *err) {
  _cleanup_(nx_training_run_destroyp) struct nx_training_run *run = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer plan = {0};
  struct nx_store_run row;
  int r = nx_run_store_last_run(config->federation->store, &row, err);
  if (r < 0)
    return r == NX_E_NOT_FOUND ? 0 : r;
  if (row.state != NX_RUN_RUNNING && row.state != NX_RUN_PAUSED)
    return 0;
  if ((r = nx_run_store_plan(config->federation->store, &row.plan_hash, &plan, err)) < 0 ||
      (r = make_run(config, nx_buffer_view(&plan), &run, err)) < 0)
    return r;
  run->row = row;
  run->gather_until = now + NX_GATHER;
  run->next_try = now;
  if ((r = nx_model_recall(run->plan, config->registry, &row.model_hash, &run->model, err)) < 0 ||
      (r = recall_totals(run, err)) < 0)
    return nx_error_prefix(err, r, "go on with run %lld", (long long)row.id);
  if ((r = take_up(run, now, err)) < 0)
    return nx_error_prefix(err, r, "go on with run %lld", (long long)row.id);
  *run_out = nx_steal(&run);
  return 0;
}

void nx_training_run_drop_attempt(struct nx_training_run *run) {
  nx_ring_sum_destroy(nx_steal(&run->sum));
  nx_mask_destroy(nx_steal(&run->mask));
  nx_model_destroy(nx_steal(&run->advanced));
  nx_round_destroy(nx_steal(&run->core));
  run->core_deadline = NX_NEVER;
}

void nx_training_run_destroy(struct nx_training_run *run) {
  if (!run)
    return;
  nx_training_run_drop_attempt(run);
  nx_upload_spares_clear(&run->spares);
  nx_round_destroy(run->previous);
  nx_buffer_finish(&run->certificate);
  nx_round_actions_finish(&run->actions);
  nx_buffer_finish(&run->aux);
  nx_model_destroy(run->model);
  nx_plan_destroy(run->plan);
  free(run);
}

/* --- what happens to it -------------------------------------------------------------- */

int nx_training_run_feed(struct nx_training_run *run, const struct nx_round_event *event,
                         int64_t now, struct nx_error *err) {
  nx_round_actions_reset(&run->actions);
  int r = nx_round_step(run->core, event, now, &run->actions, err);
  for (size_t i = 0; r == 0 && i < run->actions.n; i++)
    r = nx_training_run_carry_out(run, &run->actions.items[i], now, err);
  return r;
}

/* What the last event left to do, one thing after another: a sum to open, an attempt to
 * begin. */
static int proceed(struct nx_training_run *run, int64_t now, struct nx_error *err) {
  int r = 0;
  while (r == 0) {
    if (run->core && run->mask)
      r = nx_training_run_unmask(run, now, err);
    else if (!run->core && run->row.state == NX_RUN_RUNNING && now >= run->next_try)
      r = nx_training_run_begin_attempt(run, now, err);
    else
      break;
  }
  return r;
}

static int happen(struct nx_training_run *run, const struct nx_round_event *event, int64_t now,
                  struct nx_error *err) {
  int r = run->core ? nx_training_run_feed(run, event, now, err) : 0;
  return r < 0 ? r : proceed(run, now, err);
}

int nx_training_run_connected(struct nx_training_run *run, uint32_t member, int64_t now,
                              struct nx_error *err) {
  run->connected[member & 0xff] = true;
  run->still[member & 0xff] = false;
  if (!run->core && run->next_try > now)
    run->next_try = now;
  return happen(run, &(struct nx_round_event){.type = NX_ROUND_CONNECTED, .member = member}, now,
                err);
}

int nx_training_run_lost(struct nx_training_run *run, uint32_t member, int64_t now,
                         struct nx_error *err) {
  run->connected[member & 0xff] = run->asked[member & 0xff] = run->still[member & 0xff] = false;
  return happen(run, &(struct nx_round_event){.type = NX_ROUND_LOST, .member = member}, now, err);
}

int nx_training_run_moved(struct nx_training_run *run, uint32_t member, int64_t now,
                          struct nx_error *err) {
  if (!run->still[member & 0xff])
    return 0; /* the core asks when it wants to know: tell_moves() */
  run->still[member & 0xff] = false;
  if (!run->core && run->next_try > now)
    run->next_try = now;
  return happen(run, &(struct nx_round_event){.type = NX_ROUND_MOVED, .member = member, .at = now},
                now, err);
}

bool nx_training_run_is_still(const struct nx_training_run *run, uint32_t member) {
  return run->still[member & 0xff];
}

void nx_training_run_asked(struct nx_training_run *run, uint32_t member, const struct nx_hash *plan,
                           bool cannot, uint32_t unmet) {
  if (!nx_hash_equal(plan, &run->row.plan_hash))
    return;
  run->asked[member & 0xff] = true;
  run->cannot[member & 0xff] = cannot;
  run->unmet[member & 0xff] = unmet;
}

int nx_training_run_fit(struct nx_training_run *run, uint32_t member, const struct nx_hash *plan,
                        bool cannot, uint32_t unmet, int64_t now, struct nx_error *err) {
  if (!nx_hash_equal(plan, &run->row.plan_hash))
    return 0;
  run->asked[member & 0xff] = false;
  run->cannot[member & 0xff] = cannot;
  run->unmet[member & 0xff] = unmet;
  if (!run->core && run->next_try > now)
    run->next_try = now;
  return proceed(run, now, err);
}

/* A late M11 of the round before is kept for members that must catch up. */
static bool take_late_seal(struct nx_training_run *run, struct nx_bytes message) {
  uint32_t member;
  if (!run->previous || run->previous_round == run->round ||
      nx_round_check_seal(run->previous, message, &member, NULL) < 0)
    return false;
  struct nx_error err = {0};
  if (nx_run_store_put_signature(run->config.federation->store, run->previous_round, member,
                                 message, &err) < 0)
    NX_LOG(NX_LOG_WARNING, "seal.dropped", NX_U64("member", member), NX_STR("why", err.text));
  return true;
}

int nx_training_run_message(struct nx_training_run *run, uint32_t member, struct nx_bytes message,
                            int64_t now, struct nx_error *err) {
  if (take_late_seal(run, message))
    return 0;
  return happen(
      run, &(struct nx_round_event){.type = NX_ROUND_MESSAGE, .member = member, .message = message},
      now, err);
}

int64_t nx_training_run_deadline(const struct nx_training_run *run) {
  if (run->core)
    return run->core_deadline;
  return run->row.state == NX_RUN_RUNNING ? run->next_try : NX_NEVER;
}

/* Before the core judges who has stood still. */
static int tell_moves(struct nx_training_run *run, int64_t now, struct nx_error *err) {
  int r = 0;
  for (size_t i = 0; i < run->config.n_members && run->config.moved && run->core && r == 0; i++) {
    struct nx_round_event event = {.type = NX_ROUND_MOVED, .member = run->config.members[i].id};
    event.at = run->config.moved(run->config.context, event.member);
    if (event.at && run->connected[event.member])
      r = nx_training_run_feed(run, &event, now, err);
  }
  return r;
}

int nx_training_run_tick(struct nx_training_run *run, int64_t now, struct nx_error *err) {
  if (run->core && now >= run->core_deadline) {
    run->core_deadline = NX_NEVER;
    int r = tell_moves(run, now, err);
    if (r < 0)
      return r;
    return happen(run, &(struct nx_round_event){.type = NX_ROUND_DEADLINE}, now, err);
  }
  return proceed(run, now, err);
}

/* A second root: the core keeps both headers as evidence, the member is refused. */
static int keep_other(struct nx_training_run *run, uint32_t member, struct nx_bytes header,
                      const struct nx_upload_header *checked, int64_t now, struct nx_error *err) {
  const struct nx_round_event event = {.type = NX_ROUND_UPLOADED,
                                       .member = member,
                                       .message = header,
                                       .bytes = checked->bytes,
                                       .root = checked->root};
  int r = happen(run, &event, now, err);
  return r < 0 ? r
               : nx_fail(err, NX_E_PROTOCOL, "member %u signed a second root under one T2", member);
}

int nx_training_run_check_upload(struct nx_training_run *run, uint32_t member,
                                 struct nx_bytes header, const struct nx_upload_spool **spool_out,
                                 struct nx_upload_header *header_out, int64_t now,
                                 struct nx_error *err) {
  if (!run->core)
    return nx_fail(err, NX_E_STATE, "no round is taking uploads now");
  int r = nx_round_check_upload(run->core, member, header, header_out, err);
  if (r == NX_ROUND_UPLOAD_OTHER)
    return keep_other(run, member, header, header_out, now, err);
  if (r < 0)
    return r;
  if (header_out->bytes != run->spool.size)
    return nx_fail(err, NX_E_PROTOCOL, "an upload of this round has %zu bytes, not %llu",
                   run->spool.size, (unsigned long long)header_out->bytes);
  *spool_out = &run->spool;
  return r;
}

struct nx_ring_sum *nx_training_run_sum(struct nx_training_run *run) {
  return run->sum;
}

int nx_training_run_uploaded(struct nx_training_run *run, uint32_t member, struct nx_bytes header,
                             uint64_t bytes, const struct nx_hash *root, int64_t now,
                             struct nx_error *err) {
  struct nx_upload_header checked;
  if (!run->core)
    return nx_fail(err, NX_E_STATE, "the round is over");
  int r = nx_round_check_upload(run->core, member, header, &checked, err);
  if (r != 0)
    return NX_MIN(r, 0);
  run->bytes_up += bytes;
  r = NX_AUDIT_APPEND(run->config.audit, err, "upload.received", NX_AUDIT_UINT("round", run->round),
                      NX_AUDIT_UINT("attempt", run->attempt), NX_AUDIT_UINT("member", member),
                      NX_AUDIT_UINT("bytes", bytes), NX_AUDIT_HASH("root", root));
  if (r < 0 || (r = nx_ring_sum_add(run->sum, member, err)) < 0)
    return r;
  return happen(run,
                &(struct nx_round_event){.type = NX_ROUND_UPLOADED,
                                         .member = member,
                                         .message = header,
                                         .bytes = bytes,
                                         .root = *root},
                now, err);
}

/* --- operators ---------------------------------------------------------------------- */

int nx_training_run_pause(struct nx_training_run *run, struct nx_error *err) {
  if (nx_training_run_is_over(run))
    return nx_fail(err, NX_E_STATE, "the run is over (%s)", nx_run_state_name(run->row.state));
  if (run->core) {
    run->pausing = true;
    return 0;
  }
  run->row.state = NX_RUN_PAUSED;
  return nx_run_store_set_run_state(run->config.federation->store, run->row.id, NX_RUN_PAUSED, 0,
                                    err);
}

int nx_training_run_continue(struct nx_training_run *run, int64_t now, struct nx_error *err) {
  if (nx_training_run_is_over(run))
    return nx_fail(err, NX_E_STATE, "the run is over (%s)", nx_run_state_name(run->row.state));
  run->pausing = false;
  if (run->row.state == NX_RUN_RUNNING)
    return 0;
  run->row.state = NX_RUN_RUNNING;
  run->next_try = now;
  int r = nx_run_store_set_run_state(run->config.federation->store, run->row.id, NX_RUN_RUNNING, 0,
                                     err);
  return r < 0 ? r : proceed(run, now, err);
}

int nx_training_run_stop(struct nx_training_run *run, int64_t now, struct nx_error *err) {
  (void)now;
  if (nx_training_run_is_over(run))
    return nx_fail(err, NX_E_STATE, "the run is over already (%s)",
                   nx_run_state_name(run->row.state));
  if (run->core) {
    run->stopping = true;
    return 0;
  }
  run->row.state = NX_RUN_STOPPED;
  run->row.ended = nx_clock_unix();
  return nx_run_store_set_run_state(run->config.federation->store, run->row.id, NX_RUN_STOPPED,
                                    run->row.ended, err);
}

const struct nx_opened_attempt *nx_training_run_opened(const struct nx_training_run *run) {
  return run->has_opened ? &run->last_opened : NULL;
}
