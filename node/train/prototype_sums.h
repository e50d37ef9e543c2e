/* Prototype sums: what a site says of its windows of each class (plan section prototypes), as aux
 * lanes of a training round: how many, and the sum of their unit vectors under the model that the
 * round began with. */
#pragma once

#include "node/train/general_trainer.h"

/* Adds to lanes NX_AUX_PROTOTYPES … of aux. Of the training windows that are of a class, of all
 * sets, at most `most`, spread over them, other ones in every round. pool may be NULL. */
int nx_prototype_sums(const struct nx_model *model, const struct nx_site_signals *site, size_t most,
                      uint64_t training_round, struct nx_pool *pool, uint64_t *aux,
                      struct nx_error *err);
