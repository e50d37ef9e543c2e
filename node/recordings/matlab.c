/* MATLAB files: EEGLAB's .set (fields at the top or in a struct EEG, samples inside or in a
 * .fdt beside it), else any level-5 file (mat_arrays.h): the longer side of a matrix is time, its
 * rate the sidecar's or a scalar named fs, Fs, srate, sfreq or rate, else one sample a second. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/flat.h"
#include "node/recordings/identity.h"
#include "node/recordings/mat_arrays.h"

#define TILE 256 /* samples of all channels that stay in the cache while they are turned */

struct matlab {
  struct nx_mat_file file;
  struct nx_flat flat; /* samples in a .fdt */
  bool has_flat;
  bool is_eeglab;
  struct nx_mat_view eeglab; /* samples in memory */
  struct nx_mat_arrays arrays;
};

static bool probe_matlab(const char *path, const uint8_t *head, size_t size) {
  (void)path;
  return nx_mat_probe(head, size);
}

/* A field of the data set, wherever it keeps its fields. */
static bool get(const struct nx_mat_file *file, const char *name, struct nx_mat *out) {
  const struct nx_mat *whole = nx_mat_find(file, "EEG"), *field = nx_mat_find(file, name);
  if (whole)
    return nx_mat_field(whole, name, 0, out);
  if (field)
    *out = *field;
  return field != NULL;
}

static double get_scalar(const struct nx_mat_file *file, const char *name) {
  struct nx_mat mat;
  return get(file, name, &mat) ? nx_mat_scalar(&mat) : NAN;
}

static int make_channels(struct nx_recording *recording, double rate, const char *unit,
                         struct nx_error *err) {
  struct matlab *m = recording->state;
  recording->channels = calloc(m->eeglab.n_channels + 1, sizeof *recording->channels);
  if (!recording->channels)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  recording->info.n_channels = m->eeglab.n_channels;
  recording->info.duration_s = (double)m->eeglab.n_samples / rate;
  for (size_t i = 0; i < m->eeglab.n_channels; i++) {
    struct nx_channel *channel = &recording->channels[i];
    snprintf(channel->name, sizeof channel->name, "%zu", i + 1);
    snprintf(channel->unit, sizeof channel->unit, "%s", unit);
    channel->rate_hz = rate;
    channel->n_samples = m->eeglab.n_samples;
  }
  return 0;
}

/* chanlocs: labels, and X (nose), Y (left ear), Z in millimetres where they are of that size. */
static void name_channels(struct nx_recording *recording, const struct nx_mat *places) {
  for (size_t i = 0; i < recording->info.n_channels; i++) {
    struct nx_channel *channel = &recording->channels[i];
    struct nx_mat field;
    char name[NX_CHANNEL_NAME_SIZE] = "";
    if (nx_mat_field(places, "labels", i, &field))
      nx_mat_text(&field, name, sizeof name);
    if (name[0])
      nx_text_clean(name, strlen(name), channel->name, sizeof channel->name);
    double at[3] = {NAN, NAN, NAN};
    for (int k = 0; k < 3; k++)
      if (nx_mat_field(places, (const char *[]){"X", "Y", "Z"}[k], i, &field))
        at[k] = nx_mat_scalar(&field);
    double radius = sqrt(at[0] * at[0] + at[1] * at[1] + at[2] * at[2]);
    if (radius > 40 && radius < 200) {
      channel->position_m[0] = (float)(-at[1] / 1000);
      channel->position_m[1] = (float)(at[0] / 1000);
      channel->position_m[2] = (float)(at[2] / 1000);
      channel->frame = NX_FRAME_HEAD;
    }
  }
}

static int add_events(struct nx_recording *recording, const struct nx_mat *events, double rate,
                      struct nx_error *err) {
  uint64_t n = events->rows * events->columns;
  for (uint64_t i = 0; i < n && i < 20000; i++) { /* fields are found by walking: keep it short */
    struct nx_mat field;
    char text[NX_EVENT_TEXT_SIZE] = "";
    double latency = NAN, duration = 0;
    if (nx_mat_field(events, "latency", i, &field))
      latency = nx_mat_scalar(&field);
    if (nx_mat_field(events, "duration", i, &field))
      duration = nx_mat_scalar(&field);
    if (nx_mat_field(events, "type", i, &field)) {
      if (field.class == NX_MAT_CHAR)
        nx_mat_text(&field, text, sizeof text);
      else
        snprintf(text, sizeof text, "%.10g", nx_mat_scalar(&field));
    }
    if (!isfinite(latency))
      continue;
    int r =
        nx_recording_add_event(recording, (latency - 1) / rate,
                               isfinite(duration) ? duration / rate : 0, text, strlen(text), err);
    if (r < 0)
      return r;
  }
  recording->info.events_dropped |= n > 20000;
  nx_recording_sort_events(recording);
  return 0;
}

