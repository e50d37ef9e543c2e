/* MAT arrays: the recording in a MAT file that is nobody's own format: a matrix of numbers, cells
 * of them (one part each), or spike times of units, which are read as counts in bins of 1 ms.
 * What they are (rate, unit, kind, behaviour beside them) a sidecar says (sidecar.h); without one
 * the largest matrix, or else the first variable of cells, is the recording. */
#pragma once

#include "node/recordings/mat5.h"
#include "node/recordings/mat_leaves.h"
#include "node/recordings/sidecar.h"
#include "node/recordings/spike_times.h"

/* Numbers of one matrix as channels and samples. */
struct nx_mat_view {
  unsigned type;
  struct nx_bytes data;
  size_t n_channels;
  uint64_t n_samples;
  bool channels_are_columns;
};

struct nx_mat_arrays {
  struct nx_mat_view samples;
  struct nx_mat_file other;  /* the behaviour's file, where it is another */
  size_t n_behaviour;        /* channels */
  struct nx_mat_view *views; /* [n_behaviour_views] */
  size_t n_views;
  struct nx_spike_times spikes; /* times NULL: a matrix */
};

void nx_mat_view_read(const struct nx_mat_view *view, size_t channel, uint64_t first, size_t n,
                      float *out);
int nx_mat_arrays_open(struct nx_recording *recording, const struct nx_mat_file *file,
                       struct nx_mat_arrays *arrays, struct nx_error *err);
/* Channel c's samples go to out[c * stride]. */
void nx_mat_arrays_read(const struct nx_mat_arrays *arrays, const uint32_t *channels,
                        size_t n_channels, uint64_t first, size_t n, float *out, size_t stride);
void nx_mat_arrays_finish(struct nx_mat_arrays *arrays); /* zeroed is fine */
