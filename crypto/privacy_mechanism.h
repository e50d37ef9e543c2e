/* Privacy mechanism: what noise a plan asks for, in the words a plan uses, and what one
 * step of it costs. A node computes its epsilon from this by itself and is never told one.
 *
 * Both mechanisms clip each unit's vector to C, round it to whole numbers of grid steps
 * (crypto/dp_noise.h: nx_dp_round), add the units up as integers and add integer noise.
 * The cost covers what rounding does to the sensitivity.
 *
 *   GAUSSIAN  the node adds all the noise itself: standard deviation z C in values, and
 *             NX_GAUSSIAN_DEVIATION grid steps, which fixes the grid: s = 2^14 / (z C).
 *             Nobody else has to be honest.
 *   SKELLAM   every node adds a share; the sum carries variance (z s C)^2 at least, while
 *             t - n_C contributors are honest. The plan chooses s (grid steps per 1.0).
 *
 * Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "crypto/accountant.h"

enum nx_mechanism_kind {
  NX_MECHANISM_GAUSSIAN = 1, /* site-local */
  NX_MECHANISM_SKELLAM = 2   /* distributed */
};

/* Whose presence or absence cannot be told. */
enum nx_privacy_unit {
  NX_UNIT_SUBJECT = 1, /* all sessions and modalities of one animal or person */
  NX_UNIT_NODE = 2     /* everything one institution contributes */
};

struct nx_privacy_mechanism {
  enum nx_mechanism_kind kind;
  enum nx_privacy_unit unit;
  double noise_multiplier; /* z: 0.01 .. 10000 */
  double sampling_rate;    /* q: 0 < q <= 1, Poisson; a node as unit: 1 */
  double clip_norm;        /* C: L2 norm of one unit's vector, > 0 */
  double scale;            /* s, SKELLAM only (GAUSSIAN: 0, it follows from z and C) */
  uint64_t dimension;      /* d: coordinates of the vector, 1 .. 2^40 */
  double rounding_beta;    /* 0 < beta < 1; exp(-1/2) is usual */
  double delta;            /* 0 < delta < 1: for which epsilon is told; below 1 / subjects */
};

/* NX_E_INVALID names the setting that is out of range. Everything below checks too. */
int nx_privacy_mechanism_check(const struct nx_privacy_mechanism *mechanism, struct nx_error *err);

/* Grid steps per 1.0. */
int nx_privacy_mechanism_scale(const struct nx_privacy_mechanism *mechanism, double *scale_out,
                               struct nx_error *err);
/* The norm, in grid steps, that no unit's rounded vector may exceed: what nx_dp_round() has
 * to enforce for the cost to be true. */
int nx_privacy_mechanism_bound(const struct nx_privacy_mechanism *mechanism, double *bound_out,
                               struct nx_error *err);
/* One step, ready for nx_accountant_add(). */
int nx_privacy_mechanism_step(const struct nx_privacy_mechanism *mechanism,
                              struct nx_privacy_step *step_out, struct nx_error *err);
/* What n_steps of it alone cost at mechanism->delta. */
int nx_privacy_mechanism_epsilon(const struct nx_privacy_mechanism *mechanism, uint64_t n_steps,
                                 double *epsilon_out, struct nx_error *err);

/* One line for logs and for people, e.g. "gaussian z=1.1 q=0.01 C=1 d=1000000 unit=subject
 * delta=1e-05". Cut to size. */
void nx_privacy_mechanism_describe(const struct nx_privacy_mechanism *mechanism, char *text_out,
                                   size_t size);
