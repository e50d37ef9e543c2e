/* Kernels of gather.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

static void gather(struct nx_stream *stream, size_t n, size_t columns, const nx_real *x,
                   const uint32_t *rows, nx_real *y) {
  (void)stream;
  for (size_t i = 0; i < n; i++)
    memcpy(y + i * columns, x + rows[i] * columns, columns * sizeof *x);
}

static void scatter_add(struct nx_stream *stream, size_t n, size_t columns, const nx_real *dy,
                        const uint32_t *rows, nx_real *dx) {
  (void)stream;
  for (size_t i = 0; i < n; i++)
    nx_axpy(columns, 1, dy + i * columns, dx + rows[i] * columns);
}
