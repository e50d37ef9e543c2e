/* Kernels of gelu.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

#ifdef NX_REAL_DOUBLE
NX_INLINE nx_real normal_cdf(nx_real x) {
  return 0.5 * erfc(-x * M_SQRT1_2);
}
NX_INLINE void normal_cdf16(nx_v16 *x) {
  for (int i = 0; i < NX_LANES; i++)
    (*x)[i] = normal_cdf((*x)[i]);
}
#else
/* Abramowitz & Stegun 26.2.17: absolute error below 7.5e-8. */
NX_INLINE void normal_cdf16(nx_v16 *x) {
  __typeof__(*x < *x) negative = *x < 0;
  nx_v16 sign = (nx_v16)((__typeof__(negative))((nx_v16){0} + 1) & negative); /* 1 where < 0 */
  nx_v16 u = *x * (1 - 2 * sign), t = 1 / (1 + 0.2316419f * u), density = u * u * -0.5f;
  nx_exp16(&density);
  nx_v16 p = t * 1.330274429f - 1.821255978f;
  p = p * t + 1.781477937f;
  p = p * t - 0.356563782f;
  p = p * t + 0.319381530f;
  nx_v16 tail = 0.39894228f * density * p * t;
  *x = sign * tail + (1 - sign) * (1 - tail);
}
NX_INLINE nx_real normal_cdf(nx_real x) {
  nx_v16 v = (nx_v16){0} + x;
  normal_cdf16(&v);
  return v[0];
}
#endif

static void gelu(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y) {
  (void)stream;
  size_t i = 0;
  for (; i + NX_LANES <= n; i += NX_LANES) {
    nx_v16 p = NX_LOAD(x + i);
    normal_cdf16(&p);
    NX_STORE(y + i, NX_LOAD(x + i) * p);
  }
  for (; i < n; i++)
    y[i] = x[i] * normal_cdf(x[i]);
}

/* gelu' = Phi(x) + x phi(x) */
static void gelu_backward(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *dy,
                          nx_real *dx, int acc) {
  (void)stream;
  const nx_real root = (nx_real)0.39894228040143267794; /* 1 / sqrt(2 pi) */
  size_t i = 0;
  for (; i + NX_LANES <= n; i += NX_LANES) {
    nx_v16 v = NX_LOAD(x + i), p = v, density = v * v * (nx_real)-0.5;
    normal_cdf16(&p);
    nx_exp16(&density);
    nx_v16 d = NX_LOAD(dy + i) * (p + v * root * density);
    NX_STORE(dx + i, acc ? NX_LOAD(dx + i) + d : d);
  }
  for (; i < n; i++) {
    nx_real density = nx_exp1(x[i] * x[i] * (nx_real)-0.5);
    nx_real d = dy[i] * (normal_cdf(x[i]) + x[i] * root * density);
    dx[i] = acc ? dx[i] + d : d;
  }
}
