/* What the general network (size nano) learns from each of the shared recordings: trained by the
 * node's own trainer on a part of them, then asked for the hidden samples of the rest, beside what
 * a channel's mean and a linear autoregressive model (tests/bench/ar_predictor.h), fitted per
 * channel on the same part, say of the very same samples.
 *
 *   mse      mean squared error of hidden samples; in robust SDs squared, or counts squared
 *   error    that over the mean's: 1 is as bad as the mean, 0 is perfect
 *   nats     counts only: Poisson negative log likelihood a sample, less the mean's
 *
 * Splits are in tests/bench/modality_sites.h. Minutes a data set on one core; every draw is seeded.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "models/nets/general_network.h"
#include "node/train/general_trainer.h"
#include "tests/bench/ar_predictor.h"
#include "tests/bench/bench.h"
#include "tests/bench/modality_sites.h"

#define EVALUATED 48    /* windows of a set, spread over the held-out part */
#define COUNT_FLOOR 0.1 /* of the channel's mean: a linear model may say less than nothing */
#define PROGRESS_SECONDS 2.0

enum predictor { MEAN, AR_PAST, AR_BOTH, NETWORK, PREDICTORS };
static const char *const predictor_names[] = {"mean", "ar", "ar-both-sides", "network"};

struct score {
  double squares[PREDICTORS], nats[PREDICTORS];
  size_t samples, windows, orders, models;
};

/* ---- Training ---- */

struct progress {
  const char *name;
  size_t step, steps;
  double last;
};

static bool report(void *context) {
  struct progress *p = context;
  p->step++;
  if (bench_seconds() - p->last > PROGRESS_SECONDS || p->step == p->steps) {
    fprintf(stderr, "\r%-14s step %zu of %zu", p->name, p->step, p->steps);
    p->last = bench_seconds();
  }
  return false;
}

static struct nx_model *train(const struct modality_site *site, const struct nx_plan *plan,
                              const struct modality_split_sets *sets, size_t steps) {
  struct nx_model *model;
  struct nx_train_result result;
  struct nx_error err = {0};
  struct progress progress = {site->name, 0, steps, 0};
  const struct nx_site_signals signals = {sets->n_sets, sets->sets};
  const struct nx_train_options options = {.seed = 1,
                                           .n_steps = steps,
                                           .total_steps = steps,
                                           .batch = site->batch,
                                           .cancelled = report,
                                           .context = &progress};
  if (nx_model_create(plan, &model, &err) ||
      nx_general_train(model, &signals, plan, &options, NULL, &result, &err))
    bench_fail("%s: %s", site->name, err.text);
  fputc('\n', stderr);
  return model;
}

/* ---- Baselines ---- */

static double mean_of(const struct nx_signal *s, size_t c) {
  double sum = 0;
  for (size_t t = 0; t < s->n_samples; t++)
    sum += (double)s->x[c * s->n_samples + t];
  return sum / (double)s->n_samples;
}

/* Of one channel, from the training recordings first .. first + n - 1 that are for training. */
static struct ar_model fit_channel(const struct nx_signals *set, size_t first, size_t n, size_t c,
                                   size_t most) {
  double mean = 0, r[AR_ORDER_MAX + 1] = {0};
  size_t recordings = 0, samples = 0;
  struct ar_model model;
  for (size_t i = first; i < first + n; i++)
    if (set->signals[i].split == NX_SPLIT_TRAIN) {
      mean += mean_of(&set->signals[i], c);
      recordings++;
    }
  mean /= (double)recordings;
  for (size_t i = first; i < first + n; i++) {
    const struct nx_signal *s = &set->signals[i];
    if (s->split != NX_SPLIT_TRAIN)
      continue;
    ar_add_products(s->x + c * s->n_samples, s->n_samples, mean, r);
    samples += s->n_samples;
  }
  ar_fit(r, samples, mean, most, &model);
  return model;
}

/* Of every channel of the recording that `held_out` is the rest of (the one before it), or for
 * people of all others' same channel: a montage is common to them. */
static struct ar_model *fit(const struct modality_site *site, const struct nx_signals *set,
                            size_t held_out, size_t window) {
  bool people = site->split == SPLIT_SUBJECTS;
  size_t n = set->signals[held_out].n_channels, most = NX_MIN((size_t)AR_ORDER_MAX, window / 3);
  struct ar_model *models = calloc(n, sizeof *models);
  for (size_t i = 0; people && i < set->n; i++)
    if (set->signals[i].n_channels != n)
      bench_fail("%s: recordings of unlike channels cannot share a baseline", site->name);
  for (size_t c = 0; models && c < n; c++)
    models[c] =
        people ? fit_channel(set, 0, set->n, c, most) : fit_channel(set, held_out - 1, 1, c, most);
  if (!models)
    bench_fail("out of memory");
  return models;
}

