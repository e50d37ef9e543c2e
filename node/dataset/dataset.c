#include "node/dataset/dataset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/plan_labels.h"
#include "common/size.h"
#include "node/dataset/fit.h"
#include "node/dataset/clean.h"
#include "node/dataset/derived.h"
#include "node/dataset/load.h"
#include "node/dataset/manifest_hash.h"
#include "node/dataset/montage.h"
#include "node/dataset/preparing.h"
#include "node/dataset/signal_set.h"
#include "node/dataset/subjects.h"

struct nx_dataset {
  struct nx_dataset_summary summary;
  struct nx_dataset_recording *recordings;
  float **owned_x, **owned_scale; /* what the recordings point at */
  char (*names)[16];
  float *positions;
  struct nx_signal_set *signals; /* of a plan of many modalities, instead of all the above */
};

/* What the workers fill, one slot a file. A file of which several events are used is loaded
 * once: source[i] is the slot of entry i. */
struct job {
  const struct nx_dataset_options *options;
  const struct nx_plan *plan;
  const struct nx_subject_files *files;
  size_t n_sources;
  size_t *source, *first; /* [files->n]: slot of an entry; [n_sources]: first entry of a slot */
  struct nx_loaded *loaded;
  struct nx_hash *hashes;
  struct nx_error *errors; /* code 0: fine */
  struct nx_preparing preparing;
};

static void load_one(void *context, size_t index, size_t worker) {
  struct job *job = context;
  const struct nx_subject_file *file = &job->files->files[job->first[index]];
  struct nx_error *err = &job->errors[index];
  char path[NX_PATH_SIZE], channels[NX_PATH_SIZE];
  (void)worker;
  int r = nx_path_join(path, job->options->folder, file->file, err);
  if (!r)
    r = nx_path_join(channels, job->options->folder, file->channels, err);
  const struct nx_load_options load = {.reader = job->options->reader,
                                       .channels = *file->channels ? channels : NULL,
                                       .allow_identity = job->options->allow_identity};
  int64_t since = nx_clock_unix();
  struct nx_loaded *loaded = &job->loaded[index];
  struct nx_derived derived;
  struct nx_hash own;
  bool found = false;
  if (!r)
    r = nx_manifest_file_hash(path, &own, err);
  if (!r)
    r = nx_derived_want(job->options->cache, path, since, &own, &load, job->plan, NX_MODALITIES,
                        &derived, err);
  if (!r && !(found = nx_derived_find(&derived, loaded)))
    r = nx_load_recording(path, &load, job->plan, loaded, err);
  if (!r && !found)
    nx_derived_keep(&derived, loaded);
  if (!r)
    job->hashes[index] = nx_beside_hash(&loaded->beside, &own);
  nx_preparing_tell(&job->preparing, found);
  err->code = r;
}

static int find_channel(const struct nx_loaded *loaded, const char *name) {
  for (size_t c = 0; c < loaded->n_channels; c++)
    if (nx_montage_same(loaded->names[c], name))
      return (int)c;
  return -1;
}

/* The first recording's electrodes that every other has too, in its order. */
static int common_channels(struct nx_dataset *dataset, const struct nx_plan *plan,
                           const struct nx_loaded *loaded, size_t n, struct nx_error *err) {
  size_t most = loaded[0].n_channels;
  dataset->names = calloc(most, sizeof *dataset->names);
  dataset->positions = calloc(3 * most, sizeof *dataset->positions);
  if (!dataset->names || !dataset->positions)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  for (size_t c = 0; c < most; c++) {
    bool everywhere = true;
    for (size_t i = 1; i < n; i++)
      everywhere &= find_channel(&loaded[i], loaded[0].names[c]) >= 0;
    if (!everywhere)
      continue;
    size_t at = dataset->summary.n_channels++;
    memcpy(dataset->names[at], loaded[0].names[c], sizeof *dataset->names);
    nx_montage_position(dataset->names[at], dataset->positions + 3 * at);
  }
  return nx_fit_channels(plan, dataset->names[0], sizeof *dataset->names,
                         dataset->summary.n_channels, err);
}

