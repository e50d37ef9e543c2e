/* Sources: for each tensor of a plain network, where a quantised model has it (nets/weights.h):
 * blocks' matrices as codes with the model's adapters over them, what trains whole as base +
 * difference, the rest as it is. Gradients are then those of model->params, nothing else's. */
#pragma once

#include "models/model.h"
#include "models/nets/weights.h"

struct nx_sources {
  size_t n_tensors; /* of the plain network; 0: the model is float32 and needs no sources */
  struct nx_model_tensor *tensors;
  struct nx_weight_source *of; /* [n_tensors] */
  float *whole;                /* what trains whole: base + difference */
};

/* For models of this one's shape. */
int nx_sources_init(struct nx_sources *sources, const struct nx_model *model, struct nx_error *err);
/* Points into the model, which must outlive what reads the sources, and adds differences anew. */
void nx_sources_point(struct nx_sources *sources, const struct nx_model *model);
void nx_sources_finish(struct nx_sources *sources); /* zeroed is fine */
