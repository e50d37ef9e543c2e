#include "node/recordings/mat_arrays.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/size.h"

struct choice {
  struct nx_sidecar sidecar;
  struct nx_mat_leaves leaves; /* of the samples, part by part; or times */
  bool times;
};

static void view_of(const struct nx_mat *mat, bool rows_are_time, struct nx_mat_view *view) {
  view->channels_are_columns = rows_are_time;
  view->n_channels = (size_t)(rows_are_time ? mat->columns : mat->rows);
  view->n_samples = rows_are_time ? mat->rows : mat->columns;
  nx_mat_numbers(mat, &view->type, &view->data);
}

void nx_mat_view_read(const struct nx_mat_view *view, size_t channel, uint64_t first, size_t n,
                      float *out) {
  bool columns = view->channels_are_columns;
  nx_mat_values(view->type, view->data.data,
                columns ? channel * view->n_samples + first : first * view->n_channels + channel,
                columns ? 1 : view->n_channels, n, out);
}

/* ---- choosing ------------------------------------------------------------------------------ */

static int append(const struct nx_mat_file *file, const char *name, struct nx_mat_leaves *out,
                  struct nx_error *err) {
  const struct nx_mat *mat = nx_mat_find(file, name);
  struct nx_mat_leaves more;
  if (!mat)
    return nx_fail(err, NX_E_FORMAT, "has no variable %s, its sidecar names it", name);
  int r = nx_mat_leaves(mat, &more, err);
  if (r < 0)
    return r;
  if (!out->n) {
    *out = more;
    return 0;
  }
  struct nx_mat *grown = reallocarray(out->leaves, out->n + more.n + 1, sizeof *grown);
  if (grown) {
    out->leaves = grown;
    if (more.n)
      memcpy(grown + out->n, more.leaves, more.n * sizeof *grown);
    out->n += more.n;
    out->from_structs &= more.from_structs;
  }
  nx_mat_leaves_finish(&more);
  return grown ? 0 : nx_fail(err, NX_E_NOMEM, "cells: out of memory");
}

static const struct nx_mat *largest_matrix(const struct nx_mat_file *file) {
  const struct nx_mat *largest = NULL;
  for (size_t i = 0; i < file->n; i++) {
    const struct nx_mat *mat = &file->variables[i];
    unsigned type;
    struct nx_bytes data;
    if (nx_mat_is_number(mat) && !mat->complex && mat->n_dims == 2 &&
        nx_mat_numbers(mat, &type, &data) && mat->rows * mat->columns > 1 &&
        (!largest || mat->rows * mat->columns > largest->rows * largest->columns))
      largest = mat;
  }
  return largest;
}

static int choose(const struct nx_mat_file *file, struct choice *choice, struct nx_error *err) {
  const struct nx_sidecar *sidecar = &choice->sidecar;
  int r = 0;
  for (size_t i = 0; !r && i < sidecar->n_data; i++)
    r = append(file, sidecar->data[i], &choice->leaves, err);
  const struct nx_mat *largest = sidecar->n_data ? NULL : largest_matrix(file);
  if (!r && largest)
    r = nx_mat_leaves(largest, &choice->leaves, err);
  for (size_t i = 0; !r && !choice->leaves.n && !sidecar->n_data && i < file->n; i++)
    if (file->variables[i].class == NX_MAT_CELL)
      r = nx_mat_leaves(&file->variables[i], &choice->leaves, err);
  if (!r && !choice->leaves.n)
    r = nx_fail(err, NX_E_UNSUPPORTED, "holds no matrix of real numbers: export one");
  choice->times = !r && !largest && nx_mat_leaves_are_times(&choice->leaves) &&
                  (!sidecar->has_type || sidecar->type == NX_CHANNEL_SPIKES);
  return r;
}

static double rate_of(const struct nx_mat_file *file, const struct nx_sidecar *sidecar) {
  static const char *const rates[] = {"fs", "Fs", "srate", "sfreq", "rate"};
  double rate = sidecar->rate_hz > 0 ? sidecar->rate_hz : NAN;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rates) && !(rate > 0); i++)
    if (nx_mat_find(file, rates[i]))
      rate = nx_mat_scalar(nx_mat_find(file, rates[i]));
  return rate > 0 && isfinite(rate) ? rate : 1;
}

/* ---- behaviour ----------------------------------------------------------------------------- */

