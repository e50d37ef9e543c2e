#include "node/dataset/signal_set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/plan_pipelines.h"
#include "common/plan_prototypes.h"
#include "common/size.h"
#include "node/dataset/behaviour.h"
#include "node/dataset/clean.h"
#include "node/dataset/derived.h"
#include "node/dataset/fit.h"
#include "node/dataset/manifest_hash.h"
#include "node/dataset/preparing.h"
#include "node/dataset/signal_load.h"
#include "node/dataset/subjects.h"
#include "node/dataset/targets.h"
#include "node/recordings/format.h"

#define STREAMS 2

struct nx_signal_set {
  struct nx_dataset_summary summary;
  struct nx_dataset_recording *recordings; /* [summary.n_recordings], who they are of; no samples */
  size_t n_loaded;
  struct nx_loaded_signal *loaded; /* what the signals point at */
  size_t n_sets;
  struct nx_signals sets[STREAMS];
  struct nx_signal *signals[STREAMS];
  size_t n_cuts;
  float **cuts; /* stretches of recordings, copied, and targets */
};

struct job {
  const struct nx_dataset_options *options;
  const struct nx_plan *plan;
  enum nx_modality modality;
  enum nx_species species;
  struct nx_behaviour *behaviour; /* NULL: words only as the plan has them */
  const struct nx_signal_files *files;
  struct nx_signal_set *set;
  struct nx_hash *hashes;
  struct nx_error *errors; /* code 0: fine */
  size_t recording;        /* the number that the one in hand has in the set */
  struct nx_preparing preparing;
};

/* ---- loading --------------------------------------------------------------------------------- */

static int hash_of(const struct job *job, const char *file, struct nx_hash *out,
                   struct nx_error *err) {
  char whole[NX_PATH_SIZE], path[NX_PATH_SIZE];
  int r = nx_path_join(whole, job->options->folder, file, err);
  if (r < 0)
    return r;
  nx_recording_split_part(whole, path);
  return nx_manifest_file_hash(path, out, err);
}

static void load_one(void *context, size_t index, size_t worker) {
  struct job *job = context;
  struct nx_error *err = &job->errors[index];
  const struct nx_signal_file *file = &job->files->files[index];
  char path[NX_PATH_SIZE], channels[NX_PATH_SIZE];
  const struct nx_load_options load = {
      .reader = job->options->reader,
      .channels = *file->channels ? channels : NULL,
      .electrodes = file->electrodes == NX_NO_ELECTRODES ? NULL
                                                         : &job->files->electrodes[file->electrodes],
      .allow_identity = job->options->allow_identity};
  (void)worker;
  int r = nx_path_join(path, job->options->folder, file->file, err);
  if (!r)
    r = nx_path_join(channels, job->options->folder, file->channels, err);
  int64_t since = nx_clock_unix();
  struct nx_loaded_signal *loaded = &job->set->loaded[index];
  struct nx_derived derived;
  struct nx_hash own;
  bool found = false;
  if (!r)
    r = hash_of(job, file->file, &own, err);
  if (!r)
    r = nx_derived_want(job->options->cache, path, since, &own, &load, job->plan, job->modality,
                        &derived, err);
  if (!r && !(found = nx_derived_find_signal(&derived, loaded)))
    r = nx_signal_load(path, &load, job->plan, job->modality, loaded, err);
  if (!r && !found)
    nx_derived_keep_signal(&derived, loaded);
  if (!r)
    job->hashes[index] = nx_beside_hash(&loaded->beside, &own);
  nx_preparing_tell(&job->preparing, found);
  err->code = r;
}

/* ---- labels ---------------------------------------------------------------------------------- */

int nx_signal_label(const struct nx_plan *plan, const struct nx_behaviour *behaviour,
                    const char *word) {
  const char *labels[] = {plan->data.negative_label, plan->data.positive_label};
  for (int i = 0; *word && i < 2; i++)
    if (!strcasecmp(word, labels[i]))
      return i;
  int state = behaviour && *word ? nx_behaviour_state(behaviour, word) : -1;
  for (int i = 0; state >= 0 && i < 2; i++)
    if (nx_behaviour_state(behaviour, labels[i]) == state)
      return i;
  return -1;
}

