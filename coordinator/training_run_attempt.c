/* One attempt at a round: who is in it, its spool, sum and core, and what its end means. */
#include <math.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/round/cohort.h"
#include "coordinator/training_run_internal.h"

static const char *kind_name(enum nx_round_kind kind) {
  return kind == NX_ROUND_STATISTICS ? "statistics" : kind == NX_ROUND_TRAIN ? "train" : "evaluate";
}

/* Appends "words: name, name"; nothing when there are none. */
static void name_those(const struct nx_training_run *run, const char *words, char kind, char *out,
                       size_t size) {
  size_t n = strlen(out);
  bool first = true;
  for (size_t i = 0; i < run->config.n_members && n + 1 < size; i++) {
    const struct nx_round_member *member = &run->config.members[i];
    uint32_t id = member->id;
    char unmet[128] = "";
    bool is = kind == 'a'   ? !run->connected[id]
              : kind == 's' ? run->still[id]
              : kind == 'q' ? run->connected[id] && run->asked[id]
                            : run->connected[id] && run->cannot[id];
    if (!is)
      continue;
    if (kind == 'c')
      nx_requirements_tell(run->unmet[id], unmet, sizeof unmet);
    snprintf(out + n, size - n, "%s%s%s%s%s%s", first ? (n ? "; " : "") : ", ", first ? words : "",
             member->name, kind == 'c' ? " (" : "", unmet, kind == 'c' ? ")" : "");
    n = strlen(out);
    first = false;
  }
}

/* why NULL: it is early; who is not here may still come. */
static void say_who_is_missing(struct nx_training_run *run, const char *why) {
  char names[200] = "";
  name_those(run, "not connected: ", 'a', names, sizeof names);
  name_those(run, "does not move: ", 's', names, sizeof names);
  name_those(run, "has not answered: ", 'q', names, sizeof names);
  name_those(run, "cannot take part: ", 'c', names, sizeof names);
  nx_training_run_note(run, "waiting%s%s; %s", why ? ": " : "", why ? why : "", names);
}

/* Who is invited: 0, or 1 when it is better to wait a little longer. */
static int choose_cohort(struct nx_training_run *run, int64_t now) {
  struct nx_cohort_candidate candidates[NX_STORE_MEMBERS] = {0};
  struct nx_error why = {0};
  size_t n = run->config.n_members, n_cohort = 0, n_settled = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t id = run->config.members[i].id;
    candidates[i] = (struct nx_cohort_candidate){.id = id,
                                                 .connected = run->connected[id] &&
                                                              !run->cannot[id] && !run->still[id],
                                                 .excluded = run->excluded[id]};
    n_settled += run->connected[id] && !run->asked[id] && !run->still[id];
  }
  int r = nx_cohort_choose(candidates, n, run->plan->aggregation.minimum_members, run->cohort,
                           &n_cohort, &why);
  if (r == 0 && (n_settled == n || now >= run->gather_until)) {
    run->n_cohort = (uint32_t)n_cohort;
    return 0;
  }
  say_who_is_missing(run, now < run->gather_until ? NULL : why.text);
  run->next_try = now + NX_RETRY;
  return 1;
}

static struct nx_round_config core_config(struct nx_training_run *run) {
  const struct nx_training_run_config *config = &run->config;
  struct nx_round_config core = {
      .manifest = config->manifest,
      .plan = run->row.plan_hash,
      .model = run->row.model_hash,
      .coordinator_spki = config->federation->row.spki,
      .identity = config->federation->identity,
      .members = config->members,
      .pool = config->pool,
      .n_members = config->n_members,
      .cohort = run->cohort,
      .n_cohort = run->n_cohort,
      .round = run->round,
      .attempt = run->attempt,
      .parameters = nx_plan_parameters(run->plan, run->model, nx_training_run_kind(run)),
      .minimum_members = run->plan->aggregation.minimum_members,
      .phase_seconds = run->plan->deadlines.phase_seconds,
      .training_seconds = run->plan->deadlines.training_seconds,
      .stillness = nx_coordinator_config_stillness(config->federation->config) * NX_SECOND,
      .previous_certificate = nx_buffer_view(&run->certificate),
  };
  memcpy(core.federation, config->federation->row.id, sizeof core.federation);
  return core;
}

