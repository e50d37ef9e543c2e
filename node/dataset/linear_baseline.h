/* Linear baseline: L2-regularised logistic regression on 7 log band powers x channels of
 * each window (1-4, 4-8, 8-10, 10-13, 13-20, 20-30, 30-45 Hz; Welch, 2 s segments),
 * standardised. What any network has
 * to be printed beside: on EEGMAT it is about as good. */
#pragma once

#include <stddef.h>

#include "node/dataset/dataset.h"

#define NX_LINEAR_BANDS 7

struct nx_linear {
  size_t n_features; /* channels * bands, channel-major */
  double *weights;   /* on log powers as they are; freed by finish */
  double bias;
};

/* Fits on the training windows whose recording has selected[recording] != 0 (NULL: all). C is
 * scikit-learn's (0.01): minimises |w|^2 / 2 + C * sum log-loss. */
int nx_linear_fit(const struct nx_dataset *dataset, const struct nx_plan *plan,
                  const uint8_t *selected, double c, struct nx_linear *linear_out,
                  struct nx_error *err);
/* Logits of the held-out grid, in nx_batch_grid()'s order; scores_out holds
 * n_held_out_windows values. */
int nx_linear_score(const struct nx_linear *linear, const struct nx_dataset *dataset,
                    const struct nx_plan *plan, double *scores_out, struct nx_error *err);
void nx_linear_finish(struct nx_linear *linear);
