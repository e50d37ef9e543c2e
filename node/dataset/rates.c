#include "node/dataset/rates.h"

#include <math.h>

/* Bin edges that should meet meet, although 1 / 50 s is no binary fraction. */
#define SLACK 1e-9

size_t nx_rates_length(size_t n, double from_hz, double to_hz) {
  return (size_t)floor((double)n * to_hz / from_hz + SLACK * (double)n);
}

void nx_rates_rebin(const double *x, size_t n, double from_hz, double to_hz, double *out,
                    size_t m) {
  double step = from_hz / to_hz; /* old bins in a new one */
  for (size_t k = 0; k < m; k++) {
    double low = (double)k * step, high = (double)(k + 1) * step, sum = 0;
    size_t first = (size_t)floor(low + SLACK * (low + 1));
    for (size_t i = first; i < n && (double)i < high - SLACK * (high + 1); i++) {
      double from = fmax(low, (double)i), to = fmin(high, (double)(i + 1)), part = to - from;
      sum += x[i] * (part > 1 - SLACK * (high + 1) ? 1 : part);
    }
    out[k] = sum;
  }
}
