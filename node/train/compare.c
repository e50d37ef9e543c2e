#include "node/train/compare.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/size.h"
#include "models/metrics.h"
#include "models/optim/server_apply.h"
#include "node/dataset/linear_baseline.h"
#include "node/dataset/subjects.h"
#include "node/train/update.h"

#define LINEAR_C 0.01 /* scikit-learn's C, chosen in design/data */
#define STREAM_OF_COMPARISONS (UINT64_C(1) << 40)

/* Who is where in this fold. */
struct cohort {
  struct nx_subject_files files;
  const char **held_out, **rest; /* point into files */
  size_t n_held_out, n_rest;
};

static void finish_cohort(struct cohort *cohort) {
  nx_subjects_finish(&cohort->files);
  free(cohort->held_out);
  free(cohort->rest);
}

/* The number that ends a subject id: 7 of "Subject07"; -1 when there is none. */
static long subject_number(const char *subject) {
  size_t end = strlen(subject), start = end;
  while (start > 0 && isdigit((unsigned char)subject[start - 1]))
    start--;
  return start == end || end - start > 9 ? -1 : atol(subject + start);
}

static int divide(const struct nx_compare_options *options, struct cohort *cohort,
                  struct nx_error *err) {
  const struct nx_dataset_options all = {.folder = options->folder};
  int r = nx_subjects_list(&all, options->plan, &cohort->files, err);
  if (r < 0)
    return r;
  cohort->held_out = calloc(cohort->files.n, sizeof *cohort->held_out);
  cohort->rest = calloc(cohort->files.n, sizeof *cohort->rest);
  if (!cohort->held_out || !cohort->rest)
    return nx_fail(err, NX_E_NOMEM, "compare: out of memory");
  for (size_t i = 0; i < cohort->files.n; i++) {
    const char *subject = cohort->files.files[i].subject;
    long number = subject_number(subject);
    if (number < 0)
      return nx_fail(err, NX_E_INVALID,
                     "subject %s has no number: sites and folds are made from numbers", subject);
    if (i > 0 && !strcmp(subject, cohort->files.files[i - 1].subject))
      continue;
    if ((size_t)number / options->n_sites == options->fold)
      cohort->held_out[cohort->n_held_out++] = subject;
    else
      cohort->rest[cohort->n_rest++] = subject;
  }
  if (!cohort->n_held_out || !cohort->n_rest)
    return nx_fail(err, NX_E_INVALID, "fold %zu leaves nobody to %s", options->fold,
                   cohort->n_rest ? "score" : "train on");
  return 0;
}

/* One comparison in progress. */
struct comparison {
  const struct nx_compare_options *options;
  struct cohort cohort;
  struct nx_dataset *pooled; /* everyone; the fold held out */
  double *scores;            /* [n_windows], held-out grid */
  uint8_t *labels;
  uint32_t *recordings; /* index in pooled */
  size_t n_windows;
  size_t done, total; /* pieces of work */
};

static void finish_comparison(struct comparison *c) {
  finish_cohort(&c->cohort);
  nx_dataset_destroy(c->pooled);
  free(c->scores);
  free(c->labels);
  free(c->recordings);
}

static int open_pooled(struct comparison *c, struct nx_error *err) {
  const struct nx_dataset_options data = {
      .folder = c->options->folder,
      .held_out = c->cohort.held_out,
      .n_held_out = c->cohort.n_held_out,
      .reader = c->options->reader,
      .pool = c->options->pool,
  };
  int r = nx_dataset_open(&data, c->options->plan, &c->pooled, err);
  if (r < 0)
    return r;
  const struct nx_dataset_summary *summary = nx_dataset_summary(c->pooled);
  size_t n = summary->n_held_out_windows;
  size_t window = (size_t)lround(c->options->plan->window.seconds * summary->rate_hz);
  c->scores = calloc(n + 1, sizeof *c->scores);
  c->labels = calloc(n + 1, sizeof *c->labels);
  c->recordings = calloc(n + 1, sizeof *c->recordings);
  if (!c->scores || !c->labels || !c->recordings)
    return nx_fail(err, NX_E_NOMEM, "compare: out of memory");
  for (size_t i = 0; i < summary->n_recordings; i++) {
    const struct nx_dataset_recording *recording = nx_dataset_recording(c->pooled, i);
    if (recording->split != NX_SPLIT_HELD_OUT)
      continue;
    for (size_t w = 0; w < recording->n_samples / window; w++) {
      c->labels[c->n_windows] = recording->label;
      c->recordings[c->n_windows++] = (uint32_t)i;
    }
  }
  return 0;
}