int nx_training_run_make_attempt(struct nx_training_run *run, struct nx_error *err) {
  struct nx_upload_layout layout = nx_plan_layout(run->plan, run->model, nx_training_run_kind(run));
  struct nx_round_config core = core_config(run);
  nx_training_run_drop_attempt(run);
  run->bytes_up = 0;
  run->opened = nx_clock_unix();
  nx_upload_spares_make_room(&run->spares);
  int r = nx_upload_layout_check(&layout, err);
  if (r < 0 ||
      (r = nx_upload_spool_init(&run->spool, run->uploads, run->round, run->attempt, &layout,
                                err)) < 0 ||
      (r = nx_ring_sum_create(&run->spool, run->config.pool, &run->sum, err)) < 0 ||
      (r = nx_round_create(&core, &run->core, err)) < 0)
    return nx_error_prefix(err, r, "open round %llu", (unsigned long long)run->round);
  run->spool.spares = &run->spares;
  for (size_t i = 0; i < run->spool.n_damaged; i++)
    NX_LOG(NX_LOG_ERROR, "upload.damaged_on_disk", NX_U64("round", run->round),
           NX_U64("member", run->spool.damaged[i]));
  return 0;
}

int nx_training_run_write_record(struct nx_training_run *run, uint32_t kind, const uint32_t *values,
                                 size_t n, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  int r = 0;
  for (size_t i = 0; i < n && r == 0; i++)
    r = nx_buffer_append_u32(&body, values[i], err);
  if (r < 0)
    return r;
  struct nx_store_record record = {
      .round = run->round, .attempt = run->attempt, .kind = kind, .body = nx_buffer_view(&body)};
  return nx_run_store_append_record(run->config.federation->store, &record, err);
}

static int announce(struct nx_training_run *run, struct nx_error *err) {
  uint8_t ids[NX_STORE_MEMBERS];
  for (uint32_t i = 0; i < run->n_cohort; i++)
    ids[i] = (uint8_t)run->cohort[i];
  enum nx_round_kind kind = nx_training_run_kind(run);
  NX_LOG(NX_LOG_INFO, "round.opened", NX_U64("round", run->round), NX_U64("attempt", run->attempt),
         NX_STR("kind", kind_name(kind)), NX_U64("cohort", run->n_cohort),
         NX_HASH("model", run->row.model_hash.bytes));
  return NX_AUDIT_APPEND(
      run->config.audit, err, "round.opened", NX_AUDIT_UINT("round", run->round),
      NX_AUDIT_UINT("attempt", run->attempt), NX_AUDIT_STR("kind", kind_name(kind)),
      NX_AUDIT_HASH("plan", &run->row.plan_hash), NX_AUDIT_HASH("model", &run->row.model_hash),
      NX_AUDIT_DATA("cohort", ids, run->n_cohort));
}

int nx_training_run_begin_attempt(struct nx_training_run *run, int64_t now, struct nx_error *err) {
  if (choose_cohort(run, now))
    return 0;
  run->gather_until = now; /* absent members are waited for once, not before every round */
  run->attempt++;
  int r =
      nx_training_run_write_record(run, NX_RECORD_ATTEMPT_BEGUN, run->cohort, run->n_cohort, err);
  if (r < 0 || (r = nx_training_run_make_attempt(run, err)) < 0 || (r = announce(run, err)) < 0)
    return r;
  run->note[0] = 0;
  for (size_t i = 0; i < run->config.n_members && r == 0; i++) {
    struct nx_round_event event = {.type = NX_ROUND_CONNECTED, .member = run->config.members[i].id};
    event.still = run->still[event.member];
    if (run->connected[event.member])
      r = nx_training_run_feed(run, &event, now, err);
  }
  return r < 0 ? r
               : nx_training_run_feed(run, &(struct nx_round_event){.type = NX_ROUND_BEGIN}, now,
                                      err);
}

/* --- its end ------------------------------------------------------------------------- */

int nx_training_run_end(struct nx_training_run *run, enum nx_run_state state,
                        struct nx_error *err) {
  run->row.state = state;
  run->row.ended = nx_clock_unix();
  nx_model_destroy(nx_steal(&run->model));
  nx_upload_spares_clear(&run->spares);
  bool keep = run->config.federation->config->keep_uploads != NX_KEEP_ROUND;
  if (!keep && state != NX_RUN_FAILED) { /* of a failed run they are evidence */
    nx_upload_spool_clear(run->uploads, NULL);
    run->has_opened = false;
  }
  int r = nx_run_store_set_run_state(run->config.federation->store, run->row.id, state,
                                     run->row.ended, err);
  if (r < 0)
    return r;
  enum nx_log_level level = state == NX_RUN_FAILED ? NX_LOG_ERROR : NX_LOG_INFO;
  NX_LOG(level, "run.ended", NX_STR("state", nx_run_state_name(state)), NX_STR("why", run->note),
         NX_HASH("model", run->row.model_hash.bytes));
  r = NX_AUDIT_APPEND(run->config.audit, err, "run.ended",
                      NX_AUDIT_STR("state", nx_run_state_name(state)),
                      NX_AUDIT_HASH("model", &run->row.model_hash));
  return r < 0 ? r : nx_audit_log_checkpoint(run->config.audit, err);
}

