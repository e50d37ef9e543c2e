/* Kernels of linear.c: bias rows and their sums. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

static void repeat_row(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *v,
                       nx_real *y) {
  (void)stream;
  for (size_t r = 0; r < rows; r++)
    memcpy(y + r * columns, v, columns * sizeof *v);
}

static void sum_rows(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *dy,
                     nx_real *dv) {
  (void)stream;
  for (size_t r = 0; r < rows; r++)
    nx_axpy(columns, 1, dy + r * columns, dv);
}
