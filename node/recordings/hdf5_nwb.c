/* NWB 2: every ElectricalSeries (of the acquisition or of processing: LFP) and every
 * RoiResponseSeries (fluorescence of cells) is a part, and so are the Units; SpatialSeries and the
 * TimeSeries of a BehavioralTimeSeries become channels of behaviour beside each, laid on its clock.
 * Names of channels, sessions and people stay in the file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/hdf5_series.h"

#define DEPTH 8
#define FOUND 256

struct found {
  char path[256];
  enum nx_channel_type type;
};

struct search {
  struct nx_recording *recording;
  size_t n_parts, n_behaviours;
  struct found parts[FOUND], behaviours[NX_HDF5_BEHAVIOURS];
};

static void note(struct search *search, const char *path, const char *type, const char *parent) {
  struct found found = {.type = NX_CHANNEL_BEHAVIOUR};
  bool behaviour = !strcmp(type, "SpatialSeries") ||
                   (!strcmp(type, "TimeSeries") && !strcmp(parent, "BehavioralTimeSeries"));
  if (strlen(path) >= sizeof found.path)
    return;
  strcpy(found.path, path);
  if (behaviour && search->n_behaviours < NX_HDF5_BEHAVIOURS)
    search->behaviours[search->n_behaviours++] = found;
  found.type = !strcmp(type, "ElectricalSeries")    ? NX_CHANNEL_IEEG
               : !strcmp(type, "RoiResponseSeries") ? NX_CHANNEL_CALCIUM
               : !strcmp(type, "Units")             ? NX_CHANNEL_SPIKES
                                                    : NX_CHANNEL_MISC;
  if (found.type != NX_CHANNEL_MISC && search->n_parts < FOUND)
    search->parts[search->n_parts++] = found;
}

struct step {
  struct search *search;
  const char *path;
  char type[NX_HDF5_TEXT]; /* of the group */
  int depth;
};

static void walk(hid_t group, struct step *step);

static herr_t visit(hid_t group, const char *name, const H5L_info_t *info, void *context) {
  struct step *step = context;
  char path[256], type[NX_HDF5_TEXT];
  if (info->type != H5L_TYPE_HARD ||
      snprintf(path, sizeof path, "%s/%s", step->path, name) >= (int)sizeof path)
    return 0;
  hid_t object = H5Oopen(group, name, H5P_DEFAULT);
  if (object < 0)
    return 0;
  if (H5Iget_type(object) == H5I_GROUP) {
    nx_hdf5_string_attribute(object, "neurodata_type", type);
    note(step->search, path, type, step->type);
    if (step->depth < DEPTH) {
      struct step next = {.search = step->search, .path = path, .depth = step->depth + 1};
      memcpy(next.type, type, sizeof type);
      walk(object, &next);
    }
  }
  H5Oclose(object);
  return 0;
}

static void walk(hid_t group, struct step *step) {
  H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, visit, step);
}

static void search_group(hid_t file, const char *name, struct search *search) {
  char path[64];
  snprintf(path, sizeof path, "/%s", name);
  hid_t group = nx_hdf5_has(file, name) ? H5Gopen2(file, name, H5P_DEFAULT) : -1;
  struct step step = {.search = search, .path = path};
  if (group >= 0) {
    walk(group, &step);
    H5Gclose(group);
  }
}

/* ---- series ---------------------------------------------------------------------------------- */

/* Rate and the time of the first sample: a starting time with a rate, or time stamps. */
static double clock_of(hid_t series, double *start_out) {
  double rate = 0;
  hsize_t sides[8] = {0};
  *start_out = 0;
  if (nx_hdf5_has(series, "starting_time")) {
    hid_t start = H5Dopen2(series, "starting_time", H5P_DEFAULT);
    rate = start < 0 ? 0 : nx_hdf5_number_attribute(start, "rate", 0);
    if (start >= 0)
      H5Dclose(start);
    *start_out = nx_hdf5_number(series, "starting_time", 0);
  }
  if (rate > 0 || !nx_hdf5_has(series, "data"))
    return rate;
  hid_t data = H5Dopen2(series, "data", H5P_DEFAULT);
  int rank = data < 0 ? 0 : nx_hdf5_sides(data, sides);
  if (data >= 0)
    H5Dclose(data);
  return rank ? nx_hdf5_rate_of_times(series, "timestamps", sides[0], start_out) : 0;
}

static int add(struct nx_recording *recording, hid_t group, const struct found *found,
               double *start_out, struct nx_error *err) {
  struct nx_hdf5_series *series;
  char unit[NX_HDF5_TEXT];
  double rate = clock_of(group, start_out);
  int r = nx_hdf5_add_series(recording, group, "data", false, rate, &series, err);
  if (r < 0)
    return r;
  series->gain = nx_hdf5_number_attribute(series->data, "conversion", 1);
  series->shift = nx_hdf5_number_attribute(series->data, "offset", 0);
  nx_hdf5_string_attribute(series->data, "unit", unit);
  for (size_t c = 0; c < series->n_channels; c++) {
    struct nx_channel *channel = &recording->channels[series->first_channel + c];
    channel->type = found->type;
    snprintf(channel->unit, sizeof channel->unit, "%.15s",
             found->type == NX_CHANNEL_IEEG       ? "V"
             : !strcmp(unit, "meters")            ? "m"
             : !strcmp(unit, "meters per second") ? "m/s"
             : !strcmp(unit, "n.a.")              ? ""
                                                  : unit);
    if (found->type == NX_CHANNEL_BEHAVIOUR)
      snprintf(channel->name, sizeof channel->name, "%.40s %zu", strrchr(found->path, '/') + 1,
               c + 1);
  }
  return 0;
}

