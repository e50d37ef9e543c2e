/* Run metrics: what the opened counters of a round say about the model, federation-wide:
 * from sums only. Any thread. */
#pragma once

#include "coordinator/store/run_store.h"
#include "models/moments.h"

struct nx_run_metrics {
  uint64_t contributors, train_windows, held_out_windows;
  double train_loss, held_out_loss; /* mean over windows; NaN without windows */
  double calibration_error;         /* the same, models/metrics.h */
  double auroc, balanced_accuracy;  /* of held-out windows, from 256-bin histograms; or NaN */
  double r_squared, correlation;    /* of a regression, means over its targets; or NaN */
  struct nx_target_moments targets; /* of a regression */
};

/* aux[n_aux] as common/aux_lanes.h lays them out; fewer lanes than the common ones: all NaN. */
struct nx_run_metrics nx_run_metrics(const uint64_t *aux, size_t n_aux);
/* Those of a sealed round, from the store. */
int nx_run_metrics_of_round(struct nx_run_store *store, uint64_t round,
                            struct nx_run_metrics *metrics_out, struct nx_error *err);