static int open_other(struct nx_recording *recording, const char *name, struct nx_mat_file *file,
                      struct nx_error *err) {
  struct nx_recording other = {.fd = -1};
  struct stat status;
  _cleanup_fd_ int fd = -1;
  uint8_t head[128] = {0};
  int r = nx_recording_sibling(recording, name, &fd, err);
  if (r < 0)
    return r;
  if (fstat(fd, &status))
    return nx_fail(err, NX_E_IO, "%s cannot be looked at", name);
  other.fd = fd;
  other.file_size = (uint64_t)status.st_size;
  r = nx_recording_pread(&other, 0, head, sizeof head, err);
  if (!r && !nx_mat_probe(head, sizeof head))
    r = nx_fail(err, NX_E_UNSUPPORTED, "is no MAT file of version 5");
  if (!r)
    r = nx_mat_open(&other, file, err);
  return r < 0 ? nx_error_prefix(err, r, "behaviour in %s", name) : 0;
}

/* This part's matrix of every behaviour variable, all as long as the samples. */
static int add_behaviour(struct nx_recording *recording, const struct nx_mat_file *file,
                         const struct nx_sidecar *sidecar, size_t n_parts,
                         struct nx_mat_arrays *arrays, struct nx_error *err) {
  size_t per = sidecar->n_data ? NX_MAX(sidecar->n_behaviour / sidecar->n_data, (size_t)1) : 1;
  _cleanup_(nx_mat_leaves_finish) struct nx_mat_leaves all = {0};
  int r = 0;
  if (sidecar->behaviour_file[0])
    r = open_other(recording, sidecar->behaviour_file, &arrays->other, err);
  for (size_t i = 0; !r && i < sidecar->n_behaviour; i++)
    r = append(sidecar->behaviour_file[0] ? &arrays->other : file, sidecar->behaviour[i], &all,
               err);
  if (r < 0)
    return r;
  if (all.n != per * n_parts)
    return nx_fail(err, NX_E_FORMAT, "has %zu parts of samples, but %zu of behaviour", n_parts,
                   all.n);
  arrays->views = calloc(per, sizeof *arrays->views);
  if (!arrays->views)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t k = 0; k < per; k++) {
    const struct nx_mat *mat = &all.leaves[recording->part * per + k];
    bool rows = mat->rows >= mat->columns;
    view_of(mat, rows, &arrays->views[arrays->n_views++]);
    if (arrays->views[k].n_channels > 16)
      return nx_fail(err, NX_E_FORMAT, "its behaviour has %zu columns: at most 16 are read",
                     arrays->views[k].n_channels);
    arrays->n_behaviour += arrays->views[k].n_channels;
  }
  return 0;
}

/* ---- spike times ---------------------------------------------------------------------------- */

static int take_times(struct nx_recording *recording, const struct nx_mat_leaves *leaves,
                      struct nx_mat_arrays *arrays, struct nx_error *err) {
  if (leaves->n > NX_RECORDING_CHANNELS)
    return nx_fail(err, NX_E_LIMIT, "%zu units: at most %d are read", leaves->n,
                   NX_RECORDING_CHANNELS);
  int r = nx_spike_times_init(&arrays->spikes, leaves->n, err);
  for (size_t u = 0; !r && u < leaves->n; u++) {
    const struct nx_mat *mat = &leaves->leaves[u];
    unsigned type;
    struct nx_bytes data;
    size_t n = (size_t)(mat->rows * mat->columns);
    nx_mat_numbers(mat, &type, &data);
    r = nx_spike_times_reserve(&arrays->spikes, u, n, err);
    for (size_t i = 0; !r && i < n; i++)
      arrays->spikes.times[u][i] = nx_mat_value(type, data.data, i);
  }
  if (!r)
    r = nx_spike_times_lay_out(&arrays->spikes, leaves->start, leaves->end, err);
  arrays->samples.n_channels = leaves->n;
  arrays->samples.n_samples = arrays->spikes.n_bins;
  recording->info.origin_s = arrays->spikes.start_s;
  return r;
}

/* ---- describing ----------------------------------------------------------------------------- */