int nx_training_run_overtaken(struct nx_training_run *run, uint64_t round, struct nx_error *err) {
  nx_training_run_note(
      run,
      "members have sealed round %llu, this store knows of none behind %llu: it was "
      "restored from a backup; start the plan anew",
      (unsigned long long)round, (unsigned long long)run->round - 1);
  nx_training_run_drop_attempt(run);
  return nx_training_run_end(run, NX_RUN_FAILED, err);
}

/* Between rounds and attempts is where an operator's wish comes true. */
static int turn_to(struct nx_training_run *run, int64_t now, struct nx_error *err) {
  run->next_try = now;
  if (run->stopping) {
    nx_training_run_note(run, "stopped by the operator");
    return nx_training_run_end(run, NX_RUN_STOPPED, err);
  }
  if (!run->pausing)
    return 0;
  run->pausing = false;
  run->row.state = NX_RUN_PAUSED;
  nx_training_run_note(run, "paused by the operator");
  return nx_run_store_set_run_state(run->config.federation->store, run->row.id, NX_RUN_PAUSED, 0,
                                    err);
}

static int keep_seals(struct nx_training_run *run, const struct nx_round_action *finished,
                      struct nx_error *err) {
  uint32_t member;
  for (size_t i = 0; i < finished->n_seals; i++) {
    int r = nx_round_check_seal(run->core, finished->seals[i], &member, err);
    if (r == 0)
      r = nx_run_store_put_signature(run->config.federation->store, run->round, member,
                                     finished->seals[i], err);
    if (r < 0)
      return r;
  }
  return 0;
}

/* After a restart the core may finish what an earlier process had opened: then the model and
 * the counters come from the registry. */
static int recall_opening(struct nx_training_run *run, const struct nx_round_action *finished,
                          struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer sum = {.cap = NX_BLOB_CAP};
  size_t n_lanes = run->spool.layout.n_lanes, n_aux = run->spool.layout.n_aux;
  if (run->advanced)
    return 0;
  int r = nx_model_recall(run->plan, run->config.registry, &finished->model, &run->advanced, err);
  if (r < 0 || (r = nx_model_registry_get(run->config.registry, &finished->sum, &sum, err)) < 0)
    return r;
  if (sum.size != 4 * n_lanes + 8 * n_aux)
    return nx_fail(err, NX_E_FORMAT, "the opened sum has another size");
  run->aux.size = 0;
  r = nx_buffer_append(&run->aux, sum.data + 4 * n_lanes, 8 * n_aux, err);
  return r < 0 ? r : nx_training_run_measure(run, err);
}

static void log_sealed(const struct nx_training_run *run, const struct nx_store_sealed *sealed) {
  char targets[NX_REGRESSION_TARGETS * 12 + 1] = "";
  struct nx_log_field fields[12] = {
      NX_U64("round", sealed->round), NX_U64("attempt", sealed->attempt),
      NX_U64("survivors", sealed->n_survivors), NX_U64("recovered", sealed->n_recovered),
      NX_HASH("model", sealed->model_hash.bytes)};
  size_t n = 5;
  if (sealed->kind == NX_ROUND_TRAIN)
    fields[n++] = NX_F64("train_loss", run->metrics.train_loss);
  if (!isnan(run->metrics.auroc))
    fields[n++] = NX_F64("auroc", run->metrics.auroc);
  if (!isnan(run->metrics.calibration_error))
    fields[n++] = NX_F64("calibration_error", run->metrics.calibration_error);
  for (size_t k = 0, at = 0; k < run->metrics.targets.n_targets; k++)
    at += (size_t)snprintf(targets + at, sizeof targets - at, "%s%.4f", k ? " " : "",
                           fmax(nx_moments_r_squared(&run->metrics.targets.of[k]), -999));
  if (run->metrics.targets.n_targets) {
    fields[n++] = NX_F64("r_squared", run->metrics.r_squared);
    fields[n++] = NX_F64("correlation", run->metrics.correlation);
    fields[n++] = NX_STR("r_squared_of_targets", targets);
  }
  nx_log_write(NX_LOG_INFO, "round.sealed", fields, n);
}

