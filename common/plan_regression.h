/* Plan section `regression`: what a head says of every patch when training.objective is
 * `regression`, and only then: behaviour that was recorded beside the signals.
 *
 *     regression:
 *       targets: [velocity_x, velocity_y]  # channels of behaviour by name, or `speed`
 *       unit: cm/s                         # of every site's behaviour; any: whatever it is in
 *       standardise: federation            # or site
 *
 * A target of a patch is its mean over the patch. `speed` is the norm of the velocity by the site's
 * vocabulary (node/dataset/behaviour.h). Standardised by:
 *
 *   federation  mean and SD over all training sites, from sums of a statistics round that are opened
 *               as sums alone. They are in the model, which so speaks in the unit. Needs a unit
 *   site        each site's own mean and SD, which never leave it: the model speaks in SDs. For
 *               sites whose behaviour is in unlike units (a camera's pixels, a track's bins) */
#pragma once

#include <cyaml/cyaml.h>
#include <stdint.h>

#include "common/error.h"

#define NX_REGRESSION_TARGETS 8
#define NX_REGRESSION_SPEED "speed"
#define NX_REGRESSION_ANY_UNIT "any"

struct nx_plan;

enum nx_plan_standardise { NX_STANDARDISE_FEDERATION, NX_STANDARDISE_SITE };

struct nx_plan_regression {
  char **targets;
  uint32_t n_targets;
  char *unit;
  enum nx_plan_standardise standardise;
};

extern const cyaml_schema_field_t nx_plan_regression_fields[];

/* Whether the section stands exactly where it should, and fits the plan. NX_E_FORMAT names the key. */
int nx_plan_regression_check(const struct nx_plan *plan, struct nx_error *err);
