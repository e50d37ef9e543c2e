#include "models/quantised.h"

#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "models/model_parts.h"
#include "models/tensor/layout.h"
#include "models/tensor/quantise.h"

enum nx_storage nx_model_storage(const struct nx_model *model) {
  const struct nx_model *plain = model->base ? model->base : model;
  for (size_t i = 0; i < plain->n_tensors; i++)
    if (plain->tensors[i].storage != NX_STORAGE_FLOAT32)
      return plain->tensors[i].storage;
  return NX_STORAGE_FLOAT32;
}

static bool is_quantised(const struct nx_model_tensor *t) {
  return t->n_dims == 2 && !strncmp(t->name, "block.", 6) && !strstr(t->name, ".experts.gate.");
}

/* Codes in whole floats, so that tensors lie without gaps in the vector and in files. */
static int add_matrix(struct nx_layout *to, const struct nx_model_tensor *t,
                      enum nx_storage storage, struct nx_error *err) {
  const struct nx_init none = {NX_INIT_CONSTANT, 0};
  size_t bytes = t->dims[0] * nx_quantised_row_bytes(storage, t->dims[1]);
  size_t scales = t->dims[0] * nx_quantised_row_scales(storage, t->dims[1]);
  if (t->dims[1] % 2 || bytes % sizeof(float) || scales > UINT32_MAX)
    return nx_fail(err, NX_E_INVALID,
                   "%s [%u, %u] cannot be kept in %s: use a model.width and feed_forward that are "
                   "multiples of 8",
                   t->name, t->dims[0], t->dims[1], nx_storage_name(storage));
  nx_layout_add(to, none, t->dims[0], t->dims[1], "%s", t->name);
  if (to->failed)
    return 0; /* said at the end */
  struct nx_model_tensor *codes = &to->tensors[to->n_tensors - 1];
  codes->storage = storage;
  to->n_params -= codes->size - bytes / sizeof(float);
  codes->size = bytes / sizeof(float);
  nx_layout_add(to, none, (uint32_t)scales, 0, "%s.scale", t->name);
  return 0;
}

static void add_as_is(struct nx_layout *to, const struct nx_model_tensor *t) {
  const struct nx_init none = {NX_INIT_CONSTANT, 0};
  nx_layout_add(to, none, t->dims[0], t->n_dims == 2 ? t->dims[1] : 0, "%s", t->name);
}

static int make(const struct nx_model *from, const struct nx_layout *layout,
                struct nx_model **model_out, struct nx_error *err) {
  if (layout->failed)
    return nx_fail(err, layout->failed, "the quantised model has too many tensors");
  struct nx_model *model = nx_model_allocate(&from->shape, layout, err);
  if (!model)
    return NX_E_NOMEM;
  nx_model_copy_features(from, model);
  *model_out = model;
  return 0;
}

int nx_model_quantised_layout(const struct nx_model *plain, enum nx_storage storage,
                              struct nx_layout *layout, struct nx_error *err) {
  int r = 0;
  for (size_t i = 0; !r && i < plain->n_tensors; i++)
    if (is_quantised(&plain->tensors[i]))
      r = add_matrix(layout, &plain->tensors[i], storage, err);
    else
      add_as_is(layout, &plain->tensors[i]);
  if (!r && layout->failed)
    r = nx_fail(err, layout->failed, "the quantised model has too many tensors");
  return r;
}

int nx_model_quantise(const struct nx_model *plain, enum nx_storage storage,
                      struct nx_model **quantised_out, struct nx_error *err) {
  _cleanup_free_ struct nx_layout *layout = calloc(1, sizeof *layout);
  struct nx_model *model = NULL;
  if (!layout)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a quantised model");
  if (plain->base || storage == NX_STORAGE_FLOAT32 || nx_model_storage(plain))
    return nx_fail(err, NX_E_INVALID, "only a plain float32 model can be quantised");
  int r = nx_model_quantised_layout(plain, storage, layout, err);
  if (!r)
    r = make(plain, layout, &model, err);
  if (r < 0)
    return r;
  for (size_t i = 0, j = 0; i < plain->n_tensors; i++, j++) {
    const struct nx_model_tensor *t = &plain->tensors[i], *to = &model->tensors[j];
    if (to->storage == NX_STORAGE_FLOAT32)
      memcpy(model->params + to->offset, plain->params + t->offset, t->size * sizeof(float));
    else
      nx_quantise(storage, t->dims[0], t->dims[1], plain->params + t->offset,
                  (uint8_t *)(model->params + to->offset),
                  model->params + model->tensors[++j].offset);
  }
  *quantised_out = model;
  return 0;
}

int nx_model_dequantise(const struct nx_model *quantised, struct nx_model **plain_out,
                        struct nx_error *err) {
  _cleanup_free_ struct nx_layout *layout = calloc(1, sizeof *layout);
  struct nx_model *model = NULL;
  if (!layout)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a model");
  for (size_t i = 0; i < quantised->n_tensors; i++) {
    add_as_is(layout, &quantised->tensors[i]);
    i += quantised->tensors[i].storage != NX_STORAGE_FLOAT32; /* its scales */
  }
  int r = make(quantised, layout, &model, err);
  if (r < 0)
    return r;
  for (size_t i = 0, j = 0; j < model->n_tensors; i++, j++) {
    const struct nx_model_tensor *t = &quantised->tensors[i], *to = &model->tensors[j];
    if (t->storage == NX_STORAGE_FLOAT32)
      memcpy(model->params + to->offset, quantised->params + t->offset, t->size * sizeof(float));
    else
      nx_dequantise(t->storage, t->dims[0], t->dims[1],
                    (const uint8_t *)(quantised->params + t->offset),
                    quantised->params + quantised->tensors[++i].offset, model->params + to->offset);
  }
  *plain_out = model;
  return 0;
}