static int label_of(const struct job *job, const char *word) {
  return nx_signal_label(job->plan, job->behaviour, word);
}

uint8_t nx_signal_class(const struct nx_plan_prototypes *prototypes,
                        const struct nx_behaviour *behaviour, const char *word) {
  int state = behaviour && *word ? nx_behaviour_state(behaviour, word) : -1;
  for (uint32_t i = 0; *word && i < prototypes->n_classes; i++)
    if (!strcasecmp(word, prototypes->classes[i]) ||
        (state >= 0 && nx_behaviour_state(behaviour, prototypes->classes[i]) == state))
      return (uint8_t)i;
  return NX_PROTOTYPE_NO_CLASS;
}

/* Who has the position or velocity of a recording: its own channels, or a file of the same clock,
 * which is loaded into other. */
static int behaviour_of(const struct job *job, size_t index, struct nx_loaded_signal *other,
                        const struct nx_loaded_signal **from, struct nx_error *err) {
  const struct nx_signal_file *file = &job->files->files[index];
  char path[NX_PATH_SIZE];
  *from = &job->set->loaded[index];
  if (!file->behaviour[0])
    return 0;
  int r = nx_path_join(path, job->options->folder, file->behaviour, err);
  if (!r)
    r = nx_signal_load_behaviour(path, job->options->reader, other, err);
  *from = other;
  return r;
}

static int runs_of(const struct job *job, size_t index, struct nx_behaviour_runs *runs,
                   struct nx_error *err) {
  const struct nx_signal_file *file = &job->files->files[index];
  const struct nx_loaded_signal *own = &job->set->loaded[index], *from;
  _cleanup_(nx_loaded_signal_finish) struct nx_loaded_signal other = {0};
  int r = behaviour_of(job, index, &other, &from, err);
  if (r < 0 || !from->n_behaviour)
    return r;
  r = nx_behaviour_runs(job->behaviour, nx_species_name(job->species), from->behaviour_unit,
                        from->behaviour_hz, from->behaviour, from->n_behaviour,
                        from->n_behaviour_samples, runs, err);
  double shift = from == own ? 0 : from->origin_s - own->origin_s;
  for (size_t i = 0; i < runs->n; i++) {
    runs->runs[i].from_s += shift;
    runs->runs[i].to_s += shift;
  }
  return r < 0 ? nx_error_prefix(err, r, "%s", file->file) : 0;
}

/* ---- signals --------------------------------------------------------------------------------- */

static int grow(void **list, size_t n, size_t size, struct nx_error *err) {
  if (n & (n - 1))
    return 0;
  void *grown = reallocarray(*list, n ? 2 * n : 1, size);
  if (!grown)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  *list = grown;
  return 0;
}

/* What is known beside a stream's samples. */
struct beside {
  int label;              /* -1: none */
  const float *targets;   /* [n_targets][n_samples], or NULL */
  const uint8_t *classes; /* [n_samples], or NULL */
};

static int add_signal(struct job *job, size_t index, size_t k, const float *x, size_t n,
                      double from_s, const struct beside *beside, struct nx_error *err) {
  struct nx_signal_set *set = job->set;
  const struct nx_loaded_signal *loaded = &set->loaded[index];
  const struct nx_signal_file *file = &job->files->files[index];
  bool electric = job->modality == NX_MODALITY_EEG || job->modality == NX_MODALITY_IEEG ||
                  job->modality == NX_MODALITY_LFP;
  int r = grow((void **)&set->signals[k], set->sets[k].n, sizeof *set->signals[k], err);
  if (r < 0)
    return r;
  set->signals[k][set->sets[k].n++] = (struct nx_signal){
      .modality = job->modality,
      .species = job->species,
      .reference = !electric ? NX_SIGNAL_ABSOLUTE
                   : nx_plan_pipeline_of(job->plan, job->modality).reference == NX_REFERENCE_AVERAGE
                       ? NX_SIGNAL_AVERAGE
                       : NX_SIGNAL_AS_RECORDED,
      .n_channels = loaded->n_channels,
      .n_samples = n,
      .x = x,
      .positions = loaded->positions,
      .placed = loaded->placed,
      .stats = loaded->streams[k].stats,
      .targets = beside->targets,
      .classes = beside->classes,
      .split = nx_subject_in(file->subject, job->options->held_out, job->options->n_held_out)
                   ? NX_SPLIT_HELD_OUT
                   : NX_SPLIT_TRAIN,
      .label = beside->label > 0,
      .unlabelled = beside->label < 0,
      .recording = job->recording,
      .from_s = from_s,
  };
  return 0;
}

