/* Plan privacy: the optional section `differential_privacy` of a plan, and the numbers that
 * go with the mechanism that the line `privacy` names.
 *
 *   privacy                 unit      where the noise is added        steps charged a round
 *   none                    -         nowhere                         -
 *   site-local-gaussian     subject   at each site, whole             training.local_steps
 *   distributed-skellam     subject   a share at each site            1 (one secure sum a step)
 *   node-level-skellam      site      a share at each site            1
 *
 * A plan names no epsilon: every node computes its own (crypto/plan_numbers.h), from these
 * numbers and its own ledger, and would not believe another.
 *
 * The grid of the noise is not a key of its own. Skellam: grid steps per 1.0 are those of
 * the ring, 2^f of aggregation.value_bits and value_range (crypto/quantize.h). Gaussian: it
 * follows from noise_multiplier and clip_norm (crypto/privacy_mechanism.h). */
#pragma once

#include <cyaml/cyaml.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct nx_plan;

enum nx_plan_privacy {
  NX_PRIVACY_NONE,        /* values travel in M0 and are hashed into T0: never renumber */
  NX_PRIVACY_SITE_LOCAL,  /* site-local-gaussian */
  NX_PRIVACY_DISTRIBUTED, /* distributed-skellam */
  NX_PRIVACY_NODE_LEVEL   /* node-level-skellam */
};

struct nx_plan_differential_privacy {
  double sampling_rate;     /* q: chance that a subject is drawn into a step */
  double clip_norm;         /* C: L2 norm of one unit's vector */
  double noise_multiplier;  /* z */
  double delta;             /* for which the plan's own epsilon is told */
  double subjects_per_step; /* a site's sum is divided by this: a number of the plan, since
                               the true one would tell who is in */
  double *feature_mean;     /* [n] or NULL: what stands in for the statistics round, from data */
  double *feature_sd;       /* [n]           that is public; NULL: 0 and 1 */
  uint32_t n_feature_mean, n_feature_sd;
};

extern const cyaml_schema_field_t nx_plan_differential_privacy_fields[];
extern const cyaml_strval_t nx_plan_privacy_words[];
#define NX_PLAN_PRIVACY_WORDS 4

const char *nx_plan_privacy_name(enum nx_plan_privacy privacy);

/* Section and line must belong together and the rest of the plan must allow it. NX_E_FORMAT:
 * key_out is the dotted key that is wrong, err what to write instead. */
int nx_plan_privacy_check(const struct nx_plan *plan, const char **key_out, struct nx_error *err);
