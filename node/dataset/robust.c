#include <math.h>
#include <stdint.h>
#include <string.h>

#include "node/dataset/preprocess.h"
#include "node/dataset/quality.h"

void nx_reference_average(double *x, size_t n_channels, size_t n) {
  enum { BLOCK = 512 }; /* samples whose mean stays in the cache */
  double mean[BLOCK];
  for (size_t first = 0; first < n; first += BLOCK) {
    size_t here = n - first < BLOCK ? n - first : BLOCK;
    memset(mean, 0, sizeof mean);
    for (size_t c = 0; c < n_channels; c++)
      for (size_t i = 0; i < here; i++)
        mean[i] += x[c * n + first + i];
    for (size_t i = 0; i < here; i++)
      mean[i] /= (double)n_channels;
    for (size_t c = 0; c < n_channels; c++)
      for (size_t i = 0; i < here; i++)
        x[c * n + first + i] -= mean[i];
  }
}

/* Bits that order as the numbers do. */
static uint64_t ordered(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

/* The k-th smallest by radix: linear in n whatever the values are. Reorders x. */
static double select_kth(double *x, size_t n, size_t k) {
  for (int shift = 56; shift >= 0 && n > 1; shift -= 8) {
    size_t counts[256] = {0}, digit = 0, kept = 0;
    for (size_t i = 0; i < n; i++)
      counts[ordered(x[i]) >> shift & 0xff]++;
    while (k >= counts[digit])
      k -= counts[digit++];
    for (size_t i = 0; i < n; i++)
      if ((ordered(x[i]) >> shift & 0xff) == digit)
        x[kept++] = x[i];
    n = kept;
  }
  return x[0];
}

double nx_median(const double *x, size_t n, double *scratch) {
  if (n == 0)
    return NAN;
  memcpy(scratch, x, n * sizeof *x);
  double high = select_kth(scratch, n, n / 2);
  if (n % 2)
    return high;
  memcpy(scratch, x, n * sizeof *x);
  return (select_kth(scratch, n, n / 2 - 1) + high) / 2;
}

void nx_robust_scale(const double *x, size_t n, double *scratch, double *median_out,
                     double *scale_out) {
  double median = nx_median(x, n, scratch), low = 0, high = 0;
  for (int side = 0; side < (n % 2 ? 1 : 2); side++) {
    for (size_t i = 0; i < n; i++)
      scratch[i] = fabs(x[i] - median);
    double value = n ? select_kth(scratch, n, n / 2 - (size_t)side) : NAN;
    *(side ? &low : &high) = value;
  }
  *median_out = median;
  *scale_out = 1.4826 * (n % 2 ? high : (low + high) / 2);
}

double nx_quantile(const double *x, size_t n, double q, double *scratch) {
  if (n == 0)
    return NAN;
  double position = q * (double)(n - 1);
  size_t k = (size_t)position;
  double share = position - (double)k;
  memcpy(scratch, x, n * sizeof *x);
  double low = select_kth(scratch, n, k);
  if (share == 0)
    return low;
  memcpy(scratch, x, n * sizeof *x);
  double high = select_kth(scratch, n, k + 1);
  return share < 0.5 ? low + (high - low) * share : high - (high - low) * (1 - share);
}
