#include "node/dataset/signal_load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/size.h"
#include "node/dataset/bids_electrodes.h"
#include "node/dataset/chain.h"
#include "node/dataset/clean.h"
#include "node/dataset/fit.h"
#include "node/dataset/load.h"
#include "node/dataset/montage.h"
#include "node/dataset/preprocess.h"
#include "node/dataset/rates.h"
#include "node/dataset/source.h"
#include "node/dataset/tsv.h"
#include "node/recordings/sandbox.h"

#define CHUNK 65536      /* samples a read */
#define HEAD_RADIUS 0.95 /* of the 10-20 system's sphere, 100 mm */
#define PLACE_LIMIT 5    /* 100 mm from the centre: farther is no place in a head */

struct job {
  const struct nx_plan *plan;
  enum nx_modality modality;
  struct nx_recording *recording;
  const struct nx_recording_info *info;
  struct nx_recording_info own; /* info, as a BIDS tree describes the channels */
  struct nx_channel *channels;  /* [info->n_channels], or NULL */
  bool *bad;                    /* [info->n_channels]: channels.tsv says so; or NULL */
  uint32_t *picks;              /* [n] */
  size_t n;
  double rate_hz;
  size_t n_samples;
  struct nx_loaded_signal *out;
};

/* ---- channels ------------------------------------------------------------------------------ */

static bool is_counted(enum nx_modality modality) {
  return modality == NX_MODALITY_SPIKES || modality == NX_MODALITY_CALCIUM;
}

static bool is_of(enum nx_modality modality, enum nx_channel_type type) {
  switch (modality) {
  case NX_MODALITY_EEG:
    return type == NX_CHANNEL_EEG;
  case NX_MODALITY_MEG:
    return type == NX_CHANNEL_MEG_MAG || type == NX_CHANNEL_MEG_GRAD;
  case NX_MODALITY_IEEG:
  case NX_MODALITY_LFP:
    return type == NX_CHANNEL_IEEG;
  case NX_MODALITY_SPIKES:
    return type == NX_CHANNEL_SPIKES;
  case NX_MODALITY_CALCIUM:
    return type == NX_CHANNEL_CALCIUM;
  case NX_MODALITY_FMRI:
    return type == NX_CHANNEL_BOLD;
  case NX_MODALITIES:
    break;
  }
  return false;
}

/* What a format that knows no such type calls its channels: EDF has no word for iEEG. */
static bool may_be(enum nx_modality modality, enum nx_channel_type type) {
  bool electric = modality == NX_MODALITY_IEEG || modality == NX_MODALITY_LFP;
  return type == NX_CHANNEL_MISC || (electric && type == NX_CHANNEL_EEG);
}

/* The types of BIDS, "Channel types" (1.11). */
static enum nx_channel_type bids_type(const char *word) {
  static const struct {
    const char *word;
    enum nx_channel_type type;
  } words[] = {{"EEG", NX_CHANNEL_EEG},          {"ECOG", NX_CHANNEL_IEEG},
               {"SEEG", NX_CHANNEL_IEEG},        {"DBS", NX_CHANNEL_IEEG},
               {"MEGMAG", NX_CHANNEL_MEG_MAG},   {"MEGGRADPLANAR", NX_CHANNEL_MEG_GRAD},
               {"MEGGRADAXIAL", NX_CHANNEL_MEG_GRAD}, {"EOG", NX_CHANNEL_EOG},
               {"HEOG", NX_CHANNEL_EOG},         {"VEOG", NX_CHANNEL_EOG},
               {"ECG", NX_CHANNEL_ECG},          {"EMG", NX_CHANNEL_EMG},
               {"TRIG", NX_CHANNEL_STIM}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(words); i++)
    if (!strcasecmp(word, words[i].word))
      return words[i].type;
  return NX_CHANNEL_STIM; /* named as something that is no brain signal */
}

static void take_row(struct job *job, const struct nx_tsv *table, size_t row) {
  const char *name = nx_tsv_cell(table, row, nx_tsv_column(table, "name"));
  const char *type = nx_tsv_cell(table, row, nx_tsv_column(table, "type"));
  const char *status = nx_tsv_cell(table, row, nx_tsv_column(table, "status"));
  for (size_t i = 0; name && i < job->info->n_channels; i++) {
    if (strcmp(job->channels[i].name, name) != 0)
      continue;
    if (type)
      job->channels[i].type = bids_type(type);
    job->bad[i] = status && !strcasecmp(status, "bad");
  }
}

