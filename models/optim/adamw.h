/* AdamW with decoupled weight decay (Loshchilov & Hutter 2019) on matrices only, behind a
 * global gradient-norm clip, as design/recipe-eegmat asks:
 *
 *     k  = min(1, clip / (|g| + 1e-9))
 *     m  = b1 m + (1 - b1) k g        v = b2 v + (1 - b2) (k g)^2
 *     p  = p (1 - lr wd)              matrices only
 *     p -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + 1e-8)
 *
 * Owned by one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "models/model.h"

struct nx_adamw_options {
  double beta1, beta2, weight_decay;
  double clip_norm; /* of the whole gradient; 0 = no clip */
};

struct nx_adamw;

/* Zero moments for this model, or any other of its shape. */
int nx_adamw_create(const struct nx_model *model, const struct nx_adamw_options *options,
                    struct nx_adamw **adamw_out, struct nx_error *err);
/* The same for any flat vector that a table describes (adapters: models/optim/lora.h); the
 * table must outlive adamw. */
int nx_adamw_create_for(const struct nx_model_tensor *tensors, size_t n_tensors, size_t n_params,
                        const struct nx_adamw_options *options, struct nx_adamw **adamw_out,
                        struct nx_error *err);
int nx_adamw_step_on(struct nx_adamw *adamw, float *params, const float *gradients,
                     double learning_rate, double *norm_out, struct nx_error *err);

/* One step on model->params. gradients[n_params] is read only. Returns the norm of the
 * gradient before clipping; when that is not finite nothing is changed: NX_E_STATE. */
int nx_adamw_step(struct nx_adamw *adamw, struct nx_model *model, const float *gradients,
                  double learning_rate, double *norm_out, struct nx_error *err);
/* Forgets the moments and the step count. */
void nx_adamw_reset(struct nx_adamw *adamw);
/* Leaves that tensor of the table as it is from now on, weight decay included; true again lets it
 * move. For what a site has no data for. */
void nx_adamw_freeze(struct nx_adamw *adamw, size_t tensor, bool frozen);

void nx_adamw_destroy(struct nx_adamw *adamw); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_adamw *, nx_adamw_destroy)
