/* Kernels of pool.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

NX_INLINE void pool_softmax(size_t n, nx_real *x) {
  nx_real largest = x[0], sum = 0;
  for (size_t i = 1; i < n; i++)
    largest = x[i] > largest ? x[i] : largest;
  for (size_t i = 0; i < n; i++)
    sum += x[i] = nx_exp1(x[i] - largest);
  for (size_t i = 0; i < n; i++)
    x[i] /= sum;
}

static void pool(struct nx_stream *stream, size_t sets, size_t n, size_t d, const nx_real *x,
                 const nx_real *h, nx_real *weights, nx_real *y) {
  (void)stream;
  nx_real scale = 1 / (nx_real)sqrt((double)d);
  for (size_t s = 0; s < sets; s++, x += n * d, weights += n, y += d) {
    for (size_t i = 0; i < n; i++)
      weights[i] = nx_dot(d, x + i * d, h) * scale;
    pool_softmax(n, weights);
    memset(y, 0, d * sizeof *y);
    for (size_t i = 0; i < n; i++)
      nx_axpy(d, weights[i], x + i * d, y);
  }
}

/* With a = pool_softmax(s): ds_i = a_i (dy x_i - dy y); dx_i = a_i dy + ds_i h; dh = sum ds_i x_i.
 */
static void pool_backward(struct nx_stream *stream, size_t sets, size_t n, size_t d,
                          const nx_real *x, const nx_real *h, const nx_real *weights,
                          const nx_real *dy, nx_real *dx, int acc, nx_real *dh) {
  (void)stream;
  nx_real scale = 1 / (nx_real)sqrt((double)d);
  for (size_t s = 0; s < sets; s++, x += n * d, weights += n, dy += d) {
    nx_real mean = 0;
    for (size_t i = 0; i < n; i++)
      mean += weights[i] * nx_dot(d, dy, x + i * d);
    for (size_t i = 0; i < n; i++) {
      nx_real ds = weights[i] * (nx_dot(d, dy, x + i * d) - mean) * scale;
      if (dh)
        nx_axpy(d, ds, x + i * d, dh);
      if (!dx)
        continue;
      nx_real *row = dx + (s * n + i) * d;
      if (!acc)
        memset(row, 0, d * sizeof *row);
      nx_axpy(d, weights[i], dy, row);
      nx_axpy(d, ds, h, row);
    }
  }
}