static void take_place(struct job *job, const struct nx_electrodes *electrodes, size_t e) {
  const struct nx_electrode *electrode = &electrodes->list[e];
  bool head = !strcasecmp(electrodes->system, "CapTrak");
  for (size_t i = 0; i < job->info->n_channels; i++) {
    if (strcmp(job->channels[i].name, electrode->name) != 0)
      continue;
    for (int a = 0; a < 3; a++)
      job->channels[i].position_m[a] = (float)electrode->metres[a];
    job->channels[i].frame = head ? NX_FRAME_HEAD : NX_FRAME_UNKNOWN;
  }
}

/* What a BIDS tree says of the channels goes before what the file does. */
static int describe(struct job *job, const struct nx_load_options *options, struct nx_error *err) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  if (!options->channels && !options->electrodes)
    return 0;
  int r = options->channels ? nx_tsv_read(options->channels, &table, err) : 0;
  if (r < 0)
    return r;
  job->channels = calloc(job->info->n_channels + 1, sizeof *job->channels);
  job->bad = calloc(job->info->n_channels + 1, sizeof *job->bad);
  if (!job->channels || !job->bad)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  if (job->info->n_channels)
    memcpy(job->channels, job->info->channels, job->info->n_channels * sizeof *job->channels);
  for (size_t row = 0; row < table.n_rows; row++)
    take_row(job, &table, row);
  for (size_t e = 0; options->electrodes && e < options->electrodes->n; e++)
    take_place(job, options->electrodes, e);
  job->own = *job->info;
  job->own.channels = job->channels;
  job->info = &job->own;
  return 0;
}

static void finish_job(struct job *job) {
  free(job->picks);
  free(job->channels);
  free(job->bad);
}

static int pick(struct job *job, struct nx_error *err) {
  const struct nx_recording_info *info = job->info;
  bool exact = false;
  for (size_t i = 0; i < info->n_channels; i++)
    exact |= is_of(job->modality, info->channels[i].type);
  job->picks = calloc(info->n_channels + 1, sizeof *job->picks);
  if (!job->picks)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t i = 0; i < info->n_channels; i++) {
    const struct nx_channel *channel = &info->channels[i];
    if (!(exact ? is_of(job->modality, channel->type) : may_be(job->modality, channel->type)))
      continue;
    if (job->bad && job->bad[i]) {
      job->out->n_left_out++;
      continue;
    }
    if (!job->n) {
      job->rate_hz = channel->rate_hz;
      job->n_samples = (size_t)channel->n_samples;
    }
    if (channel->rate_hz == job->rate_hz && channel->n_samples == job->n_samples)
      job->picks[job->n++] = (uint32_t)i;
    else
      job->out->n_left_out++;
  }
  return job->n ? 0
                : nx_fail(err, NX_E_FORMAT,
                          "has no channel of %s: write what it is into a sidecar, or take it out",
                          nx_modality_name(job->modality));
}

/* Samples times this are in the unit of signal.h. */
static double unit_of(const struct job *job, const struct nx_channel *channel) {
  double microvolts = nx_unit_microvolts(channel->unit);
  switch (job->modality) {
  case NX_MODALITY_EEG:
  case NX_MODALITY_IEEG:
  case NX_MODALITY_LFP:
    return microvolts > 0 ? microvolts : channel->unit[0] ? 0 : 1;
  case NX_MODALITY_MEG:
    return channel->type == NX_CHANNEL_MEG_GRAD ? 1e12 : 1e14;
  case NX_MODALITY_SPIKES:
  case NX_MODALITY_CALCIUM:
    return !strcmp(channel->unit, "Hz") || !strcmp(channel->unit, "1/s") ? 1 / channel->rate_hz : 1;
  default:
    return 1;
  }
}

/* ---- reading ------------------------------------------------------------------------------- */

