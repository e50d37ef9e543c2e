/* Kernel of inputs.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

static void standardise(struct nx_stream *stream, size_t rows, size_t n, const float *patch,
                        size_t f, const float *spectrum, const float *mean, const float *sd,
                        nx_real *x) {
  (void)stream;
  for (size_t r = 0; r < rows; r++, x += n + f) {
    nx_real *restrict out = x;
    for (size_t i = 0; i < n; i++)
      out[i] = patch[r * n + i];
    for (size_t i = 0; i < f; i++)
      out[n + i] = ((nx_real)spectrum[r * f + i] - (nx_real)mean[i]) / (nx_real)sd[i];
  }
}
