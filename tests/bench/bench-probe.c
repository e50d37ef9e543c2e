/* Does what one network learns about movement carry over between species? Rat (hippocampal spikes,
 * speed from a camera), mouse (hippocampal calcium, speed along a track), monkey (motor cortex
 * counts, velocity of the hand): one general network (nano) is trained to fill in hidden samples of
 * all three, without labels; then a logistic probe on its embedding learns still / moving
 * (configs/behaviour.yaml) from two species and is tried on the third. Beside it: the same probe on
 * the embedding of the untrained network, and on two plain numbers of a window, the population's
 * activity and the share of channels that were active at all.
 *
 *   auroc, balanced_accuracy   of the third species' windows
 *   null                       the same with the training labels drawn anew and the probe fitted
 * anew: permuted within blocks of 20 windows of one recording, or each recording's labels turned by
 * a random time (which keeps how long still and moving last). p: share of the null at least as good
 *
 * Features are standardised per species, without labels; the network and that standardising have
 * seen the third species' recordings, no label of it. At most 100 windows of each class and
 * species. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "models/metrics.h"
#include "models/nets/general_network.h"
#include "node/dataset/logistic.h"
#include "node/train/general_trainer.h"
#include "tests/bench/bench.h"
#include "tests/bench/modality_sites.h"

#define SPECIES 3
#define PATCHES 2 /* a window: 0.4 s of spikes, 1 s of calcium: mice seldom stay still for longer  \
                   */
#define STEPS 200
#define BATCH 8
#define EACH_CLASS 100
#define LEAST_OF_CLASS 10
#define BLOCK 20
#define DRAWS 200
#define PENALTY 0.01
#define SIMPLE 2 /* features of the plain probe */
#define PROGRESS_SECONDS 2.0

static const char *const names[SPECIES] = {"rat-spikes", "mouse-calcium", "monkey-spikes"};

/* Chosen windows of one species, in order of time within each recording. */
struct windows {
  const char *species;
  size_t n, per_class[2], in_all[2];
  uint8_t *labels;
  uint32_t *recordings;
  double *features[3]; /* [n][width or SIMPLE] */
};

enum { TRAINED, UNTRAINED, PLAIN, KINDS };
static const char *const kind_names[] = {"network", "untrained network", "activity"};

static void *room(size_t n, size_t size) {
  void *memory = calloc(n + 1, size);
  if (!memory)
    bench_fail("out of memory");
  return memory;
}

static struct modality_site site_of(size_t species) {
  for (size_t i = 0; i < n_modality_sites; i++)
    if (!strcmp(modality_sites[i].name, names[species])) {
      struct modality_site site = modality_sites[i];
      site.patches = PATCHES; /* one plan for all, rates and patches as it says */
      site.rate_hz = 0;
      return site;
    }
  bench_fail("no such data set: %s", names[species]);
}

/* ---- The network ---- */

static bool report(void *context) {
  static double last;
  size_t *step = context;
  ++*step;
  if (bench_seconds() - last > PROGRESS_SECONDS) {
    fprintf(stderr, "\rtraining: step %zu of %d", *step, STEPS);
    last = bench_seconds();
  }
  return false;
}

static struct nx_model *untrained(void) {
  struct modality_site site = site_of(0);
  struct nx_plan *plan = modality_site_plan(&site, NX_OBJECTIVE_RECONSTRUCTION);
  struct nx_model *model;
  struct nx_error err = {0};
  if (nx_model_create(plan, &model, &err))
    bench_fail("%s", err.text);
  nx_plan_destroy(plan);
  return model;
}

/* Trained on the stretches of all three species; labels are not read. */
static struct nx_model *trained(struct nx_dataset *const datasets[SPECIES], size_t steps) {
  struct modality_site site = site_of(0);
  struct nx_plan *plan = modality_site_plan(&site, NX_OBJECTIVE_RECONSTRUCTION);
  struct nx_signals sets[SPECIES];
  struct nx_train_result result;
  struct nx_error err = {0};
  struct nx_model *model = untrained();
  size_t n, step = 0;
  for (size_t s = 0; s < SPECIES; s++)
    sets[s] = nx_dataset_signals(datasets[s], &n)[0];
  const struct nx_site_signals all = {SPECIES, sets};
  const struct nx_train_options options = {.seed = 1,
                                           .n_steps = steps,
                                           .total_steps = steps,
                                           .batch = BATCH,
                                           .cancelled = report,
                                           .context = &step};
  if (nx_general_train(model, &all, plan, &options, NULL, &result, &err))
    bench_fail("%s", err.text);
  fputc('\n', stderr);
  nx_plan_destroy(plan);
  return model;
}

