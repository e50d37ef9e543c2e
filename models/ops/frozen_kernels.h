/* Kernels of frozen.c: codes to numbers. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"
#include "models/tensor/quantise.h"

static void int8_row(size_t columns, const uint8_t *codes, const float *scales, nx_real *y) {
  nx_real scale = (nx_real)*scales;
  for (size_t j = 0; j < columns; j++)
    y[j] = (nx_real)(int8_t)codes[j] * scale;
}

static void nf4_row(size_t columns, const uint8_t *codes, const float *scales, nx_real *y) {
  for (size_t first = 0; first < columns; first += NX_NF4_BLOCK, scales++) {
    size_t n = columns - first < NX_NF4_BLOCK ? columns - first : NX_NF4_BLOCK;
    nx_real levels[16];
    for (size_t l = 0; l < 16; l++)
      levels[l] = (nx_real)nx_nf4_levels[l] * (nx_real)*scales;
    for (size_t j = 0; j < n / 2; j++) {
      uint8_t two = codes[first / 2 + j];
      y[first + 2 * j] = levels[two >> 4];
      y[first + 2 * j + 1] = levels[two & 15];
    }
  }
}

static void dequantise(struct nx_stream *stream, const struct nx_frozen_matrix *w, size_t first,
                       size_t rows, nx_real *y) {
  (void)stream;
  size_t bytes = nx_quantised_row_bytes(w->storage, w->columns);
  size_t scales = nx_quantised_row_scales(w->storage, w->columns);
  for (size_t r = 0; r < rows; r++, y += w->columns) {
    const uint8_t *codes = (const uint8_t *)w->codes + (first + r) * bytes;
    if (w->storage == NX_STORAGE_INT8)
      int8_row(w->columns, codes, w->scales + (first + r) * scales, y);
    else
      nf4_row(w->columns, codes, w->scales + (first + r) * scales, y);
  }
}
