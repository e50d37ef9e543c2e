/* Kernels of add_rows.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

static void clear(struct nx_stream *stream, size_t n, nx_real *y) {
  (void)stream;
  memset(y, 0, n * sizeof *y);
}

static void add(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y) {
  (void)stream;
  nx_axpy(n, 1, x, y);
}

static void add_rows(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *v,
                     size_t count, size_t inner, nx_real *y) {
  (void)stream;
  for (size_t r = 0; r < rows; r++)
    nx_axpy(columns, 1, v + r / inner % count * columns, y + r * columns);
}

static void add_rows_backward(struct nx_stream *stream, size_t rows, size_t columns,
                              const nx_real *dy, size_t count, size_t inner, nx_real *dv) {
  (void)stream;
  for (size_t r = 0; r < rows; r++)
    nx_axpy(columns, 1, dy + r * columns, dv + r / inner % count * columns);
}