static int read_all(struct job *job, const uint32_t *picks, size_t n_picks, double *x,
                    struct nx_error *err) {
  _cleanup_free_ float *chunk = reallocarray(NULL, n_picks * CHUNK, sizeof *chunk);
  if (!chunk)
    return nx_fail(err, NX_E_NOMEM, "read: out of memory");
  for (size_t first = 0; first < job->n_samples; first += CHUNK) {
    size_t now = NX_MIN((size_t)CHUNK, job->n_samples - first);
    int r = nx_recording_read(job->recording, picks, n_picks, first, now, chunk, err);
    if (r < 0)
      return r;
    for (size_t c = 0; c < n_picks; c++) {
      const struct nx_channel *channel = &job->info->channels[picks[c]];
      double unit = unit_of(job, channel);
      if (unit == 0)
        return nx_fail(err, NX_E_FORMAT, "channel %s is in \"%s\": write it in uV, mV or V",
                       channel->name, channel->unit);
      for (size_t i = 0; i < now; i++)
        x[c * job->n_samples + first + i] = unit * (double)chunk[c * now + i];
    }
  }
  return 0;
}

static bool changes(const double *x, size_t n) {
  bool moves = false;
  for (size_t i = 0; i < n; i++) {
    if (!isfinite(x[i]))
      return false;
    moves |= x[i] != x[0];
  }
  return moves;
}

/* ---- streams ------------------------------------------------------------------------------- */

static int allocate(struct nx_loaded_stream *stream, size_t n_channels, size_t n,
                    struct nx_error *err) {
  size_t total;
  if (!nx_size_mul(n_channels, n, &total) || total > NX_CHAIN_SAMPLES_CAP)
    return nx_fail(err, NX_E_LIMIT, "the recording is too long: cut it into parts");
  stream->n_samples = n;
  stream->x = reallocarray(NULL, total + 1, sizeof *stream->x);
  stream->stats = reallocarray(NULL, n_channels, NX_SIGNAL_STATS * sizeof *stream->stats);
  return stream->x && stream->stats ? 0 : nx_fail(err, NX_E_NOMEM, "out of memory");
}

static double clamped(double z, double limit) {
  return fmax(-limit, fmin(limit, z));
}

static double sd_of(const double *x, size_t n) {
  double mean = 0, squares = 0;
  for (size_t i = 0; i < n; i++)
    mean += x[i] / (double)n;
  for (size_t i = 0; i < n; i++)
    squares += (x[i] - mean) * (x[i] - mean) / (double)n;
  return sqrt(squares);
}

/* One row in unit → x: z, counts, or counts / SD; a row of no counts is centred. scale_out: what 1
 * of x was. False: flat. */
static bool put_row(const struct job *job, struct nx_loaded_stream *stream, size_t c, double *row,
                    double *scratch, bool counts, double *scale_out) {
  const struct nx_plan_tokeniser *t = &job->plan->modalities->tokenisers[stream->tokeniser];
  size_t n = stream->n_samples;
  float *x = stream->x + c * n;
  double median = 0, clamp = job->plan->preprocessing.clamp;
  *scale_out = 1;
  if (counts && t->loss == NX_TOKEN_LOSS_POISSON) {
    for (size_t i = 0; i < n; i++)
      x[i] = (float)fmax(row[i], 0);
    return true;
  }
  if (!counts)
    nx_robust_scale(row, n, scratch, &median, scale_out);
  if (counts || !(*scale_out > 0)) /* most samples are one value */
    *scale_out = sd_of(row, n);
  if (!(*scale_out > 0) || !isfinite(*scale_out))
    return false;
  for (size_t i = 0; i < n; i++) {
    row[i] -= median;
    x[i] = (float)clamped(row[i] / *scale_out, clamp);
  }
  return true;
}

/* Once every channel's scale is known. */
static void put_statistics(struct nx_loaded_stream *stream, const double *scales, size_t n,
                           double *scratch) {
  double median = nx_median(scales, n, scratch);
  for (size_t c = 0; c < n; c++)
    nx_signal_stats(stream->x + c * stream->n_samples, stream->n_samples, scales[c], median,
                    stream->stats + c * NX_SIGNAL_STATS);
}

/* Percent of the mean, for BOLD. */
static void to_percent(double *x, size_t n) {
  double mean = 0;
  for (size_t i = 0; i < n; i++)
    mean += x[i] / (double)n;
  for (size_t i = 0; i < n && mean != 0; i++)
    x[i] = 100 * (x[i] / mean - 1);
}

