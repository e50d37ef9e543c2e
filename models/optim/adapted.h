/* Adapted: the model that a network runs on, for a model that may have adapters. Without a base, or
 * over a quantised one, which networks read as it is, it is the model itself, and nothing of this
 * costs anything.
 *
 *     begin ─► [ merge ─► network ─► gradients ─► AdamW on model->params ] … ─► finish */
#pragma once

#include "models/model.h"

struct nx_adapted {
  const struct nx_model *plain; /* what a network reads */
  struct nx_model *merged;      /* the same, when it is ours; else NULL */
  float *gradients;             /* of the adapters, [n_params] */
};

/* Merges. */
int nx_adapted_begin(struct nx_adapted *adapted, const struct nx_model *model,
                     struct nx_error *err);
/* Again, after the adapters moved. */
int nx_adapted_merge(struct nx_adapted *adapted, const struct nx_model *model,
                     struct nx_error *err);
/* Gradients of model->params from those of the plain model. */
int nx_adapted_gradients(struct nx_adapted *adapted, const struct nx_model *model,
                         const float *plain, const float **gradients_out, struct nx_error *err);
void nx_adapted_finish(struct nx_adapted *adapted); /* wipes, frees; zeroed is fine */
