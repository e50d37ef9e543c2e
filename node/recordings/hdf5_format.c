/* HDF5: SNIRF 1.1 (light, channels = measurements) and NWB 2 (the first ElectricalSeries of
 * the acquisition). Linked into neurox-reader alone: the library only ever runs confined, on a
 * copy of the file in memory (512 MiB at most), so that no link can lead out of it. */
#include "node/recordings/hdf5_format.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/format.h"

#define IMAGE_CAP ((size_t)512 << 20)
#define CHUNK ((size_t)1 << 18) /* values a read */
#define TEXT 128

struct hdf5 {
  hid_t file, data; /* data: [samples][channels] or [samples] */
  size_t n_channels;
  uint64_t n_samples;
  bool vector;
  double gain, shift;
  float *chunk; /* [CHUNK or one row] */
};

static bool probe_hdf5(const char *path, const uint8_t *head, size_t size) {
  (void)path;
  return size >= 8 && !memcmp(head, "\x89HDF\r\n\x1a\n", 8);
}

static int open_image(struct nx_recording *recording, struct hdf5 *h, struct nx_error *err) {
  if (recording->file_size > IMAGE_CAP)
    return nx_fail(err, NX_E_LIMIT, "larger than %zu MiB: cut it into parts", IMAGE_CAP >> 20);
  size_t size = (size_t)recording->file_size;
  _cleanup_free_ uint8_t *image = malloc(size + 1);
  if (!image)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  int r = nx_recording_pread(recording, 0, image, size, err);
  if (r < 0)
    return r;
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (access >= 0 && H5Pset_fapl_core(access, 1 << 20, 0) >= 0 &&
      H5Pset_file_image(access, image, size) >= 0)
    h->file = H5Fopen("recording", H5F_ACC_RDONLY, access);
  if (access >= 0)
    H5Pclose(access);
  return h->file < 0 ? nx_fail(err, NX_E_FORMAT, "is no whole HDF5 file: copy it again") : 0;
}

/* All numbers of a small dataset; returns how many, 0 when it is not there or larger than cap. */
static size_t numbers(hid_t at, const char *name, double *out, size_t cap) {
  if (H5Lexists(at, name, H5P_DEFAULT) <= 0)
    return 0;
  hid_t data = H5Dopen2(at, name, H5P_DEFAULT), space = data < 0 ? -1 : H5Dget_space(data);
  hssize_t n = space < 0 ? 0 : H5Sget_simple_extent_npoints(space);
  if (n < 0 || (size_t)n > cap ||
      (n > 0 && H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0))
    n = 0;
  if (space >= 0)
    H5Sclose(space);
  if (data >= 0)
    H5Dclose(data);
  return (size_t)n;
}

static double number(hid_t at, const char *name, double otherwise) {
  double value;
  return numbers(at, name, &value, 1) == 1 ? value : otherwise;
}

static double number_attribute(hid_t at, const char *name, double otherwise) {
  double value = otherwise;
  if (H5Aexists(at, name) <= 0)
    return otherwise;
  hid_t attribute = H5Aopen(at, name, H5P_DEFAULT), space = H5Aget_space(attribute);
  if (H5Sget_simple_extent_npoints(space) != 1 || H5Aread(attribute, H5T_NATIVE_DOUBLE, &value) < 0)
    value = otherwise;
  H5Sclose(space);
  H5Aclose(attribute);
  return value;
}

/* One string, of variable or fixed length, from an open dataset or attribute. */
static void copy_string(hid_t id, bool attribute, char out[TEXT]) {
  hid_t type = attribute ? H5Aget_type(id) : H5Dget_type(id);
  hid_t space = attribute ? H5Aget_space(id) : H5Dget_space(id);
  out[0] = 0;
  if (H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_npoints(space) == 1) {
    char *variable = NULL, fixed[TEXT * 8] = "";
    if (H5Tis_variable_str(type) > 0) {
      if ((attribute ? H5Aread(id, type, &variable)
                     : H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &variable)) >= 0 &&
          variable) {
        snprintf(out, TEXT, "%s", variable);
        H5free_memory(variable);
      }
    } else if (H5Tget_size(type) < sizeof fixed &&
               (attribute ? H5Aread(id, type, fixed)
                          : H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, fixed)) >= 0) {
      snprintf(out, TEXT, "%.*s", TEXT - 1, fixed);
    }
  }
  H5Sclose(space);
  H5Tclose(type);
}

