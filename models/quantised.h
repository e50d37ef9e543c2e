/* Quantised models: a plain model whose blocks' matrices are kept in int8 or NF4
 * (models/tensor/quantise.h), a quarter or a seventh of the room. Everything else, experts' gates
 * included, stays float32. In its table a matrix's size is the room of its codes, and "NAME.scale"
 * comes behind it. Such a model does not train; adapters over it do (model->base), and networks
 * run on it as it is. */
#pragma once

#include "models/model.h"

/* What the model's blocks, or those of its base, are kept in. */
enum nx_storage nx_model_storage(const struct nx_model *model);

/* NX_E_INVALID: a matrix whose sides are no multiples of 8, or a model that is no plain float32
 * one. */
int nx_model_quantise(const struct nx_model *plain, enum nx_storage storage,
                      struct nx_model **quantised_out, struct nx_error *err);
/* The plain float32 model that it stands for (of a plain one: a copy). */
int nx_model_dequantise(const struct nx_model *quantised, struct nx_model **plain_out,
                        struct nx_error *err);