/* Memory that the set owns. */
static float *keep(struct nx_signal_set *set, size_t rows, size_t n, struct nx_error *err) {
  size_t values;
  if (grow((void **)&set->cuts, set->n_cuts, sizeof *set->cuts, err) < 0)
    return NULL;
  float *x = nx_size_mul(rows, n, &values) ? reallocarray(NULL, values + 1, sizeof *x) : NULL;
  if (x)
    set->cuts[set->n_cuts++] = x;
  else
    nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  return x;
}

static void copy_rows(const float *from, size_t rows, size_t all, size_t first, size_t n,
                      float *to) {
  for (size_t c = 0; c < rows; c++)
    memcpy(to + c * n, from + c * all + first, n * sizeof *to);
}

/* n bytes in memory that the set owns. */
static uint8_t *keep_bytes(struct nx_signal_set *set, size_t n, struct nx_error *err) {
  return (uint8_t *)keep(set, 1, n / sizeof(float) + 1, err);
}

/* Samples first .. first + n - 1 of every channel of a stream as a signal of its own, and of what
 * is beside it. */
static int cut(struct job *job, size_t index, size_t k, size_t first, size_t n,
               const struct beside *whole, struct nx_error *err) {
  struct nx_signal_set *set = job->set;
  const struct nx_loaded_signal *loaded = &set->loaded[index];
  const struct nx_loaded_stream *stream = &loaded->streams[k];
  uint32_t n_targets = whole->targets ? job->plan->regression->n_targets : 0;
  float *x = keep(set, loaded->n_channels, n, err);
  float *y = x && whole->targets ? keep(set, n_targets, n, err) : NULL;
  uint8_t *classes = x && whole->classes ? keep_bytes(set, n, err) : NULL;
  if (!x || (whole->targets && !y) || (whole->classes && !classes))
    return NX_E_NOMEM;
  copy_rows(stream->x, loaded->n_channels, stream->n_samples, first, n, x);
  copy_rows(whole->targets, n_targets, stream->n_samples, first, n, y);
  if (classes)
    memcpy(classes, whole->classes + first, n);
  const struct beside own = {whole->label, y, classes};
  return add_signal(job, index, k, x, n, (double)first / stream->rate_hz, &own, err);
}

/* What of samples first .. end - 1 is free of artefacts and as long as a window. */
static int cut_clean(struct job *job, size_t index, size_t k, size_t first, size_t end,
                     const struct beside *beside, struct nx_error *err) {
  const struct nx_plan_modalities *m = job->plan->modalities;
  const struct nx_loaded_stream *stream = &job->set->loaded[index].streams[k];
  size_t window = (size_t)m->patches * m->tokenisers[stream->tokeniser].patch_samples, n;
  int r = 0;
  for (; !r && nx_clean_next_stretch(stream->bad_window, stream->n_windows, window, end, &first, &n);
       first += n)
    r = cut(job, index, k, first, n, beside, err);
  return r;
}

