#include "models/outline.h"

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "models/model_parts.h"
#include "models/optim/lora.h"
#include "models/quantised.h"

struct nx_outline {
  struct nx_arena *space;
  struct nx_model model, base, merged;
  bool merges;
};

static int put_space(struct nx_outline *o, struct nx_model *model, struct nx_error *err) {
  model->n_features = model->shape.bins + model->shape.stats + model->shape.n_targets;
  model->params = nx_arena_take(o->space, model->n_params, sizeof(float));
  model->feature_mean = nx_arena_take(o->space, model->n_features + 1, sizeof(float));
  model->feature_sd = nx_arena_take(o->space, model->n_features + 1, sizeof(float));
  return model->params && model->feature_mean && model->feature_sd
             ? 0
             : nx_fail(err, NX_E_LIMIT, "no address space for a model of %zu parameters",
                       model->n_params);
}

static int put_table(struct nx_outline *o, const struct nx_layout *layout, struct nx_model *model,
                     struct nx_error *err) {
  size_t n = layout->n_tensors;
  struct nx_model_tensor *tensors = nx_arena_take(o->space, n + 1, sizeof *tensors);
  if (!tensors)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a model's table");
  memcpy(tensors, layout->tensors, n * sizeof *tensors);
  model->tensors = tensors;
  model->n_tensors = n;
  model->n_params = layout->n_params;
  return put_space(o, model, err);
}

static int put_adapters(struct nx_outline *o, const struct nx_plan *plan, struct nx_layout *layout,
                        struct nx_error *err) {
  struct nx_model_shape *shape = &o->model.shape;
  int r = nx_model_shape_from_plan(plan, shape, err);
  const struct nx_lora_options options = {.rank = shape->adapters.rank,
                                          .alpha = shape->adapters.alpha,
                                          .parts = nx_lora_parts(&shape->adapters)};
  layout->n_tensors = layout->n_params = 0;
  if (!r)
    r = nx_lora_layout(&o->base, &options, layout, err);
  if (!r)
    r = put_table(o, layout, &o->model, err);
  o->model.base = &o->base;
  return r;
}

static int quantise(struct nx_outline *o, enum nx_storage storage, struct nx_layout *layout,
                    struct nx_error *err) {
  layout->n_tensors = layout->n_params = 0;
  int r = nx_model_quantised_layout(&o->merged, storage, layout, err);
  return r < 0 ? r : put_table(o, layout, &o->base, err);
}

static int fill(struct nx_outline *o, const struct nx_plan *plan, struct nx_layout *layout,
                struct nx_error *err) {
  int r = nx_model_plain_layout(plan, &o->merged.shape, layout, err);
  if (!r)
    r = put_table(o, layout, &o->merged, err);
  o->base = o->merged;
  if (r < 0 || !plan->adapters) {
    o->model = o->merged;
    return r;
  }
  o->merges = plan->adapters->base == NX_STORAGE_FLOAT32;
  if (!o->merges)
    r = quantise(o, plan->adapters->base, layout, err);
  return r < 0 ? r : put_adapters(o, plan, layout, err);
}

int nx_outline_create(const struct nx_plan *plan, struct nx_outline **outline_out,
                      struct nx_error *err) {
  _cleanup_(nx_outline_destroyp) struct nx_outline *o = calloc(1, sizeof *o);
  _cleanup_free_ struct nx_layout *layout = calloc(1, sizeof *layout);
  if (!o || !layout)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a model's table");
  int r = nx_arena_create_hollow(&o->space, err);
  if (!r)
    r = fill(o, plan, layout, err);
  if (!r)
    *outline_out = nx_steal(&o);
  return r;
}

void nx_outline_destroy(struct nx_outline *outline) {
  if (outline)
    nx_arena_destroy(outline->space);
  free(outline);
}

const struct nx_model *nx_outline_model(const struct nx_outline *outline) {
  return &outline->model;
}

const struct nx_model *nx_outline_runs(const struct nx_outline *outline) {
  return outline->merges ? &outline->merged : &outline->model;
}