/* y: centred, before it is clamped. */
static int find_artefacts(const struct job *job, struct nx_loaded_stream *stream, const double *y,
                          const double *scales, struct nx_error *err) {
  const struct nx_plan_modalities *m = job->plan->modalities;
  const struct nx_plan_cleaning *cleaning = job->plan->cleaning;
  size_t window = (size_t)m->patches * m->tokenisers[stream->tokeniser].patch_samples, n_bad = 0;
  if (!cleaning || cleaning->artefact_z <= 0)
    return 0;
  stream->n_windows = stream->n_samples / window;
  stream->bad_window = calloc(stream->n_windows + 1, sizeof *stream->bad_window);
  if (!stream->bad_window)
    return nx_fail(err, NX_E_NOMEM, "artefacts: out of memory");
  nx_clean_windows(cleaning, y, scales, job->n, stream->n_samples, window, stream->bad_window);
  for (size_t k = 0; k < stream->n_windows; k++)
    n_bad += stream->bad_window[k];
  if (!n_bad || n_bad < stream->n_windows)
    return 0;
  return nx_fail(
      err, NX_E_FORMAT,
      "every window holds artefacts by the plan's cleaning.artefact_z: take the file out");
}

static int stream_continuous(struct job *job, const struct nx_source *source,
                             const struct nx_pipeline *pipeline, struct nx_loaded_stream *stream,
                             struct nx_error *err) {
  _cleanup_free_ double *y = NULL, *scratch = NULL, *scales = NULL;
  size_t m;
  int r = nx_source_stream(source, pipeline, stream->rate_hz, &y, &m, err);
  if (!r)
    r = allocate(stream, job->n, m, err);
  if (r < 0)
    return r;
  scratch = reallocarray(NULL, NX_MAX(m, job->n), sizeof *scratch);
  scales = calloc(job->n, sizeof *scales);
  if (!scratch || !scales)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t c = 0; c < job->n; c++) {
    if (job->modality == NX_MODALITY_FMRI && pipeline->high_pass_hz <= 0)
      to_percent(y + c * m, m);
    if (!put_row(job, stream, c, y + c * m, scratch, false, &scales[c]))
      return nx_fail(err, NX_E_FORMAT, "channel %s is flat at %g Hz: take it out",
                     job->info->channels[job->picks[c]].name, stream->rate_hz);
  }
  put_statistics(stream, scales, job->n, scratch);
  return find_artefacts(job, stream, y, scales, err);
}

/* On the unit sphere, to make a bad channel of the others: scalp electrodes by name. */
static bool sphere_place(const void *context, size_t row, float out[3]) {
  const struct nx_source *source = context;
  const struct nx_channel *channel =
      &nx_recording_info(source->recording)->channels[source->picks[row]];
  char name[16];
  return nx_montage_clean(channel->name, name) && nx_montage_position(name, out);
}

/* The channels picked, in their units, without those that are bad or flat. */
static int open_source(struct job *job, struct nx_source *source, struct nx_error *err) {
  int r = nx_source_init(source, job->recording, job->n, err);
  for (size_t c = 0; !r && c < job->n; c++) {
    const struct nx_channel *channel = &job->info->channels[job->picks[c]];
    source->picks[c] = job->picks[c];
    source->unit[c] = unit_of(job, channel);
    if (source->unit[c] == 0)
      r = nx_fail(err, NX_E_FORMAT, "channel %s is in \"%s\": write it in uV, mV or V",
                  channel->name, channel->unit);
  }
  if (r < 0)
    return r;
  source->n = job->n;
  source->n_samples = job->n_samples;
  source->rate_hz = job->rate_hz;
  r = nx_source_clean(source, job->plan->cleaning,
                      job->modality == NX_MODALITY_EEG ? sphere_place : NULL, source,
                      &job->out->n_left_out, err);
  if (!r)
    r = nx_source_drop_flat(source, err);
  if (r < 0)
    return r;
  job->out->n_left_out += (size_t)r;
  job->n = source->n;
  memcpy(job->picks, source->picks, job->n * sizeof *job->picks);
  return job->n ? 0
                : nx_fail(err, NX_E_FORMAT, "every channel is flat or holds what is no number");
}

static int load_continuous(struct job *job, struct nx_error *err) {
  const struct nx_pipeline pipeline = nx_plan_pipeline_of(job->plan, job->modality);
  _cleanup_(nx_source_finish) struct nx_source source = {0};
  int r = open_source(job, &source, err);
  for (size_t k = 0; !r && k < job->out->n_streams; k++)
    r = stream_continuous(job, &source, &pipeline, &job->out->streams[k], err);
  return r;
}