static void string(hid_t at, const char *name, char out[TEXT]) {
  out[0] = 0;
  hid_t data = H5Lexists(at, name, H5P_DEFAULT) > 0 ? H5Dopen2(at, name, H5P_DEFAULT) : -1;
  if (data >= 0) {
    copy_string(data, false, out);
    H5Dclose(data);
  }
}

static void string_attribute(hid_t at, const char *name, char out[TEXT]) {
  out[0] = 0;
  if (H5Aexists(at, name) <= 0)
    return;
  hid_t attribute = H5Aopen(at, name, H5P_DEFAULT);
  copy_string(attribute, true, out);
  H5Aclose(attribute);
}

/* Opens the sample matrix and makes as many channels. */
static int open_data(struct nx_recording *recording, hid_t at, const char *name,
                     struct nx_error *err) {
  struct hdf5 *h = recording->state;
  hsize_t sides[2] = {0, 1};
  h->data = H5Lexists(at, name, H5P_DEFAULT) > 0 ? H5Dopen2(at, name, H5P_DEFAULT) : -1;
  hid_t space = h->data < 0 ? -1 : H5Dget_space(h->data);
  int rank = space < 0 ? 0 : H5Sget_simple_extent_ndims(space);
  if (rank == 1 || rank == 2)
    H5Sget_simple_extent_dims(space, sides, NULL);
  if (space >= 0)
    H5Sclose(space);
  if ((rank != 1 && rank != 2) || sides[0] < 1 || sides[1] < 1)
    return nx_fail(err, NX_E_FORMAT, "%s is no matrix of samples and channels", name);
  if (sides[1] > NX_RECORDING_CHANNELS || sides[0] >= UINT64_C(1) << 40)
    return nx_fail(err, NX_E_LIMIT, "%llu channels: at most %d are read",
                   (unsigned long long)sides[1], NX_RECORDING_CHANNELS);
  h->vector = rank == 1;
  h->n_samples = sides[0];
  h->n_channels = (size_t)sides[1];
  recording->channels = calloc(h->n_channels, sizeof *recording->channels);
  h->chunk = calloc(NX_MAX(CHUNK, h->n_channels), sizeof *h->chunk);
  if (!recording->channels || !h->chunk)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  recording->info.n_channels = h->n_channels;
  return 0;
}

static int set_rate(struct nx_recording *recording, double rate, struct nx_error *err) {
  const struct hdf5 *h = recording->state;
  if (!(rate > 0 && rate < 1e9))
    return nx_fail(err, NX_E_FORMAT, "says nothing of its sampling rate");
  recording->info.duration_s = (double)h->n_samples / rate;
  for (size_t c = 0; c < h->n_channels; c++) {
    recording->channels[c].rate_hz = rate;
    recording->channels[c].n_samples = h->n_samples;
  }
  return 0;
}

/* From the first and last of n time stamps, or 0. */
static double rate_of_times(hid_t at, const char *name, uint64_t n, double *first_out) {
  double times[2] = {0, 0};
  hsize_t from = 0, step = n > 1 ? n - 1 : 1, two = 2;
  if (n < 2 || H5Lexists(at, name, H5P_DEFAULT) <= 0)
    return 0;
  hid_t data = H5Dopen2(at, name, H5P_DEFAULT), space = H5Dget_space(data);
  hid_t memory = H5Screate_simple(1, &two, NULL);
  bool all =
      H5Sget_simple_extent_ndims(space) == 1 && H5Sget_simple_extent_npoints(space) == (hssize_t)n;
  if (!all || H5Sselect_hyperslab(space, H5S_SELECT_SET, &from, &step, &two, NULL) < 0 ||
      H5Dread(data, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, times) < 0)
    times[0] = times[1] = 0;
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(data);
  *first_out = times[0];
  return times[1] > times[0] ? (double)(n - 1) / (times[1] - times[0]) : 0;
}