static int make_channels(struct nx_recording *recording, const struct nx_sidecar *sidecar,
                         double rate, struct nx_mat_arrays *arrays, struct nx_error *err) {
  size_t n = arrays->samples.n_channels, all = n + arrays->n_behaviour;
  bool times = arrays->spikes.times != NULL;
  if (n < 1 || all > NX_RECORDING_CHANNELS || arrays->samples.n_samples < 1)
    return nx_fail(err, NX_E_LIMIT, "%zu channels: 1 to %d are read", all, NX_RECORDING_CHANNELS);
  recording->channels = calloc(all, sizeof *recording->channels);
  if (!recording->channels)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  recording->info.n_channels = all;
  recording->info.duration_s = (double)arrays->samples.n_samples / rate;
  for (size_t i = 0; i < all; i++) {
    struct nx_channel *channel = &recording->channels[i];
    size_t b = i - n;
    if (i >= n && b < sidecar->n_names)
      nx_text_clean(sidecar->names[b], strlen(sidecar->names[b]), channel->name,
                    sizeof channel->name);
    else
      snprintf(channel->name, sizeof channel->name,
               i < n ? times ? "unit %zu" : "%zu" : "behaviour %zu", i < n ? i + 1 : b + 1);
    snprintf(channel->unit, sizeof channel->unit, "%s",
             i >= n  ? sidecar->behaviour_unit
             : times ? "count"
                     : sidecar->unit);
    channel->type = i >= n              ? NX_CHANNEL_BEHAVIOUR
                    : times             ? NX_CHANNEL_SPIKES
                    : sidecar->has_type ? sidecar->type
                                        : NX_CHANNEL_MISC;
    channel->rate_hz = rate;
    channel->n_samples = arrays->samples.n_samples;
  }
  return nx_recording_unique_names(recording, err);
}

static int open_part(struct nx_recording *recording, const struct nx_mat_file *file,
                     struct choice *choice, struct nx_mat_arrays *arrays, struct nx_error *err) {
  const struct nx_sidecar *sidecar = &choice->sidecar;
  size_t n_parts = choice->leaves.n;
  recording->info.n_parts = (uint32_t)n_parts;
  if (recording->part >= n_parts)
    return 0; /* recording.c says so */
  int r = 0;
  if (sidecar->n_behaviour)
    r = add_behaviour(recording, file, sidecar, n_parts, arrays, err);
  if (r < 0)
    return r;
  const struct nx_mat *mat = &choice->leaves.leaves[recording->part];
  bool rows = mat->rows > mat->columns;
  if (arrays->n_views && arrays->views[0].n_samples == mat->rows)
    rows = true;
  else if (arrays->n_views && arrays->views[0].n_samples == mat->columns)
    rows = false;
  view_of(mat, rows, &arrays->samples);
  for (size_t i = 0; i < arrays->n_views; i++)
    if (arrays->views[i].n_samples != arrays->samples.n_samples)
      return nx_fail(err, NX_E_FORMAT,
                     "part %u has %llu samples, its behaviour %llu: they must be of one length",
                     recording->part, (unsigned long long)arrays->samples.n_samples,
                     (unsigned long long)arrays->views[i].n_samples);
  return make_channels(recording, sidecar, rate_of(file, sidecar), arrays, err);
}

int nx_mat_arrays_open(struct nx_recording *recording, const struct nx_mat_file *file,
                       struct nx_mat_arrays *arrays, struct nx_error *err) {
  struct choice *choice = calloc(1, sizeof *choice);
  if (!choice)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  int r = nx_sidecar_read(recording, &choice->sidecar, err);
  if (!r)
    r = choose(file, choice, err);
  if (!r && choice->times) {
    r = take_times(recording, &choice->leaves, arrays, err);
    if (!r)
      r = make_channels(recording, &choice->sidecar, NX_SPIKE_BIN_HZ, arrays, err);
  } else if (!r) {
    r = open_part(recording, file, choice, arrays, err);
  }
  nx_mat_leaves_finish(&choice->leaves);
  free(choice);
  return r;
}

void nx_mat_arrays_read(const struct nx_mat_arrays *arrays, const uint32_t *channels,
                        size_t n_channels, uint64_t first, size_t n, float *out, size_t stride) {
  for (size_t c = 0; c < n_channels; c++, out += stride) {
    size_t at = channels[c], view = 0;
    if (at < arrays->samples.n_channels) {
      if (arrays->spikes.times)
        nx_spike_times_read(&arrays->spikes, at, first, n, out);
      else
        nx_mat_view_read(&arrays->samples, at, first, n, out);
      continue;
    }
    at -= arrays->samples.n_channels;
    for (; at >= arrays->views[view].n_channels; view++)
      at -= arrays->views[view].n_channels;
    nx_mat_view_read(&arrays->views[view], at, first, n, out);
  }
}

void nx_mat_arrays_finish(struct nx_mat_arrays *arrays) {
  nx_spike_times_finish(&arrays->spikes);
  free(arrays->views);
  nx_mat_finish(&arrays->other);
  memset(arrays, 0, sizeof *arrays);
}
