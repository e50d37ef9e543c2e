/* What models are made of, for the files that make them (model.c, quantised.c). */
#pragma once

#include "models/model.h"
#include "models/tensor/layout.h"

/* A model of that table, all zero; NULL without memory, which err says. */
struct nx_model *nx_model_allocate(const struct nx_model_shape *shape,
                                   const struct nx_layout *layout, struct nx_error *err);
/* Tables alone, into a layout that is zeroed: of the plan's model without adapters, and of the same
 * kept in few bits (models/quantised.h). */
int nx_model_plain_layout(const struct nx_plan *plan, struct nx_model_shape *shape_out,
                          struct nx_layout *layout, struct nx_error *err);
int nx_model_quantised_layout(const struct nx_model *plain, enum nx_storage storage,
                              struct nx_layout *layout, struct nx_error *err);
/* The plan's name, means and SDs. */
void nx_model_copy_features(const struct nx_model *from, struct nx_model *to);
