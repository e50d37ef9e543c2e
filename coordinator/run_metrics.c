#include "coordinator/run_metrics.h"

#include <math.h>

#include "common/aux_lanes.h"
#include "models/metrics.h"

static double mean_loss(uint64_t sum, uint64_t windows) {
  return windows ? nx_aux_decode(sum, NX_AUX_LOSS_SCALE) / (double)windows : NAN;
}

struct nx_run_metrics nx_run_metrics(const uint64_t *aux, size_t n_aux) {
  if (n_aux < NX_AUX_COMMON)
    return (struct nx_run_metrics){.train_loss = NAN,
                                   .held_out_loss = NAN,
                                   .auroc = NAN,
                                   .balanced_accuracy = NAN,
                                   .calibration_error = NAN,
                                   .r_squared = NAN,
                                   .correlation = NAN};
  const uint64_t *negative = aux + NX_AUX_HISTOGRAM_NEGATIVE;
  const uint64_t *positive = aux + NX_AUX_HISTOGRAM_POSITIVE;
  struct nx_target_moments targets;
  nx_moments_from_lanes(aux, &targets);
  bool classes = !targets.n_targets;
  return (struct nx_run_metrics){
      .contributors = aux[NX_AUX_CONTRIBUTORS],
      .train_windows = aux[NX_AUX_TRAIN_WINDOWS],
      .held_out_windows = aux[NX_AUX_HELD_OUT_WINDOWS],
      .train_loss = mean_loss(aux[NX_AUX_TRAIN_LOSS], aux[NX_AUX_TRAIN_WINDOWS]),
      .held_out_loss = mean_loss(aux[NX_AUX_HELD_OUT_LOSS], aux[NX_AUX_HELD_OUT_WINDOWS]),
      .auroc = classes ? nx_auroc_histogram(negative, positive) : NAN,
      .balanced_accuracy = classes ? nx_balanced_accuracy_histogram(negative, positive) : NAN,
      .calibration_error = classes ? nx_calibration_error_histogram(negative, positive) : NAN,
      .r_squared = nx_moments_mean_r_squared(&targets),
      .correlation = nx_moments_mean_correlation(&targets),
      .targets = targets,
  };
}

int nx_run_metrics_of_round(struct nx_run_store *store, uint64_t round, struct nx_run_metrics *out,
                            struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer aux = {0}, survivors = {0};
  uint64_t lanes[NX_AUX_COMMON] = {0};
  int r = nx_run_store_sealed_aux(store, round, &aux, &survivors, err);
  if (r < 0)
    return r;
  size_t n = aux.size / 8 < NX_AUX_COMMON ? 0 : NX_AUX_COMMON;
  for (size_t i = 0; i < n; i++)
    lanes[i] = nx_load_le64(aux.data + 8 * i);
  *out = nx_run_metrics(lanes, n);
  return 0;
}
