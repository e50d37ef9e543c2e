/* Kernels of adamw.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

/* Sixteen partial sums of doubles, in an order that depends on n alone. */
static double square_sum(struct nx_stream *stream, size_t n, const nx_real *x) {
  (void)stream;
  double sums[NX_LANES] = {0}, total = 0;
  size_t i = 0;
  for (; i + NX_LANES <= n; i += NX_LANES)
    for (size_t j = 0; j < NX_LANES; j++)
      sums[j] += (double)x[i + j] * (double)x[i + j];
  for (; i < n; i++)
    sums[0] += (double)x[i] * (double)x[i];
  for (size_t j = 0; j < NX_LANES; j++)
    total += sums[j];
  return total;
}

static void adamw(struct nx_stream *stream, const struct nx_adamw_factors *s, size_t n,
                  const nx_real *restrict gradients, nx_real *restrict m, nx_real *restrict v,
                  nx_real *restrict p) {
  (void)stream;
  for (size_t i = 0; i < n; i++) {
    nx_real g = s->clip * gradients[i];
    m[i] = s->beta1 * m[i] + (1 - s->beta1) * g;
    v[i] = s->beta2 * v[i] + (1 - s->beta2) * g * g;
#ifdef NX_REAL_DOUBLE
    nx_real root = sqrt(v[i]);
#else
    nx_real root = sqrtf(v[i]);
#endif
    p[i] = s->keep * p[i] - s->rate * m[i] / (root * s->root_correction + s->epsilon);
  }
}