static int store_sealed(struct nx_training_run *run, const struct nx_round_action *finished,
                        struct nx_error *err) {
  const struct nx_opened_attempt *opened = &run->last_opened;
  struct nx_store_sealed sealed = {
      .round = run->round,
      .attempt = run->attempt,
      .kind = nx_training_run_kind(run),
      .run = run->row.id,
      .model_hash = finished->model,
      .sum_hash = finished->sum,
      .t3 = opened->t3,
      .n_cohort = run->n_cohort,
      .n_survivors = (uint32_t)opened->n_members,
      .n_recovered = (uint32_t)finished->n_dropped,
      .bytes_up = run->bytes_up,
      .opened = run->opened,
      .sealed = nx_clock_unix(),
  };
  /* Signatures first: once the round is sealed its records, the core's copy, are gone. */
  int r = keep_seals(run, finished, err);
  if (r < 0 || (r = nx_run_store_seal_round(run->config.federation->store, &sealed,
                                            nx_buffer_view(&run->aux), opened->members, err)) < 0)
    return r;
  log_sealed(run, &sealed);
  return NX_AUDIT_APPEND(
      run->config.audit, err, "model.sealed", NX_AUDIT_UINT("round", run->round),
      NX_AUDIT_UINT("attempt", run->attempt), NX_AUDIT_HASH("model", &finished->model),
      NX_AUDIT_HASH("sum", &finished->sum), NX_AUDIT_UINT("signatures", finished->n_seals));
}

/* The round is over and its model is the next one's. */
static int move_on(struct nx_training_run *run, const struct nx_round_action *finished, int64_t now,
                   struct nx_error *err) {
  int r = recall_opening(run, finished, err);
  if (r < 0 || (r = store_sealed(run, finished, err)) < 0 ||
      (r = nx_audit_log_checkpoint(run->config.audit, err)) < 0)
    return r;
  nx_model_destroy(run->model);
  run->model = nx_steal(&run->advanced);
  run->row.model_hash = finished->model;
  run->run_bytes_up += run->bytes_up;
  run->run_recovered += (uint32_t)finished->n_dropped;
  nx_round_destroy(run->previous);
  run->previous = nx_steal(&run->core);
  nx_round_retire(run->previous);
  run->previous_round = run->round;
  nx_training_run_drop_attempt(run);
  memset(run->excluded, 0, sizeof run->excluded);
  run->certificate.size = 0;
  run->round++;
  run->attempt = 0;
  run->config.sealed(run->config.context);
  run->note[0] = 0;
  if (nx_training_run_has_all(run))
    return nx_training_run_end(run, NX_RUN_FINISHED, err);
  return turn_to(run, now, err);
}

static int note_failure(struct nx_training_run *run, const struct nx_round_action *finished,
                        struct nx_error *err) {
  uint32_t values[1 + NX_STORE_MEMBERS] = {(uint32_t)finished->outcome};
  size_t n = 1;
  run->certificate.size = 0;
  int r = nx_buffer_append(&run->certificate, finished->certificate.data,
                           finished->certificate.size, err);
  if (r < 0)
    return r;
  memset(run->excluded, 0, sizeof run->excluded);
  for (size_t i = 0; i < finished->n_accused && n < NX_STORE_MEMBERS; i++) {
    values[n++] = finished->accused[i];
    run->excluded[finished->accused[i] & 0xff] = true;
  }
  NX_LOG(NX_LOG_WARNING, "round.failed", NX_U64("round", run->round),
         NX_U64("attempt", run->attempt), NX_STR("why", finished->reason));
  r = nx_training_run_write_record(run, NX_RECORD_ATTEMPT_ENDED, values, n, err);
  if (r < 0)
    return r;
  return NX_AUDIT_APPEND(run->config.audit, err, "round.failed", NX_AUDIT_UINT("round", run->round),
                         NX_AUDIT_UINT("attempt", run->attempt),
                         NX_AUDIT_UINT("outcome", (uint64_t)finished->outcome),
                         NX_AUDIT_STR("why", finished->reason));
}

/* Another attempt, unless there were enough of them. */
static int try_again(struct nx_training_run *run, const struct nx_round_action *finished,
                     int64_t now, struct nx_error *err) {
  uint32_t most = run->config.federation->config->attempts;
  int r = note_failure(run, finished, err);
  if (r < 0)
    return r;
  nx_training_run_note(run, "round %llu, attempt %u: %s", (unsigned long long)run->round,
                       run->attempt, finished->reason);
  bool unsealed = finished->outcome == NX_ROUND_UNSEALED;
  nx_training_run_drop_attempt(run);
  if (!unsealed)
    nx_upload_spool_remove(run->uploads, run->round, run->attempt, &run->spares, NULL);
  if (unsealed || run->attempt >= most)
    return nx_training_run_end(run, NX_RUN_FAILED, err);
  if ((r = turn_to(run, now, err)) == 0)
    run->next_try = now + NX_RETRY;
  return r;
}

int nx_training_run_finish_attempt(struct nx_training_run *run,
                                   const struct nx_round_action *finished, int64_t now,
                                   struct nx_error *err) {
  return finished->outcome == NX_ROUND_SEALED ? move_on(run, finished, now, err)
                                              : try_again(run, finished, now, err);
}
