/* Trainer: local optimisation of a model on the training windows of a data set, and scoring
 * of held-out windows. Deterministic: the same model, data, plan, seed and step numbers give
 * the same parameters on the same machine. Used by one thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/aux_lanes.h"
#include "common/error.h"
#include "common/plan.h"
#include "models/model.h"
#include "models/moments.h"
#include "models/nets/network.h"
#include "node/dataset/batch.h"
#include "node/dataset/dataset.h"

struct nx_train_options {
  uint64_t seed;       /* batches and dropout; with stream, names one sequence */
  uint64_t stream;     /* e.g. round * 256 + member id */
  uint64_t first_step; /* position in the learning-rate schedule, 0-based */
  size_t n_steps;
  size_t total_steps; /* length of the schedule: rounds * local_steps */
  size_t batch;       /* windows a step */
  /* Asked after each step; true stops with NX_E_CANCELLED. May be NULL. */
  bool (*cancelled)(void *context);
  void *context;
};

struct nx_train_result {
  size_t n_windows; /* seen, steps * batch */
  double loss_sum;  /* over them */
  double last_loss; /* mean of the last batch */
};

/* Trains model in place with a fresh AdamW state. */
int nx_train(struct nx_model *model, const struct nx_dataset *dataset, const struct nx_plan *plan,
             const struct nx_train_options *options, struct nx_train_result *result_out,
             struct nx_error *err);

/* A batch as the network reads it. */
struct nx_network_input nx_train_input(const struct nx_batch *batch);

struct nx_score_result {
  size_t n_windows;
  double loss_sum; /* binary cross-entropy without smoothing; of a regression a window's mean square
                    * of standardised errors */
  uint64_t negative[NX_HISTOGRAM_BINS], positive[NX_HISTOGRAM_BINS];
  struct nx_target_moments moments; /* of a regression */
};

/* Adds n scored windows. */
void nx_score_add(struct nx_score_result *result, const float *logits, const uint8_t *labels,
                  size_t n);

/* Scores the split's grid. logits_out may be NULL, else holds its window count (see
 * nx_dataset_summary), in grid order. */
int nx_score(const struct nx_model *model, const struct nx_dataset *dataset,
             const struct nx_plan *plan, enum nx_split split, float *logits_out,
             struct nx_score_result *result_out, struct nx_error *err);
