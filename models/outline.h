/* Outline: a plan's model without its numbers, for finding out what training it takes
 * (nets/network.h, nx_network_measure()). Tables and sizes are those of nx_model_create(); params
 * lie in address space alone, all zero. A few hundred kilobytes, whatever the model's size. */
#pragma once

#include "models/model.h"

struct nx_outline;

int nx_outline_create(const struct nx_plan *plan, struct nx_outline **outline_out,
                      struct nx_error *err);
void nx_outline_destroy(struct nx_outline *outline); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_outline *, nx_outline_destroy)

/* What rounds exchange: the adapters alone where the plan has them, over model->base. */
const struct nx_model *nx_outline_model(const struct nx_outline *outline);
/* What a network runs on: of adapters over a float32 base the merged model, else the same. */
const struct nx_model *nx_outline_runs(const struct nx_outline *outline);
