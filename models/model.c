#include "models/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/plan_adapters.h"
#include "common/plan_regression.h"
#include "common/rng.h"
#include "common/size.h"
#include "models/model_parts.h"
#include "models/nets/general.h"
#include "models/nets/nano.h"
#include "models/optim/lora.h"
#include "models/quantised.h"
#include "models/tensor/layout.h"

#define ALIGNMENT 64
#define INIT_STREAM UINT64_C(0x6d6f64656c2030) /* "model 0" */

/* Everything of a model in one block: this, then the table, then the floats. */
struct model_block {
  struct nx_model model;
  struct nx_model_tensor tensors[];
};

static void put_tokenisers(const struct nx_plan *plan, struct nx_model_shape *shape) {
  const struct nx_plan_modalities *m = plan->modalities;
  shape->experts = m->experts;
  shape->balance = m->expert_balance;
  shape->patches = m->patches;
  shape->patch_samples = shape->bins = shape->stats = 0;
  shape->mask_fraction = m->mask_fraction;
  shape->mask_correlation = m->mask_correlation;
  shape->mask_radius_mm = m->mask_radius_mm;
  shape->n_tokenisers = m->tokenisers_count;
  for (size_t i = 0; i < m->tokenisers_count; i++) {
    const struct nx_plan_tokeniser *t = &m->tokenisers[i];
    shape->tokenisers[i] = (struct nx_model_tokeniser){
        .kind = t->kind,
        .loss = t->loss,
        .patch_samples = t->patch_samples,
        .inputs = t->patch_samples + t->patch_samples / 2 + 1,
        .patch_seconds = t->patch_samples / t->rate_hz,
        .frequency_weight = t->frequency_weight,
        .frequency_power = t->frequency_power,
    };
  }
}

static void put_prototypes(const struct nx_plan_prototypes *p, struct nx_model_shape *shape) {
  size_t at = 0;
  shape->n_classes = p->n_classes;
  shape->contrast_weight = p->weight;
  shape->temperature = p->temperature;
  for (uint32_t i = 0; i < p->n_classes; i++)
    at += (size_t)snprintf(shape->classes + at, sizeof shape->classes - at, "%s%s", i ? " " : "",
                           p->classes[i]);
}

int nx_model_shape_from_plan(const struct nx_plan *plan, struct nx_model_shape *shape_out,
                             struct nx_error *err) {
  double patches = round(plan->window.seconds / plan->window.patch_seconds);
  double samples = round(plan->window.patch_seconds * plan->preprocessing.rate_hz);
  if (!(samples >= 4 && samples <= 65536))
    return nx_fail(err, NX_E_INVALID,
                   "window.patch_seconds * preprocessing.rate_hz is %g samples a patch: use 4 to "
                   "65536",
                   samples);
  if (!(patches >= 1 && patches <= 4096))
    return nx_fail(err, NX_E_INVALID,
                   "window.seconds / window.patch_seconds is %g patches: use 1 to 4096", patches);
  if (plan->model.width % plan->model.heads || plan->model.width / plan->model.heads % 2)
    return nx_fail(err, NX_E_INVALID, "model.width must be an even multiple of model.heads");
  *shape_out = (struct nx_model_shape){
      .network = plan->model.network,
      .objective = plan->training.objective,
      .width = plan->model.width,
      .blocks = plan->model.blocks,
      .queries = plan->model.queries,
      .heads = plan->model.heads,
      .feed_forward = plan->model.feed_forward,
      .patches = (uint32_t)patches,
      .patch_samples = (uint32_t)samples,
      .bins = NX_MIN(NX_MODEL_BINS, (uint32_t)samples / 2 - 1),
      .stats = NX_MODEL_STATS,
      .patch_seconds = plan->window.patch_seconds,
      .dropout = plan->model.dropout,
  };
  if (plan->model.network == NX_NETWORK_GENERAL)
    put_tokenisers(plan, shape_out);
  if (plan->prototypes)
    put_prototypes(plan->prototypes, shape_out);
  if (plan->regression)
    shape_out->n_targets = plan->regression->n_targets;
  if (plan->adapters)
    shape_out->adapters = (struct nx_model_adapters){
        plan->adapters->rank,         plan->adapters->alpha, plan->adapters->attention,
        plan->adapters->feed_forward, plan->adapters->head,  plan->adapters->base};
  return 0;
}

