/* Kernels of layer_norm.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

#define LAYER_EPSILON ((nx_real)1e-5)

/* moments[rows, 2]: mean, 1 / deviation */
static void layer_norm(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                       const nx_real *gain, const nx_real *bias, nx_real *y, nx_real *moments) {
  (void)stream;
  for (size_t r = 0; r < rows; r++, x += columns, y += columns, moments += 2) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < columns; i++)
      sum += (double)x[i];
    nx_real mean = (nx_real)(sum / (double)columns);
    for (size_t i = 0; i < columns; i++)
      squares += (double)((x[i] - mean) * (x[i] - mean));
    nx_real inverse = 1 / (nx_real)sqrt(squares / (double)columns + (double)LAYER_EPSILON);
    for (size_t i = 0; i < columns; i++)
      y[i] = (x[i] - mean) * inverse * gain[i] + bias[i];
    moments[0] = mean;
    moments[1] = inverse;
  }
}

/* With n = (x - mean) r and u = dy gain: dx = r (u - mean(u) - n mean(u n)). */
static void layer_norm_backward(struct nx_stream *stream, size_t rows, size_t columns,
                                const nx_real *x, const nx_real *gain, const nx_real *moments,
                                const nx_real *dy, nx_real *dx, int acc, nx_real *dgain,
                                nx_real *dbias) {
  (void)stream;
  for (size_t r = 0; r < rows; r++, x += columns, dy += columns, moments += 2) {
    nx_real mean = moments[0], inverse = moments[1], sum = 0, product = 0;
    for (size_t i = 0; i < columns; i++) {
      nx_real n = (x[i] - mean) * inverse, u = dy[i] * gain[i];
      sum += u;
      product += u * n;
      if (dgain)
        dgain[i] += dy[i] * n;
      if (dbias)
        dbias[i] += dy[i];
    }
    sum /= (nx_real)columns;
    product /= (nx_real)columns;
    for (size_t i = 0; dx && i < columns; i++) {
      nx_real n = (x[i] - mean) * inverse, d = inverse * (dy[i] * gain[i] - sum - n * product);
      dx[r * columns + i] = acc ? dx[r * columns + i] + d : d;
    }
  }
}
