/* HDF5 series: a dataset [samples][channels] or [samples] as channels of a recording, the reader's
 * state, and what SNIRF, NWB and MAT 7.3 do with it. */
#pragma once

#include "node/recordings/hdf5_file.h"
#include "node/recordings/spike_times.h"

#define NX_HDF5_BEHAVIOURS 16

struct nx_hdf5_series {
  hid_t data;
  bool vector, transposed; /* transposed: [channels][samples] */
  size_t first_channel;    /* in the recording */
  size_t n_channels;
  uint64_t n_samples;
  int64_t lead; /* the dataset's sample at the recording's first one; what is outside is NaN */
  double gain, shift;
};

/* nx_recording.state. Channels: those of the series or the units, then behaviour. */
struct nx_hdf5 {
  hid_t file;
  size_t n_series; /* the first is the recording, unless spikes are */
  struct nx_hdf5_series series[1 + NX_HDF5_BEHAVIOURS];
  struct nx_spike_times spikes; /* times NULL: none */
  float *chunk;
  size_t chunk_values;
};

/* Appends the dataset's columns, name "": of the dataset `at` itself, (transposed: its rows) to the recording's channels; name, unit
 * and type are set by the caller from recording->channels + series->first_channel.
 * NX_E_FORMAT: no vector or matrix of numbers. */
int nx_hdf5_add_series(struct nx_recording *recording, hid_t at, const char *name, bool transposed,
                       double rate_hz, struct nx_hdf5_series **series_out, struct nx_error *err);
/* The units as channels. */
int nx_hdf5_add_units(struct nx_recording *recording, struct nx_error *err);

int nx_hdf5_open_snirf(struct nx_recording *recording, struct nx_error *err);
int nx_hdf5_open_nwb(struct nx_recording *recording, struct nx_error *err);
int nx_hdf5_open_mat(struct nx_recording *recording, struct nx_error *err);
