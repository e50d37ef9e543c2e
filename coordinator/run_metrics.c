#include "coordinator/run_metrics.h"

#include <math.h>

#include "common/aux_lanes.h"
#include "models/metrics.h"

static double mean_loss(uint64_t sum, uint64_t windows) {
  return windows ? nx_aux_decode(sum, NX_AUX_LOSS_SCALE) / (double)windows : NAN;
}

struct nx_run_metrics nx_run_metrics(const uint64_t *aux, size_t n_aux) {
  if (n_aux < NX_AUX_COMMON)
    return (struct nx_run_metrics){
        .train_loss = NAN, .held_out_loss = NAN, .auroc = NAN, .balanced_accuracy = NAN};
  const uint64_t *negative = aux + NX_AUX_HISTOGRAM_NEGATIVE;
  const uint64_t *positive = aux + NX_AUX_HISTOGRAM_POSITIVE;
  return (struct nx_run_metrics){
      .contributors = aux[NX_AUX_CONTRIBUTORS],
      .train_windows = aux[NX_AUX_TRAIN_WINDOWS],
      .held_out_windows = aux[NX_AUX_HELD_OUT_WINDOWS],
      .train_loss = mean_loss(aux[NX_AUX_TRAIN_LOSS], aux[NX_AUX_TRAIN_WINDOWS]),
      .held_out_loss = mean_loss(aux[NX_AUX_HELD_OUT_LOSS], aux[NX_AUX_HELD_OUT_WINDOWS]),
      .auroc = nx_auroc_histogram(negative, positive),
      .balanced_accuracy = nx_balanced_accuracy_histogram(negative, positive),
  };
}