/* ---- Judging ---- */

/* The window that answers are coming for. */
struct judge {
  const struct modality_site *site;
  const struct nx_signals *set;
  const struct nx_signal_batch *batch;
  struct ar_model **models; /* [set->n], made when first needed */
  size_t group, window;
  bool open;
  uint8_t *hidden; /* [C][S * n] */
  double *said;    /* [C][S * n], the network's */
  struct score *score;
};

static void add(struct score *score, enum predictor who, double said, double truth, bool counts,
                double mean) {
  if (counts) {
    double rate = fmax(said, COUNT_FLOOR * mean);
    score->nats[who] += rate - truth * log(rate);
  }
  score->squares[who] += (said - truth) * (said - truth);
}

static void judge_channel(struct judge *j, const struct nx_general_input *in, size_t c) {
  size_t n = j->set->tokeniser->patch_samples, S = j->batch->patches, N = n * S;
  size_t recording = j->batch->recordings[j->group], any = 0;
  bool counts = j->set->tokeniser->loss == NX_TOKEN_LOSS_POISSON;
  const uint8_t *hidden = j->hidden + c * N;
  const struct ar_model *model = &j->models[recording][c];
  _cleanup_free_ float *x = calloc(N, sizeof *x);
  _cleanup_free_ double *past = calloc(N, sizeof *past), *both = calloc(N, sizeof *both);
  if (!x || !past || !both)
    bench_fail("out of memory");
  for (size_t t = 0; t < N; t++) {
    x[t] = in->x[((j->window * in->n_channels + c) * S + t / n) * j->batch->inputs + t % n];
    any += hidden[t];
  }
  if (!any)
    return;
  ar_forecast(model, x, hidden, N, past);
  if (!ar_interpolate(model, x, hidden, N, both))
    bench_fail("out of memory");
  for (size_t t = 0; t < N; t++) {
    if (!hidden[t])
      continue;
    const double said[PREDICTORS] = {model->mean, past[t], both[t], j->said[c * N + t]};
    for (size_t who = 0; who < PREDICTORS; who++)
      add(j->score, who, said[who], (double)x[t], counts, model->mean);
  }
  j->score->samples += any;
}

static void close_window(struct judge *j) {
  if (!j->open)
    return;
  const struct nx_general_input *in = &j->batch->groups[j->group];
  for (size_t c = 0; c < in->n_channels; c++)
    judge_channel(j, in, c);
  j->score->windows++;
  free(j->hidden);
  free(j->said);
  j->open = false;
}

static void open_window(struct judge *j, size_t group, size_t window) {
  size_t recording = j->batch->recordings[group];
  size_t N = j->batch->patches * j->set->tokeniser->patch_samples;
  size_t C = j->batch->groups[group].n_channels;
  if (!j->models[recording]) {
    j->models[recording] = fit(j->site, j->set, recording, N);
    for (size_t c = 0; c < C; c++)
      j->score->orders += j->models[recording][c].order;
    j->score->models += C;
  }
  j->hidden = calloc(C * N, 1);
  j->said = calloc(C * N, sizeof *j->said);
  if (!j->hidden || !j->said)
    bench_fail("out of memory");
  j->group = group;
  j->window = window;
  j->open = true;
}

static void hear(void *context, size_t group, size_t window, uint32_t token,
                 const float *prediction, const float *target, size_t n) {
  struct judge *j = context;
  bool counts = j->set->tokeniser->loss == NX_TOKEN_LOSS_POISSON;
  (void)target;
  if (!j->open || j->group != group || j->window != window) {
    close_window(j);
    open_window(j, group, window);
  }
  for (size_t i = 0; i < n; i++) {
    j->hidden[token * n + i] = 1;
    j->said[token * n + i] = counts ? exp((double)prediction[i]) : (double)prediction[i];
  }
}

