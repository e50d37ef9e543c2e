/* Preprocess: from recorded samples to model-rate samples. Float64 throughout; each step
 * follows scipy 1.10's definition so that its results can be compared digit for digit:
 * butter(4, output="sos") + sosfiltfilt, iirnotch + filtfilt, resample_poly with its
 * Kaiser 5.0 window. Filters are zero-phase: forward and backward over an odd extension.
 * Everything here is pure; channels are rows: x[n_channels][n]. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

#define NX_SOS_SECTIONS 8

enum nx_filter_kind { NX_FILTER_LOW_PASS, NX_FILTER_HIGH_PASS, NX_FILTER_BAND_PASS };

/* Second-order sections as scipy lays them out: b0 b1 b2 1 a1 a2 a row. */
struct nx_sos {
  size_t n_sections;
  double s[NX_SOS_SECTIONS][6];
};

/* Butterworth of order 4 (a band-pass has 4 sections); low_hz is used by high- and
 * band-pass, high_hz by low- and band-pass. NX_E_INVALID outside 0 < f < rate / 2. */
int nx_filter_butterworth4(enum nx_filter_kind kind, double low_hz, double high_hz, double rate_hz,
                           struct nx_sos *sos_out, struct nx_error *err);
/* sosfiltfilt in place with scipy's default odd padding (for one section that is filtfilt).
 * NX_E_INVALID when n is not more than the padding. */
int nx_filter_zero_phase(const struct nx_sos *sos, double *x, size_t n, struct nx_error *err);
/* The same for x[n_channels][n] and several filters one after the other: sixteen channels at a
 * time, each bit for bit as alone, on one processor. Where the recording is long, ways back begin
 * where what they began with has died away to 1e-13 (stream.h). */
int nx_filter_zero_phase_all(const struct nx_sos *stages, size_t n_stages, double *x,
                             size_t n_channels, size_t n, struct nx_error *err);

/* iirnotch(frequency, quality) as one section. */
int nx_filter_notch(double notch_hz, double quality, double rate_hz, struct nx_sos *sos_out,
                    struct nx_error *err);

/* ceil(n * up / down) after dividing both by their common divisor. */
size_t nx_resample_length(size_t n, size_t up, size_t down);
/* resample_poly(x, up, down), padtype "constant"; out holds nx_resample_length() values. */
int nx_resample(const double *x, size_t n, size_t up, size_t down, double *out,
                struct nx_error *err);
/* The same for x[n_channels][n]. */
int nx_resample_all(const double *x, size_t n_channels, size_t n, size_t up, size_t down,
                    double *out, struct nx_error *err);
/* up / down for two rates, both within 1e-6 relative and at most 10000; NX_E_UNSUPPORTED
 * when there is no such fraction. */
int nx_resample_ratio(double from_hz, double to_hz, size_t *up_out, size_t *down_out,
                      struct nx_error *err);

/* Subtracts the mean over channels from every sample. */
void nx_reference_average(double *x, size_t n_channels, size_t n);

/* numpy's median (mean of the middle two); scratch holds n values and is overwritten. */
double nx_median(const double *x, size_t n, double *scratch);
/* Median and 1.4826 * median(|x - median|). */
void nx_robust_scale(const double *x, size_t n, double *scratch, double *median_out,
                     double *scale_out);
