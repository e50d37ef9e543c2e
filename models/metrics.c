#include "models/metrics.h"

#include <math.h>
#include <stdlib.h>

#include "common/cleanup.h"

struct scored {
  double score;
  uint8_t label;
};

static int by_score(const void *a, const void *b) {
  double x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;
  return (x > y) - (x < y);
}

/* Counts, for each run of equal scores, the pairs that it wins and half of those it ties.
 * Twice the count, to stay in integers. */
static double area(const struct scored *sorted, size_t n) {
  uint64_t negatives = 0, positives = 0, twice_won = 0;
  for (size_t i = 0, j; i < n; i = j) {
    uint64_t run[2] = {0, 0};
    for (j = i; j < n && sorted[j].score == sorted[i].score; j++)
      run[sorted[j].label != 0]++;
    twice_won += run[1] * (2 * negatives + run[0]);
    negatives += run[0];
    positives += run[1];
  }
  return (double)twice_won / 2.0 / ((double)negatives * (double)positives);
}

double nx_auroc(const double *scores, const uint8_t *labels, size_t n) {
  _cleanup_free_ struct scored *sorted = calloc(n ? n : 1, sizeof *sorted);
  if (!sorted)
    return NAN;
  for (size_t i = 0; i < n; i++) {
    if (isnan(scores[i]))
      return NAN;
    sorted[i] = (struct scored){scores[i], labels[i]};
  }
  qsort(sorted, n, sizeof *sorted, by_score);
  return area(sorted, n);
}

double nx_balanced_accuracy(const double *scores, const uint8_t *labels, size_t n,
                            double threshold) {
  uint64_t total[2] = {0, 0}, right[2] = {0, 0};
  for (size_t i = 0; i < n; i++) {
    int positive = labels[i] != 0;
    total[positive]++;
    right[positive] += (scores[i] > threshold) == positive;
  }
  return 0.5 * ((double)right[0] / (double)total[0] + (double)right[1] / (double)total[1]);
}

double nx_auroc_histogram(const uint64_t negative[NX_HISTOGRAM_BINS],
                          const uint64_t positive[NX_HISTOGRAM_BINS]) {
  double below = 0, positives = 0, won = 0;
  for (size_t i = 0; i < NX_HISTOGRAM_BINS; i++) {
    won += (double)positive[i] * (below + 0.5 * (double)negative[i]);
    below += (double)negative[i];
    positives += (double)positive[i];
  }
  return won / (below * positives);
}

double nx_balanced_accuracy_histogram(const uint64_t negative[NX_HISTOGRAM_BINS],
                                      const uint64_t positive[NX_HISTOGRAM_BINS]) {
  double total[2] = {0, 0}, right[2] = {0, 0};
  for (size_t i = 0; i < NX_HISTOGRAM_BINS; i++) {
    total[0] += (double)negative[i];
    total[1] += (double)positive[i];
    right[i >= NX_HISTOGRAM_BINS / 2] +=
        (double)(i >= NX_HISTOGRAM_BINS / 2 ? positive[i] : negative[i]);
  }
  return 0.5 * (right[0] / total[0] + right[1] / total[1]);
}

double nx_calibration_error_histogram(const uint64_t negative[NX_HISTOGRAM_BINS],
                                      const uint64_t positive[NX_HISTOGRAM_BINS]) {
  const size_t step = NX_HISTOGRAM_BINS / NX_CALIBRATION_BINS;
  double error = 0, total = 0;
  for (size_t first = 0; first < NX_HISTOGRAM_BINS; first += step) {
    double gap = 0; /* positives - sum of probabilities: the bin's count times its gap */
    for (size_t i = first; i < first + step; i++) {
      double n = (double)negative[i] + (double)positive[i];
      gap += (double)positive[i] - n * ((double)i + 0.5) / NX_HISTOGRAM_BINS;
      total += n;
    }
    error += fabs(gap);
  }
  return error / total;
}

void nx_recording_scores(const double *scores, const uint32_t *recordings, size_t n,
                         double *means_out, size_t n_recordings) {
  for (size_t r = 0; r < n_recordings; r++) {
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
      if (recordings[i] == r) {
        sum += scores[i];
        count++;
      }
    means_out[r] = count ? sum / (double)count : NAN;
  }
}
