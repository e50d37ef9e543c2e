#include "node/dataset/fir.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"

#define TAPS_CAP ((size_t)1 << 24)
#define HAMMING_LENGTH 3.3 /* taps a normalised transition width, MNE's table */

/* An edge of the pass band; the transition lies from stop to pass. */
struct edge {
  double pass, stop; /* Hz */
  size_t n_taps;
};

static size_t odd_length(double transition, double rate_hz) {
  double n = rint(HAMMING_LENGTH / (transition / rate_hz));
  return n >= (double)TAPS_CAP ? TAPS_CAP : (size_t)n + (1 - (size_t)n % 2);
}

/* Adds sign * firwin(n, cutoff, hamming) in the middle of taps. */
static void add_low_pass(struct nx_fir *fir, const struct edge *edge, double rate_hz, double sign) {
  size_t n = edge->n_taps, offset = (fir->n_taps - n) / 2;
  double cutoff = (edge->pass + edge->stop) / rate_hz, sum = 0; /* of the Nyquist rate */
  for (int round = 0; round < 2; round++)
    for (size_t i = 0; i < n; i++) {
      double m = (double)i - (double)(n - 1) / 2, t = cutoff * m;
      double sinc = m == 0 ? 1 : sin(M_PI * t) / (M_PI * t);
      double tap = cutoff * sinc * (0.54 - 0.46 * cos(2 * M_PI * (double)i / (double)(n - 1)));
      if (round == 0)
        sum += tap;
      else
        fir->taps[offset + i] += sign * tap / sum;
    }
}

int nx_fir_design(double low_hz, double high_hz, double rate_hz, struct nx_fir *fir_out,
                  struct nx_error *err) {
  double nyquist = rate_hz / 2;
  if (!(rate_hz > 0) || low_hz < 0 || high_hz < 0 || low_hz >= nyquist || high_hz >= nyquist ||
      (low_hz <= 0 && high_hz <= 0) || (high_hz > 0 && low_hz >= high_hz))
    return nx_fail(err, NX_E_INVALID, "filter edges %g and %g Hz do not fit a rate of %g Hz",
                   low_hz, high_hz, rate_hz);
  double low_width = fmin(fmax(low_hz / 4, 2), low_hz);
  double high_width = fmin(fmax(high_hz / 4, 2), nyquist - high_hz);
  struct edge low = {low_hz, low_hz - low_width, low_hz > 0 ? odd_length(low_width, rate_hz) : 1};
  struct edge high = {high_hz, high_hz + high_width,
                      high_hz > 0 ? odd_length(high_width, rate_hz) : 1};
  size_t n = NX_MAX(low.n_taps, high.n_taps);
  if (n >= TAPS_CAP)
    return nx_fail(err, NX_E_LIMIT, "a filter of %zu taps is too long: use a higher edge", n);
  memset(fir_out, 0, sizeof *fir_out);
  fir_out->taps = calloc(n, sizeof *fir_out->taps);
  if (!fir_out->taps)
    return nx_fail(err, NX_E_NOMEM, "filter: out of memory");
  fir_out->n_taps = n;
  if (high_hz > 0)
    add_low_pass(fir_out, &high, rate_hz, 1);
  else
    fir_out->taps[n / 2] = 1;
  if (low_hz > 0)
    add_low_pass(fir_out, &low, rate_hz, -1);
  return 0;
}

int nx_fir_zero_phase(const struct nx_fir *fir, double *x, size_t n, struct nx_error *err) {
  size_t half = fir->n_taps / 2, total;
  if (n == 0)
    return 0;
  if (!nx_size_add(n, 2 * half, &total))
    return nx_fail(err, NX_E_LIMIT, "%zu samples are too many to filter", n);
  _cleanup_free_ double *extended = calloc(total, sizeof *extended);
  if (!extended)
    return nx_fail(err, NX_E_NOMEM, "filter %zu samples: out of memory", n);
  memcpy(extended + half, x, n * sizeof *x);
  size_t reach = NX_MIN(half, n - 1); /* beyond it: zeros */
  for (size_t i = 1; i <= reach; i++) {
    extended[half - i] = 2 * x[0] - x[i];
    extended[half + n - 1 + i] = 2 * x[n - 1] - x[n - 1 - i];
  }
  for (size_t i = 0; i < n; i++) {
    double sum = fir->taps[half] * extended[i + half];
    for (size_t k = 0; k < half; k++)
      sum += fir->taps[k] * (extended[i + k] + extended[i + 2 * half - k]);
    x[i] = sum;
  }
  return 0;
}

void nx_fir_finish(struct nx_fir *fir) {
  free(fir->taps);
  memset(fir, 0, sizeof *fir);
}
