/* Features: one window of preprocessed samples becomes the numbers a model reads. For each
 * channel c and patch s of n samples (design/recipe-eegmat, there in PyTorch):
 *
 *   patch    clamp(x, +-8) / 2                                                [C][S][n]
 *   spectrum log(|rFFT(Hann * (x - mean))| / sqrt(sum Hann^2) + 0.02),
 *            bins 1 .. n_bins                                                 [C][S][n_bins]
 *   stats    2 log(channel scale / 8 uV), then the log of the mean power over the window,
 *            + 1e-3, in 1-3, 4-7, 8-9, 10-12, 13-19, 20-29, 30-45 Hz          [C][8]
 *
 * Not standardised: the model does that with the federation's means and SDs. */
#pragma once

#include <stddef.h>

#include "common/cleanup.h"
#include "common/error.h"

#define NX_FEATURE_BINS_MAX 45 /* 1..45 Hz with one-second patches */
#define NX_FEATURE_STATS 8

struct nx_features;

/* patch_samples >= 4; bins = min(45, patch_samples / 2 - 1). Read-only afterwards: one may
 * serve many threads. */
int nx_features_create(size_t patch_samples, double rate_hz, struct nx_features **features_out,
                       struct nx_error *err);
size_t nx_features_bins(const struct nx_features *features);

/* x: n_patches * patch_samples robust units of one channel. scale_uv: the channel's robust
 * scale in micro-volts. Outputs as above for this one channel. */
void nx_features_channel(const struct nx_features *features, const float *x, size_t n_patches,
                         float scale_uv, float *patches_out, float *spectra_out,
                         float stats_out[NX_FEATURE_STATS]);

void nx_features_destroy(struct nx_features *features);
NX_DEFINE_CLEANUP(struct nx_features *, nx_features_destroy)
