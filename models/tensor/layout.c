#include "models/tensor/layout.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/size.h"

void nx_layout_add(struct nx_layout *layout, struct nx_init init, uint32_t rows, uint32_t columns,
                   const char *format, ...) {
  size_t size, end;
  if (layout->failed)
    return;
  if (layout->n_tensors == NX_MODEL_TENSORS || rows == 0 ||
      !nx_size_mul(rows, NX_MAX(columns, 1u), &size) ||
      !nx_size_add(layout->n_params, size, &end) || end > NX_MODEL_PARAMS_CAP) {
    layout->failed = NX_E_LIMIT;
    return;
  }
  struct nx_model_tensor *tensor = &layout->tensors[layout->n_tensors];
  *tensor = (struct nx_model_tensor){.n_dims = columns ? 2 : 1,
                                     .dims = {rows, NX_MAX(columns, 1u)},
                                     .offset = layout->n_params,
                                     .size = size};
  va_list words;
  va_start(words, format);
  int length = vsnprintf(tensor->name, sizeof tensor->name, format, words);
  va_end(words);
  if (length < 0 || (size_t)length >= sizeof tensor->name)
    layout->failed = NX_E_LIMIT;
  layout->init[layout->n_tensors++] = init;
  layout->n_params = end;
}

/* Irwin-Hall: variance 12 * 1/12 = 1, and nothing in it that a libm could round its own way. */
static double normal(struct nx_rng *rng) {
  uint64_t sum = 0;
  for (int i = 0; i < 6; i++) {
    uint64_t two = nx_rng_u64(rng);
    sum += (two >> 32) + (two & 0xffffffffu);
  }
  return (double)sum * 0x1p-32 - 6.0;
}

static double draw(struct nx_init init, struct nx_rng *rng) {
  switch (init.kind) {
  case NX_INIT_UNIFORM:
    return init.scale * (2.0 * nx_rng_uniform(rng) - 1.0);
  case NX_INIT_NORMAL:
    return init.scale * normal(rng);
  case NX_INIT_CONSTANT:
    break;
  }
  return init.scale;
}

void nx_layout_draw(const struct nx_layout *layout, struct nx_rng *rng, float *params_out) {
  for (size_t t = 0; t < layout->n_tensors; t++)
    for (size_t i = 0; i < layout->tensors[t].size; i++)
      params_out[layout->tensors[t].offset + i] = (float)draw(layout->init[t], rng);
}
