#include "node/dataset/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/size.h"
#include "node/dataset/clean.h"
#include "node/dataset/montage.h"
#include "node/dataset/preprocess.h"
#include "node/dataset/source.h"
#include "node/dataset/tsv.h"
#include "node/recordings/recording.h"
#include "node/recordings/sandbox.h"

/* What channels.tsv says a channel is, and not bad; without a table, or a line in it, what the file says. */
static bool is_eeg(const struct nx_channel *channel, const struct nx_tsv *table) {
  size_t name = nx_tsv_column(table, "name"), type = nx_tsv_column(table, "type");
  size_t status = nx_tsv_column(table, "status");
  for (size_t row = 0; row < table->n_rows; row++) {
    const char *named = nx_tsv_cell(table, row, name), *is = nx_tsv_cell(table, row, type);
    const char *state = nx_tsv_cell(table, row, status);
    if (named && state && !strcmp(named, channel->name) && !strcasecmp(state, "bad"))
      return false;
    if (named && is && !strcmp(named, channel->name))
      return !strcmp(is, "EEG");
  }
  return channel->type == NX_CHANNEL_EEG;
}

/* Electrodes of the montage, each once, all at the rate of the first. */
static int choose_channels(const struct nx_recording_info *info, const struct nx_tsv *table,
                           struct nx_loaded *loaded, uint32_t *picks, struct nx_error *err) {
  for (size_t i = 0; i < info->n_channels && loaded->n_channels < NX_MONTAGE_CHANNELS; i++) {
    const struct nx_channel *channel = &info->channels[i];
    char name[16];
    bool taken = false;
    if (!is_eeg(channel, table) || !nx_montage_clean(channel->name, name))
      continue;
    for (size_t k = 0; k < loaded->n_channels; k++)
      taken |= nx_montage_same(loaded->names[k], name);
    if (taken)
      continue;
    if (nx_unit_microvolts(channel->unit) == 0)
      return nx_fail(err, NX_E_FORMAT, "channel %s is in \"%s\": write it in uV, mV or V", name,
                     channel->unit);
    if (loaded->n_channels && channel->rate_hz != info->channels[picks[0]].rate_hz)
      return nx_fail(err, NX_E_UNSUPPORTED, "channels %s and %s have different rates",
                     loaded->names[0], name);
    picks[loaded->n_channels] = (uint32_t)i;
    strcpy(loaded->names[loaded->n_channels++], name);
  }
  if (!loaded->n_channels)
    return nx_fail(err, NX_E_FORMAT,
                   "no channel has a name of the 10-20 or 10-10 system: rename the electrodes");
  return 0;
}

/* Where a row's electrode is, for those that bad ones are made of. */
static bool place_of(const void *context, size_t row, float out[3]) {
  const struct nx_source *source = context;
  const struct nx_channel *channel =
      &nx_recording_info(source->recording)->channels[source->picks[row]];
  char name[16];
  return nx_montage_clean(channel->name, name) && nx_montage_position(name, out);
}

/* What is left of the chosen channels. */
static void take_names(const struct nx_source *source, struct nx_loaded *loaded) {
  const struct nx_channel *channels = nx_recording_info(source->recording)->channels;
  for (size_t c = 0; c < source->n; c++)
    nx_montage_clean(channels[source->picks[c]].name, loaded->names[c]);
  loaded->n_channels = source->n;
}

/* By each channel's own scale, whatever the plan divides by. */
static int find_artefacts(const struct nx_plan *plan, const double *x, const double *scales,
                          struct nx_loaded *loaded, struct nx_error *err) {
  size_t window = (size_t)lround(plan->window.seconds * plan->preprocessing.rate_hz);
  size_t n = loaded->n_samples / window;
  if (!plan->cleaning || plan->cleaning->artefact_z <= 0)
    return 0;
  loaded->bad_window = calloc(n + 1, sizeof *loaded->bad_window);
  if (!loaded->bad_window)
    return nx_fail(err, NX_E_NOMEM, "artefacts: out of memory");
  nx_clean_windows(plan->cleaning, x, scales, loaded->n_channels, loaded->n_samples, window,
                   loaded->bad_window);
  loaded->n_windows = n;
  for (size_t k = 0; k < n; k++)
    loaded->n_bad_windows += loaded->bad_window[k];
  if (loaded->n_bad_windows < n)
    return 0;
  return nx_fail(
      err, NX_E_FORMAT,
      "every window holds artefacts by the plan's cleaning.artefact_z: take the file out");
}