static int cut_runs(struct job *job, size_t index, struct nx_error *err) {
  _cleanup_(nx_behaviour_runs_finish) struct nx_behaviour_runs runs = {0};
  const struct nx_plan_modalities *m = job->plan->modalities;
  const struct nx_loaded_signal *loaded = &job->set->loaded[index];
  int r = job->behaviour ? runs_of(job, index, &runs, err) : 0;
  for (size_t k = 0; !r && k < loaded->n_streams; k++) {
    const struct nx_loaded_stream *stream = &loaded->streams[k];
    size_t window = (size_t)m->patches * m->tokenisers[stream->tokeniser].patch_samples;
    for (size_t i = 0; !r && i < runs.n; i++) {
      int label = label_of(job, nx_behaviour_name(job->behaviour, runs.runs[i].state));
      double from = fmax(ceil(runs.runs[i].from_s * stream->rate_hz), 0);
      double to = fmin(floor(runs.runs[i].to_s * stream->rate_hz), (double)stream->n_samples);
      if (label >= 0 && to - from >= (double)window)
        r = cut_clean(job, index, k, (size_t)from, (size_t)to, &(struct beside){.label = label},
                      err);
    }
  }
  return r;
}

static int add_stream(struct job *job, size_t index, size_t k, const struct beside *beside,
                      struct nx_error *err) {
  const struct nx_loaded_stream *stream = &job->set->loaded[index].streams[k];
  return stream->bad_window
             ? cut_clean(job, index, k, 0, stream->n_samples, beside, err)
             : add_signal(job, index, k, stream->x, stream->n_samples, 0, beside, err);
}

/* A recording for regression: left out when it has no behaviour, unless any will do. */
static int take_targets(struct job *job, size_t index, struct nx_error *err) {
  const struct nx_plan_regression *regression = job->plan->regression;
  const struct nx_loaded_signal *own = &job->set->loaded[index], *from;
  _cleanup_(nx_loaded_signal_finish) struct nx_loaded_signal other = {0};
  int r = behaviour_of(job, index, &other, &from, err);
  if (!r && !from->n_behaviour && !job->options->any_label)
    return 0;
  for (size_t k = 0; !r && k < own->n_streams; k++) {
    const struct nx_loaded_stream *stream = &own->streams[k];
    float *targets = NULL;
    if (from->n_behaviour &&
        !(targets = keep(job->set, regression->n_targets, stream->n_samples, err)))
      return NX_E_NOMEM;
    if (targets)
      r = nx_targets_fill(regression, job->behaviour, nx_species_name(job->species), from,
                          from == own ? 0 : from->origin_s - own->origin_s, stream->rate_hz,
                          stream->n_samples, targets, err);
    if (!r)
      r = add_stream(job, index, k, &(struct beside){-1, targets, NULL}, err);
  }
  return r < 0 ? nx_error_prefix(err, r, "%s", job->files->files[index].file) : 0;
}

/* Where runs of behaviour are, classes has theirs. */
static void put_classes(const struct job *job, const struct nx_behaviour_runs *runs, double rate_hz,
                        size_t n, uint8_t *classes) {
  for (size_t i = 0; i < runs->n; i++) {
    const struct nx_behaviour_run *run = &runs->runs[i];
    uint8_t class = nx_signal_class(job->plan->prototypes, job->behaviour,
                                    nx_behaviour_name(job->behaviour, run->state));
    double from = fmax(ceil(run->from_s * rate_hz), 0),
           to = fmin(floor(run->to_s * rate_hz), (double)n);
    for (double at = from; at < to; at++)
      classes[(size_t)at] = class;
  }
}

/* A recording for prototypes: of one class by its word, else of those that its behaviour shows. */
static int take_classes(struct job *job, size_t index, struct nx_error *err) {
  _cleanup_(nx_behaviour_runs_finish) struct nx_behaviour_runs runs = {0};
  const struct nx_loaded_signal *loaded = &job->set->loaded[index];
  uint8_t class =
      nx_signal_class(job->plan->prototypes, job->behaviour, job->files->files[index].label);
  int r = job->behaviour && class == NX_PROTOTYPE_NO_CLASS ? runs_of(job, index, &runs, err) : 0;
  for (size_t k = 0; !r && k < loaded->n_streams; k++) {
    const struct nx_loaded_stream *stream = &loaded->streams[k];
    uint8_t *classes = keep_bytes(job->set, stream->n_samples, err);
    if (!classes)
      return NX_E_NOMEM;
    memset(classes, class, stream->n_samples);
    put_classes(job, &runs, stream->rate_hz, stream->n_samples, classes);
    r = add_stream(job, index, k, &(struct beside){-1, NULL, classes}, err);
  }
  return r;
}

