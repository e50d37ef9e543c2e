/* Prototype sums: what a site says under the model that a training round began with, as aux lanes
 * of that round: of its windows of each class (plan section prototypes) how many, and the sum of
 * their unit vectors; of a model whose experts are balanced, how many rows went to each. */
#pragma once

#include "node/train/general_trainer.h"

/* Adds to lanes NX_AUX_PROTOTYPES … of aux. Of the training windows that are of a class, of all
 * sets, at most `most`, spread over them, other ones in every round. pool may be NULL. */
int nx_prototype_sums(const struct nx_model *model, const struct nx_site_signals *site, size_t most,
                      uint64_t training_round, struct nx_pool *pool, uint64_t *aux,
                      struct nx_error *err);

/* Adds to lanes[blocks with experts][E] the rows of the latent that each expert takes under that
 * model, over about so many training windows, drawn as a training step draws them. pool may be
 * NULL. */
int nx_expert_sums(const struct nx_model *model, const struct nx_site_signals *site, size_t windows,
                   struct nx_rng *rng, struct nx_pool *pool, uint64_t *lanes, struct nx_error *err);
