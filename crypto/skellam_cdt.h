/* Skellam table: the difference of two Poisson variables of mean mu/2 each, as thresholds.
 *
 * Its probabilities are e^-mu I_k(mu), and the modified Bessel functions obey
 *     I_{k-1} = I_{k+1} + (2k/mu) I_k,
 * which is stable downwards (Miller 1952): it starts at 1 where the probability is below
 * 2^-200 and ends at k = 0, in exact integers of 384 bits but for a rounding each step that
 * is far below 2^-128 of the sum; the sum is then made to be 1. mu is rounded up to
 * 2^t / R with a whole R of 64 bits: a relative 2^-63 more noise than asked for. */
#pragma once

#include "crypto/noise_table.h"

#define NX_SKELLAM_TABLE_MU_MIN 1.0
#define NX_SKELLAM_TABLE_MU_MAX 9.0e10 /* 64 MiB of thresholds */

/* mu in [MU_MIN, MU_MAX]: NX_E_INVALID otherwise. About 16 sqrt(mu) steps, twice. */
int nx_skellam_table(double mu, struct nx_noise_table *table_out, struct nx_error *err);
