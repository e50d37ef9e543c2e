/* Moments: sums over pairs of what was recorded (y) and what a regression says (p), from which its
 * figures follow, for one site or, riding in aux lanes (common/aux_lanes.h), for the sum of many.
 * Pure functions. */
#pragma once

#include "common/aux_lanes.h"
#include "common/plan_regression.h"

#define NX_MOMENT_BOUND 100.0 /* of y and p, in SDs: what is beyond counts as this */

struct nx_moments {
  double n, y, yy, p, pp, yp;
};

/* Of all targets of a model; those of a classifier have none. */
struct nx_target_moments {
  size_t n_targets;
  struct nx_moments of[NX_REGRESSION_TARGETS];
};

void nx_moments_add(struct nx_moments *moments, double y, double p);

/* 1 - sum (y - p)^2 / sum (y - mean y)^2: 1 is perfect, 0 no better than saying the mean, below 0
 * worse than that. NaN for fewer than two pairs, or a y that does not vary. */
double nx_moments_r_squared(const struct nx_moments *moments);
/* Pearson's r; NaN also when p does not vary. */
double nx_moments_correlation(const struct nx_moments *moments);

/* Into lanes NX_AUX_MOMENTS … NX_AUX_BALANCE of aux, which are zero. */
void nx_moments_to_lanes(const struct nx_target_moments *moments, uint64_t *aux);
/* From the lanes of any sum over sites; n_targets is 0 where they are histograms, or nothing. */
void nx_moments_from_lanes(const uint64_t *aux, struct nx_target_moments *moments_out);
/* Means over targets; NaN without any. */
double nx_moments_mean_r_squared(const struct nx_target_moments *moments);
double nx_moments_mean_correlation(const struct nx_target_moments *moments);