static int take(struct job *job, size_t index, struct nx_error *err) {
  const struct nx_loaded_signal *loaded = &job->set->loaded[index];
  bool classes = job->plan->training.objective == NX_OBJECTIVE_CLASSIFICATION;
  int label = label_of(job, job->files->files[index].label), r = 0;
  if (job->plan->regression)
    return take_targets(job, index, err);
  if (job->plan->prototypes && !job->options->any_label)
    return take_classes(job, index, err);
  if (classes && label < 0 && !job->options->any_label)
    return cut_runs(job, index, err);
  for (size_t k = 0; !r && k < loaded->n_streams; k++)
    r = add_stream(job, index, k, &(struct beside){.label = label}, err);
  return r;
}

static void sum_targets(const struct nx_signals *set, uint32_t n_targets,
                        struct nx_target_sums *sums) {
  for (size_t i = 0; i < set->n; i++)
    if (set->signals[i].split == NX_SPLIT_TRAIN && set->signals[i].targets)
      nx_targets_sum(set->signals[i].targets, n_targets, set->signals[i].n_samples,
                     set->tokeniser->patch_samples, sums);
}

/* Targets of this site's own mean 0 and SD 1 over the patches that it may train on. */
static int standardise(struct job *job, struct nx_signals *set, struct nx_error *err) {
  const struct nx_plan_regression *regression = job->plan->regression;
  struct nx_target_sums sums = {0};
  sum_targets(set, regression->n_targets, &sums);
  if (!sums.n && job->options->any_label)
    return 0; /* nothing to compare with */
  for (uint32_t j = 0; j < regression->n_targets; j++) {
    double mean = sums.sum[j] / sums.n, sd = sqrt(sums.squares[j] / sums.n - mean * mean);
    if (!(sd > 0) || !isfinite(sd))
      return nx_fail(err, NX_E_FORMAT, "target %s never changes in what this site may train on",
                     regression->targets[j]);
    for (size_t i = 0; i < set->n; i++) {
      size_t n = set->signals[i].n_samples;
      float *y = (float *)(uintptr_t)set->signals[i].targets; /* the set's own */
      for (size_t t = j * n; y && t < (j + 1) * n; t++)
        y[t] = (float)(((double)y[t] - mean) / sd);
    }
  }
  return 0;
}

/* ---- whole ----------------------------------------------------------------------------------- */

static int make_sets(struct job *job, struct nx_error *err) {
  const struct nx_plan_tokeniser *found[STREAMS];
  struct nx_signal_set *set = job->set;
  set->n_sets = nx_plan_tokenisers_of(job->plan, job->modality, found);
  for (size_t k = 0; k < set->n_sets; k++)
    set->sets[k].tokeniser = found[k];
  return set->n_sets ? 0
                     : nx_fail(err, NX_E_DENIED, "the plan has no tokeniser for %s",
                               nx_modality_name(job->modality));
}

/* Windows of a split's grid. */
static size_t windows_of(const struct nx_signals *signals, enum nx_split split, size_t patches) {
  size_t total = 0, window = patches * signals->tokeniser->patch_samples;
  for (size_t i = 0; i < signals->n; i++)
    if (signals->signals[i].split == split)
      total += signals->signals[i].n_samples / window;
  return total;
}

