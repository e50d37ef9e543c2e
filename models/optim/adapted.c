#include "models/optim/adapted.h"

#include <stdlib.h>
#include <string.h>

#include "models/optim/lora.h"
#include "models/quantised.h"

int nx_adapted_begin(struct nx_adapted *adapted, const struct nx_model *model,
                     struct nx_error *err) {
  *adapted = (struct nx_adapted){.plain = model};
  if (!model->base || nx_model_storage(model) != NX_STORAGE_FLOAT32)
    return 0;
  adapted->gradients = calloc(model->n_params, sizeof *adapted->gradients);
  if (!adapted->gradients)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the gradients of adapters");
  int r = nx_model_merge(model, &adapted->merged, err);
  adapted->plain = adapted->merged;
  return r;
}

int nx_adapted_merge(struct nx_adapted *adapted, const struct nx_model *model,
                     struct nx_error *err) {
  if (!adapted->merged)
    return 0;
  struct nx_lora view = nx_lora_of(model);
  return nx_lora_merge(&view, model->base, adapted->merged, err);
}

int nx_adapted_gradients(struct nx_adapted *adapted, const struct nx_model *model,
                         const float *plain, const float **gradients_out, struct nx_error *err) {
  *gradients_out = plain;
  if (!adapted->merged)
    return 0;
  struct nx_lora view = nx_lora_of(model);
  *gradients_out = adapted->gradients;
  return nx_lora_gradients(&view, model->base, plain, adapted->gradients, err);
}

void nx_adapted_finish(struct nx_adapted *adapted) {
  if (adapted->merged)
    explicit_bzero(adapted->merged->params, adapted->merged->n_params * sizeof(float));
  nx_model_destroy(adapted->merged);
  free(adapted->gradients);
  *adapted = (struct nx_adapted){0};
}
