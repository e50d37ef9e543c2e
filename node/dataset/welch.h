/* Welch: power spectral density by averaged periodograms (Welch 1967), as
 * scipy.signal.welch: periodic Hann window, constant detrend, half overlap, one-sided
 * density. Any segment length; bins come from a table, so lengths of a few hundred samples
 * are meant. Read-only after create: one may serve many threads. */
#pragma once

#include <stddef.h>

#include "common/cleanup.h"
#include "common/error.h"

struct nx_welch;

/* n_bins <= segment / 2 + 1: bins 0 .. n_bins - 1 are computed, bin k is k * rate / segment Hz. */
int nx_welch_create(size_t segment, size_t n_bins, double rate_hz, struct nx_welch **welch_out,
                    struct nx_error *err);
/* density_out[n_bins] in x's unit squared per Hz; NX_E_INVALID when n < segment. */
int nx_welch_density(const struct nx_welch *welch, const double *x, size_t n, double *density_out,
                     struct nx_error *err);
void nx_welch_destroy(struct nx_welch *welch);
NX_DEFINE_CLEANUP(struct nx_welch *, nx_welch_destroy)
