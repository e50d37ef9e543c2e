/* Weights: where a pass finds the tensors of its table. Usually all lie in the flat vector of a
 * plain model, with their gradients in another. For a quantised model each has a source of its own
 * (nets/sources.h): a matrix of a few bits, or numbers elsewhere. */
#pragma once

#include "models/model.h"
#include "models/ops/frozen.h"
#include "models/tensor/tape.h"

#define NX_NO_GRADIENT SIZE_MAX

struct nx_weight_source {
  const nx_real *value;       /* numbers; NULL: `part` */
  struct nx_frozen_part part; /* da and db are not used: */
  size_t gradient, a, b;      /* where gradients begin in the flat vector, or NX_NO_GRADIENT */
};

struct nx_weights {
  const nx_real *params;                  /* flat; not read where there are sources */
  nx_real *gradients;                     /* flat, added to; or NULL */
  const struct nx_weight_source *sources; /* [n_tensors] of the table, or NULL */
};

/* `together` tensors of the table from index on, which lie together, as one matrix; a vector is one
 * row. */
struct nx_tensor *nx_weights_bind(const struct nx_weights *weights, struct nx_tape *tape,
                                  const struct nx_model_tensor *tensors, size_t index,
                                  size_t together);
