#include <math.h>

#include "models/ops/ops.h"

struct nx_tensor *nx_op_standardise(struct nx_tape *tape, size_t rows, size_t n, const float *patch,
                                    size_t f, const float *spectrum, const float *mean,
                                    const float *sd) {
  struct nx_tensor *x = nx_tape_tensor(tape, rows, n + f, "standardise");
  if (x)
    tape->kernels->standardise(tape->stream, rows, n, patch, f, spectrum, mean, sd, x->value);
  return x;
}

struct nx_tensor *nx_op_fourier(struct nx_tape *tape, size_t rows, size_t k, const float *x,
                                size_t n_frequencies, const double *frequencies) {
  struct nx_tensor *y = nx_tape_tensor(tape, rows, k * 2 * n_frequencies, "fourier");
  for (size_t i = 0; y && i < rows * k; i++)
    for (size_t j = 0; j < n_frequencies; j++) {
      double angle = (double)x[i] * frequencies[j];
      nx_real *out = y->value + i * 2 * n_frequencies + j;
      out[0] = (nx_real)sin(angle);
      out[n_frequencies] = (nx_real)cos(angle);
    }
  return y;
}

struct nx_tensor *nx_op_zeros(struct nx_tape *tape, size_t rows, size_t columns) {
  struct nx_tensor *y = nx_tape_tensor(tape, rows, columns, "zeros");
  if (y)
    tape->kernels->clear(tape->stream, rows * columns, y->value);
  return y;
}
