/* Frozen: weights that are kept in few bits (models/tensor/quantise.h) and do not train, under
 * low-rank adapters that do (QLoRA: Dettmers et al. 2023), or alone for inference. A product
 * dequantises a panel of W at a time and never the whole. */
#pragma once

#include "models/ops/ops.h"

/* One matrix W [rows, columns], and its adapter: W + scale B A. */
struct nx_frozen_part {
  struct nx_frozen_matrix w;
  size_t rank;      /* of the adapter */
  nx_real scale;    /* alpha / rank */
  const nx_real *a; /* [rank, columns]; NULL: no adapter */
  const nx_real *b; /* [rows, rank] */
  nx_real *da, *db; /* added to; NULL: not wanted */
};

/* Matrices under each other, read as one. */
struct nx_frozen {
  size_t n;
  const struct nx_frozen_part *parts;
};

/* What nx_op_linear() does when w is frozen (nx_tape_frozen()). */
struct nx_tensor *nx_op_frozen_linear(struct nx_tape *tape, struct nx_tensor *x,
                                      struct nx_tensor *w);
