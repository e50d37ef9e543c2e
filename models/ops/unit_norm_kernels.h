/* Kernels of unit_norm.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

#define UNIT_EPSILON ((nx_real)1e-12)

static void unit_norm(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                      nx_real *y, nx_real *inverse) {
  (void)stream;
  for (size_t r = 0; r < rows; r++, x += columns, y += columns) {
    inverse[r] = 1 / ((nx_real)sqrt((double)nx_dot(columns, x, x)) + UNIT_EPSILON);
    for (size_t i = 0; i < columns; i++)
      y[i] = x[i] * inverse[r];
  }
}

/* dx = r (dy - y (dy . y)), y = x r */
static void unit_norm_backward(struct nx_stream *stream, size_t rows, size_t columns,
                               const nx_real *x, const nx_real *inverse, const nx_real *dy,
                               nx_real *dx, int acc) {
  (void)stream;
  for (size_t r = 0; r < rows; r++, x += columns, dy += columns, dx += columns) {
    nx_real s = inverse[r], along = nx_dot(columns, dy, x) * s * s;
    for (size_t i = 0; i < columns; i++) {
      nx_real d = s * (dy[i] - x[i] * along);
      dx[i] = acc ? dx[i] + d : d;
    }
  }
}
