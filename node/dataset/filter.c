#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "node/dataset/preprocess.h"

#define ORDER 4
#define PAIRS_MAX ORDER /* a band-pass has as many conjugate pairs as the order */

/* One of each conjugate pair of analogue poles, warped for the bilinear transform at rate 2
 * (scipy.signal.iirfilter); returns how many. */
static size_t analogue_poles(enum nx_filter_kind kind, double low, double high,
                             double complex poles[PAIRS_MAX]) {
  size_t n = 0;
  for (int k = 0; k < ORDER / 2; k++) {
    double complex p = -cexp(I * M_PI * (2 * k - ORDER + 1) / (2 * ORDER));
    double complex scaled = p * (high - low) / 2;
    double complex root = csqrt(scaled * scaled - low * high);
    switch (kind) {
    case NX_FILTER_LOW_PASS:
      poles[n++] = p * high;
      break;
    case NX_FILTER_HIGH_PASS:
      poles[n++] = low / p;
      break;
    case NX_FILTER_BAND_PASS:
      poles[n++] = scaled + root;
      poles[n++] = scaled - root;
      break;
    }
  }
  return n;
}

/* Gain of the digital filter so that the analogue one has gain k. */
static double digital_gain(enum nx_filter_kind kind, double low, double high,
                           const double complex *poles, size_t n) {
  double gain = kind == NX_FILTER_LOW_PASS    ? pow(high, ORDER)
                : kind == NX_FILTER_BAND_PASS ? pow(high - low, ORDER)
                                              : 1;
  double zeros_at_0 = kind == NX_FILTER_LOW_PASS ? 0 : ORDER;
  double complex denominator = 1;
  for (size_t i = 0; i < n; i++)
    denominator *= (4 - poles[i]) * (4 - conj(poles[i]));
  return gain * pow(4, zeros_at_0) / creal(denominator);
}

static int by_distance_to_circle(const void *a, const void *b) {
  double x = fabs(1 - cabs(*(const double complex *)a));
  double y = fabs(1 - cabs(*(const double complex *)b));
  return (x < y) - (x > y); /* the nearest last, as scipy's zpk2sos orders sections */
}

int nx_filter_butterworth4(enum nx_filter_kind kind, double low_hz, double high_hz, double rate_hz,
                           struct nx_sos *sos_out, struct nx_error *err) {
  bool uses_low = kind != NX_FILTER_LOW_PASS, uses_high = kind != NX_FILTER_HIGH_PASS;
  if ((uses_low && !(low_hz > 0 && low_hz < rate_hz / 2)) ||
      (uses_high && !(high_hz > 0 && high_hz < rate_hz / 2)) ||
      (uses_low && uses_high && low_hz >= high_hz))
    return nx_fail(err, NX_E_INVALID,
                   "filter edges %g and %g Hz do not fit a rate of %g Hz: change the plan's "
                   "high_pass_hz or low_pass_hz",
                   low_hz, high_hz, rate_hz);
  double low = uses_low ? 4 * tan(M_PI * low_hz / rate_hz) : 0;
  double high = uses_high ? 4 * tan(M_PI * high_hz / rate_hz) : 0;
  double complex poles[PAIRS_MAX] = {0};
  size_t n = analogue_poles(kind, low, high, poles);
  double gain = digital_gain(kind, low, high, poles, n);
  for (size_t i = 0; i < n; i++)
    poles[i] = (4 + poles[i]) / (4 - poles[i]);
  qsort(poles, n, sizeof *poles, by_distance_to_circle);
  size_t at_plus = kind == NX_FILTER_LOW_PASS ? 0 : kind == NX_FILTER_HIGH_PASS ? n : n / 2;
  memset(sos_out, 0, sizeof *sos_out);
  sos_out->n_sections = n;
  for (size_t i = n; i-- > 0;) { /* poles next to the circle choose their zeros first */
    bool near_plus = creal(poles[i]) >= 0;
    bool plus = at_plus > 0 && (near_plus || at_plus > i);
    at_plus -= plus;
    double scale = i == 0 ? gain : 1;
    double row[6] = {scale, (plus ? -2 : 2) * scale, scale,
                     1,     -2 * creal(poles[i]),    creal(poles[i] * conj(poles[i]))};
    memcpy(sos_out->s[i], row, sizeof row);
  }
  return 0;
}

int nx_filter_notch(double notch_hz, double quality, double rate_hz, struct nx_sos *sos_out,
                    struct nx_error *err) {
  if (!(notch_hz > 0 && notch_hz < rate_hz / 2))
    return nx_fail(err, NX_E_INVALID,
                   "a notch at %g Hz does not fit a rate of %g Hz: set the plan's notch_hz to 0",
                   notch_hz, rate_hz);
  double w0 = 2 * M_PI * notch_hz / rate_hz;
  double gain = 1 / (1 + tan(w0 / quality / 2)), c = cos(w0);
  double row[6] = {gain, -2 * gain * c, gain, 1, -2 * gain * c, 2 * gain - 1};
  memset(sos_out, 0, sizeof *sos_out);
  sos_out->n_sections = 1;
  memcpy(sos_out->s[0], row, sizeof row);
  return 0;
}