/* ---- Windows ---- */

/* Spread over time: each k-th of its class. True for window number i of in_all. */
static bool chosen(size_t i, size_t in_all) {
  size_t wanted = NX_MIN((size_t)EACH_CLASS, in_all);
  return (i + 1) * wanted / in_all > i * wanted / in_all;
}

static void count(const struct nx_signals *set, size_t window, size_t in_all[2]) {
  for (size_t i = 0; i < set->n; i++)
    in_all[set->signals[i].label] += set->signals[i].n_samples / window;
}

static void plain_features(const struct nx_general_input *in, const struct nx_signals *set,
                           double out[SIMPLE]) {
  size_t n = set->tokeniser->patch_samples, n_in = n + n / 2 + 1, active = 0;
  double sum = 0;
  for (size_t c = 0; c < in->n_channels; c++) {
    double of_channel = 0;
    for (size_t p = 0; p < PATCHES; p++)
      for (size_t j = 0; j < n; j++)
        of_channel += fabs((double)in->x[(c * PATCHES + p) * n_in + j]);
    sum += of_channel;
    active += of_channel > 0;
  }
  out[0] = log(sum / (double)in->n_channels + 1e-3);
  out[1] = (double)active / (double)in->n_channels;
}

/* Recordings of stretches: those of one recording share its statistics. */
static uint32_t recording_of(const struct nx_signals *set, size_t stretch) {
  uint32_t number = 0;
  for (size_t i = 1; i <= stretch; i++)
    number += set->signals[i].stats != set->signals[i - 1].stats;
  return number;
}

static void embed(struct nx_general_network *network, const struct nx_model *model,
                  const struct nx_signal_batch *batch, double *out) {
  size_t width = model->shape.width;
  _cleanup_free_ float *row = room(width, sizeof *row);
  struct nx_error err = {0};
  if (nx_general_network_embed(network, model, batch->groups, 1, row, &err))
    bench_fail("%s", err.text);
  for (size_t j = 0; j < width; j++)
    out[j] = (double)row[j];
}

static void standardise(double *x, size_t n, size_t m) {
  for (size_t j = 0; j < m; j++) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
      mean += x[i * m + j] / (double)n;
    for (size_t i = 0; i < n; i++)
      squares += pow(x[i * m + j] - mean, 2) / (double)n;
    for (size_t i = 0; i < n; i++)
      x[i * m + j] = (x[i * m + j] - mean) / (squares > 0 ? sqrt(squares) : 1);
  }
}

/* Of the grid's window number `first`. */
static uint8_t label_of(const struct nx_signals *set, size_t window, size_t first) {
  size_t i = 0;
  for (; first >= set->signals[i].n_samples / window; i++)
    first -= set->signals[i].n_samples / window;
  return set->signals[i].label;
}

