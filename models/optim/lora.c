#include "models/optim/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "common/size.h"
#include "models/tensor/layout.h"

#define LORA_STREAM UINT64_C(0x6c6f7261) /* "lora" */

static bool is_adapted(const struct nx_lora_parts *parts, const struct nx_model_tensor *t) {
  return t->n_dims == 2 && !strncmp(t->name, "block.", 6) &&
         ((!parts->no_attention && strstr(t->name, ".attention.")) ||
          (!parts->no_feed_forward && strstr(t->name, ".feed_forward.")));
}

static bool is_trained_whole(const struct nx_lora_parts *parts, const struct nx_model_tensor *t) {
  return !parts->no_head && (!strncmp(t->name, "head.", 5) || !strncmp(t->name, "decoder.", 8) ||
                             !strncmp(t->name, "samples.", 8));
}

static int check_rank(const struct nx_model_tensor *t, uint32_t rank, struct nx_error *err) {
  uint32_t most = NX_MIN(t->dims[0], t->dims[1]);
  if (rank >= 1 && rank <= most)
    return 0;
  return nx_fail(err, NX_E_INVALID, "adapters of rank %u for %s [%u, %u]: use 1 to %u", rank,
                 t->name, t->dims[0], t->dims[1], most);
}

int nx_lora_layout(const struct nx_model *base, const struct nx_lora_options *options,
                   struct nx_layout *layout, struct nx_error *err) {
  const struct nx_init zero = {NX_INIT_CONSTANT, 0};
  int r = 0;
  for (size_t i = 0; !r && i < base->n_tensors; i++) {
    const struct nx_model_tensor *t = &base->tensors[i];
    struct nx_init uniform = {NX_INIT_UNIFORM, 1 / sqrt(t->dims[1])};
    if (is_adapted(&options->parts, t)) {
      r = check_rank(t, options->rank, err);
      nx_layout_add(layout, uniform, options->rank, t->dims[1], "%s.a", t->name);
      nx_layout_add(layout, zero, t->dims[0], options->rank, "%s.b", t->name);
    } else if (is_trained_whole(&options->parts, t))
      nx_layout_add(layout, zero, t->dims[0], t->n_dims == 2 ? t->dims[1] : 0, "%s", t->name);
  }
  if (!r && layout->failed)
    r = nx_fail(err, layout->failed, "more adapters than a model may have tensors");
  return r;
}

int nx_lora_create(const struct nx_model *base, const struct nx_lora_options *options,
                   struct nx_lora **lora_out, struct nx_error *err) {
  _cleanup_(nx_lora_destroyp) struct nx_lora *lora = calloc(1, sizeof *lora);
  _cleanup_free_ struct nx_layout *layout = calloc(1, sizeof *layout);
  if (!lora || !layout)
    return nx_fail(err, NX_E_NOMEM, "out of memory for adapters");
  if (!(options->alpha > 0 && isfinite(options->alpha)))
    return nx_fail(err, NX_E_INVALID, "adapters with alpha %g: use more than 0", options->alpha);
  int r = nx_lora_layout(base, options, layout, err);
  if (r < 0)
    return r;
  lora->tensors = calloc(layout->n_tensors, sizeof *lora->tensors);
  lora->params = aligned_alloc(64, (layout->n_params * sizeof(float) + 63) & ~(size_t)63);
  if (!lora->tensors || !lora->params)
    return nx_fail(err, NX_E_NOMEM, "out of memory for adapters of %zu parameters",
                   layout->n_params);
  memcpy(lora->tensors, layout->tensors, layout->n_tensors * sizeof *lora->tensors);
  lora->n_tensors = layout->n_tensors;
  lora->n_params = layout->n_params;
  lora->rank = options->rank;
  lora->parts = options->parts;
  lora->scale = options->alpha / options->rank;
  struct nx_rng rng;
  nx_rng_init(&rng, options->seed, LORA_STREAM);
  nx_layout_draw(layout, &rng, lora->params);
  *lora_out = nx_steal(&lora);
  return 0;
}

struct nx_lora_parts nx_lora_parts(const struct nx_model_adapters *adapters) {
  return (struct nx_lora_parts){!adapters->attention, !adapters->feed_forward, !adapters->head};
}

struct nx_lora nx_lora_of(const struct nx_model *model) {
  const struct nx_model_adapters *a = &model->shape.adapters;
  return (struct nx_lora){.scale = a->alpha / a->rank,
                          .rank = a->rank,
                          .parts = nx_lora_parts(a),
                          .n_tensors = model->n_tensors,
                          .tensors = (struct nx_model_tensor *)(uintptr_t)model->tensors,
                          .n_params = model->n_params,
                          .params = model->params};
}

