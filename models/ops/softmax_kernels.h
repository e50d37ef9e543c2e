/* Kernels of softmax.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

static void softmax(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                    nx_real *y) {
  (void)stream;
  for (size_t r = 0; r < rows; r++, x += columns, y += columns) {
    nx_real largest = x[0], sum = 0;
    for (size_t i = 1; i < columns; i++)
      largest = x[i] > largest ? x[i] : largest;
    for (size_t i = 0; i < columns; i++)
      sum += y[i] = nx_exp1(x[i] - largest);
    for (size_t i = 0; i < columns; i++)
      y[i] /= sum;
  }
}

/* dx = y (dy - y . dy) */
static void softmax_backward(struct nx_stream *stream, size_t rows, size_t columns,
                             const nx_real *y, const nx_real *dy, nx_real *dx, int acc) {
  (void)stream;
  for (size_t r = 0; r < rows; r++, y += columns, dy += columns, dx += columns) {
    nx_real mean = nx_dot(columns, y, dy);
    for (size_t i = 0; i < columns; i++)
      dx[i] = (acc ? dx[i] : 0) + y[i] * (dy[i] - mean);
  }
}
