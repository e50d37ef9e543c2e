#include "models/optim/adamw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/backend/backend.h"

#define EPSILON 1e-8
#define CLIP_EPSILON 1e-9

struct nx_adamw {
  struct nx_adamw_options options;
  uint64_t t;
  const struct nx_model_tensor *tensors;
  size_t n_tensors, n_params;
  float *mean, *square; /* [n_params] each, one allocation */
  bool *frozen;         /* [n_tensors] */
};

int nx_adamw_create_for(const struct nx_model_tensor *tensors, size_t n_tensors, size_t n_params,
                        const struct nx_adamw_options *options, struct nx_adamw **adamw_out,
                        struct nx_error *err) {
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = calloc(1, sizeof *adamw);
  if (adamw) {
    adamw->mean = calloc(2 * n_params, sizeof *adamw->mean);
    adamw->frozen = calloc(n_tensors + 1, sizeof *adamw->frozen);
  }
  if (!adamw || !adamw->mean || !adamw->frozen)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the moments of %zu parameters", n_params);
  adamw->options = *options;
  adamw->tensors = tensors;
  adamw->n_tensors = n_tensors;
  adamw->n_params = n_params;
  adamw->square = adamw->mean + n_params;
  *adamw_out = nx_steal(&adamw);
  return 0;
}

int nx_adamw_create(const struct nx_model *model, const struct nx_adamw_options *options,
                    struct nx_adamw **adamw_out, struct nx_error *err) {
  return nx_adamw_create_for(model->tensors, model->n_tensors, model->n_params, options, adamw_out,
                             err);
}

void nx_adamw_reset(struct nx_adamw *adamw) {
  adamw->t = 0;
  memset(adamw->mean, 0, 2 * adamw->n_params * sizeof *adamw->mean);
}

void nx_adamw_destroy(struct nx_adamw *adamw) {
  if (!adamw)
    return;
  free(adamw->mean);
  free(adamw->frozen);
  free(adamw);
}

void nx_adamw_freeze(struct nx_adamw *adamw, size_t tensor, bool frozen) {
  adamw->frozen[tensor] = frozen;
}

int nx_adamw_step(struct nx_adamw *adamw, struct nx_model *model, const float *gradients,
                  double learning_rate, double *norm_out, struct nx_error *err) {
  adamw->tensors = model->tensors; /* of the same shape: the model that is alive now */
  return nx_adamw_step_on(adamw, model->params, gradients, learning_rate, norm_out, err);
}

int nx_adamw_step_on(struct nx_adamw *adamw, float *params, const float *gradients,
                     double learning_rate, double *norm_out, struct nx_error *err) {
  const struct nx_adamw_options *o = &adamw->options;
  const struct nx_kernels *kernels = nx_backend_cpu()->kernels;
  double norm = sqrt(kernels->square_sum(NULL, adamw->n_params, gradients));
  if (norm_out)
    *norm_out = norm;
  if (!isfinite(norm))
    return nx_fail(err, NX_E_STATE,
                   "the gradient is not finite: training diverged, lower the learning rate");
  adamw->t++;
  double t = (double)adamw->t, clip = o->clip_norm / (norm + CLIP_EPSILON);
  struct nx_adamw_factors step = {
      .beta1 = (float)o->beta1,
      .beta2 = (float)o->beta2,
      .clip = o->clip_norm > 0 && clip < 1 ? (float)clip : 1.0f,
      .rate = (float)(learning_rate / (1 - pow(o->beta1, t))),
      .epsilon = (float)EPSILON,
      .root_correction = (float)(1 / sqrt(1 - pow(o->beta2, t))),
  };
  for (size_t i = 0; i < adamw->n_tensors; i++) {
    const struct nx_model_tensor *tensor = &adamw->tensors[i];
    if (adamw->frozen[i])
      continue;
    step.keep = tensor->n_dims > 1 ? (float)(1 - learning_rate * o->weight_decay) : 1.0f;
    kernels->adamw(NULL, &step, tensor->size, gradients + tensor->offset,
                   adamw->mean + tensor->offset, adamw->square + tensor->offset,
                   params + tensor->offset);
  }
  return 0;
}
