#include "node/recordings/hdf5_series.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"

static bool is_number(hid_t data) {
  hid_t type = H5Dget_type(data);
  H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
  if (type >= 0)
    H5Tclose(type);
  return class == H5T_INTEGER || class == H5T_FLOAT;
}

static int grow_channels(struct nx_recording *recording, size_t more, struct nx_error *err) {
  size_t n = recording->info.n_channels;
  if (more < 1 || n + more > NX_RECORDING_CHANNELS)
    return nx_fail(err, NX_E_LIMIT, "%zu channels: at most %d are read", n + more,
                   NX_RECORDING_CHANNELS);
  struct nx_channel *grown = reallocarray(recording->channels, n + more, sizeof *grown);
  if (!grown)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  memset(grown + n, 0, more * sizeof *grown);
  recording->channels = grown;
  recording->info.n_channels = n + more;
  return 0;
}

static int measure(struct nx_hdf5_series *series, const char *name, bool transposed,
                   struct nx_error *err) {
  hsize_t sides[8] = {0};
  int rank = nx_hdf5_sides(series->data, sides);
  if (rank < 1 || rank > 2 || sides[0] < 1 || (rank == 2 && sides[1] < 1) ||
      !is_number(series->data))
    return nx_fail(err, NX_E_FORMAT, "%s is no matrix of samples and channels", name);
  hsize_t channels = rank == 1 ? 1 : sides[transposed ? 0 : 1];
  hsize_t samples = rank == 1 ? sides[0] : sides[transposed ? 1 : 0];
  if (channels > NX_RECORDING_CHANNELS || samples >= UINT64_C(1) << 40)
    return nx_fail(err, NX_E_LIMIT, "%s has %llu channels: at most %d are read", name,
                   (unsigned long long)channels, NX_RECORDING_CHANNELS);
  series->vector = rank == 1;
  series->transposed = transposed && rank == 2;
  series->n_channels = (size_t)channels;
  series->n_samples = samples;
  return 0;
}

int nx_hdf5_add_series(struct nx_recording *recording, hid_t at, const char *name, bool transposed,
                       double rate_hz, struct nx_hdf5_series **series_out, struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  if (h->n_series >= NX_ARRAY_LENGTH(h->series))
    return nx_fail(err, NX_E_LIMIT, "more than %d series of behaviour", NX_HDF5_BEHAVIOURS);
  if (!(rate_hz > 0 && rate_hz < 1e9))
    return nx_fail(err, NX_E_FORMAT, "%s says nothing of its sampling rate", name);
  struct nx_hdf5_series *series = &h->series[h->n_series];
  *series = (struct nx_hdf5_series){.gain = 1};
  if (!name[0] && H5Iinc_ref(at) > 0)
    series->data = at;
  else
    series->data = nx_hdf5_has(at, name) ? H5Dopen2(at, name, H5P_DEFAULT) : -1;
  if (series->data < 0)
    return nx_fail(err, NX_E_FORMAT, "%s is missing", name);
  h->n_series++;
  int r = measure(series, name, transposed, err);
  series->first_channel = recording->info.n_channels;
  if (!r)
    r = grow_channels(recording, series->n_channels, err);
  for (size_t c = 0; !r && c < series->n_channels; c++) {
    struct nx_channel *channel = &recording->channels[series->first_channel + c];
    snprintf(channel->name, sizeof channel->name, "%zu", c + 1);
    channel->rate_hz = rate_hz;
    channel->n_samples = series->n_samples;
  }
  *series_out = series;
  return r;
}

int nx_hdf5_add_units(struct nx_recording *recording, struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  int r = grow_channels(recording, h->spikes.n_units, err);
  for (size_t u = 0; !r && u < h->spikes.n_units; u++) {
    struct nx_channel *channel = &recording->channels[u];
    snprintf(channel->name, sizeof channel->name, "unit %zu", u + 1);
    strcpy(channel->unit, "count");
    channel->type = NX_CHANNEL_SPIKES;
    channel->rate_hz = NX_SPIKE_BIN_HZ;
    channel->n_samples = h->spikes.n_bins;
  }
  recording->info.origin_s = h->spikes.start_s;
  recording->info.duration_s = (double)h->spikes.n_bins / NX_SPIKE_BIN_HZ;
  return r;
}