/* Events and counts; traces of calcium come as bin means and are scaled as continuous signals. */
static int load_counted(struct job *job, struct nx_error *err) {
  struct nx_loaded_stream *stream = &job->out->streams[0];
  size_t n = job->n_samples, m = nx_rates_length(n, job->rate_hz, stream->rate_hz), kept = 0;
  const char *unit = job->info->channels[job->picks[0]].unit;
  bool trace = job->modality == NX_MODALITY_CALCIUM &&
               (!unit[0] || !strcasecmp(unit, "dF/F") || !strcasecmp(unit, "a.u."));
  _cleanup_free_ double *x = reallocarray(NULL, n + 1, sizeof *x);
  _cleanup_free_ double *y = reallocarray(NULL, m + 1, sizeof *y);
  _cleanup_free_ double *scratch = reallocarray(NULL, NX_MAX(m, job->n), sizeof *scratch);
  _cleanup_free_ double *scales = calloc(job->n, sizeof *scales);
  int r = x && y && scratch && scales ? allocate(stream, job->n, m, err)
                                      : nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t c = 0; !r && c < job->n; c++) {
    r = read_all(job, &job->picks[c], 1, x, err);
    if (r < 0)
      return r;
    if (!changes(x, n))
      continue;
    nx_rates_rebin(x, n, job->rate_hz, stream->rate_hz, y, m);
    for (size_t i = 0; trace && i < m; i++)
      y[i] *= stream->rate_hz / job->rate_hz; /* sums to means */
    if (!changes(y, m) || !put_row(job, stream, kept, y, scratch, !trace, &scales[kept]))
      continue;
    job->picks[kept++] = job->picks[c];
  }
  job->out->n_left_out += job->n - kept;
  job->n = kept;
  if (!r && kept)
    put_statistics(stream, scales, kept, scratch);
  return r || kept ? r : nx_fail(err, NX_E_FORMAT, "no unit ever fires");
}

/* ---- places, behaviour --------------------------------------------------------------------- */

static int put_places(struct job *job, struct nx_error *err) {
  struct nx_loaded_signal *out = job->out;
  double centre[3] = {0}, n_placed = 0;
  out->positions = calloc(3 * job->n, sizeof *out->positions);
  out->placed = calloc(job->n, sizeof *out->placed);
  if (!out->positions || !out->placed)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  bool head = true;
  for (size_t c = 0; c < job->n; c++) {
    const struct nx_channel *channel = &job->info->channels[job->picks[c]];
    char name[16];
    float *at = out->positions + 3 * c;
    if (job->modality == NX_MODALITY_EEG && nx_montage_clean(channel->name, name) &&
        nx_montage_position(name, at)) {
      for (int i = 0; i < 3; i++)
        at[i] *= (float)HEAD_RADIUS;
    } else if (channel->frame != NX_FRAME_NONE) {
      head &= channel->frame == NX_FRAME_HEAD;
      for (int i = 0; i < 3; i++)
        at[i] = channel->position_m[i] * 10;
    } else {
      continue;
    }
    out->placed[c] = 1;
    n_placed++;
    for (int i = 0; i < 3; i++)
      centre[i] += (double)at[i];
  }
  for (size_t c = 0; c < job->n; c++) {
    float *at = out->positions + 3 * c;
    for (int i = 0; !head && out->placed[c] && i < 3; i++)
      at[i] -= (float)(centre[i] / n_placed);
    if (out->placed[c] && hypotf(hypotf(at[0], at[1]), at[2]) > PLACE_LIMIT) {
      memset(at, 0, 3 * sizeof *at);
      out->placed[c] = 0;
    }
  }
  return 0;
}

