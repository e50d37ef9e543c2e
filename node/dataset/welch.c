#include "node/dataset/welch.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/size.h"

#define TABLE_CAP ((size_t)1 << 26)

struct nx_welch {
  size_t segment, n_bins, half; /* half = (segment - 1) / 2 pairs x[i], x[segment - i] */
  double rate_hz, energy;       /* sum of squares of the window */
  double *window;               /* [segment] */
  double *cosines, *sines;      /* [half][n_bins], row i - 1 for the pair i */
};

int nx_welch_create(size_t segment, size_t n_bins, double rate_hz, struct nx_welch **welch_out,
                    struct nx_error *err) {
  size_t cells;
  if (segment < 2 || n_bins < 1 || n_bins > segment / 2 + 1 || !(rate_hz > 0) ||
      !nx_size_mul(segment, n_bins, &cells) || cells > TABLE_CAP)
    return nx_fail(err, NX_E_INVALID, "spectra of %zu bins from segments of %zu samples", n_bins,
                   segment);
  _cleanup_(nx_welch_destroyp) struct nx_welch *w = calloc(1, sizeof *w);
  if (!w)
    return nx_fail(err, NX_E_NOMEM, "spectra: out of memory");
  w->segment = segment;
  w->n_bins = n_bins;
  w->half = (segment - 1) / 2;
  w->rate_hz = rate_hz;
  w->window = calloc(segment, sizeof *w->window);
  w->cosines = calloc(cells, sizeof *w->cosines);
  w->sines = calloc(cells, sizeof *w->sines);
  if (!w->window || !w->cosines || !w->sines)
    return nx_fail(err, NX_E_NOMEM, "spectra: out of memory");
  for (size_t i = 0; i < segment; i++) {
    w->window[i] = 0.5 - 0.5 * cos(2 * M_PI * (double)i / (double)segment);
    w->energy += w->window[i] * w->window[i];
  }
  for (size_t i = 1; i <= w->half; i++)
    for (size_t k = 0; k < n_bins; k++) {
      double angle = 2 * M_PI * (double)(i * k % segment) / (double)segment;
      w->cosines[(i - 1) * n_bins + k] = cos(angle);
      w->sines[(i - 1) * n_bins + k] = sin(angle);
    }
  *welch_out = nx_steal(&w);
  return 0;
}

/* Adds |rFFT(window * (x - mean))|^2 of one segment to power. Samples i and segment - i share
 * a table row: cosines see their sum, sines their difference. */
static void add_periodogram(const struct nx_welch *w, const double *x, double *re, double *im,
                            double *power) {
  size_t n = w->segment;
  double mean = 0;
  for (size_t i = 0; i < n; i++)
    mean += x[i];
  mean /= (double)n;
  bool even = n % 2 == 0;
  double first = w->window[0] * (x[0] - mean);
  double middle = even ? w->window[n / 2] * (x[n / 2] - mean) : 0;
  for (size_t k = 0; k < w->n_bins; k++) {
    re[k] = first + (k % 2 ? -middle : middle);
    im[k] = 0;
  }
  for (size_t i = 1; i <= w->half; i++) {
    double a = w->window[i] * (x[i] - mean), b = w->window[n - i] * (x[n - i] - mean);
    double sum = a + b, difference = a - b;
    const double *c = w->cosines + (i - 1) * w->n_bins, *s = w->sines + (i - 1) * w->n_bins;
    for (size_t k = 0; k < w->n_bins; k++) {
      re[k] += sum * c[k];
      im[k] += difference * s[k];
    }
  }
  for (size_t k = 0; k < w->n_bins; k++)
    power[k] += re[k] * re[k] + im[k] * im[k];
}

int nx_welch_density(const struct nx_welch *welch, const double *x, size_t n, double *density_out,
                     struct nx_error *err) {
  const struct nx_welch *w = welch;
  size_t step = w->segment - w->segment / 2, count = 0;
  if (n < w->segment)
    return nx_fail(err, NX_E_INVALID, "%zu samples are too few for a spectrum of %zu", n,
                   w->segment);
  _cleanup_free_ double *scratch = calloc(2 * w->n_bins, sizeof *scratch);
  if (!scratch)
    return nx_fail(err, NX_E_NOMEM, "spectrum: out of memory");
  for (size_t k = 0; k < w->n_bins; k++)
    density_out[k] = 0;
  for (size_t at = 0; at + w->segment <= n; at += step, count++)
    add_periodogram(w, x + at, scratch, scratch + w->n_bins, density_out);
  for (size_t k = 0; k < w->n_bins; k++) {
    bool single = k == 0 || 2 * k == w->segment;
    density_out[k] *= (single ? 1 : 2) / (w->rate_hz * w->energy * (double)count);
  }
  return 0;
}

void nx_welch_destroy(struct nx_welch *welch) {
  if (!welch)
    return;
  free(welch->window);
  free(welch->cosines);
  free(welch->sines);
  free(welch);
}
