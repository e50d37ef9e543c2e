/* What an operator sees: the status as it is, and events to those who watch. */
#include <math.h>
#include <stdio.h>

#include "common/aux_lanes.h"
#include "coordinator/coordinator_internal.h"
#include "coordinator/run_metrics.h"

#define INTERVAL (200 * NX_MILLISECOND) /* watchers are told at most this often */
#define HISTORY 200                     /* rounds that were sealed before somebody came to watch */

static void fill_run(const struct nx_run_status *run, struct nx_admin_status *out) {
  out->run_state = run->run ? run->state : 0;
  out->run = (uint64_t)run->run;
  out->plan = run->plan, out->model = run->model;
  out->first_round = run->first_round, out->n_rounds = run->n_rounds;
  out->round = run->n_cohort ? run->round : 0;
  out->attempt = run->attempt, out->kind = run->kind;
  out->last_sealed = run->n_sealed ? run->first_round + run->n_sealed - 1 : 0;
  out->n_cohort = run->n_cohort, out->n_done = run->n_arrived, out->threshold = run->threshold;
  out->seconds_left = run->seconds_left;
  out->bytes_up = run->bytes_up;
  out->n_sealed = run->n_sealed, out->n_trained = run->n_trained;
  out->n_recovered = run->n_recovered;
  out->started = run->started, out->ended = run->ended;
  out->train_loss = run->train_loss, out->held_out_loss = run->held_out_loss;
  out->auroc = run->auroc, out->balanced_accuracy = run->balanced_accuracy;
  out->calibration_error = run->calibration_error;
  out->r_squared = run->r_squared, out->correlation = run->correlation;
  snprintf(out->phase, sizeof out->phase, "%s", run->phase);
  snprintf(out->plan_name, sizeof out->plan_name, "%s", run->plan_name);
  snprintf(out->note, sizeof out->note, "%s",
           run->stopping  ? "stopping after this round"
           : run->pausing ? "pausing after this round"
                          : run->note);
}

struct nx_admin_status nx_progress_status(struct nx_coordinator *c) {
  struct nx_admin_status status = {.manifest_sealed = c->sealed,
                                   .software = NX_COORDINATOR_SOFTWARE,
                                   .n_invited = atomic_load(&c->n_invited)};
  struct nx_run_status run;
  struct nx_error err;
  if (c->run)
    nx_training_run_status(c->run, &run);
  else if (nx_run_status_from_store(c->federation, &run, &err) < 0)
    snprintf(run.note, sizeof run.note, "%s", err.text);
  fill_run(&run, &status);
  memcpy(status.federation, c->federation->row.id, sizeof status.federation);
  snprintf(status.federation_name, sizeof status.federation_name, "%s", c->federation->row.name);
  for (uint32_t id = 1; id < 256; id++)
    status.n_connected += c->seats[id] != NULL;
  pthread_mutex_lock(&c->directory_lock);
  status.n_members = (uint32_t)c->n_members;
  pthread_mutex_unlock(&c->directory_lock);
  status.up_seconds = (uint64_t)((nx_clock_monotonic() - c->started) / NX_SECOND);
  return status;
}

static void drop_watcher(struct nx_coordinator *c, size_t i) {
  nx_stream_unref(nx_steal(&c->watchers[i]));
}

static void tell(struct nx_coordinator *c, const struct nx_admin_event *event) {
  for (size_t i = 0; i < NX_WATCHERS; i++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
    struct nx_error err = {0};
    if (!c->watchers[i])
      continue;
    if (atomic_load(&c->watchers[i]->closed))
      drop_watcher(c, i);
    else if (nx_admin_event_encode(event, &bytes, &err) == 0)
      nx_stream_send(c->watchers[i], &bytes);
    else
      NX_LOG(NX_LOG_WARNING, "watch.unsendable", NX_STR("why", err.text));
  }
}

static struct nx_admin_event new_event(struct nx_coordinator *c, const char *name) {
  struct nx_admin_event event = {
      .time = nx_clock_unix(), .has_status = true, .status = nx_progress_status(c)};
  snprintf(event.name, sizeof event.name, "%s", name);
  return event;
}

void nx_progress_changed(struct nx_coordinator *c) {
  c->progress_due = true;
}

static bool is_watched(const struct nx_coordinator *c) {
  for (size_t i = 0; i < NX_WATCHERS; i++)
    if (c->watchers[i])
      return true;
  return false;
}

int64_t nx_progress_publish(struct nx_coordinator *c, int64_t now) {
  if (!c->progress_due || !is_watched(c)) {
    c->progress_due = false;
    return NX_NEVER;
  }
  if (now < c->next_progress)
    return c->next_progress;
  struct nx_admin_event event = new_event(c, "progress");
  c->progress_due = false;
  c->next_progress = now + INTERVAL;
  tell(c, &event);
  return NX_NEVER;
}

