/* Spike times: units and the times they fired, read as counts in bins of 1 ms. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

#define NX_SPIKE_BIN_HZ 1000
#define NX_SPIKES_CAP ((uint64_t)1 << 27)

struct nx_spike_times {
  size_t n_units;
  double **times; /* [n_units] seconds from the first bin's start, sorted, once laid out */
  size_t *counts; /* [n_units] */
  double start_s; /* of the first bin, on the recording's own clock */
  uint64_t n_bins;
  uint64_t total;
};

int nx_spike_times_init(struct nx_spike_times *spikes, size_t n_units, struct nx_error *err);
/* Room for n times of a unit; fill spikes->times[unit] then. NX_E_LIMIT beyond NX_SPIKES_CAP. */
int nx_spike_times_reserve(struct nx_spike_times *spikes, size_t unit, size_t n,
                           struct nx_error *err);
/* Sorts and takes start .. end as the bins; NaN: from the first spike, to the last.
 * NX_E_FORMAT: times that are no seconds. */
int nx_spike_times_lay_out(struct nx_spike_times *spikes, double start, double end,
                           struct nx_error *err);
void nx_spike_times_read(const struct nx_spike_times *spikes, size_t unit, uint64_t first, size_t n,
                         float *out);
void nx_spike_times_finish(struct nx_spike_times *spikes); /* zeroed is fine */
