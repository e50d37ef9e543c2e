/* Lanes: sixteen channels side by side, a row a sample: rows[n][16] of float64, 64-byte aligned.
 * An IIR filter waits for its own last sample, so one channel cannot fill a vector unit; sixteen
 * can. Every lane comes out bit for bit as alone on one processor. Between processors with and
 * without FMA the last bits differ: what is computed here stays at the site. */
#pragma once

#include "node/dataset/preprocess.h"

#define NX_LANES 16

struct nx_lanes_state {
  double z[NX_SOS_SECTIONS][2][NX_LANES];
} __attribute__((aligned(64)));

/* The state of a cascade that has always seen `row`: scipy.signal.sosfilt_zi times it. */
void nx_lanes_steady(const struct nx_sos *sos, const double *row, struct nx_lanes_state *state_out);
/* Transposed direct form II from row to row: from[0], from[step * 16], … n of them; to walks the
 * same way. to may be from, or NULL when only the state counts. */
void nx_lanes_cascade(const struct nx_sos *sos, struct nx_lanes_state *state, const double *from,
                      double *to, size_t n, ptrdiff_t step);
/* out[16] = sum over i of taps[i] * rows[i]. */
void nx_lanes_dot(const double *taps, const double *rows, size_t n, double *out);
/* Channels side by side, each less the mean: rows[i][c] = x[c * stride + i] - mean[i]; lanes beyond
 * n_channels become 0. */
void nx_lanes_gather(const double *x, size_t stride, size_t n_channels, const double *mean,
                     size_t n, double *rows);
/* Back: y[c * stride + i] = rows[i][c], for the first n_channels lanes. */
void nx_lanes_scatter(const double *rows, size_t n, size_t n_channels, double *y, size_t stride);
/* mean[i] over c of x[c * stride + i], summed in the order of c. */
void nx_lanes_mean(const double *x, size_t stride, size_t n_channels, size_t n, double *mean);