static void count(struct job *job) {
  struct nx_signal_set *set = job->set;
  struct nx_dataset_summary *s = &set->summary;
  const char *last = "";
  for (size_t i = 0; i < job->files->n; i++) {
    const struct nx_signal_file *file = &job->files->files[i];
    if (job->errors[i].code)
      continue;
    bool held_out = nx_subject_in(file->subject, job->options->held_out, job->options->n_held_out);
    bool new_subject = strcmp(file->subject, last) != 0;
    last = file->subject;
    struct nx_dataset_recording *recording = &set->recordings[s->n_recordings++];
    memcpy(recording->subject, file->subject, sizeof recording->subject);
    snprintf(recording->file, sizeof recording->file, "%s", file->file);
    recording->split = held_out ? NX_SPLIT_HELD_OUT : NX_SPLIT_TRAIN;
    s->n_subjects += new_subject;
    s->n_held_out_subjects += new_subject && held_out;
    *(held_out ? &s->n_held_out_recordings : &s->n_train_recordings) += 1;
    s->n_channels = NX_MAX(s->n_channels, set->loaded[i].n_channels);
    s->synthetic |= set->loaded[i].synthetic;
  }
  s->n_train_windows = windows_of(&set->sets[0], NX_SPLIT_TRAIN, job->plan->modalities->patches);
  s->n_held_out_windows =
      windows_of(&set->sets[0], NX_SPLIT_HELD_OUT, job->plan->modalities->patches);
  s->rate_hz = set->sets[0].tokeniser->rate_hz;
  s->synthetic |= job->files->synthetic;
}

/* In the site's own log: how much of the channels is used, and of how many the place is known. */
static void tell_channels(const struct job *job) {
  size_t channels = 0, placed = 0, left_out = 0;
  for (size_t i = 0; i < job->files->n; i++) {
    const struct nx_loaded_signal *loaded = &job->set->loaded[i];
    for (size_t c = 0; c < loaded->n_channels; c++)
      placed += loaded->placed[c];
    channels += loaded->n_channels;
    left_out += loaded->n_left_out;
  }
  NX_LOG(NX_LOG_INFO, "data.channels", NX_U64("recordings", job->set->summary.n_recordings),
         NX_U64("channels", channels), NX_U64("placed", placed), NX_U64("left_out", left_out));
}

/* Passes over what cannot be read when the site says so; each is named in the site's own log. */
static int judge(const struct job *job, struct nx_error *err) {
  size_t skipped = 0;
  for (size_t i = 0; i < job->files->n; i++) {
    const struct nx_error *why = &job->errors[i];
    if (!why->code)
      continue;
    if (!job->options->skip_broken || why->code == NX_E_NOMEM) {
      if (err)
        *err = *why;
      return why->code;
    }
    NX_LOG(NX_LOG_WARNING, "recording.skipped", NX_STR("why", why->text));
    skipped++;
  }
  if (skipped == job->files->n)
    return nx_fail(err, NX_E_NOT_FOUND, "none of the %zu recordings can be used: the log says why",
                   skipped);
  return 0;
}

static int assemble(struct job *job, struct nx_error *err) {
  struct nx_signal_set *set = job->set;
  size_t n_hashes = 0;
  int r = judge(job, err);
  for (size_t i = 0; !r && i < job->files->n; i++) {
    if (job->errors[i].code)
      continue;
    job->recording = n_hashes;
    r = take(job, i, err);
    struct nx_hash hash = job->hashes[i];
    job->hashes[n_hashes++] = hash;
  }
  for (size_t k = 0; k < set->n_sets; k++)
    set->sets[k].signals = set->signals[k];
  if (!r && !set->sets[0].n && job->plan->regression)
    r = nx_fail(err, NX_E_NOT_FOUND,
                "no recording has behaviour beside it for the plan's regression: see "
                "docs/recordings.md");
  for (size_t k = 0; !r && k < set->n_sets && job->plan->regression &&
                     job->plan->regression->standardise == NX_STANDARDISE_SITE;
       k++)
    r = standardise(job, &set->sets[k], err);
  if (!r && !set->sets[0].n)
    r = nx_fail(
        err, NX_E_NOT_FOUND,
        "no recording has a stretch of %s or %s as long as a window: see docs/recordings.md",
        job->plan->data.negative_label, job->plan->data.positive_label);
  if (r < 0)
    return r;
  count(job);
  if (!job->options->any_label &&
      (r = nx_fit_counts(job->plan, job->options->folder, &set->summary, err)) < 0)
    return r;
  tell_channels(job);
  set->summary.manifest =
      nx_manifest_hash(job->hashes, n_hashes, job->plan, set->summary.n_subjects);
  return 0;
}