static int find_samples(struct nx_recording *recording, const struct nx_mat *data,
                        struct nx_error *err) {
  struct matlab *m = recording->state;
  if (data->class == NX_MAT_CHAR) {
    char name[256];
    int fd = -1;
    nx_mat_text(data, name, sizeof name);
    m->flat = (struct nx_flat){.fd = -1,
                               .n_channels = m->eeglab.n_channels,
                               .n_samples = m->eeglab.n_samples,
                               .type = NX_FLAT_F32};
    int r = nx_recording_sibling(recording, name, &fd, err);
    if (!r)
      r = nx_flat_open(&m->flat, fd, &recording->info.truncated, err);
    m->has_flat = r == 0;
    m->eeglab.n_samples = m->flat.n_samples;
    return r;
  }
  if (!nx_mat_is_number(data) || data->complex || data->rows != m->eeglab.n_channels ||
      data->columns != m->eeglab.n_samples ||
      !nx_mat_numbers(data, &m->eeglab.type, &m->eeglab.data))
    return nx_fail(err, NX_E_FORMAT,
                   "its data are no matrix of nbchan x pnts real numbers: save it again");
  return 0;
}

static int open_eeglab(struct nx_recording *recording, const struct nx_mat *data,
                       struct nx_error *err) {
  struct matlab *m = recording->state;
  struct nx_mat field;
  double n = get_scalar(&m->file, "nbchan"), points = get_scalar(&m->file, "pnts");
  double trials = get_scalar(&m->file, "trials"), rate = get_scalar(&m->file, "srate");
  if (!(n >= 1 && n <= NX_RECORDING_CHANNELS && points >= 1 && points < 0x1p40 && rate > 0 &&
        isfinite(rate)))
    return nx_fail(err, NX_E_FORMAT, "nbchan, pnts or srate are missing or impossible");
  if (trials > 1)
    return nx_fail(err, NX_E_UNSUPPORTED, "holds %g epochs: save the continuous recording", trials);
  recording->info.format = "EEGLAB";
  m->eeglab.n_channels = (size_t)n;
  m->eeglab.n_samples = (uint64_t)points;
  int r = find_samples(recording, data, err);
  if (!r)
    r = make_channels(recording, rate, "uV", err);
  if (r < 0)
    return r;
  if (get(&m->file, "chanlocs", &field))
    name_channels(recording, &field);
  for (size_t i = 0; i < m->eeglab.n_channels; i++)
    recording->channels[i].type = nx_channel_guess_type(recording->channels[i].name, "uV");
  r = nx_recording_unique_names(recording, err);
  if (!r && get(&m->file, "event", &field))
    r = add_events(recording, &field, rate, err);
  return r;
}

static int open_matlab(struct nx_recording *recording, struct nx_error *err) {
  struct matlab *m = calloc(1, sizeof *m);
  struct nx_mat data;
  if (!m)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  m->flat.fd = -1;
  recording->state = m;
  int r = nx_mat_open(recording, &m->file, err);
  if (r < 0)
    return r;
  bool eeglab = get(&m->file, "nbchan", &data) && get(&m->file, "data", &data);
  m->is_eeglab = eeglab;
  return eeglab ? open_eeglab(recording, &data, err)
                : nx_mat_arrays_open(recording, &m->file, &m->arrays, err);
}

static int read_matlab(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                       uint64_t first, size_t n, float *out, struct nx_error *err) {
  struct matlab *m = recording->state;
  if (m->has_flat)
    return nx_flat_read(&m->flat, channels, n_channels, first, n, out, err);
  for (size_t done = 0, now; done < n; done += now) {
    now = NX_MIN((size_t)TILE, n - done);
    for (size_t c = 0; m->is_eeglab && c < n_channels; c++)
      nx_mat_view_read(&m->eeglab, channels[c], first + done, now, out + c * n + done);
    if (!m->is_eeglab)
      nx_mat_arrays_read(&m->arrays, channels, n_channels, first + done, now, out + done, n);
  }
  return 0;
}

static void close_matlab(struct nx_recording *recording) {
  struct matlab *m = recording->state;
  if (!m)
    return;
  nx_mat_arrays_finish(&m->arrays);
  nx_mat_finish(&m->file);
  nx_flat_finish(&m->flat);
  free(m);
}

const struct nx_format nx_format_matlab = {
    .name = "MAT",
    .probe = probe_matlab,
    .open = open_matlab,
    .read = read_matlab,
    .close = close_matlab,
    .identify = nx_identify_matlab,
};