/* Under a privacy mechanism one person's recordings must not decide how another's are read:
 * channels are then those of every recording, in one order, or nothing runs. */
static int check_same_channels(const struct nx_loaded *loaded, size_t n, struct nx_error *err) {
  for (size_t i = 1; i < n; i++) {
    bool same = loaded[i].n_channels == loaded[0].n_channels;
    for (size_t c = 0; same && c < loaded[0].n_channels; c++)
      same = nx_montage_same(loaded[i].names[c], loaded[0].names[c]);
    if (!same)
      return nx_fail(err, NX_E_INVALID,
                     "the plan has a privacy mechanism, for which all recordings need the same "
                     "channels in the same order: take those that differ out of the folder");
  }
  return 0;
}

/* The samples of an entry: all of them, or those of its event. */
static int span(const struct nx_subject_file *file, const struct nx_loaded *loaded, double rate_hz,
                double window_s, size_t *first_out, size_t *n_out, struct nx_error *err) {
  *first_out = 0;
  *n_out = loaded->n_samples;
  if (!file->part)
    return 0;
  size_t all = loaded->n_samples, window = (size_t)lround(window_s * rate_hz);
  *first_out = (size_t)NX_MIN(lround(file->from_s * rate_hz), (long)all);
  *n_out = (size_t)NX_MIN(lround(file->to_s * rate_hz), (long)all) - *first_out;
  if (*n_out >= window)
    return 0;
  return nx_fail(err, NX_E_FORMAT,
                 "%s: events.tsv has an event from %g s to %g s, the recording lasts %g s: correct "
                 "the table",
                 file->file, file->from_s, file->to_s, (double)all / rate_hz);
}

/* Copies the common channels of a loaded recording, in the set's order. */
static int take_recording(struct nx_dataset *dataset, size_t index, const struct nx_loaded *loaded,
                          size_t first, size_t n, struct nx_error *err) {
  size_t n_channels = dataset->summary.n_channels;
  float *x = reallocarray(NULL, n_channels * n, sizeof *x);
  float *scale = reallocarray(NULL, n_channels, sizeof *scale);
  dataset->owned_x[index] = x;
  dataset->owned_scale[index] = scale;
  if (!x || !scale)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  for (size_t c = 0; c < n_channels; c++) {
    size_t from = (size_t)find_channel(loaded, dataset->names[c]);
    memcpy(x + c * n, loaded->x + from * loaded->n_samples + first, n * sizeof *x);
    scale[c] = loaded->scale[from];
  }
  struct nx_dataset_recording *recording = &dataset->recordings[index];
  recording->n_samples = n;
  recording->x = x;
  recording->scale = scale;
  dataset->summary.synthetic |= loaded->synthetic;
  return 0;
}

static void count(struct nx_dataset *dataset, const struct nx_plan *plan) {
  struct nx_dataset_summary *s = &dataset->summary;
  size_t window = (size_t)lround(plan->window.seconds * s->rate_hz);
  const char *last = "";
  for (size_t i = 0; i < s->n_recordings; i++) {
    const struct nx_dataset_recording *recording = &dataset->recordings[i];
    bool held_out = recording->split == NX_SPLIT_HELD_OUT;
    bool new_subject = strcmp(recording->subject, last) != 0;
    last = recording->subject;
    s->n_subjects += new_subject;
    s->n_held_out_subjects += new_subject && held_out;
    s->n_train_recordings += !held_out;
    s->n_held_out_recordings += held_out;
    *(held_out ? &s->n_held_out_windows : &s->n_train_windows) += recording->n_samples / window;
  }
}

