/* Kernels of silu.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

NX_INLINE void sigmoid16(nx_v16 *x) {
  *x = -*x;
  nx_exp16(x);
  *x = 1 / (1 + *x);
}

static void silu(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y) {
  (void)stream;
  size_t i = 0;
  for (; i + NX_LANES <= n; i += NX_LANES) {
    nx_v16 s = NX_LOAD(x + i);
    sigmoid16(&s);
    NX_STORE(y + i, s * NX_LOAD(x + i));
  }
  for (; i < n; i++)
    y[i] = x[i] / (1 + nx_exp1(-x[i]));
}

/* silu' = s + x s (1 - s), s = sigmoid(x) */
static void silu_backward(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *dy,
                          nx_real *dx, int acc) {
  (void)stream;
  size_t i = 0;
  for (; i + NX_LANES <= n; i += NX_LANES) {
    nx_v16 s = NX_LOAD(x + i);
    sigmoid16(&s);
    nx_v16 d = NX_LOAD(dy + i) * (s + NX_LOAD(x + i) * s * (1 - s));
    NX_STORE(dx + i, acc ? NX_LOAD(dx + i) + d : d);
  }
  for (; i < n; i++) {
    nx_real s = 1 / (1 + nx_exp1(-x[i])), d = dy[i] * (s + x[i] * s * (1 - s));
    dx[i] = acc ? dx[i] + d : d;
  }
}

static void swiglu(struct nx_stream *stream, size_t rows, size_t f, const nx_real *x, nx_real *y) {
  (void)stream;
  for (size_t r = 0; r < rows; r++, x += 2 * f, y += f) {
    size_t i = 0;
    for (; i + NX_LANES <= f; i += NX_LANES) {
      nx_v16 s = NX_LOAD(x + i);
      sigmoid16(&s);
      NX_STORE(y + i, s * NX_LOAD(x + i) * NX_LOAD(x + f + i));
    }
    for (; i < f; i++)
      y[i] = x[i] / (1 + nx_exp1(-x[i])) * x[f + i];
  }
}

NX_INLINE void swiglu_row_backward(size_t f, const nx_real *x, const nx_real *dy, nx_real *dx,
                                   int acc) {
  size_t i = 0;
  for (; i + NX_LANES <= f; i += NX_LANES) {
    nx_v16 u = NX_LOAD(x + i), s = u, g = NX_LOAD(dy + i);
    sigmoid16(&s);
    nx_v16 du = g * NX_LOAD(x + f + i) * (s + u * s * (1 - s)), dv = g * u * s;
    NX_STORE(dx + i, acc ? NX_LOAD(dx + i) + du : du);
    NX_STORE(dx + f + i, acc ? NX_LOAD(dx + f + i) + dv : dv);
  }
  for (; i < f; i++) {
    nx_real u = x[i], s = 1 / (1 + nx_exp1(-u));
    nx_real du = dy[i] * x[f + i] * (s + u * s * (1 - s)), dv = dy[i] * u * s;
    dx[i] = acc ? dx[i] + du : du;
    dx[f + i] = acc ? dx[f + i] + dv : dv;
  }
}

static void swiglu_backward(struct nx_stream *stream, size_t rows, size_t f, const nx_real *x,
                            const nx_real *dy, nx_real *dx, int acc) {
  (void)stream;
  for (size_t r = 0; r < rows; r++)
    swiglu_row_backward(f, x + 2 * f * r, dy + f * r, dx + 2 * f * r, acc);
}
