/* Kernels of choose.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

static void choose(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                   const nx_real *v, const uint8_t *keep, nx_real *y) {
  (void)stream;
  for (size_t r = 0; r < rows; r++)
    memcpy(y + r * columns, keep[r] ? x + r * columns : v, columns * sizeof *y);
}

static void choose_backward(struct nx_stream *stream, size_t rows, size_t columns,
                            const nx_real *dy, const uint8_t *keep, nx_real *dx, nx_real *dv) {
  (void)stream;
  for (size_t r = 0; r < rows; r++) {
    nx_real *d = keep[r] ? dx : dv;
    if (d)
      nx_axpy(columns, 1, dy + r * columns, keep[r] ? d + r * columns : d);
  }
}