/* ---- SNIRF ------------------------------------------------------------------------------ */

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
  struct hdf5 *h = recording->state;
  char unit[TEXT];
  size_t n_sources = numbers(nirs, "probe/sourcePos3D", sources, NX_ARRAY_LENGTH(sources));
  size_t n_detectors = numbers(nirs, "probe/detectorPos3D", detectors, NX_ARRAY_LENGTH(detectors));
  size_t n_lights = numbers(nirs, "probe/wavelengths", lights, NX_ARRAY_LENGTH(lights));
  string(nirs, "metaDataTags/LengthUnit", unit);
  double metre = !strcmp(unit, "mm") ? 1e-3 : !strcmp(unit, "cm") ? 1e-2 : 1;
  for (size_t c = 0; c < h->n_channels; c++) {
    struct nx_channel *channel = &recording->channels[c];
    char path[64];
    snprintf(path, sizeof path, "data1/measurementList%zu", c + 1);
    hid_t list = H5Lexists(nirs, path, H5P_DEFAULT) > 0 ? H5Gopen2(nirs, path, H5P_DEFAULT) : -1;
    if (list < 0)
      return nx_fail(err, NX_E_FORMAT, "%s is missing, there are %zu columns of data", path,
                     h->n_channels);
    double s = number(list, "sourceIndex", 0), d = number(list, "detectorIndex", 0);
    double light = number(list, "wavelengthIndex", 0);
    string(list, "dataUnit", unit);
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
    char path[64], name[TEXT];
    snprintf(path, sizeof path, "stim%d/name", k);
    if (snprintf(path, sizeof path, "stim%d", k) < 0 || H5Lexists(nirs, path, H5P_DEFAULT) <= 0)
      break;
    snprintf(path, sizeof path, "stim%d/name", k);
    string(nirs, path, name);
    snprintf(path, sizeof path, "stim%d/data", k);
    size_t n = numbers(nirs, path, rows, NX_ARRAY_LENGTH(rows)) / 3;
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

static int open_snirf(struct nx_recording *recording, struct nx_error *err) {
  struct hdf5 *h = recording->state;
  double start = 0, two[2];
  const char *root = H5Lexists(h->file, "nirs", H5P_DEFAULT) > 0 ? "nirs" : "nirs1";
  hid_t nirs =
      H5Lexists(h->file, root, H5P_DEFAULT) > 0 ? H5Gopen2(h->file, root, H5P_DEFAULT) : -1;
  if (nirs < 0)
    return nx_fail(err, NX_E_FORMAT, "a SNIRF file without /nirs");
  recording->info.format = "SNIRF";
  int r = H5Lexists(nirs, "data1", H5P_DEFAULT) > 0
              ? open_data(recording, nirs, "data1/dataTimeSeries", err)
              : nx_fail(err, NX_E_FORMAT, "a SNIRF file without data");
  if (!r) { /* two numbers may be start and step */
    double rate = h->n_samples > 2 && numbers(nirs, "data1/time", two, 2) == 2 && two[1] > 0
                      ? 1 / two[1]
                      : rate_of_times(nirs, "data1/time", h->n_samples, &start);
    r = set_rate(recording, rate, err);
  }
  if (!r)
    r = describe_snirf(recording, nirs, err);
  if (!r)
    r = add_stimuli(recording, nirs, start, err);
  H5Gclose(nirs);
  return r;
}

/* ---- NWB -------------------------------------------------------------------------------- */

struct search {
  char name[TEXT];
};

static herr_t find_series(hid_t group, const char *name, const H5L_info_t *info, void *context) {
  struct search *search = context;
  char type[TEXT];
  if (info->type != H5L_TYPE_HARD)
    return 0;
  hid_t object = H5Oopen(group, name, H5P_DEFAULT);
  if (object < 0)
    return 0;
  string_attribute(object, "neurodata_type", type);
  H5Oclose(object);
  if (strcmp(type, "ElectricalSeries") != 0)
    return 0;
  snprintf(search->name, sizeof search->name, "%s", name);
  return 1;
}

static int open_series(struct nx_recording *recording, hid_t series, struct nx_error *err) {
  struct hdf5 *h = recording->state;
  double ignored, rate = 0;
  recording->info.format = "NWB";
  int r = open_data(recording, series, "data", err);
  if (r < 0)
    return r;
  h->gain = number_attribute(h->data, "conversion", 1);
  h->shift = number_attribute(h->data, "offset", 0);
  if (H5Lexists(series, "starting_time", H5P_DEFAULT) > 0) {
    hid_t start = H5Dopen2(series, "starting_time", H5P_DEFAULT);
    rate = start < 0 ? 0 : number_attribute(start, "rate", 0);
    if (start >= 0)
      H5Dclose(start);
  }
  if (!(rate > 0))
    rate = rate_of_times(series, "timestamps", h->n_samples, &ignored);
  for (size_t c = 0; c < h->n_channels; c++) {
    snprintf(recording->channels[c].name, sizeof recording->channels[c].name, "%zu", c + 1);
    strcpy(recording->channels[c].unit, "V");
    recording->channels[c].type = NX_CHANNEL_IEEG;
  }
  return set_rate(recording, rate, err);
}

static int open_nwb(struct nx_recording *recording, struct nx_error *err) {
  struct hdf5 *h = recording->state;
  struct search search = {""};
  hid_t group = H5Gopen2(h->file, "acquisition", H5P_DEFAULT);
  if (group >= 0)
    H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, find_series, &search);
  hid_t series = search.name[0] ? H5Gopen2(group, search.name, H5P_DEFAULT) : -1;
  int r = series < 0 ? nx_fail(err, NX_E_UNSUPPORTED, "an NWB file without an ElectricalSeries")
                     : open_series(recording, series, err);
  if (series >= 0)
    H5Gclose(series);
  if (group >= 0)
    H5Gclose(group);
  return r;
}