void nx_lora_destroy(struct nx_lora *lora) {
  if (!lora)
    return;
  free(lora->tensors);
  free(lora->params);
  free(lora);
}

/* Model tensor by model tensor, what of the adapters belongs to it: *next moves on. Returns
 * how many entries (2: A and B; 1: whole; 0: frozen), -1 when they are for another model. */
static int entries_of(const struct nx_lora *lora, const struct nx_model_tensor *t, size_t *next,
                      const struct nx_model_tensor **first) {
  int n = is_adapted(&lora->parts, t) ? 2 : is_trained_whole(&lora->parts, t);
  if (n == 0)
    return 0;
  if (*next + (size_t)n > lora->n_tensors)
    return -1;
  *first = &lora->tensors[*next];
  *next += (size_t)n;
  size_t length = strlen(t->name);
  bool fits = !strncmp((*first)->name, t->name, length) &&
              (n == 2 ? (*first)->dims[1] == t->dims[1] && (*first)[1].dims[0] == t->dims[0]
                      : (*first)->size == t->size && (*first)->name[length] == 0);
  return fits ? n : -1;
}

static int other_model(struct nx_error *err) {
  return nx_fail(err, NX_E_INVALID, "the adapters were made for a model of another shape");
}

/* w += s b a: sums over the rank in one order, without a library, so that every machine that
 * merges the same adapters gets the same bits (this file is compiled without contraction). */
static void add_product(size_t out, size_t in, size_t rank, float s, const float *a, const float *b,
                        float *w) {
  for (size_t i = 0; i < out; i++)
    for (size_t k = 0; k < rank; k++) {
      float factor = s * b[i * rank + k];
      for (size_t j = 0; j < in; j++)
        w[i * in + j] += factor * a[k * in + j];
    }
}

int nx_lora_merge(const struct nx_lora *lora, const struct nx_model *base, struct nx_model *merged,
                  struct nx_error *err) {
  size_t next = 0;
  if (merged->n_params != base->n_params || merged->params == base->params)
    return nx_fail(err, NX_E_INVALID, "adapters merge into a copy of their base");
  memcpy(merged->params, base->params, base->n_params * sizeof(float));
  for (size_t i = 0; i < base->n_tensors; i++) {
    const struct nx_model_tensor *t = &base->tensors[i], *e;
    float *w = merged->params + t->offset;
    int n = entries_of(lora, t, &next, &e);
    if (n < 0)
      return other_model(err);
    if (n == 2)
      add_product(t->dims[0], t->dims[1], lora->rank, (float)lora->scale, lora->params + e->offset,
                  lora->params + e[1].offset, w);
    for (size_t j = 0; n == 1 && j < t->size; j++)
      w[j] += lora->params[e->offset + j];
  }
  return next == lora->n_tensors ? 0 : other_model(err);
}

/* da[rank, in] = s b^T dw, db[out, rank] = s dw a^T */
static void project(size_t out, size_t in, size_t rank, float s, const float *a, const float *b,
                    const float *dw, float *da, float *db) {
  memset(da, 0, rank * in * sizeof *da);
  for (size_t i = 0; i < out; i++)
    for (size_t k = 0; k < rank; k++) {
      float factor = s * b[i * rank + k], sum = 0;
      for (size_t j = 0; j < in; j++) {
        da[k * in + j] += factor * dw[i * in + j];
        sum += dw[i * in + j] * a[k * in + j];
      }
      db[i * rank + k] = s * sum;
    }
}

int nx_lora_gradients(const struct nx_lora *lora, const struct nx_model *model,
                      const float *model_gradients, float *gradients_out, struct nx_error *err) {
  size_t next = 0;
  for (size_t i = 0; i < model->n_tensors; i++) {
    const struct nx_model_tensor *t = &model->tensors[i], *e;
    const float *dw = model_gradients + t->offset;
    int n = entries_of(lora, t, &next, &e);
    if (n < 0)
      return other_model(err);
    if (n == 2)
      project(t->dims[0], t->dims[1], lora->rank, (float)lora->scale, lora->params + e->offset,
              lora->params + e[1].offset, dw, gradients_out + e->offset,
              gradients_out + e[1].offset);
    if (n == 1)
      memcpy(gradients_out + e->offset, dw, t->size * sizeof *dw);
  }
  return next == lora->n_tensors ? 0 : other_model(err);
}
