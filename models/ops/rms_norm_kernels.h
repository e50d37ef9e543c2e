/* Kernels of rms_norm.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

#define RMS_EPSILON ((nx_real)1e-6)

static void rms_norm(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                     const nx_real *gain, nx_real *y, nx_real *inverse) {
  (void)stream;
  for (size_t r = 0; r < rows; r++, x += columns, y += columns) {
    nx_real scale = 1 / (nx_real)sqrt(nx_dot(columns, x, x) / (nx_real)columns + RMS_EPSILON);
    size_t i = 0;
    for (; i + NX_LANES <= columns; i += NX_LANES)
      NX_STORE(y + i, scale * NX_LOAD(x + i) * (gain ? NX_LOAD(gain + i) : (nx_v16){0} + 1));
    for (; i < columns; i++)
      y[i] = scale * x[i] * (gain ? gain[i] : 1);
    inverse[r] = scale;
  }
}

/* With n = x r (r = 1 / rms) and u = dy gain: dx = r (u - n mean(u n)), dgain = sum dy n. */
NX_INLINE void rms_norm_row_backward(size_t columns, const nx_real *x, const nx_real *gain,
                                     nx_real r, const nx_real *dy, nx_real *dx, int acc,
                                     nx_real *dgain) {
  nx_real mean = 0;
  if (gain) {
    nx_v16 sum = {0};
    size_t i = 0;
    for (; i + NX_LANES <= columns; i += NX_LANES)
      sum += NX_LOAD(dy + i) * NX_LOAD(gain + i) * NX_LOAD(x + i);
    for (; i < columns; i++)
      mean += dy[i] * gain[i] * x[i];
    mean += nx_sum16(&sum);
  } else
    mean = nx_dot(columns, dy, x);
  mean *= r * r / (nx_real)columns;
  size_t i = 0;
  for (; dx && i + NX_LANES <= columns; i += NX_LANES) {
    nx_v16 u = NX_LOAD(dy + i) * (gain ? NX_LOAD(gain + i) : (nx_v16){0} + 1);
    nx_v16 d = r * (u - NX_LOAD(x + i) * mean);
    NX_STORE(dx + i, acc ? NX_LOAD(dx + i) + d : d);
  }
  for (; dx && i < columns; i++) {
    nx_real d = r * (dy[i] * (gain ? gain[i] : 1) - x[i] * mean);
    dx[i] = acc ? dx[i] + d : d;
  }
  i = 0;
  for (; dgain && i + NX_LANES <= columns; i += NX_LANES)
    NX_STORE(dgain + i, NX_LOAD(dgain + i) + NX_LOAD(dy + i) * NX_LOAD(x + i) * r);
  for (; dgain && i < columns; i++)
    dgain[i] += dy[i] * x[i] * r;
}

static void rms_norm_backward(struct nx_stream *stream, size_t rows, size_t columns,
                              const nx_real *x, const nx_real *gain, const nx_real *inverse,
                              const nx_real *dy, nx_real *dx, int acc, nx_real *dgain) {
  (void)stream;
  for (size_t r = 0; r < rows; r++)
    rms_norm_row_backward(columns, x + r * columns, gain, inverse[r], dy + r * columns,
                          dx ? dx + r * columns : NULL, acc, dgain);
}