/* Centres by the median, scales by the recording or by channel, clamps. */
static int normalise(const struct nx_plan *plan, double *x, struct nx_loaded *loaded,
                     struct nx_error *err) {
  const struct nx_plan_preprocessing *p = &plan->preprocessing;
  size_t n = loaded->n_samples, n_channels = loaded->n_channels;
  double scales[NX_MONTAGE_CHANNELS], sorted[NX_MONTAGE_CHANNELS];
  _cleanup_free_ double *scratch = reallocarray(NULL, n, sizeof *scratch);
  loaded->x = reallocarray(NULL, n_channels * n, sizeof *loaded->x);
  loaded->scale = reallocarray(NULL, n_channels, sizeof *loaded->scale);
  if (!scratch || !loaded->x || !loaded->scale)
    return nx_fail(err, NX_E_NOMEM, "scale: out of memory");
  for (size_t c = 0; c < n_channels; c++) {
    double median;
    nx_robust_scale(x + c * n, n, scratch, &median, &scales[c]);
    if (!(scales[c] > 1e-6))
      return nx_fail(err, NX_E_FORMAT, "channel %s is flat: mend the recording or take it out",
                     loaded->names[c]);
    for (size_t i = 0; i < n; i++)
      x[c * n + i] -= median;
    loaded->scale[c] = (float)scales[c];
  }
  double common = nx_median(scales, n_channels, sorted);
  int r = find_artefacts(plan, x, scales, loaded, err);
  if (r < 0)
    return r;
  for (size_t c = 0; c < n_channels; c++) {
    double scale = p->scale == NX_SCALE_CHANNEL ? scales[c] : common;
    for (size_t i = 0; i < n; i++) {
      double z = x[c * n + i] / scale;
      loaded->x[c * n + i] = (float)fmax(-p->clamp, fmin(p->clamp, z));
    }
  }
  return 0;
}

static int check_whole(const struct nx_recording_info *info, struct nx_error *err) {
  if (info->truncated)
    return nx_fail(err, NX_E_FORMAT,
                   "cut off: the header promises more than the %g s that are there; copy the file "
                   "again",
                   info->duration_s);
  if (info->discontinuous)
    return nx_fail(err, NX_E_UNSUPPORTED, "has gaps: save it as a continuous recording");
  return 0;
}

static int process(struct nx_source *source, const struct nx_tsv *table, const struct nx_plan *plan,
                   struct nx_loaded *loaded, struct nx_error *err) {
  const struct nx_recording_info *info = nx_recording_info(source->recording);
  const struct nx_pipeline pipeline = nx_plan_pipeline_of(plan, NX_MODALITIES);
  int r = check_whole(info, err);
  if (!r)
    r = choose_channels(info, table, loaded, source->picks, err);
  if (r < 0)
    return r;
  source->n = loaded->n_channels;
  source->rate_hz = info->channels[source->picks[0]].rate_hz;
  source->n_samples = (size_t)info->channels[source->picks[0]].n_samples;
  for (size_t c = 0; c < source->n; c++)
    source->unit[c] = nx_unit_microvolts(info->channels[source->picks[c]].unit);
  double lasts = (double)source->n_samples / source->rate_hz;
  if (lasts < plan->window.seconds)
    return nx_fail(err, NX_E_FORMAT, "lasts %g s, one window %g s: take the file out", lasts,
                   plan->window.seconds);
  _cleanup_free_ double *y = NULL;
  r = nx_source_clean(source, plan->cleaning, place_of, source, NULL, err);
  if (!r)
    r = nx_source_stream(source, &pipeline, plan->preprocessing.rate_hz, &y, &loaded->n_samples,
                         err);
  if (r < 0)
    return r;
  take_names(source, loaded);
  return normalise(plan, y, loaded, err);
}

int nx_load_check_identity(const struct nx_recording_info *info, struct nx_error *err) {
  if (!info->identity[0])
    return 0;
  return nx_fail(
      err, NX_E_DENIED,
      "its header holds what looks like a %s: clean it (neurox-node deidentify), or, if it "
      "is none, set data.allow_identifying_headers in node.yaml",
      info->identity);
}