static struct windows windows_of(size_t species, const struct nx_dataset *dataset,
                                 const struct nx_model *const models[2]) {
  struct modality_site site = site_of(species);
  size_t n_sets, width = models[0]->shape.width, seen[2] = {0}, total;
  const struct nx_signals *set = nx_dataset_signals(dataset, &n_sets);
  struct windows w = {.species = site.species};
  struct nx_signal_batch batch = {0};
  struct nx_general_network *networks[2];
  struct nx_error err = {0};
  size_t window = PATCHES * (size_t)set->tokeniser->patch_samples;
  count(set, window, w.in_all);
  total = w.in_all[0] + w.in_all[1];
  for (int label = 0; label < 2; label++)
    w.n += w.per_class[label] = NX_MIN((size_t)EACH_CLASS, w.in_all[label]);
  if (NX_MIN(w.per_class[0], w.per_class[1]) < LEAST_OF_CLASS)
    bench_fail("%s: %zu windows still, %zu moving: too few to judge by", site.name, w.in_all[0],
               w.in_all[1]);
  w.labels = room(w.n, 1);
  w.recordings = room(w.n, sizeof *w.recordings);
  for (int k = 0; k < KINDS; k++)
    w.features[k] = room(w.n * width, sizeof(double));
  for (int k = 0; k < 2; k++)
    if (nx_general_network_create(models[k], &networks[k], &err))
      bench_fail("%s", err.text);
  if (nx_signal_batch_init(&batch, set, &models[0]->shape, &err))
    bench_fail("%s: %s", site.name, err.text);
  for (size_t first = 0, i = 0; first < total; first++) {
    uint8_t label = label_of(set, window, first);
    if (!chosen(seen[label]++, w.in_all[label]))
      continue;
    if (nx_signal_batch_grid(&batch, NX_SPLIT_TRAIN, first, 1, &err))
      bench_fail("%s: %s", site.name, err.text);
    if (batch.groups[0].labels[0] != label)
      bench_fail("%s: windows out of order", site.name);
    w.labels[i] = label;
    w.recordings[i] = recording_of(set, batch.recordings[0]);
    for (int k = 0; k < 2; k++)
      embed(networks[k], models[k], &batch, w.features[k] + i * width);
    plain_features(&batch.groups[0], set, w.features[PLAIN] + i * SIMPLE);
    i++;
  }
  for (int k = 0; k < KINDS; k++)
    standardise(w.features[k], w.n, k == PLAIN ? SIMPLE : width);
  for (int k = 0; k < 2; k++)
    nx_general_network_destroy(networks[k]);
  nx_signal_batch_finish(&batch);
  fprintf(stderr, "%s: %zu still and %zu moving of %zu and %zu windows, %u recordings\n", site.name,
          w.per_class[0], w.per_class[1], w.in_all[0], w.in_all[1], w.recordings[w.n - 1] + 1);
  return w;
}

/* ---- Null ---- */

enum null { PERMUTED, TURNED, NULLS };
static const char *const null_names[] = {"permuted in blocks", "turned in time"};

/* Labels from, at most BLOCK or a whole recording, in another order. */
static void redraw(const struct windows *w, enum null null, struct nx_rng *rng, uint8_t *out) {
  for (size_t first = 0, end; first < w->n; first = end) {
    for (end = first; end < w->n && w->recordings[end] == w->recordings[first] &&
                      (null == TURNED || end - first < BLOCK);)
      end++;
    size_t n = end - first, turn = (size_t)nx_rng_below(rng, n);
    for (size_t i = 0; i < n; i++)
      out[first + i] = w->labels[first + (null == TURNED ? (i + turn) % n : i)];
    for (size_t i = n; null == PERMUTED && i-- > 1;) {
      size_t k = (size_t)nx_rng_below(rng, i + 1);
      uint8_t label = out[first + i];
      out[first + i] = out[first + k];
      out[first + k] = label;
    }
  }
}

/* ---- Probe ---- */

struct outcome {
  double auroc, accuracy;
};

