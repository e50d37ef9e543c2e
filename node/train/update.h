/* Update: what a node contributes to one round, computed but not yet protected. The floats
 * of `delta` and the aux values never leave the node unmasked. */
#pragma once

#include "node/train/general_trainer.h"
#include "node/train/trainer.h"

struct nx_update {
  size_t n_values;  /* parameters; 0 in statistics and evaluation rounds */
  float *delta;     /* local - global, L2-clipped and weighted; aligned to 64 bytes */
  uint32_t *lanes;  /* instead of delta, under shared noise: [n_values] in the ring already,
                       noise included (private_update.h); else NULL */
  size_t n_clamped; /* of them, values cut to the ring's width */
  double weight;    /* w_u = min(samples, cap) / cap; samples: non-overlapping train windows */
  double norm;      /* L2 of the delta before clipping */
  size_t n_aux;
  uint64_t *aux;                    /* nx_aux_lanes(kind, features) lanes, common/aux_lanes.h */
  double train_loss, held_out_loss; /* means, for this node's own log; NaN when none */
};

/* TRAIN: trains a copy of `model` (which stays as it is) for the plan's local steps.
 * training_round counts training rounds from 0. STATISTICS: feature sums. EVALUATE: held-out
 * histograms. TRAIN rounds score the given global model on held-out windows too. */
int nx_update_compute(enum nx_round_kind kind, const struct nx_model *model,
                      const struct nx_dataset *dataset, const struct nx_plan *plan,
                      uint64_t training_round, uint32_t member_id, bool (*cancelled)(void *context),
                      void *context, struct nx_update *update_out, struct nx_error *err);
/* The same for a plan of network: general. STATISTICS: there are none, the counts alone.
 * EVALUATE: of a classifier held-out histograms, else the held-out loss. */
int nx_update_compute_general(enum nx_round_kind kind, const struct nx_model *model,
                              const struct nx_site_signals *site, const struct nx_plan *plan,
                              uint64_t training_round, uint32_t member_id, struct nx_pool *pool,
                              bool (*cancelled)(void *context), void *context,
                              struct nx_update *update_out, struct nx_error *err);
/* Fills update->delta, allocated before, with weight * (local - global) clipped to the plan's
 * update_clip_norm, and update->norm. */
void nx_update_put_delta(const struct nx_model *global, const struct nx_model *local,
                         const struct nx_plan *plan, struct nx_update *update);
void nx_update_finish(struct nx_update *update); /* wipes, frees; zeroed is fine */