static int load_all(struct job *job, struct nx_error *err) {
  size_t n = job->files->n;
  struct nx_signal_set *set = job->set;
  set->loaded = calloc(n, sizeof *set->loaded);
  set->n_loaded = set->loaded ? n : 0;
  job->hashes = calloc(n, sizeof *job->hashes);
  job->errors = calloc(n, sizeof *job->errors);
  set->recordings = calloc(n, sizeof *set->recordings);
  if (!set->loaded || !set->recordings || !job->hashes || !job->errors)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  nx_preparing_begin(&job->preparing, n);
  if (job->options->pool)
    nx_pool_run(job->options->pool, n, load_one, job);
  else
    for (size_t i = 0; i < n; i++)
      load_one(job, i, 0);
  nx_preparing_end(&job->preparing);
  return assemble(job, err);
}

static int resolve(struct job *job, struct nx_error *err) {
  const char *modality, *species;
  int r = nx_fit_kind("modality", job->plan->data.modality, job->options->modality, &modality, err);
  if (!r)
    r = nx_fit_kind("species", job->plan->data.species, job->options->species, &species, err);
  if (!r && !nx_modality_from_name(modality, &job->modality))
    r = nx_fail(err, NX_E_INVALID, "modality %s: use eeg, meg, ieeg, lfp, spikes, calcium or fmri",
                modality);
  if (!r && !nx_species_from_name(species, &job->species))
    r = nx_fail(err, NX_E_INVALID, "species %s: use human, monkey, rat or mouse", species);
  return r;
}

int nx_signal_set_open(const struct nx_dataset_options *options, const struct nx_plan *plan,
                       struct nx_signal_set **set_out, struct nx_error *err) {
  _cleanup_(nx_signal_set_destroyp) struct nx_signal_set *set = calloc(1, sizeof *set);
  _cleanup_(nx_signal_files_finish) struct nx_signal_files files = {0};
  if (!set)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  struct job job = {.options = options, .plan = plan, .set = set, .files = &files};
  int r = resolve(&job, err);
  if (!r)
    r = make_sets(&job, err);
  if (!r)
    r = nx_signal_files_list(options, plan, &files, err);
  if (!r && options->behaviour)
    r = nx_behaviour_load(options->behaviour, &job.behaviour, err);
  if (!r)
    r = load_all(&job, err);
  nx_behaviour_destroy(job.behaviour);
  free(job.hashes);
  free(job.errors);
  if (!r)
    *set_out = nx_steal(&set);
  return r;
}

const struct nx_dataset_summary *nx_signal_set_summary(const struct nx_signal_set *set) {
  return &set->summary;
}

const struct nx_dataset_recording *nx_signal_set_recording(const struct nx_signal_set *set,
                                                           size_t index) {
  return index < set->summary.n_recordings ? &set->recordings[index] : NULL;
}

const struct nx_signals *nx_signal_set_signals(const struct nx_signal_set *set, size_t *n_out) {
  *n_out = set->n_sets;
  return set->sets;
}

void nx_signal_set_destroy(struct nx_signal_set *set) {
  if (!set)
    return;
  for (size_t i = 0; i < set->n_loaded; i++)
    nx_loaded_signal_finish(&set->loaded[i]);
  for (size_t i = 0; i < set->n_cuts; i++)
    free(set->cuts[i]);
  for (size_t k = 0; k < STREAMS; k++)
    free(set->signals[k]);
  free(set->loaded);
  free(set->recordings);
  free(set->cuts);
  free(set);
}