/* Nothing may be called done on some of the members without saying on which. */
static void name_absent(struct nx_coordinator *c, uint64_t round, char *out, size_t size) {
  _cleanup_(nx_buffer_finish) struct nx_buffer aux = {0}, survivors = {0};
  size_t n = 0;
  if (nx_run_store_sealed_aux(c->federation->store, round, &aux, &survivors, NULL) < 0)
    return;
  for (size_t i = 0; i < c->n_founders; i++) {
    const struct nx_round_member *member = &c->founders[i];
    if (survivors.size && memchr(survivors.data, (int)member->id, survivors.size))
      continue;
    bool still = c->run && nx_training_run_is_still(c->run, member->id);
    int written = snprintf(out + n, size - n, "%s%s%s", n ? ", " : "", member->name,
                           still ? " (does not move)" : "");
    if (written < 0 || (size_t)written >= size - n) {
      snprintf(out + n, size - n, "...");
      return;
    }
    n += (size_t)written;
  }
}

static struct nx_admin_sealed describe(struct nx_coordinator *c,
                                       const struct nx_store_sealed *sealed,
                                       const struct nx_run_metrics *metrics) {
  struct nx_admin_sealed out = {
      .round = sealed->round,
      .attempt = sealed->attempt,
      .kind = sealed->kind,
      .n_cohort = sealed->n_cohort,
      .n_survivors = sealed->n_survivors,
      .n_recovered = sealed->n_recovered,
      .train_loss = sealed->kind == NX_ROUND_TRAIN ? metrics->train_loss : NAN,
      .held_out_loss = metrics->held_out_loss,
      .auroc = metrics->auroc,
      .balanced_accuracy = metrics->balanced_accuracy,
      .calibration_error = metrics->calibration_error,
      .r_squared = metrics->r_squared,
      .correlation = metrics->correlation,
      .seconds = (double)(sealed->sealed - sealed->opened) / 1e9,
      .bytes_up = sealed->bytes_up,
      .model = sealed->model_hash,
      .sum = sealed->sum_hash,
  };
  name_absent(c, sealed->round, out.without, sizeof out.without);
  return out;
}

/* The sums of a sealed round, for those who watch; and who is in them. */
void nx_progress_sealed(void *context) {
  struct nx_coordinator *c = context;
  const struct nx_opened_attempt *opened = nx_training_run_opened(c->run);
  struct nx_store_sealed sealed;
  struct nx_run_metrics metrics;
  if (!opened || nx_run_store_last_sealed(c->federation->store, &sealed, NULL) < 0 ||
      nx_run_metrics_of_round(c->federation->store, sealed.round, &metrics, NULL) < 0)
    return;
  for (size_t i = 0; i < opened->n_members; i++)
    c->last_round[opened->members[i]] = sealed.round;
  struct nx_admin_event event = new_event(c, "round.sealed");
  event.has_sealed = true;
  event.sealed = describe(c, &sealed, &metrics);
  tell(c, &event);
}

/* Rounds of the run that were sealed before somebody came to watch. */
static void tell_history(struct nx_coordinator *c, struct nx_stream *stream) {
  struct nx_admin_event event = new_event(c, "round.sealed");
  uint64_t end = event.status.first_round + event.status.n_sealed;
  uint64_t begin = event.status.n_sealed > HISTORY ? end - HISTORY : event.status.first_round;
  event.has_sealed = true;
  for (uint64_t round = begin; round < end; round++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
    struct nx_store_sealed sealed;
    struct nx_run_metrics metrics;
    if (nx_run_store_sealed(c->federation->store, round, &sealed, NULL) < 0 ||
        nx_run_metrics_of_round(c->federation->store, round, &metrics, NULL) < 0)
      continue;
    event.sealed = describe(c, &sealed, &metrics);
    event.time = sealed.sealed;
    event.has_status = true;
    if (nx_admin_event_encode(&event, &bytes, NULL) == 0)
      nx_stream_send(stream, &bytes);
  }
}

void nx_progress_add_watcher(struct nx_coordinator *c, struct nx_stream *stream) {
  struct nx_error err = {0};
  for (size_t i = 0; i < NX_WATCHERS; i++) {
    if (c->watchers[i] && atomic_load(&c->watchers[i]->closed))
      drop_watcher(c, i);
    if (!c->watchers[i]) {
      tell_history(c, stream);
      c->watchers[i] = nx_stream_ref(stream);
      c->progress_due = true;
      c->next_progress = 0;
      return;
    }
  }
  nx_fail(&err, NX_E_LIMIT, "%d others watch already", NX_WATCHERS);
  nx_stream_refuse(stream, &err);
}
