#include "models/nets/sources.h"

#include <stdlib.h>
#include <string.h>

#include "models/quantised.h"
#include "models/tensor/layout.h"

static const struct nx_model *frozen_of(const struct nx_model *model) {
  return model->base ? model->base : model;
}

int nx_sources_init(struct nx_sources *sources, const struct nx_model *model,
                    struct nx_error *err) {
  const struct nx_model *frozen = frozen_of(model);
  *sources =
      (struct nx_sources){.storage = nx_model_storage(model), .frozen_params = frozen->n_params};
  if (nx_model_storage(model) == NX_STORAGE_FLOAT32)
    return 0;
  sources->tensors = calloc(frozen->n_tensors, sizeof *sources->tensors);
  sources->of = calloc(frozen->n_tensors, sizeof *sources->of);
  sources->whole = calloc(model->n_params, sizeof *sources->whole);
  sources->n_whole = model->n_params;
  if (!sources->tensors || !sources->of || !sources->whole)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a quantised network");
  for (size_t i = 0; i < frozen->n_tensors; i++) {
    sources->tensors[sources->n_tensors++] = frozen->tensors[i];
    i += frozen->tensors[i].storage != NX_STORAGE_FLOAT32; /* its scales */
  }
  return 0;
}

/* The adapter's tensor of that name with that ending, or NULL. */
static const struct nx_model_tensor *adapter(const struct nx_model *model, const char *name,
                                             const char *ending) {
  size_t length = strlen(name);
  for (size_t i = 0; model->base && i < model->n_tensors; i++) {
    const char *candidate = model->tensors[i].name;
    if (!strncmp(candidate, name, length) && !strcmp(candidate + length, ending))
      return &model->tensors[i];
  }
  return NULL;
}

static struct nx_weight_source frozen_source(const struct nx_model *model,
                                             const struct nx_model_tensor *t) {
  const struct nx_model *frozen = frozen_of(model);
  const struct nx_model_tensor *a = adapter(model, t->name, ".a");
  const struct nx_model_tensor *b = adapter(model, t->name, ".b");
  const struct nx_model_adapters *with = &model->shape.adapters;
  struct nx_weight_source source = {
      .part = {.w = {t->storage, t->dims[0], t->dims[1], frozen->params + t->offset,
                     frozen->params + t->offset + t->size}},
      .gradient = NX_NO_GRADIENT,
      .a = NX_NO_GRADIENT,
      .b = NX_NO_GRADIENT};
  if (a && b) {
    source.part.rank = with->rank;
    source.part.scale = (float)(with->alpha / with->rank);
    source.part.a = model->params + a->offset;
    source.part.b = model->params + b->offset;
    source.a = a->offset;
    source.b = b->offset;
  }
  return source;
}

static struct nx_weight_source float_source(const struct nx_sources *sources,
                                            const struct nx_model *model,
                                            const struct nx_model_tensor *t) {
  const float *value = frozen_of(model)->params + t->offset;
  const struct nx_model_tensor *difference = adapter(model, t->name, "");
  struct nx_weight_source source = {
      .value = value, .gradient = NX_NO_GRADIENT, .a = NX_NO_GRADIENT, .b = NX_NO_GRADIENT};
  if (!difference)
    return source;
  float *whole = sources->whole + difference->offset;
  for (size_t i = 0; i < t->size; i++)
    whole[i] = value[i] + model->params[difference->offset + i];
  source.value = whole;
  source.gradient = difference->offset;
  return source;
}

bool nx_sources_fit(const struct nx_sources *sources, const struct nx_model *model) {
  return sources->storage == nx_model_storage(model) &&
         sources->frozen_params == frozen_of(model)->n_params;
}

void nx_sources_point(struct nx_sources *sources, const struct nx_model *model) {
  for (size_t i = 0; i < sources->n_tensors; i++) {
    const struct nx_model_tensor *t = &sources->tensors[i];
    sources->of[i] = t->storage == NX_STORAGE_FLOAT32 ? float_source(sources, model, t)
                                                      : frozen_source(model, t);
  }
}

void nx_sources_finish(struct nx_sources *sources) {
  if (sources->whole) /* what a site trained */
    explicit_bzero(sources->whole, sources->n_whole * sizeof *sources->whole);
  free(sources->tensors);
  free(sources->of);
  free(sources->whole);
  *sources = (struct nx_sources){0};
}
