#include "node/dataset/window_features.h"

#include <math.h>
#include <stdlib.h>

#include "common/size.h"

#define LANES 16 /* bins are padded to whole vectors */
#define PADDED_MAX 48
#define BANDS 7

static const double band_edges[BANDS + 1] = {1, 4, 8, 10, 13, 20, 30, 46}; /* Hz */

struct nx_features {
  size_t n, bins, padded;
  float *window;  /* [n] */
  float *cosines; /* [n][padded], already times 1 / sqrt(sum of window squares) */
  float *sines;
  size_t band_first[BANDS + 1]; /* bins band_first[b] .. band_first[b + 1] - 1 */
};

static void fill_tables(struct nx_features *f) {
  double energy = 0;
  for (size_t i = 0; i < f->n; i++) {
    double w = 0.5 - 0.5 * cos(2 * M_PI * (double)i / (double)f->n);
    f->window[i] = (float)w;
    energy += w * w;
  }
  for (size_t i = 0; i < f->n; i++)
    for (size_t k = 0; k < f->bins; k++) {
      double angle = 2 * M_PI * (double)(i * (k + 1) % f->n) / (double)f->n;
      f->cosines[i * f->padded + k] = (float)(cos(angle) / sqrt(energy));
      f->sines[i * f->padded + k] = (float)(sin(angle) / sqrt(energy));
    }
}

int nx_features_create(size_t patch_samples, double rate_hz, struct nx_features **features_out,
                       struct nx_error *err) {
  if (patch_samples < 4 || patch_samples > 1 << 16)
    return nx_fail(err, NX_E_INVALID,
                   "a patch of %zu samples: change patch_seconds so that it has 4 to 65536",
                   patch_samples);
  _cleanup_(nx_features_destroyp) struct nx_features *f = calloc(1, sizeof *f);
  if (!f)
    return nx_fail(err, NX_E_NOMEM, "features: out of memory");
  f->n = patch_samples;
  f->bins = NX_MIN((size_t)NX_FEATURE_BINS_MAX, patch_samples / 2 - 1);
  f->padded = (f->bins + LANES - 1) / LANES * LANES;
  f->window = calloc(f->n, sizeof(float));
  f->cosines = calloc(f->n * f->padded, sizeof(float));
  f->sines = calloc(f->n * f->padded, sizeof(float));
  if (!f->window || !f->cosines || !f->sines)
    return nx_fail(err, NX_E_NOMEM, "features: out of memory");
  fill_tables(f);
  for (size_t b = 0; b <= BANDS; b++)
    while (f->band_first[b] < f->bins &&
           (double)(f->band_first[b] + 1) * rate_hz / (double)f->n < band_edges[b] - 1e-9)
      f->band_first[b]++;
  *features_out = nx_steal(&f);
  return 0;
}

size_t nx_features_bins(const struct nx_features *features) {
  return features->bins;
}

/* |rFFT| of bins 1..bins of one patch by table: n * bins products, no FFT worth its code at
 * these lengths. */
static void amplitudes(const struct nx_features *f, const float *x, float *out) {
  float mean = 0, re[PADDED_MAX] = {0}, im[PADDED_MAX] = {0};
  for (size_t i = 0; i < f->n; i++)
    mean += x[i];
  mean /= (float)f->n;
  for (size_t i = 0; i < f->n; i++) {
    float v = (x[i] - mean) * f->window[i];
    const float *c = f->cosines + i * f->padded, *s = f->sines + i * f->padded;
    for (size_t k = 0; k < f->padded; k += LANES)
      for (size_t l = 0; l < LANES; l++) {
        re[k + l] += v * c[k + l];
        im[k + l] += v * s[k + l];
      }
  }
  for (size_t k = 0; k < f->bins; k++)
    out[k] = sqrtf(re[k] * re[k] + im[k] * im[k]);
}

void nx_features_channel(const struct nx_features *features, const float *x, size_t n_patches,
                         float scale_uv, float *patches_out, float *spectra_out,
                         float stats_out[NX_FEATURE_STATS]) {
  const struct nx_features *f = features;
  float power[NX_FEATURE_BINS_MAX] = {0};
  for (size_t s = 0; s < n_patches; s++) {
    float *spectrum = spectra_out + s * f->bins;
    amplitudes(f, x + s * f->n, spectrum);
    for (size_t k = 0; k < f->bins; k++) {
      power[k] += spectrum[k] * spectrum[k];
      spectrum[k] = logf(spectrum[k] + 0.02f);
    }
  }
  for (size_t i = 0; i < n_patches * f->n; i++)
    patches_out[i] = (x[i] > 8 ? 8 : x[i] < -8 ? -8 : x[i]) / 2;
  stats_out[0] = 2 * logf(scale_uv / 8);
  for (size_t b = 0; b < BANDS; b++) {
    float sum = 0;
    size_t count = f->band_first[b + 1] - f->band_first[b];
    for (size_t k = f->band_first[b]; k < f->band_first[b + 1]; k++)
      sum += power[k] / (float)n_patches;
    stats_out[1 + b] = count ? logf(sum / (float)count + 1e-3f) : 0;
  }
}

void nx_features_destroy(struct nx_features *features) {
  if (!features)
    return;
  free(features->window);
  free(features->cosines);
  free(features->sines);
  free(features);
}