static int read_behaviour(struct job *job, struct nx_error *err) {
  uint32_t picks[NX_SIGNAL_BEHAVIOUR];
  struct nx_loaded_signal *out = job->out;
  for (size_t i = 0; i < job->info->n_channels && out->n_behaviour < NX_SIGNAL_BEHAVIOUR; i++) {
    const struct nx_channel *channel = &job->info->channels[i];
    if (channel->type != NX_CHANNEL_BEHAVIOUR ||
        (out->n_behaviour && channel->rate_hz != out->behaviour_hz))
      continue;
    out->behaviour_hz = channel->rate_hz;
    memcpy(out->behaviour_unit, channel->unit, sizeof out->behaviour_unit);
    out->n_behaviour_samples = (size_t)channel->n_samples;
    memcpy(out->behaviour_names[out->n_behaviour], channel->name, sizeof out->behaviour_names[0]);
    picks[out->n_behaviour++] = (uint32_t)i;
  }
  if (!out->n_behaviour)
    return 0;
  out->behaviour = calloc(out->n_behaviour * out->n_behaviour_samples + 1, sizeof(float));
  return out->behaviour ? nx_recording_read(job->recording, picks, out->n_behaviour, 0,
                                            out->n_behaviour_samples, out->behaviour, err)
                        : nx_fail(err, NX_E_NOMEM, "out of memory");
}

/* ---- whole --------------------------------------------------------------------------------- */

static int make_streams(struct job *job, struct nx_error *err) {
  const struct nx_plan_tokeniser *found[2];
  struct nx_loaded_signal *out = job->out;
  out->n_streams = nx_plan_tokenisers_of(job->plan, job->modality, found);
  if (!out->n_streams)
    return nx_fail(err, NX_E_UNSUPPORTED, "the plan has no tokeniser for %s",
                   nx_modality_name(job->modality));
  for (size_t k = 0; k < out->n_streams; k++) {
    out->streams[k].tokeniser = (uint32_t)(found[k] - job->plan->modalities->tokenisers);
    out->streams[k].rate_hz = found[k]->rate_hz;
  }
  return 0;
}

static int check_lengths(const struct job *job, struct nx_error *err) {
  for (size_t k = 0; k < job->out->n_streams; k++) {
    const struct nx_loaded_stream *stream = &job->out->streams[k];
    const struct nx_plan_tokeniser *t = &job->plan->modalities->tokenisers[stream->tokeniser];
    size_t window = (size_t)job->plan->modalities->patches * t->patch_samples;
    if (stream->n_samples < window)
      return nx_fail(err, NX_E_FORMAT, "lasts %g s, one window of %s %g s: take the file out",
                     (double)job->n_samples / job->rate_hz, nx_tokeniser_name(t->kind),
                     (double)window / t->rate_hz);
  }
  return 0;
}

/* What the plan requires of rates and channels. */
static int check_required(const struct job *job, struct nx_error *err) {
  _cleanup_free_ char(*names)[NX_CHANNEL_NAME_SIZE] = calloc(job->n + 1, sizeof *names);
  if (!names)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t c = 0; c < job->n; c++)
    memcpy(names[c], job->info->channels[job->picks[c]].name, sizeof *names);
  int r = nx_look_rate(job->plan, NULL, &(struct nx_look){.rate_hz = job->rate_hz}, err);
  return r < 0 ? r : nx_fit_channels(job->plan, names[0], sizeof *names, job->n, err);
}

static int process(struct job *job, struct nx_error *err) {
  if (job->info->truncated)
    return nx_fail(err, NX_E_FORMAT, "cut off: copy the file again");
  if (job->info->discontinuous)
    return nx_fail(err, NX_E_UNSUPPORTED, "has gaps: save it as a continuous recording");
  int r = make_streams(job, err);
  if (!r)
    r = pick(job, err);
  if (!r)
    r = is_counted(job->modality) ? load_counted(job, err) : load_continuous(job, err);
  if (!r)
    r = check_required(job, err);
  if (!r)
    r = check_lengths(job, err);
  if (!r)
    r = put_places(job, err);
  if (!r)
    r = read_behaviour(job, err);
  job->out->n_channels = job->n;
  return r;
}

int nx_signal_load(const char *path, const struct nx_load_options *options,
                   const struct nx_plan *plan, enum nx_modality modality,
                   struct nx_loaded_signal *signal_out, struct nx_error *err) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  memset(signal_out, 0, sizeof *signal_out);
  int r = options->reader ? nx_recording_open_sandboxed(options->reader, path, &recording, err)
                          : nx_recording_open(path, &recording, err);
  if (r < 0)
    return r;
  struct job job = {.plan = plan,
                    .modality = modality,
                    .recording = recording,
                    .info = nx_recording_info(recording),
                    .out = signal_out};
  signal_out->synthetic = job.info->synthetic;
  signal_out->origin_s = job.info->origin_s;
  if (!options->allow_identity)
    r = nx_load_check_identity(job.info, err);
  if (!r)
    r = describe(&job, options, err);
  if (!r)
    r = process(&job, err);
  if (!r)
    r = nx_beside_take(recording, path, &signal_out->beside, err);
  finish_job(&job);
  if (r < 0) {
    nx_loaded_signal_finish(signal_out);
    return nx_error_prefix(err, r, "%s", path);
  }
  return 0;
}

