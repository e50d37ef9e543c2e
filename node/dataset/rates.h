/* Rates: events and counts on another grid of bins. */
#pragma once

#include <stddef.h>

/* Counts x[n] of bins 1 / from_hz wide → out[m] of bins 1 / to_hz wide from the same start: an
 * overlapping bin gives its share, so sums are kept exactly where bins nest, and to rounding
 * elsewhere. m = nx_rates_length(). */
void nx_rates_rebin(const double *x, size_t n, double from_hz, double to_hz, double *out, size_t m);
/* Whole bins of 1 / to_hz in n bins of 1 / from_hz. */
size_t nx_rates_length(size_t n, double from_hz, double to_hz);