int nx_load_recording(const char *path, const struct nx_load_options *options,
                      const struct nx_plan *plan, struct nx_loaded *loaded_out,
                      struct nx_error *err) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  _cleanup_(nx_source_finish) struct nx_source source = {0};
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  memset(loaded_out, 0, sizeof *loaded_out);
  int r = options->channels ? nx_tsv_read(options->channels, &table, err) : 0;
  if (!r)
    r = options->reader ? nx_recording_open_sandboxed(options->reader, path, &recording, err)
                        : nx_recording_open(path, &recording, err);
  if (r < 0)
    return r;
  loaded_out->synthetic = nx_recording_info(recording)->synthetic;
  r = options->allow_identity ? 0 : nx_load_check_identity(nx_recording_info(recording), err);
  if (!r)
    r = nx_source_init(&source, recording, NX_MONTAGE_CHANNELS, err);
  if (!r)
    r = process(&source, &table, plan, loaded_out, err);
  if (!r)
    r = nx_beside_take(recording, path, &loaded_out->beside, err);
  if (r < 0) {
    nx_loaded_finish(loaded_out);
    return nx_error_prefix(err, r, "%s", path);
  }
  return 0;
}

/* ---- headers alone --------------------------------------------------------------------------- */

int nx_look_rate(const struct nx_plan *plan, const struct nx_pipeline *p, struct nx_look *look,
                 struct nx_error *err) {
  double highest = p ? fmax(p->low_pass_hz, fmax(p->high_pass_hz, p->notch_hz)) : 0;
  double least = plan->requires ? plan->requires->minimum_rate_hz : 0;
  look->unmet = NX_REQUIRES_RATE;
  if (highest > 0 && look->rate_hz <= 2 * highest)
    return nx_fail(err, NX_E_DENIED, "is sampled at %g Hz, too slowly for a filter at %g Hz",
                   look->rate_hz, highest);
  if (look->rate_hz < least)
    return nx_fail(err, NX_E_DENIED, "is sampled at %g Hz, the plan asks for %g Hz", look->rate_hz,
                   least);
  return 0;
}

static int look_at(const struct nx_recording_info *info, const struct nx_tsv *table,
                   const struct nx_plan *plan, struct nx_look *look, struct nx_error *err) {
  struct nx_loaded chosen = {0};
  uint32_t picks[NX_MONTAGE_CHANNELS];
  look->unmet = NX_REQUIRES_READABLE;
  if (info->truncated || info->discontinuous)
    return nx_fail(err, NX_E_FORMAT, "is cut off or has gaps");
  look->unmet = NX_REQUIRES_CHANNELS;
  int r = choose_channels(info, table, &chosen, picks, err);
  if (r < 0)
    return r;
  look->names = calloc(chosen.n_channels, sizeof *look->names);
  if (!look->names)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  look->n_channels = chosen.n_channels;
  for (size_t c = 0; c < chosen.n_channels; c++)
    snprintf(look->names[c], sizeof *look->names, "%s", chosen.names[c]);
  const struct nx_channel *first = &info->channels[picks[0]];
  look->rate_hz = first->rate_hz;
  look->unmet = NX_REQUIRES_READABLE;
  if ((double)first->n_samples / first->rate_hz < plan->window.seconds)
    return nx_fail(err, NX_E_FORMAT, "is shorter than one window of %g s", plan->window.seconds);
  const struct nx_pipeline pipeline = nx_plan_pipeline_of(plan, NX_MODALITIES);
  return nx_look_rate(plan, &pipeline, look, err);
}

int nx_load_look(const char *path, const struct nx_load_options *options,
                 const struct nx_plan *plan, struct nx_look *look_out, struct nx_error *err) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  *look_out = (struct nx_look){.unmet = NX_REQUIRES_READABLE};
  int r = options->channels ? nx_tsv_read(options->channels, &table, err) : 0;
  if (!r)
    r = options->reader ? nx_recording_open_sandboxed(options->reader, path, &recording, err)
                        : nx_recording_open(path, &recording, err);
  if (!r && !options->allow_identity)
    r = nx_load_check_identity(nx_recording_info(recording), err);
  if (!r)
    r = look_at(nx_recording_info(recording), &table, plan, look_out, err);
  if (r < 0)
    nx_look_finish(look_out);
  return r < 0 ? nx_error_prefix(err, r, "%s", path) : 0;
}

void nx_look_finish(struct nx_look *look) {
  free(look->names);
  look->names = NULL;
  look->n_channels = 0;
}

void nx_loaded_finish(struct nx_loaded *loaded) {
  free(loaded->x);
  free(loaded->scale);
  free(loaded->bad_window);
  nx_beside_finish(&loaded->beside);
  memset(loaded, 0, sizeof *loaded);
}