/* One entry: all of it, or its stretches without artefacts. take: else they are only counted. */
static int take_entry(struct job *job, struct nx_dataset *dataset, size_t i, bool take,
                      size_t *index, struct nx_error *err) {
  const struct nx_dataset_options *options = job->options;
  const struct nx_subject_file *file = &job->files->files[i];
  const struct nx_loaded *loaded = &job->loaded[job->source[i]];
  double rate = job->plan->preprocessing.rate_hz;
  size_t first, n, window = (size_t)lround(job->plan->window.seconds * rate);
  int r = span(file, loaded, rate, job->plan->window.seconds, &first, &n, err);
  size_t start = first, end = first + n;
  for (; !r && nx_clean_next_stretch(loaded->bad_window, loaded->n_windows, window, end, &first, &n);
       first += n, ++*index) {
    if (!take)
      continue;
    struct nx_dataset_recording *recording = &dataset->recordings[*index];
    memcpy(recording->subject, file->subject, sizeof recording->subject);
    memcpy(recording->file, file->file, sizeof recording->file);
    recording->label = file->label;
    recording->unlabelled = file->unlabelled;
    recording->from_s = file->part && first == start ? file->from_s : (double)first / rate;
    recording->split = nx_subject_in(file->subject, options->held_out, options->n_held_out)
                           ? NX_SPLIT_HELD_OUT
                           : NX_SPLIT_TRAIN;
    r = take_recording(dataset, *index, loaded, first, n, err);
  }
  return r;
}

static int assemble(struct job *job, struct nx_dataset *dataset, struct nx_error *err) {
  const struct nx_dataset_options *options = job->options;
  size_t n = 0, taken = 0;
  for (size_t i = 0; i < job->n_sources; i++)
    if (job->errors[i].code) {
      if (err)
        *err = job->errors[i];
      return job->errors[i].code;
    }
  int r = 0;
  for (size_t i = 0; !r && i < job->files->n; i++)
    r = take_entry(job, dataset, i, false, &n, err);
  if (!r && !n)
    return nx_fail(err, NX_E_FORMAT,
                   "%s: no part that is used is free of artefacts: see the plan's cleaning",
                   options->folder);
  if (r < 0)
    return r;
  dataset->recordings = calloc(n, sizeof *dataset->recordings);
  dataset->owned_x = calloc(n, sizeof *dataset->owned_x);
  dataset->owned_scale = calloc(n, sizeof *dataset->owned_scale);
  if (!dataset->recordings || !dataset->owned_x || !dataset->owned_scale)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  dataset->summary.n_recordings = n;
  dataset->summary.rate_hz = job->plan->preprocessing.rate_hz;
  dataset->summary.synthetic = job->files->synthetic;
  r = common_channels(dataset, job->plan, job->loaded, job->n_sources, err);
  if (!r && job->plan->privacy != NX_PRIVACY_NONE)
    r = check_same_channels(job->loaded, job->n_sources, err);
  for (size_t i = 0; !r && i < job->files->n; i++) {
    r = take_entry(job, dataset, i, true, &taken, err);
    if (!r && !job->files->files[i].part)
      nx_loaded_finish(&job->loaded[job->source[i]]); /* of one whole file at a time two copies */
  }
  if (r < 0)
    return r;
  count(dataset, job->plan);
  if (!options->any_label &&
      (r = nx_fit_counts(job->plan, options->folder, &dataset->summary, err)) < 0)
    return r;
  dataset->summary.manifest =
      nx_manifest_hash(job->hashes, job->n_sources, job->plan, dataset->summary.n_subjects);
  return 0;
}

/* Which entries share a file. Events of one person and file lie near each other in the list, but
 * for the labels between them. */
static void find_sources(struct job *job) {
  for (size_t i = 0; i < job->files->n; i++) {
    const struct nx_subject_file *file = &job->files->files[i];
    size_t slot = job->n_sources;
    for (size_t s = job->n_sources; file->part && s-- > 0;) {
      const struct nx_subject_file *other = &job->files->files[job->first[s]];
      if (strcmp(other->subject, file->subject) != 0)
        break;
      if (!strcmp(other->file, file->file)) {
        slot = s;
        break;
      }
    }
    if (slot == job->n_sources)
      job->first[job->n_sources++] = i;
    job->source[i] = slot;
  }
}

