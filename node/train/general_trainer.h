/* General trainer: local optimisation of a model of network: general on what one site has.
 * Deterministic like node/train/trainer.h. Used by one thread. */
#pragma once

#include "common/pool.h"
#include "models/nets/general_network.h"
#include "node/train/signal_batch.h"
#include "node/train/trainer.h"

/* One site's recordings: of iEEG and LFP once for each of the plan's two patch lengths. */
struct nx_site_signals {
  size_t n_sets; /* 1 or more */
  const struct nx_signals *sets;
};

/* NX_E_INVALID names what does not fit the model: no set, a modality without a tokeniser, …
 * Call it before training: nx_general_train() does. */
int nx_site_signals_check(const struct nx_site_signals *site, const struct nx_model_shape *shape,
                          struct nx_error *err);

/* Trains model in place with a fresh AdamW state, the sets in turn, options->batch windows a
 * step, of at most NX_RECORDINGS_A_STEP recordings. Tensors of other tokenisers, modalities,
 * species and references stay exactly as they are. pool may be NULL. */
#define NX_RECORDINGS_A_STEP 4
int nx_general_train(struct nx_model *model, const struct nx_site_signals *site,
                     const struct nx_plan *plan, const struct nx_train_options *options,
                     struct nx_pool *pool, struct nx_train_result *result_out,
                     struct nx_error *err);

/* Mean loss over the grid of a split of every set, masks from (seed, window): the same for
 * every model of a shape. n_windows 0: the split is empty, loss NaN. */
int nx_general_loss_of(const struct nx_model *model, const struct nx_site_signals *site,
                       enum nx_split split, uint64_t seed, size_t *n_windows_out, double *loss_out,
                       struct nx_error *err);

/* How a regression does on a split's grid, the first set's: windows that have a patch whose targets
 * are all known. */
int nx_general_regression_score(const struct nx_model *model, const struct nx_site_signals *site,
                                enum nx_split split, struct nx_score_result *result_out,
                                struct nx_error *err);

/* A classifier's scores of a split's grid, the first set's. logits_out may be NULL. */
int nx_general_score(const struct nx_model *model, const struct nx_site_signals *site,
                     enum nx_split split, float *logits_out, struct nx_score_result *result_out,
                     struct nx_error *err);
