/* Layout: the table of a network's parameters, in the order in which they lie in the flat
 * vector, each with the distribution its first values are drawn from. Networks fill one
 * (nets/nano.c); a model is made from it. */
#pragma once

#include "common/rng.h"
#include "models/model.h"

enum nx_init_kind {
  NX_INIT_CONSTANT, /* scale */
  NX_INIT_UNIFORM,  /* in +-scale */
  NX_INIT_NORMAL    /* mean 0, standard deviation scale */
};

struct nx_init {
  enum nx_init_kind kind;
  double scale;
};

struct nx_layout {
  size_t n_tensors, n_params;
  struct nx_model_tensor tensors[NX_MODEL_TENSORS];
  struct nx_init init[NX_MODEL_TENSORS];
  int failed; /* first error of nx_layout_add(), or 0 */
};

/* Appends a matrix [rows, columns], or a vector [rows] when columns is 0, named by format.
 * Errors (too many or too large) stick to layout->failed: check once at the end. */
void nx_layout_add(struct nx_layout *layout, struct nx_init init, uint32_t rows, uint32_t columns,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Draws the first value of every parameter. Integer and IEEE arithmetic only, so that every
 * machine draws the same bits; normal deviates are sums of twelve uniforms. */
void nx_layout_draw(const struct nx_layout *layout, struct nx_rng *rng, float *params_out);