static void write_rows(const struct comparison *c, const char *arm) {
  uint32_t window = 0;
  for (size_t i = 0; c->options->scores && i < c->n_windows; i++) {
    const struct nx_dataset_recording *recording =
        nx_dataset_recording(c->pooled, c->recordings[i]);
    window = i > 0 && c->recordings[i] == c->recordings[i - 1] ? window + 1 : 0;
    fprintf(c->options->scores, "%zu\t%s\t%s\t%s\t%u\t%d\t%.9g\n", c->options->fold, arm,
            recording->subject, recording->file, window, recording->label, c->scores[i]);
  }
}

/* AUROC over recordings, each scored by the mean of its windows. */
static int recording_auroc(const struct comparison *c, double *auroc_out, struct nx_error *err) {
  size_t n = nx_dataset_summary(c->pooled)->n_recordings, kept = 0;
  _cleanup_free_ double *means = calloc(n, sizeof *means);
  _cleanup_free_ uint8_t *labels = calloc(n, sizeof *labels);
  if (!means || !labels)
    return nx_fail(err, NX_E_NOMEM, "compare: out of memory");
  nx_recording_scores(c->scores, c->recordings, c->n_windows, means, n);
  for (size_t i = 0; i < n; i++)
    if (!isnan(means[i])) {
      labels[kept] = nx_dataset_recording(c->pooled, i)->label;
      means[kept++] = means[i];
    }
  *auroc_out = nx_auroc(means, labels, kept);
  return 0;
}

/* Adds this arm's figures, divided by how many runs make up the arm. */
static int add_result(const struct comparison *c, const char *name, size_t runs,
                      struct nx_arm_result *result, struct nx_error *err) {
  double recordings = NAN;
  int r = recording_auroc(c, &recordings, err);
  if (r < 0)
    return r;
  write_rows(c, name);
  result->auroc += nx_auroc(c->scores, c->labels, c->n_windows) / (double)runs;
  result->balanced_accuracy +=
      nx_balanced_accuracy(c->scores, c->labels, c->n_windows, 0) / (double)runs;
  result->auroc_recording += recordings / (double)runs;
  return 0;
}

static int score_model(struct comparison *c, const struct nx_model *model, struct nx_error *err) {
  struct nx_score_result ignored;
  _cleanup_free_ float *logits = calloc(c->n_windows + 1, sizeof *logits);
  if (!logits)
    return nx_fail(err, NX_E_NOMEM, "compare: out of memory");
  int r = nx_score(model, c->pooled, c->options->plan, NX_SPLIT_HELD_OUT, logits, &ignored, err);
  for (size_t i = 0; !r && i < c->n_windows; i++)
    c->scores[i] = logits[i];
  return r;
}

/* Model 0 with the data's own feature means and SDs, then the whole schedule in one go. */
static int train_from_scratch(const struct comparison *c, const struct nx_dataset *data,
                              size_t batch, uint64_t stream, struct nx_model **model_out,
                              struct nx_error *err) {
  const struct nx_plan *plan = c->options->plan;
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  _cleanup_(nx_update_finish) struct nx_update statistics = {0};
  struct nx_train_result result;
  size_t steps = (size_t)plan->training.rounds * plan->training.local_steps;
  const struct nx_train_options options = {
      .seed = c->options->seed,
      .stream = STREAM_OF_COMPARISONS + stream,
      .n_steps = steps,
      .total_steps = steps,
      .batch = batch,
  };
  int r = plan->initial_model
              ? nx_fail(err, NX_E_UNSUPPORTED,
                        "the plan starts from another model (initial_model); compare trains from "
                        "the seed: take the section out")
              : nx_model_create(plan, &model, err);
  if (!r)
    r = nx_update_compute(NX_ROUND_STATISTICS, model, data, plan, 0, 0, NULL, NULL, &statistics,
                          err);
  if (!r)
    r = nx_server_apply_statistics(model, statistics.aux, statistics.n_aux, err);
  if (!r)
    r = nx_train(model, data, plan, &options, &result, err);
  if (!r)
    *model_out = nx_steal(&model);
  return r;
}

static void report(struct comparison *c, enum nx_arm arm) {
  c->done++;
  if (c->options->progress)
    c->options->progress(c->options->context, nx_arm_name(arm), c->done, c->total);
}

