/* Sources: for each tensor of a plain network, where a quantised model has it (nets/weights.h):
 * blocks' matrices as codes with the model's adapters over them, what trains whole as base +
 * difference, the rest as it is. Gradients are then those of model->params, nothing else's. */
#pragma once

#include "models/model.h"
#include "models/nets/weights.h"

struct nx_sources {
  enum nx_storage storage; /* of the model that this was made for, */
  size_t frozen_params;    /* and how many its base has, or itself */
  size_t n_tensors;        /* of the plain network; 0: the model is float32 and needs no sources */
  struct nx_model_tensor *tensors;
  struct nx_weight_source *of; /* [n_tensors] */
  size_t n_whole;
  float *whole; /* what trains whole: base + difference */
};

/* For models of this one's shape. */
int nx_sources_init(struct nx_sources *sources, const struct nx_model *model, struct nx_error *err);
/* Whether it was made for a model kept so: not an int8 one in the place of an nf4 one. */
bool nx_sources_fit(const struct nx_sources *sources, const struct nx_model *model);
/* Points into the model, which fits and must outlive what reads the sources, and adds differences
 * anew. */
void nx_sources_point(struct nx_sources *sources, const struct nx_model *model);
void nx_sources_finish(struct nx_sources *sources); /* wipes; zeroed is fine */
