/* Gaussian table: a real normal variable of standard deviation 2^14, rounded to the nearest
 * whole number, as thresholds.
 *
 * Adding it to a whole number gives the same as adding the real variable and rounding after:
 * so what leaves is a function of "whole-number query plus real Gaussian", and every theorem
 * about the real Gaussian holds, sampling and the exact curve included. Added to floating
 * point numbers the low bits would tell what was added to (Mironov 2012).
 *
 * One standard deviation serves every sigma: the grid is what is scaled. The probability of
 * k is the integral of the density over one cell,
 *     g_k * sum_j d_2j / ((2j+1)! 4^j),   g_k = exp(-k^2 / 2^29),
 * d_n the Taylor coefficients (times n!) of the density about k; six terms are below 2^-190. */
#pragma once

#include "crypto/noise_table.h"

#define NX_GAUSSIAN_DEVIATION_LOG2 14
#define NX_GAUSSIAN_DEVIATION ((double)(1 << NX_GAUSSIAN_DEVIATION_LOG2)) /* grid steps */

int nx_gaussian_table(struct nx_noise_table *table_out, struct nx_error *err);
