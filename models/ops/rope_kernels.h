/* Kernel of rope.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

static void rotate(struct nx_stream *stream, size_t rows, size_t stride, size_t heads,
                   size_t head_width, size_t positions, const nx_real *cosines,
                   const nx_real *sines, int direction, nx_real *x) {
  (void)stream;
  size_t half = head_width / 2;
  nx_real sign = direction < 0 ? -1 : 1;
  for (size_t r = 0; r < rows; r++) {
    const nx_real *restrict c = cosines + r % positions * half;
    const nx_real *restrict s = sines + r % positions * half;
    for (size_t h = 0; h < heads; h++) {
      nx_real *restrict a = x + r * stride + h * head_width, *restrict b = a + half;
      for (size_t i = 0; i < half; i++) {
        nx_real u = a[i], v = b[i];
        a[i] = u * c[i] - sign * v * s[i];
        b[i] = sign * u * s[i] + v * c[i];
      }
    }
  }
}
