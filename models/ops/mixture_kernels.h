/* Kernels of mixture.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

static void mixture_add(struct nx_stream *stream, size_t n, size_t columns, const nx_real *x,
                        const uint32_t *rows, const nx_real *p, size_t ldp, nx_real *y) {
  (void)stream;
  for (size_t i = 0; i < n; i++)
    nx_axpy(columns, p[rows[i] * ldp], x + i * columns, y + rows[i] * columns);
}

static void mixture_backward(struct nx_stream *stream, size_t n, size_t columns, const nx_real *x,
                             const uint32_t *rows, const nx_real *p, size_t ldp, const nx_real *dy,
                             nx_real *dx, int acc, nx_real *dp) {
  (void)stream;
  for (size_t i = 0; i < n; i++, x += columns) {
    const nx_real *d = dy + rows[i] * columns;
    if (dp)
      dp[rows[i] * ldp] += nx_dot(columns, d, x);
    if (!dx)
      continue;
    for (size_t j = 0; j < columns; j++)
      dx[i * columns + j] = (acc ? dx[i * columns + j] : 0) + p[rows[i] * ldp] * d[j];
  }
}
