/* Resample bank: the taps of resample_poly(x, up, down), one set for each phase, and which of them
 * meet which samples. For stream.c. */
#pragma once

#include "node/dataset/preprocess.h"

struct nx_resample_bank {
  double *taps; /* [up][n_taps], in the order of the samples they meet; NULL: up is down */
  size_t n_taps, half, up, down;
};

struct nx_resample_place {
  const double *taps;
  size_t first, n; /* of the samples */
  size_t last;     /* the last sample that would count, were there no end */
};

int nx_resample_bank_make(size_t up, size_t down, struct nx_resample_bank *bank_out,
                          struct nx_error *err);
/* Output m of a recording of n samples. */
struct nx_resample_place nx_resample_place_of(const struct nx_resample_bank *bank, size_t m,
                                              size_t n);
void nx_resample_bank_finish(struct nx_resample_bank *bank);