/* x, labels: of the two training species, one after the other. */
static struct outcome probe(const double *x, const uint8_t *labels, size_t n, size_t m,
                            const struct windows *test, int kind) {
  _cleanup_free_ double *w = room(m + 1, sizeof *w), *scores = room(test->n, sizeof *scores);
  struct nx_error err = {0};
  if (nx_logistic_fit(x, labels, n, m, PENALTY, w, &err))
    bench_fail("%s", err.text);
  for (size_t i = 0; i < test->n; i++) {
    scores[i] = w[m];
    for (size_t j = 0; j < m; j++)
      scores[i] += w[j] * test->features[kind][i * m + j];
  }
  return (struct outcome){nx_auroc(scores, test->labels, test->n),
                          nx_balanced_accuracy(scores, test->labels, test->n, 0)};
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void add(struct bench *bench, const struct bench_key *keys, const char *metric, double value,
                const char *unit, double limit, const char *limit_name) {
  struct bench_row row = {
      .metric = metric, .value = value, .unit = unit, .limit = limit_name, .limit_value = limit};
  memcpy(row.keys, keys, sizeof row.keys);
  bench_add(bench, &row);
}

static void try_on(struct bench *bench, const struct windows *all, size_t third, int kind,
                   size_t width) {
  size_t m = kind == PLAIN ? SIMPLE : width, n = 0, draws = bench_is_quick(bench) ? 10 : DRAWS;
  const struct windows *test = &all[third];
  for (size_t s = 0; s < SPECIES; s++)
    n += s == third ? 0 : all[s].n;
  _cleanup_free_ double *x = room(n * m, sizeof *x), *null = room(draws, sizeof *null);
  _cleanup_free_ uint8_t *labels = room(n, 1);
  for (size_t s = 0, at = 0; s < SPECIES; s++)
    if (s != third) {
      memcpy(x + at * m, all[s].features[kind], all[s].n * m * sizeof *x);
      memcpy(labels + at, all[s].labels, all[s].n);
      at += all[s].n;
    }
  struct outcome seen = probe(x, labels, n, m, test, kind);
  struct bench_key keys[BENCH_KEYS_MAX] = {{"third", 0, test->species},
                                           {"features", 0, kind_names[kind]}};
  add(bench, keys, "auroc", seen.auroc, "", 0, NULL);
  add(bench, keys, "balanced_accuracy", seen.accuracy, "", 0, NULL);
  printf("| %s | %s | %.3f | %.3f |", test->species, kind_names[kind], seen.auroc, seen.accuracy);
  for (int how = 0; how < NULLS; how++) {
    struct nx_rng rng;
    size_t as_good = 0;
    nx_rng_init(&rng, 3, third * NULLS + (size_t)how);
    for (size_t d = 0; d < draws; d++) {
      for (size_t s = 0, at = 0; s < SPECIES; s++)
        if (s != third) {
          redraw(&all[s], (enum null)how, &rng, labels + at);
          at += all[s].n;
        }
      null[d] = probe(x, labels, n, m, test, kind).auroc;
      as_good += null[d] >= seen.auroc;
    }
    qsort(null, draws, sizeof *null, by_value);
    double p = (double)(as_good + 1) / (double)(draws + 1);
    keys[2] = (struct bench_key){"null", 0, null_names[how]};
    add(bench, keys, "null_median", null[draws / 2], "auroc", 0, NULL);
    add(bench, keys, "null_5_percent", null[draws / 20], "auroc", 0, NULL);
    add(bench, keys, "null_95_percent", null[draws * 19 / 20], "auroc", 0, NULL);
    add(bench, keys, "p", p, "", 0, NULL);
    printf(" %.3f (%.3f to %.3f), p %.3f |", null[draws / 2], null[draws / 20],
           null[draws * 19 / 20], p);
  }
  putchar('\n');
  fflush(stdout);
}

int main(int argc, char **argv) {
  struct bench *bench = bench_begin("probe", "", &argc, argv);
  if (argc > 1)
    bench_fail("%s: no such option", argv[1]);
  struct nx_dataset *datasets[SPECIES];
  struct nx_plan *plans[SPECIES];
  struct windows all[SPECIES];
  for (size_t s = 0; s < SPECIES; s++) {
    struct modality_site site = site_of(s);
    plans[s] = modality_site_plan(&site, NX_OBJECTIVE_CLASSIFICATION);
    fprintf(stderr, "reading %s\n", site.name);
    datasets[s] = modality_site_open(&site, plans[s]);
  }
  struct nx_model *models[2] = {trained(datasets, bench_is_quick(bench) ? 6 : STEPS), untrained()};
  for (size_t s = 0; s < SPECIES; s++)
    all[s] = windows_of(s, datasets[s], (const struct nx_model *const *)models);
  for (size_t s = 0; s < SPECIES; s++)
    for (int kind = 0; kind < KINDS; kind++)
      try_on(bench, all, s, kind, models[0]->shape.width);
  for (size_t s = 0; s < SPECIES; s++) {
    nx_dataset_destroy(datasets[s]);
    nx_plan_destroy(plans[s]);
    free(all[s].labels);
    free(all[s].recordings);
    for (int kind = 0; kind < KINDS; kind++)
      free(all[s].features[kind]);
  }
  nx_model_destroy(models[0]);
  nx_model_destroy(models[1]);
  return bench_end(bench);
}
