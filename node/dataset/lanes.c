#include "node/dataset/lanes.h"

#include <string.h>

#include "common/size.h"
#include "node/dataset/lanes_kernels.h"

#define BLOCK 32 /* rows: 4 KiB stay in the first cache from section to section */

/* Calls the kernel that this processor has. */
#ifdef NX_HAVE_LANES_FMA
#define KERNEL(name, ...)                                                                          \
  (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")                                 \
       ? nx_lanes_##name##_fma(__VA_ARGS__)                                                        \
       : nx_lanes_##name##_any(__VA_ARGS__))
#else
#define KERNEL(name, ...) nx_lanes_##name##_any(__VA_ARGS__)
#endif

void nx_lanes_dot(const double *taps, const double *rows, size_t n, double *out) {
  KERNEL(dot, taps, rows, n, out);
}

void nx_lanes_gather(const double *x, size_t stride, size_t n_channels, const double *mean,
                     size_t n, double *rows) {
  KERNEL(gather, x, stride, n_channels, mean, n, rows);
}

void nx_lanes_scatter(const double *rows, size_t n, size_t n_channels, double *y, size_t stride) {
  KERNEL(scatter, rows, n, n_channels, y, stride);
}

void nx_lanes_mean(const double *x, size_t stride, size_t n_channels, size_t n, double *mean) {
  KERNEL(mean, x, stride, n_channels, n, mean);
}

void nx_lanes_steady(const struct nx_sos *sos, const double *row,
                     struct nx_lanes_state *state_out) {
  double scale = 1;
  for (size_t s = 0; s < sos->n_sections; s++) {
    const double *c = sos->s[s];
    double b1 = c[1] - c[4] * c[0], b2 = c[2] - c[5] * c[0], sum_a = 1 + c[4] + c[5];
    double z0 = (b1 + b2) / sum_a, z1 = (1 + c[4]) * z0 - b1;
    for (size_t k = 0; k < NX_LANES; k++) {
      state_out->z[s][0][k] = scale * z0 * row[k];
      state_out->z[s][1][k] = scale * z1 * row[k];
    }
    scale *= (c[0] + c[1] + c[2]) / sum_a;
  }
}

void nx_lanes_cascade(const struct nx_sos *sos, struct nx_lanes_state *state, const double *from,
                      double *to, size_t n, ptrdiff_t step) {
  double between[BLOCK * NX_LANES] __attribute__((aligned(64)));
  ptrdiff_t stride = step * NX_LANES;
  for (size_t first = 0; first < n; first += BLOCK) {
    size_t here = NX_MIN((size_t)BLOCK, n - first);
    ptrdiff_t at = (ptrdiff_t)first * stride;
    for (size_t s = 0; s < sos->n_sections; s += 2) {
      bool out = s + 2 >= sos->n_sections && to;
      KERNEL(section, &sos->s[s], &state->z[s], s ? between : from + at, s ? NX_LANES : stride,
             out ? to + at : between, out ? stride : NX_LANES, here, s + 1 < sos->n_sections);
    }
  }
}
