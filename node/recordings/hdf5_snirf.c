/* SNIRF 1.1: light, channels are measurements. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/hdf5_series.h"

/* Midway between source and detector. */
static void place(struct nx_channel *channel, const double *sources, size_t n_sources,
                  const double *detectors, size_t n_detectors, size_t s, size_t d, double metre) {
  if (s < 1 || d < 1 || 3 * s > n_sources || 3 * d > n_detectors)
    return;
  for (int i = 0; i < 3; i++) {
    double at = (sources[3 * (s - 1) + (size_t)i] + detectors[3 * (d - 1) + (size_t)i]) / 2 * metre;
    channel->position_m[i] = isfinite(at) && fabs(at) < 10 ? (float)at : 0;
  }
  channel->frame = NX_FRAME_UNKNOWN;
}

static int describe_snirf(struct nx_recording *recording, hid_t nirs, struct nx_error *err) {
  static double sources[3 * 1024], detectors[3 * 1024], lights[64];
  const struct nx_hdf5 *h = recording->state;
  char unit[NX_HDF5_TEXT];
  size_t n_sources = nx_hdf5_numbers(nirs, "probe/sourcePos3D", sources, NX_ARRAY_LENGTH(sources));
  size_t n_detectors =
      nx_hdf5_numbers(nirs, "probe/detectorPos3D", detectors, NX_ARRAY_LENGTH(detectors));
  size_t n_lights = nx_hdf5_numbers(nirs, "probe/wavelengths", lights, NX_ARRAY_LENGTH(lights));
  nx_hdf5_string(nirs, "metaDataTags/LengthUnit", unit);
  double metre = !strcmp(unit, "mm") ? 1e-3 : !strcmp(unit, "cm") ? 1e-2 : 1;
  for (size_t c = 0; c < h->series[0].n_channels; c++) {
    struct nx_channel *channel = &recording->channels[c];
    char path[64];
    snprintf(path, sizeof path, "data1/measurementList%zu", c + 1);
    hid_t list = nx_hdf5_has(nirs, path) ? H5Gopen2(nirs, path, H5P_DEFAULT) : -1;
    if (list < 0)
      return nx_fail(err, NX_E_FORMAT, "%s is missing, there are %zu columns of data", path,
                     h->series[0].n_channels);
    double s = nx_hdf5_number(list, "sourceIndex", 0), d = nx_hdf5_number(list, "detectorIndex", 0);
    double light = nx_hdf5_number(list, "wavelengthIndex", 0);
    nx_hdf5_string(list, "dataUnit", unit);
    H5Gclose(list);
    snprintf(channel->name, sizeof channel->name, "S%.0f_D%.0f %.0f", s, d,
             light >= 1 && light <= (double)n_lights ? lights[(size_t)light - 1] : light);
    snprintf(channel->unit, sizeof channel->unit, "%.15s", unit);
    channel->type = NX_CHANNEL_NIRS;
    if (s >= 1 && s < 1e4 && d >= 1 && d < 1e4)
      place(channel, sources, n_sources, detectors, n_detectors, (size_t)s, (size_t)d, metre);
  }
  return nx_recording_unique_names(recording, err);
}

static int add_stimuli(struct nx_recording *recording, hid_t nirs, double start,
                       struct nx_error *err) {
  static double rows[3 * 4096];
  for (int k = 1; k < 1000; k++) {
    char path[64], name[NX_HDF5_TEXT];
    snprintf(path, sizeof path, "stim%d/name", k);
    if (snprintf(path, sizeof path, "stim%d", k) < 0 || !nx_hdf5_has(nirs, path))
      break;
    snprintf(path, sizeof path, "stim%d/name", k);
    nx_hdf5_string(nirs, path, name);
    snprintf(path, sizeof path, "stim%d/data", k);
    size_t n = nx_hdf5_numbers(nirs, path, rows, NX_ARRAY_LENGTH(rows)) / 3;
    for (size_t i = 0; i < n; i++) {
      int r = isfinite(rows[3 * i]) && isfinite(rows[3 * i + 1])
                  ? nx_recording_add_event(recording, rows[3 * i] - start, rows[3 * i + 1], name,
                                           strlen(name), err)
                  : 0;
      if (r < 0)
        return r;
    }
  }
  nx_recording_sort_events(recording);
  return 0;
}

static uint64_t length_of(hid_t at, const char *name) {
  hsize_t sides[8] = {0};
  hid_t data = nx_hdf5_has(at, name) ? H5Dopen2(at, name, H5P_DEFAULT) : -1;
  int rank = data < 0 ? 0 : nx_hdf5_sides(data, sides);
  if (data >= 0)
    H5Dclose(data);
  return rank > 0 ? sides[0] : 0;
}

static int open_group(struct nx_recording *recording, hid_t nirs, struct nx_error *err) {
  struct nx_hdf5_series *series;
  double start = 0, two[2];
  uint64_t n = length_of(nirs, "data1/dataTimeSeries");
  /* two numbers may be start and step */
  double rate = n > 2 && nx_hdf5_numbers(nirs, "data1/time", two, 2) == 2 && two[1] > 0
                    ? 1 / two[1]
                    : nx_hdf5_rate_of_times(nirs, "data1/time", n, &start);
  int r = n ? nx_hdf5_add_series(recording, nirs, "data1/dataTimeSeries", false, rate, &series, err)
            : nx_fail(err, NX_E_FORMAT, "a SNIRF file without data");
  if (r < 0)
    return r;
  recording->info.duration_s = (double)series->n_samples / rate;
  r = describe_snirf(recording, nirs, err);
  return r < 0 ? r : add_stimuli(recording, nirs, start, err);
}

int nx_hdf5_open_snirf(struct nx_recording *recording, struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  const char *root = nx_hdf5_has(h->file, "nirs") ? "nirs" : "nirs1";
  hid_t nirs = H5Gopen2(h->file, root, H5P_DEFAULT);
  if (nirs < 0)
    return nx_fail(err, NX_E_FORMAT, "a SNIRF file without /nirs");
  recording->info.format = "SNIRF";
  int r = open_group(recording, nirs, err);
  H5Gclose(nirs);
  return r;
}