size_t nx_model_standing(const struct nx_model_shape *shape) {
  size_t loads = shape->balance > 0 ? (size_t)(shape->blocks / 2) * shape->experts : 0;
  return shape->adapters.rank ? 0 : (size_t)shape->n_classes * NX_PROTOTYPE_WIDTH + loads;
}

static size_t aligned(size_t bytes) {
  return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* All sizes are capped by NX_MODEL_PARAMS_CAP and NX_MODEL_TENSORS: no overflow. */
static struct nx_model *allocate(const struct nx_model_shape *shape, size_t n_tensors,
                                 size_t n_params) {
  size_t n_features = shape->bins + shape->stats + shape->n_targets;
  size_t head = aligned(sizeof(struct model_block) + n_tensors * sizeof(struct nx_model_tensor));
  size_t params = aligned(n_params * sizeof(float)), features = aligned(n_features * sizeof(float));
  uint8_t *memory = aligned_alloc(ALIGNMENT, head + params + 2 * features);
  if (!memory)
    return NULL;
  memset(memory, 0, head + params + 2 * features);
  struct model_block *block = (struct model_block *)memory;
  block->model = (struct nx_model){.shape = *shape,
                                   .n_tensors = n_tensors,
                                   .tensors = block->tensors,
                                   .n_params = n_params,
                                   .params = (float *)(memory + head),
                                   .n_features = n_features,
                                   .feature_mean = (float *)(memory + head + params),
                                   .feature_sd = (float *)(memory + head + params + features)};
  return &block->model;
}

static struct nx_model_tensor *table(struct nx_model *model) {
  return ((struct model_block *)model)->tensors;
}

struct nx_model *nx_model_allocate(const struct nx_model_shape *shape,
                                   const struct nx_layout *layout, struct nx_error *err) {
  struct nx_model *model = allocate(shape, layout->n_tensors, layout->n_params);
  if (model)
    memcpy(table(model), layout->tensors, layout->n_tensors * sizeof *layout->tensors);
  else
    nx_fail(err, NX_E_NOMEM, "out of memory for a model of %zu parameters", layout->n_params);
  return model;
}

int nx_model_plain_layout(const struct nx_plan *plan, struct nx_model_shape *shape_out,
                          struct nx_layout *layout, struct nx_error *err) {
  int r = nx_model_shape_from_plan(plan, shape_out, err);
  if (r < 0)
    return r;
  shape_out->adapters = (struct nx_model_adapters){0};
  return shape_out->network == NX_NETWORK_GENERAL ? nx_general_layout(shape_out, layout, err)
                                                  : nx_nano_layout(shape_out, layout, err);
}

static int create_plain(const struct nx_plan *plan, struct nx_model **model_out,
                        struct nx_error *err) {
  _cleanup_free_ struct nx_layout *layout = calloc(1, sizeof *layout);
  struct nx_model_shape shape;
  if (!layout)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a model");
  int r = nx_model_plain_layout(plan, &shape, layout, err);
  if (r < 0)
    return r;
  struct nx_model *model = nx_model_allocate(&shape, layout, err);
  if (!model)
    return NX_E_NOMEM;
  strncpy(model->plan_name, plan->name, sizeof model->plan_name - 1);
  struct nx_rng rng;
  nx_rng_init(&rng, plan->seed, INIT_STREAM);
  nx_layout_draw(layout, &rng, model->params);
  for (size_t i = 0; i < model->n_features; i++)
    model->feature_sd[i] = 1;
  *model_out = model;
  return 0;
}

void nx_model_copy_features(const struct nx_model *from, struct nx_model *to) {
  memcpy(to->plan_name, from->plan_name, sizeof to->plan_name);
  memcpy(to->feature_mean, from->feature_mean, from->n_features * sizeof(float));
  memcpy(to->feature_sd, from->feature_sd, from->n_features * sizeof(float));
}

/* Takes the base over when it succeeds. Adapters begin as the identity. */
static int put_adapters(const struct nx_plan *plan, struct nx_model *base,
                        struct nx_model **model_out, struct nx_error *err) {
  _cleanup_(nx_lora_destroyp) struct nx_lora *lora = NULL;
  struct nx_model_shape shape;
  int r = nx_model_shape_from_plan(plan, &shape, err);
  const struct nx_lora_options options = {.rank = shape.adapters.rank,
                                          .alpha = shape.adapters.alpha,
                                          .seed = plan->seed,
                                          .parts = nx_lora_parts(&shape.adapters)};
  if (!r)
    r = nx_lora_create(base, &options, &lora, err);
  if (r < 0)
    return r;
  struct nx_model *model = allocate(&shape, lora->n_tensors, lora->n_params);
  if (!model)
    return nx_fail(err, NX_E_NOMEM, "out of memory for adapters");
  memcpy(table(model), lora->tensors, lora->n_tensors * sizeof *lora->tensors);
  memcpy(model->params, lora->params, lora->n_params * sizeof *lora->params);
  nx_model_copy_features(base, model);
  model->base = base;
  *model_out = model;
  return 0;
}

int nx_model_create(const struct nx_plan *plan, struct nx_model **model_out, struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *plain = NULL, *base = NULL;
  int r = create_plain(plan, &plain, err);
  if (!r && !plan->adapters) {
    *model_out = nx_steal(&plain);
    return 0;
  }
  if (!r && plan->adapters->base != NX_STORAGE_FLOAT32)
    r = nx_model_quantise(plain, plan->adapters->base, &base, err);
  else if (!r)
    base = nx_steal(&plain);
  if (!r)
    r = put_adapters(plan, base, model_out, err);
  if (!r)
    base = NULL; /* the model's now */
  return r;
}

int nx_model_clone(const struct nx_model *model, struct nx_model **clone_out,
                   struct nx_error *err) {
  struct nx_model *clone = allocate(&model->shape, model->n_tensors, model->n_params);
  if (!clone)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a copy of a model");
  memcpy(table(clone), model->tensors, model->n_tensors * sizeof *model->tensors);
  memcpy(clone->params, model->params, model->n_params * sizeof(float));
  nx_model_copy_features(model, clone);
  int r = model->base ? nx_model_clone(model->base, &clone->base, err) : 0;
  if (r < 0) {
    nx_model_destroy(clone);
    return r;
  }
  *clone_out = clone;
  return 0;
}

int nx_model_merge(const struct nx_model *model, struct nx_model **merged_out,
                   struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *merged = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *base = NULL;
  int r = nx_model_dequantise(model->base ? model->base : model, &merged, err);
  if (!r && model->base) {
    struct nx_lora view = nx_lora_of(model);
    r = nx_model_clone(merged, &base, err);
    nx_model_copy_features(model, merged);
    if (!r)
      r = nx_lora_merge(&view, base, merged, err);
  }
  if (!r)
    *merged_out = nx_steal(&merged);
  return r;
}

void nx_model_destroy(struct nx_model *model) {
  if (model)
    nx_model_destroy(model->base);
  free(model);
}

const struct nx_model_tensor *nx_model_find(const struct nx_model *model, const char *name) {
  for (size_t i = 0; i < model->n_tensors; i++)
    if (!strcmp(model->tensors[i].name, name))
      return &model->tensors[i];
  return NULL;
}
