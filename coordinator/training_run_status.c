#include <math.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/size.h"
#include "coordinator/training_run_internal.h"

/* Each phase waits for something else to arrive. */
static uint32_t arrived(const struct nx_round_progress *p) {
  const struct {
    const char *phase;
    uint32_t n;
  } counts[] = {{"adverts", p->n_adverts}, {"shares", p->n_shares},     {"uploads", p->n_uploads},
                {"votes", p->n_votes},     {"releases", p->n_releases}, {"seals", p->n_seals}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(counts); i++)
    if (!strcmp(counts[i].phase, p->phase))
      return counts[i].n;
  return 0;
}

/* Training rounds among the first n of a run. */
static uint64_t trained(const struct nx_plan *plan, uint64_t n) {
  return n ? NX_MIN(n - 1, (uint64_t)plan->training.rounds) : 0;
}

static uint32_t seconds_until(int64_t deadline) {
  int64_t now = nx_clock_monotonic();
  return deadline > now && deadline != NX_NEVER ? (uint32_t)((deadline - now) / NX_SECOND) : 0;
}

void nx_training_run_status(const struct nx_training_run *run, struct nx_run_status *out) {
  struct nx_round_progress progress = {.phase = "waiting", .phase_ends = NX_NEVER};
  if (run->core)
    nx_round_progress(run->core, &progress);
  else if (nx_training_run_is_over(run))
    progress.phase = "done";
  *out = (struct nx_run_status){
      .run = run->row.id,
      .state = run->row.state,
      .pausing = run->pausing,
      .stopping = run->stopping,
      .plan = run->row.plan_hash,
      .model = run->row.model_hash,
      .round = run->round,
      .first_round = run->row.first_round,
      .n_rounds = run->row.n_rounds,
      .n_sealed = run->round - run->row.first_round,
      .attempt = run->attempt,
      .kind = nx_training_run_kind(run),
      .n_cohort = run->core ? run->n_cohort : 0,
      .n_arrived = arrived(&progress),
      .n_trained = trained(run->plan, run->round - run->row.first_round),
      .threshold = progress.threshold,
      .seconds_left = seconds_until(progress.phase_ends),
      .bytes_up = run->run_bytes_up + (run->core ? run->bytes_up : 0),
      .n_recovered = run->run_recovered,
      .train_loss = run->metrics.train_loss,
      .held_out_loss = run->metrics.held_out_loss,
      .auroc = run->metrics.auroc,
      .balanced_accuracy = run->metrics.balanced_accuracy,
      .calibration_error = run->metrics.calibration_error,
      .r_squared = run->metrics.r_squared,
      .correlation = run->metrics.correlation,
      .started = run->row.started,
      .ended = run->row.ended,
  };
  snprintf(out->plan_name, sizeof out->plan_name, "%s", run->plan->name);
  snprintf(out->phase, sizeof out->phase, "%s", progress.phase);
  snprintf(out->note, sizeof out->note, "%s", run->note);
}

/* The newest sums of a run; the training loss is that of its newest training round. */
static int measure(struct nx_run_store *store, const struct nx_run_status *status,
                   struct nx_run_metrics *out, struct nx_error *err) {
  struct nx_run_metrics before = nx_run_metrics(NULL, 0);
  *out = before;
  uint64_t last = status->first_round + status->n_sealed - 1;
  if (!status->n_sealed)
    return 0;
  int r = nx_run_metrics_of_round(store, last, out, err);
  if (r == 0 && isnan(out->train_loss) && status->n_sealed > 1) {
    r = nx_run_metrics_of_round(store, last - 1, &before, err);
    out->train_loss = before.train_loss;
  }
  return r;
}

int nx_run_status_from_store(struct nx_federation *federation, struct nx_run_status *out,
                             struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  struct nx_store_totals totals;
  struct nx_run_metrics metrics;
  struct nx_store_run row;
  *out = (struct nx_run_status){.train_loss = NAN,
                                .held_out_loss = NAN,
                                .auroc = NAN,
                                .balanced_accuracy = NAN,
                                .calibration_error = NAN,
                                .r_squared = NAN,
                                .correlation = NAN};
  int r = nx_run_store_last_run(federation->store, &row, err);
  if (r < 0)
    return r == NX_E_NOT_FOUND ? 0 : r;
  if ((r = nx_run_store_totals(federation->store, row.id, &totals, err)) < 0 ||
      (r = nx_run_store_plan(federation->store, &row.plan_hash, &text, err)) < 0 ||
      (r = nx_plan_parse("plan", nx_buffer_view(&text), &plan, err)) < 0)
    return r;
  out->run = row.id, out->state = row.state, out->plan = row.plan_hash, out->model = row.model_hash;
  out->first_round = row.first_round, out->n_rounds = row.n_rounds;
  out->n_sealed = totals.n_sealed, out->n_trained = totals.n_trained;
  out->bytes_up = totals.bytes_up;
  out->n_recovered = totals.n_recovered;
  out->round = row.first_round + totals.n_sealed;
  out->started = row.started, out->ended = row.ended;
  snprintf(out->plan_name, sizeof out->plan_name, "%s", plan->name);
  snprintf(out->phase, sizeof out->phase, "%s", row.ended ? "done" : "waiting");
  if ((r = measure(federation->store, out, &metrics, err)) < 0)
    return r;
  out->train_loss = metrics.train_loss, out->held_out_loss = metrics.held_out_loss;
  out->auroc = metrics.auroc, out->balanced_accuracy = metrics.balanced_accuracy;
  out->calibration_error = metrics.calibration_error;
  out->r_squared = metrics.r_squared, out->correlation = metrics.correlation;
  return 0;
}