static int open_units(struct nx_recording *recording, hid_t units, struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  hsize_t n_times[8] = {0}, n_units[8] = {0};
  if (!nx_hdf5_has(units, "spike_times") || !nx_hdf5_has(units, "spike_times_index"))
    return nx_fail(err, NX_E_FORMAT, "its units have no spike times");
  hid_t times = H5Dopen2(units, "spike_times", H5P_DEFAULT);
  hid_t index = H5Dopen2(units, "spike_times_index", H5P_DEFAULT);
  int rank =
      times < 0 || index < 0 ? 0 : nx_hdf5_sides(times, n_times) * nx_hdf5_sides(index, n_units);
  if (times >= 0)
    H5Dclose(times);
  if (index >= 0)
    H5Dclose(index);
  if (rank != 1 || n_units[0] < 1 || n_units[0] > NX_RECORDING_CHANNELS ||
      n_times[0] > NX_SPIKES_CAP)
    return nx_fail(err, NX_E_LIMIT, "%llu units: 1 to %d are read", (unsigned long long)n_units[0],
                   NX_RECORDING_CHANNELS);
  size_t n = (size_t)n_units[0], total = (size_t)n_times[0];
  _cleanup_free_ double *all = calloc(total + 1, sizeof *all), *ends = calloc(n, sizeof *ends);
  if (!all || !ends)
    return nx_fail(err, NX_E_NOMEM, "spikes: out of memory");
  if (nx_hdf5_numbers(units, "spike_times", all, total) != total ||
      nx_hdf5_numbers(units, "spike_times_index", ends, n) != n)
    return nx_fail(err, NX_E_FORMAT, "its spike times cannot be read: copy the file again");
  int r = nx_spike_times_init(&h->spikes, n, err);
  for (size_t u = 0, from = 0; !r && u < n; u++) {
    if (!(ends[u] >= (double)from && ends[u] <= (double)total))
      return nx_fail(err, NX_E_FORMAT, "spike_times_index of unit %zu is out of range", u + 1);
    size_t to = (size_t)ends[u];
    r = nx_spike_times_reserve(&h->spikes, u, to - from, err);
    if (!r && to > from)
      memcpy(h->spikes.times[u], all + from, (to - from) * sizeof *all);
    from = to;
  }
  if (!r)
    r = nx_spike_times_lay_out(&h->spikes, NAN, NAN, err);
  return r < 0 ? r : nx_hdf5_add_units(recording, err);
}

/* On the clock of the part: from its first sample to its last, at the behaviour's own rate. */
static int add_behaviour(struct nx_recording *recording, const struct found *found,
                         struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  double start;
  hid_t group = H5Gopen2(h->file, found->path, H5P_DEFAULT);
  int r = group < 0 ? nx_fail(err, NX_E_FORMAT, "%s cannot be opened", found->path)
                    : add(recording, group, found, &start, err);
  if (group >= 0)
    H5Gclose(group);
  if (r < 0)
    return r;
  struct nx_hdf5_series *series = &h->series[h->n_series - 1];
  double rate = recording->channels[series->first_channel].rate_hz;
  double lead = round((recording->info.origin_s - start) * rate);
  double length = floor(recording->info.duration_s * rate);
  if (!(fabs(lead) < 1e12 && length >= 1 && length < 1e12))
    return nx_fail(err, NX_E_FORMAT, "%s has another clock than the recording", found->path);
  series->lead = (int64_t)lead;
  for (size_t c = 0; c < series->n_channels; c++)
    recording->channels[series->first_channel + c].n_samples = (uint64_t)length;
  return 0;
}

static int open_part(struct nx_recording *recording, const struct search *search,
                     struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  const struct found *part = &search->parts[recording->part];
  hid_t group = H5Gopen2(h->file, part->path, H5P_DEFAULT);
  int r = 0;
  if (group < 0)
    return nx_fail(err, NX_E_FORMAT, "%s cannot be opened", part->path);
  if (part->type == NX_CHANNEL_SPIKES)
    r = open_units(recording, group, err);
  else
    r = add(recording, group, part, &recording->info.origin_s, err);
  H5Gclose(group);
  if (!r && part->type != NX_CHANNEL_SPIKES)
    recording->info.duration_s = (double)h->series[0].n_samples / recording->channels[0].rate_hz;
  for (size_t i = 0; !r && i < search->n_behaviours; i++)
    r = add_behaviour(recording, &search->behaviours[i], err);
  return r < 0 ? r : nx_recording_unique_names(recording, err);
}

int nx_hdf5_open_nwb(struct nx_recording *recording, struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  struct search *search = calloc(1, sizeof *search);
  if (!search)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  char type[NX_HDF5_TEXT] = "";
  recording->info.format = "NWB";
  search_group(h->file, "acquisition", search);
  search_group(h->file, "processing", search);
  if (nx_hdf5_has(h->file, "units")) {
    hid_t units = H5Gopen2(h->file, "units", H5P_DEFAULT);
    nx_hdf5_string_attribute(units, "neurodata_type", type);
    H5Gclose(units);
    note(search, "/units", type, "");
  }
  recording->info.n_parts = (uint32_t)NX_MAX(search->n_parts, (size_t)1);
  int r = 0;
  if (!search->n_parts)
    r = nx_fail(err, NX_E_UNSUPPORTED,
                "an NWB file without ElectricalSeries, RoiResponseSeries or Units");
  else if (recording->part < search->n_parts)
    r = open_part(recording, search, err);
  free(search);
  return r;
}