/* ---- headers alone --------------------------------------------------------------------------- */

static int look_at(struct job *job, struct nx_look *look, struct nx_error *err) {
  const struct nx_pipeline pipeline = nx_plan_pipeline_of(job->plan, job->modality);
  if (job->info->truncated || job->info->discontinuous)
    return nx_fail(err, NX_E_FORMAT, "is cut off or has gaps");
  for (size_t i = 0; i < job->info->n_channels; i++)
    look->has_behaviour |= job->info->channels[i].type == NX_CHANNEL_BEHAVIOUR;
  int r = make_streams(job, err);
  look->unmet = NX_REQUIRES_CHANNELS;
  if (!r)
    r = pick(job, err);
  if (r < 0)
    return r;
  look->names = calloc(job->n, sizeof *look->names);
  if (!look->names)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  look->n_channels = job->n;
  for (size_t c = 0; c < job->n; c++)
    memcpy(look->names[c], job->info->channels[job->picks[c]].name, sizeof *look->names);
  look->rate_hz = job->rate_hz;
  look->unmet = NX_REQUIRES_READABLE;
  for (size_t k = 0; k < job->out->n_streams; k++)
    job->out->streams[k].n_samples =
        (size_t)ceil((double)job->n_samples * job->out->streams[k].rate_hz / job->rate_hz);
  r = check_lengths(job, err);
  return r < 0 ? r : nx_look_rate(job->plan, is_counted(job->modality) ? NULL : &pipeline, look, err);
}

int nx_signal_look(const char *path, const struct nx_load_options *options,
                   const struct nx_plan *plan, enum nx_modality modality, struct nx_look *look_out,
                   struct nx_error *err) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  struct nx_loaded_signal unused = {0};
  *look_out = (struct nx_look){.unmet = NX_REQUIRES_READABLE};
  int r = options->reader ? nx_recording_open_sandboxed(options->reader, path, &recording, err)
                          : nx_recording_open(path, &recording, err);
  struct job job = {.plan = plan,
                    .modality = modality,
                    .recording = recording,
                    .info = recording ? nx_recording_info(recording) : NULL,
                    .out = &unused};
  if (!r && !options->allow_identity)
    r = nx_load_check_identity(job.info, err);
  if (!r)
    r = describe(&job, options, err);
  if (!r)
    r = look_at(&job, look_out, err);
  finish_job(&job);
  nx_loaded_signal_finish(&unused);
  if (r < 0)
    nx_look_finish(look_out);
  return r < 0 ? nx_error_prefix(err, r, "%s", path) : 0;
}

int nx_signal_load_behaviour(const char *path, const char *reader,
                             struct nx_loaded_signal *signal_out, struct nx_error *err) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  memset(signal_out, 0, sizeof *signal_out);
  int r = reader ? nx_recording_open_sandboxed(reader, path, &recording, err)
                 : nx_recording_open(path, &recording, err);
  if (r < 0)
    return r;
  struct job job = {
      .recording = recording, .info = nx_recording_info(recording), .out = signal_out};
  signal_out->origin_s = job.info->origin_s;
  r = read_behaviour(&job, err);
  if (!r && !signal_out->n_behaviour)
    r = nx_fail(err, NX_E_FORMAT, "%s has no channel of behaviour", path);
  if (r < 0)
    nx_loaded_signal_finish(signal_out);
  return r;
}

void nx_loaded_signal_finish(struct nx_loaded_signal *signal) {
  for (size_t k = 0; k < NX_ARRAY_LENGTH(signal->streams); k++) {
    free(signal->streams[k].x);
    free(signal->streams[k].stats);
    free(signal->streams[k].bad_window);
  }
  free(signal->positions);
  free(signal->placed);
  free(signal->behaviour);
  nx_beside_finish(&signal->beside);
  memset(signal, 0, sizeof *signal);
}
