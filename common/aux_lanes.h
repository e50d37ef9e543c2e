/* Aux lanes: the small numbers that ride masked beside an update, as u64 counters whose
 * sum over nodes is exact modulo 2^64. Signed values are two's complement; fractions are
 * fixed point. Nothing here is per subject: a lane is meaningful only summed over a site,
 * and the coordinator sees it only summed over the cohort.
 *
 *   lane   0        contributors: 1 a node
 *          1        weight w_u = min(samples, cap) / cap, x 2^16
 *          2        training windows
 *          3        sum over training windows of the loss, x 2^20
 *          4        held-out windows
 *          5        sum over held-out windows of the loss, x 2^20
 *          6..261   histogram of held-out scores, negative class
 *        262..517   histogram of held-out scores, positive class
 *   A regression has no classes; for target k of it, standardised, over held-out patches:
 *        6 + 6 k    patches     7 + 6 k  sum y         8 + 6 k   sum y^2
 *        9 + 6 k    sum p      10 + 6 k  sum p^2      11 + 6 k   sum y p     (sums x 2^20)
 *        517        minus the sum of lanes 6..516. So the lanes of a regression add up to 0 and
 *                   those of histograms to the held-out windows, in every sum over sites, which
 *                   tells them apart
 *   and in a statistics round, for F features (a regression's are its targets):
 *        518        spectral observations   519  channel-statistic observations
 *        520..      F sums, x 2^24, then F sums of squares, x 2^24
 *   and in a training round of a plan with prototypes (common/plan_prototypes.h), for class c:
 *        518 + 129 c   windows of the class   then 128 sums of their unit vectors, x 2^24
 *   then, where modalities.expert_balance is set, for each block with experts E lanes: rows of the
 *   latent that went to each expert.
 *   How many there are in all: common/plan_aux.h.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NX_HISTOGRAM_BINS 256

enum nx_aux_lane {
  NX_AUX_CONTRIBUTORS = 0,
  NX_AUX_WEIGHT = 1,
  NX_AUX_TRAIN_WINDOWS = 2,
  NX_AUX_TRAIN_LOSS = 3,
  NX_AUX_HELD_OUT_WINDOWS = 4,
  NX_AUX_HELD_OUT_LOSS = 5,
  NX_AUX_HISTOGRAM_NEGATIVE = 6,
  NX_AUX_HISTOGRAM_POSITIVE = NX_AUX_HISTOGRAM_NEGATIVE + NX_HISTOGRAM_BINS,
  NX_AUX_COMMON = NX_AUX_HISTOGRAM_POSITIVE + NX_HISTOGRAM_BINS,
  NX_AUX_MOMENTS = NX_AUX_HISTOGRAM_NEGATIVE, /* of a regression */
  NX_AUX_BALANCE = NX_AUX_COMMON - 1,
  NX_AUX_SPECTRAL_COUNT = NX_AUX_COMMON,
  NX_AUX_CHANNEL_COUNT = NX_AUX_COMMON + 1,
  NX_AUX_FEATURE_SUMS = NX_AUX_COMMON + 2,
  NX_AUX_PROTOTYPES = NX_AUX_COMMON
};

#define NX_AUX_WEIGHT_SCALE 65536.0     /* 2^16 */
#define NX_AUX_LOSS_SCALE 1048576.0     /* 2^20 */
#define NX_AUX_FEATURE_SCALE 16777216.0 /* 2^24 */

#define NX_MOMENTS 6 /* lanes of one target */

/* What a round is for. Wire value and model-update rule in one. */
enum nx_round_kind {
  NX_ROUND_STATISTICS = 1, /* feature means and SDs, before training */
  NX_ROUND_TRAIN = 2,
  NX_ROUND_EVALUATE = 3 /* held-out histograms of the final model */
};

/* Lanes of a round of that kind over n_features features; a plan may add to them. */
static inline size_t nx_aux_lanes(enum nx_round_kind kind, size_t n_features) {
  return kind == NX_ROUND_STATISTICS ? NX_AUX_FEATURE_SUMS + 2 * n_features : NX_AUX_COMMON;
}

/* x * scale rounded to nearest, as a lane; x * scale must be within +-2^62. */
static inline uint64_t nx_aux_encode(double x, double scale) {
  return (uint64_t)(int64_t)__builtin_llround(x * scale);
}

static inline double nx_aux_decode(uint64_t lane, double scale) {
  return (double)(int64_t)lane / scale;
}

/* Histogram bin of a logit: 256 equal steps of its sigmoid. NaN is the caller's error. */
static inline size_t nx_histogram_bin(double logit) {
  double p = 1.0 / (1.0 + __builtin_exp(-logit));
  size_t bin = (size_t)(p * NX_HISTOGRAM_BINS);
  return bin < NX_HISTOGRAM_BINS ? bin : NX_HISTOGRAM_BINS - 1;
}
