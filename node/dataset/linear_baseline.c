#include "node/dataset/linear_baseline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/dataset/logistic.h"
#include "node/dataset/welch.h"

#define SEGMENT_SECONDS 2

static const double edges[NX_LINEAR_BANDS + 1] = {1, 4, 8, 10, 13, 20, 30, 45}; /* Hz */

/* Windows of one split as a matrix. */
struct table {
  size_t n, n_features;
  double *x;       /* [n][n_features], channel-major features */
  uint8_t *labels; /* [n] */
};

static void finish_table(struct table *table) {
  free(table->x);
  free(table->labels);
}

static void band_powers(const double *density, size_t n_bins, double bin_hz, double *out) {
  for (size_t b = 0; b < NX_LINEAR_BANDS; b++) {
    double sum = 0;
    size_t count = 0;
    for (size_t k = 0; k < n_bins; k++)
      if ((double)k * bin_hz >= edges[b] && (double)k * bin_hz < edges[b + 1]) {
        sum += density[k];
        count++;
      }
    out[b] = count && sum > 0 ? log(sum / (double)count) : -30;
  }
}

/* The spectra of one plan: segment, bins up to the last edge. */
static int make_welch(const struct nx_plan *plan, struct nx_welch **welch_out, size_t *n_bins_out,
                      double *bin_hz_out, struct nx_error *err) {
  double rate = plan->preprocessing.rate_hz;
  double seconds = fmin(SEGMENT_SECONDS, plan->window.seconds);
  size_t segment = (size_t)lround(seconds * rate);
  *bin_hz_out = rate / (double)segment;
  *n_bins_out = NX_MIN(segment / 2 + 1, (size_t)ceil(edges[NX_LINEAR_BANDS] / *bin_hz_out));
  return nx_welch_create(segment, *n_bins_out, rate, welch_out, err);
}

static int put_window(const struct nx_dataset_recording *recording, size_t n_channels, size_t start,
                      size_t n, const struct nx_welch *welch, size_t n_bins, double bin_hz,
                      double *row, double *scratch, struct nx_error *err) {
  for (size_t c = 0; c < n_channels; c++) {
    const float *x = recording->x + c * recording->n_samples + start;
    double *samples = scratch, *density = scratch + n;
    for (size_t i = 0; i < n; i++)
      samples[i] = x[i];
    int r = nx_welch_density(welch, samples, n, density, err);
    if (r < 0)
      return r;
    band_powers(density, n_bins, bin_hz, row + c * NX_LINEAR_BANDS);
  }
  return 0;
}

static bool is_selected(const struct nx_dataset *dataset, size_t i, enum nx_split split,
                        const uint8_t *selected) {
  return nx_dataset_recording(dataset, i)->split == split && (!selected || selected[i]);
}

static int fill_table(const struct nx_dataset *dataset, const struct nx_plan *plan,
                      enum nx_split split, const uint8_t *selected, struct table *table,
                      struct nx_error *err) {
  const struct nx_dataset_summary *summary = nx_dataset_summary(dataset);
  size_t window = (size_t)lround(plan->window.seconds * summary->rate_hz), n_bins, rows = 0;
  double bin_hz;
  _cleanup_(nx_welch_destroyp) struct nx_welch *welch = NULL;
  int r = make_welch(plan, &welch, &n_bins, &bin_hz, err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < summary->n_recordings; i++)
    if (is_selected(dataset, i, split, selected))
      rows += nx_dataset_recording(dataset, i)->n_samples / window;
  table->n_features = summary->n_channels * NX_LINEAR_BANDS;
  table->x = reallocarray(NULL, NX_MAX(rows, (size_t)1) * table->n_features, sizeof *table->x);
  table->labels = calloc(NX_MAX(rows, (size_t)1), 1);
  _cleanup_free_ double *scratch = calloc(window + n_bins, sizeof *scratch);
  if (!table->x || !table->labels || !scratch)
    return nx_fail(err, NX_E_NOMEM, "linear baseline: out of memory");
  for (size_t i = 0; i < summary->n_recordings; i++) {
    const struct nx_dataset_recording *recording = nx_dataset_recording(dataset, i);
    for (size_t w = 0;
         is_selected(dataset, i, split, selected) && w < recording->n_samples / window; w++) {
      r = put_window(recording, summary->n_channels, w * window, window, welch, n_bins, bin_hz,
                     table->x + table->n * table->n_features, scratch, err);
      if (r < 0)
        return r;
      table->labels[table->n++] = recording->label;
    }
  }
  return 0;
}

static void standardise(struct table *table, double *mean, double *sd) {
  size_t m = table->n_features;
  for (size_t j = 0; j < m; j++) {
    mean[j] = sd[j] = 0;
    for (size_t i = 0; i < table->n; i++)
      mean[j] += table->x[i * m + j] / (double)table->n;
    for (size_t i = 0; i < table->n; i++)
      sd[j] += pow(table->x[i * m + j] - mean[j], 2) / (double)table->n;
    sd[j] = sd[j] > 0 ? sqrt(sd[j]) : 1;
    for (size_t i = 0; i < table->n; i++)
      table->x[i * m + j] = (table->x[i * m + j] - mean[j]) / sd[j];
  }
}

int nx_linear_fit(const struct nx_dataset *dataset, const struct nx_plan *plan,
                  const uint8_t *selected, double c, struct nx_linear *linear_out,
                  struct nx_error *err) {
  _cleanup_(finish_table) struct table table = {0};
  int r = fill_table(dataset, plan, NX_SPLIT_TRAIN, selected, &table, err);
  if (r < 0)
    return r;
  if (table.n == 0)
    return nx_fail(err, NX_E_STATE, "linear baseline: no recording to train on");
  size_t m = table.n_features;
  _cleanup_free_ double *mean = calloc(m, sizeof *mean), *sd = calloc(m, sizeof *sd);
  _cleanup_free_ double *w = calloc(m + 1, sizeof *w);
  if (!mean || !sd || !w)
    return nx_fail(err, NX_E_NOMEM, "linear baseline: out of memory");
  standardise(&table, mean, sd);
  r = nx_logistic_fit(table.x, table.labels, table.n, m, c, w, err);
  if (r < 0)
    return nx_error_prefix(err, r, "linear baseline");
  linear_out->n_features = m;
  linear_out->bias = w[m];
  for (size_t j = 0; j < m; j++) {
    w[j] /= sd[j];
    linear_out->bias -= w[j] * mean[j];
  }
  linear_out->weights = nx_steal(&w);
  return 0;
}

int nx_linear_score(const struct nx_linear *linear, const struct nx_dataset *dataset,
                    const struct nx_plan *plan, double *scores_out, struct nx_error *err) {
  _cleanup_(finish_table) struct table table = {0};
  int r = fill_table(dataset, plan, NX_SPLIT_HELD_OUT, NULL, &table, err);
  if (r < 0)
    return r;
  if (table.n_features != linear->n_features)
    return nx_fail(err, NX_E_INVALID, "linear baseline: fitted on %zu features, scored on %zu",
                   linear->n_features, table.n_features);
  for (size_t i = 0; i < table.n; i++) {
    scores_out[i] = linear->bias;
    for (size_t j = 0; j < table.n_features; j++)
      scores_out[i] += linear->weights[j] * table.x[i * table.n_features + j];
  }
  return 0;
}

void nx_linear_finish(struct nx_linear *linear) {
  free(linear->weights);
  memset(linear, 0, sizeof *linear);
}
