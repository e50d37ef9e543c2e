/* FIR: linear-phase band-pass by windowed sinc, as MNE's "firwin" design with a Hamming
 * window, and its zero-phase application with an oddly mirrored border. Float64. */
#pragma once

#include <stddef.h>

#include "common/cleanup.h"
#include "common/error.h"

struct nx_fir {
  size_t n_taps; /* odd */
  double *taps;  /* symmetric */
};

/* Pass low_hz..high_hz (0: no edge on that side). Transition bands are MNE's "auto":
 * min(max(low / 4, 2), low) Hz below and min(max(high / 4, 2), rate / 2 - high) above. */
int nx_fir_design(double low_hz, double high_hz, double rate_hz, struct nx_fir *fir_out,
                  struct nx_error *err);
/* In place, delay removed; borders are mirrored oddly as far as the signal reaches. */
int nx_fir_zero_phase(const struct nx_fir *fir, double *x, size_t n, struct nx_error *err);
void nx_fir_finish(struct nx_fir *fir); /* zeroed is fine */