static int run_site(struct comparison *c, size_t site, struct nx_arm_result *result,
                    struct nx_error *err) {
  _cleanup_free_ const char **mine = calloc(c->cohort.n_rest, sizeof *mine);
  _cleanup_(nx_dataset_destroyp) struct nx_dataset *data = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  char name[32];
  size_t n = 0;
  if (!mine)
    return nx_fail(err, NX_E_NOMEM, "compare: out of memory");
  for (size_t i = 0; i < c->cohort.n_rest; i++)
    if ((size_t)subject_number(c->cohort.rest[i]) % c->options->n_sites == site)
      mine[n++] = c->cohort.rest[i];
  if (!n)
    return nx_fail(err, NX_E_INVALID, "site %zu has nobody to train on", site);
  const struct nx_dataset_options options = {.folder = c->options->folder,
                                             .only = mine,
                                             .n_only = n,
                                             .reader = c->options->reader,
                                             .pool = c->options->pool};
  int r = nx_dataset_open(&options, c->options->plan, &data, err);
  if (!r)
    r = train_from_scratch(c, data, c->options->plan->training.batch, site + 1, &model, err);
  if (!r)
    r = score_model(c, model, err);
  if (r < 0)
    return nx_error_prefix(err, r, "local arm, site %zu", site);
  snprintf(name, sizeof name, "local-%zu", site);
  r = add_result(c, name, c->options->n_sites, result, err);
  report(c, NX_ARM_LOCAL);
  return r;
}

static int run_local(struct comparison *c, struct nx_arm_result *result, struct nx_error *err) {
  for (size_t site = 0; site < c->options->n_sites; site++) {
    int r = run_site(c, site, result, err);
    if (r < 0)
      return r;
  }
  return 0;
}

static int run_centralised(struct comparison *c, struct nx_arm_result *result,
                           struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  size_t batch = c->options->plan->training.batch * c->options->n_sites;
  int r = train_from_scratch(c, c->pooled, batch, 0, &model, err);
  if (!r)
    r = score_model(c, model, err);
  if (r < 0)
    return nx_error_prefix(err, r, "centralised arm");
  r = add_result(c, nx_arm_name(NX_ARM_CENTRALISED), 1, result, err);
  report(c, NX_ARM_CENTRALISED);
  return r;
}

static int run_federated(struct comparison *c, struct nx_arm_result *result, struct nx_error *err) {
  if (!c->options->federated_model)
    return nx_fail(err, NX_E_INVALID, "the federated arm needs the federation's model");
  int r = score_model(c, c->options->federated_model, err);
  if (r < 0)
    return nx_error_prefix(err, r, "federated arm");
  r = add_result(c, nx_arm_name(NX_ARM_FEDERATED), 1, result, err);
  report(c, NX_ARM_FEDERATED);
  return r;
}

static int run_linear(struct comparison *c, struct nx_arm_result *result, struct nx_error *err) {
  _cleanup_(nx_linear_finish) struct nx_linear linear = {0};
  int r = nx_linear_fit(c->pooled, c->options->plan, NULL, LINEAR_C, &linear, err);
  if (!r)
    r = nx_linear_score(&linear, c->pooled, c->options->plan, c->scores, err);
  if (r < 0)
    return nx_error_prefix(err, r, "linear arm");
  r = add_result(c, nx_arm_name(NX_ARM_LINEAR), 1, result, err);
  report(c, NX_ARM_LINEAR);
  return r;
}

typedef int nx_arm_fn(struct comparison *c, struct nx_arm_result *result, struct nx_error *err);

static const struct {
  const char *name;
  nx_arm_fn *run;
} arms[NX_ARMS] = {
    [NX_ARM_LOCAL] = {"local", run_local},
    [NX_ARM_FEDERATED] = {"federated", run_federated},
    [NX_ARM_CENTRALISED] = {"centralised", run_centralised},
    [NX_ARM_LINEAR] = {"linear", run_linear},
};

const char *nx_arm_name(enum nx_arm arm) {
  return (size_t)arm < NX_ARMS ? arms[arm].name : "?";
}

int nx_compare(const struct nx_compare_options *options, struct nx_compare_result *result_out,
               struct nx_error *err) {
  _cleanup_(finish_comparison) struct comparison c = {.options = options};
  memset(result_out, 0, sizeof *result_out);
  if (options->n_sites == 0)
    return nx_fail(err, NX_E_INVALID, "compare: no sites");
  int r = divide(options, &c.cohort, err);
  if (!r)
    r = open_pooled(&c, err);
  for (int arm = 0; arm < NX_ARMS; arm++)
    if (options->arms & 1u << arm)
      c.total += arm == NX_ARM_LOCAL ? options->n_sites : 1;
  for (int arm = 0; !r && arm < NX_ARMS; arm++) {
    if (!(options->arms & 1u << arm))
      continue;
    int64_t start = nx_clock_monotonic();
    r = arms[arm].run(&c, &result_out->arms[arm], err);
    result_out->arms[arm].seconds = (double)(nx_clock_monotonic() - start) / NX_SECOND;
  }
  if (r < 0)
    return nx_error_prefix(err, r, "compare fold %zu", options->fold);
  const struct nx_dataset_summary *summary = nx_dataset_summary(c.pooled);
  result_out->n_windows = summary->n_held_out_windows;
  result_out->n_recordings = summary->n_held_out_recordings;
  result_out->synthetic = summary->synthetic;
  return 0;
}
