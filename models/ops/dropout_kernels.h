/* Kernels of dropout.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

/* Four decisions of 16 bits a draw: drop is realised to 2^-16, the scale is by what is
 * realised, so the mean is exact. */
static void dropout_mask(struct nx_stream *stream, size_t n, struct nx_rng *rng, double drop,
                         nx_real *mask) {
  (void)stream;
  uint16_t threshold = (uint16_t)(drop * 65536.0), bits[NX_LANES];
  nx_real kept = (nx_real)(65536.0 / (65536.0 - (double)threshold));
  for (size_t first = 0; first < n; first += NX_LANES) {
    for (size_t i = 0; i < NX_LANES / 4; i++) {
      uint64_t four = nx_rng_u64(rng);
      memcpy(bits + 4 * i, &four, sizeof four);
    }
    size_t here = n - first < NX_LANES ? n - first : NX_LANES;
    for (size_t i = 0; i < here; i++)
      mask[first + i] = bits[i] < threshold ? 0 : kept;
  }
}

NX_INLINE void masked_add_run(size_t n, const nx_real *x, const nx_real *f, const nx_real *mask,
                              nx_real *y) {
  const nx_v16 zero = {0};
  size_t i = 0;
  for (; i + NX_LANES <= n; i += NX_LANES)
    NX_STORE(y + i,
             (x ? NX_LOAD(x + i) : zero) + NX_LOAD(f + i) * (mask ? NX_LOAD(mask + i) : zero + 1));
  for (; i < n; i++)
    y[i] = (x ? x[i] : 0) + f[i] * (mask ? mask[i] : 1);
}

static void masked_add(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *f,
                       const nx_real *mask, nx_real *y) {
  (void)stream;
  masked_add_run(n, x, f, mask, y);
}