static struct score judge_set(const struct modality_site *site, const struct nx_model *model,
                              const struct nx_signals *set) {
  struct nx_signal_batch batch = {0};
  struct nx_general_network *network;
  struct nx_error err = {0};
  struct score score = {0};
  if (nx_signal_batch_init(&batch, set, &model->shape, &err) ||
      nx_general_network_create(model, &network, &err))
    bench_fail("%s: %s", site->name, err.text);
  struct judge judge = {.site = site, .set = set, .batch = &batch, .score = &score};
  judge.models = calloc(set->n, sizeof *judge.models);
  size_t total = nx_signals_windows(set, NX_SPLIT_HELD_OUT, batch.patches);
  size_t stride = NX_MAX((size_t)1, total / EVALUATED);
  for (size_t first = 0; judge.models && first < total; first += stride) {
    struct nx_rng masks;
    nx_rng_init(&masks, 2, first);
    double loss;
    if (nx_signal_batch_grid(&batch, NX_SPLIT_HELD_OUT, first, 1, &err) ||
        nx_general_network_evaluate(network, model, batch.groups, batch.n_groups, &masks, hear,
                                    &judge, &loss, &err))
      bench_fail("%s: %s", site->name, err.text);
    close_window(&judge);
  }
  for (size_t i = 0; judge.models && i < set->n; i++)
    free(judge.models[i]);
  free(judge.models);
  nx_signal_batch_finish(&batch);
  nx_general_network_destroy(network);
  if (!score.samples)
    bench_fail("%s: nothing was held out", site->name);
  return score;
}

/* ---- Reporting ---- */

static void say(struct bench *bench, const struct modality_site *site, const struct nx_signals *set,
                const struct score *s, size_t steps, double seconds) {
  bool counts = set->tokeniser->loss == NX_TOKEN_LOSS_POISSON;
  double mean = s->squares[MEAN];
  for (size_t who = 0; who < PREDICTORS; who++) {
    struct bench_row row = {.keys = {{"data", 0, site->name},
                                     {"tokeniser", 0, nx_tokeniser_name(set->tokeniser->kind)},
                                     {"predictor", 0, predictor_names[who]},
                                     {"steps", (double)steps, NULL}}};
    row.metric = "mse";
    row.unit = counts ? "counts2" : "SD2";
    row.value = s->squares[who] / (double)s->samples;
    bench_add(bench, &row);
    if (who == MEAN)
      continue;
    row.metric = "error";
    row.unit = "of mean";
    row.value = s->squares[who] / mean;
    bench_add(bench, &row);
    if (!counts)
      continue;
    row.metric = "nats";
    row.unit = "a sample";
    row.value = (s->nats[who] - s->nats[MEAN]) / (double)s->samples;
    bench_add(bench, &row);
  }
  printf("| %s, %s | %zu | %.3f | %.3f | %.3f | %.1f |", site->name,
         nx_tokeniser_name(set->tokeniser->kind), s->windows, s->squares[AR_PAST] / mean,
         s->squares[AR_BOTH] / mean, s->squares[NETWORK] / mean,
         (double)s->orders / (double)s->models);
  if (counts)
    printf(" nats %+.4f, %+.4f, %+.4f |", (s->nats[AR_PAST] - s->nats[MEAN]) / (double)s->samples,
           (s->nats[AR_BOTH] - s->nats[MEAN]) / (double)s->samples,
           (s->nats[NETWORK] - s->nats[MEAN]) / (double)s->samples);
  printf(" %.0f s\n", seconds);
  fflush(stdout);
}

static void run_site(struct bench *bench, const struct modality_site *site) {
  double start = bench_seconds();
  size_t steps = bench_is_quick(bench) ? 4 : site->steps;
  struct nx_plan *plan = modality_site_plan(site, NX_OBJECTIVE_RECONSTRUCTION);
  struct nx_dataset *dataset = modality_site_open(site, plan);
  struct modality_split_sets sets = {0};
  modality_site_split(site, plan, dataset, &sets);
  struct nx_model *model = train(site, plan, &sets, steps);
  for (size_t k = 0; k < sets.n_sets; k++) {
    struct score score = judge_set(site, model, &sets.sets[k]);
    say(bench, site, &sets.sets[k], &score, steps, bench_seconds() - start);
  }
  nx_model_destroy(model);
  modality_split_finish(&sets);
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
}

int main(int argc, char **argv) {
  struct bench *bench = bench_begin("modalities",
                                    "[eegmat|ecog|seeg|rat-lfp|rat-spikes|mouse-calcium|"
                                    "monkey-spikes|haxby …]",
                                    &argc, argv);
  for (int a = 1; a < argc; a++) {
    size_t i = 0;
    while (i < n_modality_sites && strcmp(argv[a], modality_sites[i].name))
      i++;
    if (i == n_modality_sites)
      bench_fail("there is no data set %s: --help lists them", argv[a]);
  }
  for (size_t i = 0; i < n_modality_sites; i++) {
    bool wanted = argc == 1;
    for (int a = 1; a < argc; a++)
      wanted |= !strcmp(argv[a], modality_sites[i].name);
    if (wanted)
      run_site(bench, &modality_sites[i]);
  }
  return bench_end(bench);
}