/* What node.yaml says of this site must not contradict the plan. */
static int check_kind(const struct nx_dataset_options *options, const struct nx_plan *plan,
                      struct nx_error *err) {
  int r = nx_fit_kind("modality", plan->data.modality, options->modality, NULL, err);
  return r < 0 ? r : nx_fit_kind("species", plan->data.species, options->species, NULL, err);
}

static int load_all(struct job *job, struct nx_dataset *dataset, struct nx_error *err) {
  size_t n = job->files->n;
  job->source = calloc(n, sizeof *job->source);
  job->first = calloc(n, sizeof *job->first);
  job->loaded = calloc(n, sizeof *job->loaded);
  job->hashes = calloc(n, sizeof *job->hashes);
  job->errors = calloc(n, sizeof *job->errors);
  int r = job->source && job->first && job->loaded && job->hashes && job->errors
              ? 0
              : nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  if (!r)
    find_sources(job);
  nx_preparing_begin(&job->preparing, job->n_sources);
  if (!r && job->options->pool)
    nx_pool_run(job->options->pool, job->n_sources, load_one, job);
  else if (!r)
    for (size_t i = 0; i < job->n_sources; i++)
      load_one(job, i, 0);
  if (!r)
    nx_preparing_end(&job->preparing);
  if (!r)
    r = assemble(job, dataset, err);
  for (size_t i = 0; job->loaded && i < n; i++)
    nx_loaded_finish(&job->loaded[i]);
  free(job->source);
  free(job->first);
  free(job->loaded);
  free(job->hashes);
  free(job->errors);
  return r;
}

int nx_dataset_open(const struct nx_dataset_options *options, const struct nx_plan *plan,
                    struct nx_dataset **dataset_out, struct nx_error *err) {
  _cleanup_(nx_dataset_destroyp) struct nx_dataset *dataset = calloc(1, sizeof *dataset);
  _cleanup_(nx_subjects_finish) struct nx_subject_files files = {0};
  if (!dataset)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  int r = check_kind(options, plan, err);
  if (!r)
    r = plan->modalities ? nx_signal_set_open(options, plan, &dataset->signals, err)
                         : nx_subjects_list(options, plan, &files, err);
  if (r < 0)
    return r;
  if (dataset->signals) {
    dataset->summary = *nx_signal_set_summary(dataset->signals);
    *dataset_out = nx_steal(&dataset);
    return 0;
  }
  struct job job = {.options = options, .plan = plan, .files = &files};
  r = load_all(&job, dataset, err);
  if (r < 0)
    return r;
  *dataset_out = nx_steal(&dataset);
  return 0;
}

const struct nx_dataset_summary *nx_dataset_summary(const struct nx_dataset *dataset) {
  return &dataset->summary;
}

const struct nx_dataset_recording *nx_dataset_recording(const struct nx_dataset *dataset,
                                                        size_t index) {
  if (dataset->signals)
    return nx_signal_set_recording(dataset->signals, index);
  bool there = dataset->recordings && index < dataset->summary.n_recordings;
  return there ? &dataset->recordings[index] : NULL;
}

const float *nx_dataset_positions(const struct nx_dataset *dataset) {
  return dataset->positions;
}

const char *nx_dataset_channel(const struct nx_dataset *dataset, size_t index) {
  return dataset->names && index < dataset->summary.n_channels ? dataset->names[index] : NULL;
}

const struct nx_signals *nx_dataset_signals(const struct nx_dataset *dataset, size_t *n_out) {
  *n_out = 0;
  return dataset->signals ? nx_signal_set_signals(dataset->signals, n_out) : NULL;
}

void nx_dataset_destroy(struct nx_dataset *dataset) {
  if (!dataset)
    return;
  nx_signal_set_destroy(dataset->signals);
  for (size_t i = 0; i < dataset->summary.n_recordings; i++) {
    if (dataset->owned_x)
      free(dataset->owned_x[i]);
    if (dataset->owned_scale)
      free(dataset->owned_scale[i]);
  }
  free(dataset->owned_x);
  free(dataset->owned_scale);
  free(dataset->recordings);
  free(dataset->names);
  free(dataset->positions);
  free(dataset);
}
