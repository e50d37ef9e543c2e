#include "models/optim/adamw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON 1e-8
#define CLIP_EPSILON 1e-9

struct nx_adamw {
  struct nx_adamw_options options;
  uint64_t t;
  size_t n_params;
  float *mean, *square; /* [n_params] each, one allocation */
};

int nx_adamw_create(const struct nx_model *model, const struct nx_adamw_options *options,
                    struct nx_adamw **adamw_out, struct nx_error *err) {
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = calloc(1, sizeof *adamw);
  if (adamw)
    adamw->mean = calloc(2 * model->n_params, sizeof *adamw->mean);
  if (!adamw || !adamw->mean)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the moments of %zu parameters",
                   model->n_params);
  adamw->options = *options;
  adamw->n_params = model->n_params;
  adamw->square = adamw->mean + model->n_params;
  *adamw_out = nx_steal(&adamw);
  return 0;
}

void nx_adamw_reset(struct nx_adamw *adamw) {
  adamw->t = 0;
  memset(adamw->mean, 0, 2 * adamw->n_params * sizeof *adamw->mean);
}

void nx_adamw_destroy(struct nx_adamw *adamw) {
  if (!adamw)
    return;
  free(adamw->mean);
  free(adamw);
}

/* Eight partial sums: fixed order, and room for the compiler to use vectors. */
static double norm_of(const float *x, size_t n) {
  double sums[8] = {0}, total = 0;
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t j = 0; j < 8; j++)
      sums[j] += (double)x[i + j] * (double)x[i + j];
  for (; i < n; i++)
    sums[0] += (double)x[i] * (double)x[i];
  for (size_t j = 0; j < 8; j++)
    total += sums[j];
  return sqrt(total);
}

struct step {
  float beta1, beta2, clip, keep, rate, root_correction;
};

static void update(const struct step *s, size_t n, float *restrict p, float *restrict m,
                   float *restrict v, const float *restrict gradients) {
  for (size_t i = 0; i < n; i++) {
    float g = s->clip * gradients[i];
    m[i] = s->beta1 * m[i] + (1 - s->beta1) * g;
    v[i] = s->beta2 * v[i] + (1 - s->beta2) * g * g;
    p[i] = s->keep * p[i] - s->rate * m[i] / (sqrtf(v[i]) * s->root_correction + (float)EPSILON);
  }
}

int nx_adamw_step(struct nx_adamw *adamw, struct nx_model *model, const float *gradients,
                  double learning_rate, double *norm_out, struct nx_error *err) {
  const struct nx_adamw_options *o = &adamw->options;
  double norm = norm_of(gradients, adamw->n_params);
  if (norm_out)
    *norm_out = norm;
  if (!isfinite(norm))
    return nx_fail(err, NX_E_STATE,
                   "the gradient is not finite: training diverged, lower the learning rate");
  adamw->t++;
  double t = (double)adamw->t, clip = o->clip_norm / (norm + CLIP_EPSILON);
  struct step step = {
      .beta1 = (float)o->beta1,
      .beta2 = (float)o->beta2,
      .clip = o->clip_norm > 0 && clip < 1 ? (float)clip : 1.0f,
      .rate = (float)(learning_rate / (1 - pow(o->beta1, t))),
      .root_correction = (float)(1 / sqrt(1 - pow(o->beta2, t))),
  };
  for (size_t i = 0; i < model->n_tensors; i++) {
    const struct nx_model_tensor *tensor = &model->tensors[i];
    step.keep = tensor->n_dims > 1 ? (float)(1 - learning_rate * o->weight_decay) : 1.0f;
    update(&step, tensor->size, model->params + tensor->offset, adamw->mean + tensor->offset,
           adamw->square + tensor->offset, gradients + tensor->offset);
  }
  return 0;
}