/* ---- both ------------------------------------------------------------------------------- */

static int open_hdf5(struct nx_recording *recording, struct nx_error *err) {
  struct hdf5 *h = calloc(1, sizeof *h);
  if (!h)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  *h = (struct hdf5){.file = -1, .data = -1, .gain = 1};
  recording->state = h;
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  int r = open_image(recording, h, err);
  if (r < 0)
    return r;
  if (H5Lexists(h->file, "nirs", H5P_DEFAULT) > 0 || H5Lexists(h->file, "nirs1", H5P_DEFAULT) > 0)
    return open_snirf(recording, err);
  if (H5Aexists(h->file, "nwb_version") > 0 && H5Lexists(h->file, "acquisition", H5P_DEFAULT) > 0)
    return open_nwb(recording, err);
  return nx_fail(err, NX_E_UNSUPPORTED,
                 "HDF5, but neither SNIRF nor NWB: export it as one of them");
}

static int read_block(struct hdf5 *h, uint64_t first, size_t n, struct nx_error *err) {
  hsize_t from[2] = {first, 0}, count[2] = {n, h->n_channels};
  int rank = h->vector ? 1 : 2;
  hid_t space = H5Dget_space(h->data), memory = H5Screate_simple(rank, count, NULL);
  bool good = space >= 0 && memory >= 0 &&
              H5Sselect_hyperslab(space, H5S_SELECT_SET, from, NULL, count, NULL) >= 0 &&
              H5Dread(h->data, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, h->chunk) >= 0;
  if (space >= 0)
    H5Sclose(space);
  if (memory >= 0)
    H5Sclose(memory);
  return good ? 0
              : nx_fail(err, NX_E_FORMAT, "samples %llu on cannot be unpacked: copy the file again",
                        (unsigned long long)first);
}

static int read_hdf5(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                     uint64_t first, size_t n, float *out, struct nx_error *err) {
  struct hdf5 *h = recording->state;
  size_t most = NX_MAX(CHUNK / h->n_channels, (size_t)1);
  for (size_t done = 0, now; done < n; done += now) {
    now = NX_MIN(most, n - done);
    int r = read_block(h, first + done, now, err);
    if (r < 0)
      return r;
    for (size_t c = 0; c < n_channels; c++)
      for (size_t i = 0; i < now; i++)
        out[c * n + done + i] =
            (float)(h->gain * (double)h->chunk[i * h->n_channels + channels[c]] + h->shift);
  }
  return 0;
}

static void close_hdf5(struct nx_recording *recording) {
  struct hdf5 *h = recording->state;
  if (!h)
    return;
  if (h->data >= 0)
    H5Dclose(h->data);
  if (h->file >= 0)
    H5Fclose(h->file);
  free(h->chunk);
  free(h);
}

static const struct nx_format format_hdf5 = {
    .name = "HDF5",
    .probe = probe_hdf5,
    .open = open_hdf5,
    .read = read_hdf5,
    .close = close_hdf5,
};

void nx_recording_add_hdf5(void) {
  nx_recording_add_format(&format_hdf5);
}
