/* Metrics: how well scores tell two classes apart, exactly from scores or approximately from
 * the histograms that ride in aux lanes (common/aux_lanes.h). Pure functions. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/aux_lanes.h"

/* Area under the ROC curve: P(score of a random positive > of a random negative), ties
 * counted half (Mann & Whitney 1947). labels: 0 or 1. NaN when a class is empty, a score is
 * NaN or memory runs out. */
double nx_auroc(const double *scores, const uint8_t *labels, size_t n);

/* (sensitivity + specificity) / 2 when score > threshold says "positive"; NaN when a class
 * is empty. */
double nx_balanced_accuracy(const double *scores, const uint8_t *labels, size_t n,
                            double threshold);

/* The same from histograms of 256 equal steps of sigmoid(score): scores of one bin count as
 * ties, so the AUROC is within half a bin's mass of the exact one. Balanced accuracy is at
 * score > 0, which is bins 128 and above (a logit of exactly 0 counts as positive). */
double nx_auroc_histogram(const uint64_t negative[NX_HISTOGRAM_BINS],
                          const uint64_t positive[NX_HISTOGRAM_BINS]);
double nx_balanced_accuracy_histogram(const uint64_t negative[NX_HISTOGRAM_BINS],
                                      const uint64_t positive[NX_HISTOGRAM_BINS]);

/* Expected calibration error (Naeini et al. 2015; Guo et al. 2017) of the probability of the
 * positive class: over NX_CALIBRATION_BINS equal bins of it, the mean of |share of positives - mean
 * probability|, weighted by how many windows a bin has. The histogram gives a bin's mean
 * probability to half a step, 1/512. 0: probabilities are what they say. NaN without windows. */
#define NX_CALIBRATION_BINS 16
double nx_calibration_error_histogram(const uint64_t negative[NX_HISTOGRAM_BINS],
                                      const uint64_t positive[NX_HISTOGRAM_BINS]);

/* Scores per recording: the mean score of each recording's windows. recordings[n] are ids in
 * 0..n_recordings-1; means_out[n_recordings] is NaN for a recording without windows. */
void nx_recording_scores(const double *scores, const uint32_t *recordings, size_t n,
                         double *means_out, size_t n_recordings);
