/* Targets: behaviour as a regression learns it (plan section regression), sample by sample on a
 * signal's clock: channels of behaviour by name, or the speed that a vocabulary makes of them. */
#pragma once

#include "common/plan_regression.h"
#include "node/dataset/behaviour.h"
#include "node/dataset/signal_load.h"

/* Fills targets_out[n_targets][n]: sample i at rate_hz is the mean of the behaviour over its time, NaN
 * where that was not recorded, or is no number. from: who has the behaviour, whose first sample lies
 * shift_s behind the signal's. vocabulary, species: for speed alone; vocabulary may be NULL.
 * NX_E_NOT_FOUND names a target that is not there; NX_E_UNSUPPORTED: in another unit than the plan
 * says, or the vocabulary has no entry. */
int nx_targets_fill(const struct nx_plan_regression *regression,
                    const struct nx_behaviour *vocabulary, const char *species,
                    const struct nx_loaded_signal *from, double shift_s, double rate_hz, size_t n,
                    float *targets_out, struct nx_error *err);

/* Sums over patches of `patch` samples, one after another, of targets[n_targets][n]: those in which
 * every target is known. */
struct nx_target_sums {
  double n, sum[NX_REGRESSION_TARGETS], squares[NX_REGRESSION_TARGETS];
};
void nx_targets_sum(const float *targets, size_t n_targets, size_t n, size_t patch,
                    struct nx_target_sums *sums);
