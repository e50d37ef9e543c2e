/* Plan section `prototypes`: windows of one behaviour come to lie together, whatever the species
 * and the signal. It stands beside training.objective reconstruction or next-patch:
 *
 *     prototypes:
 *       classes: [still, moving]  # states of the sites' vocabulary (node/dataset/behaviour.h)
 *       weight: 0.1               # of this loss beside the objective's
 *       temperature: 0.1
 *       minimum_count: 64         # windows of a class in a round's sum; with fewer it stays
 *
 * A window of whose samples three quarters are of one class has a loss: cross-entropy of
 * softmax(u . mu / temperature), u its unit vector, mu the prototypes that are known. Others have
 * none.
 *
 * Prototypes are not trained: after every training round mu is the direction of the sum of u over
 * the federation's windows of that class, out of masked sums (common/aux_lanes.h) of what each
 * site's windows have under the model that the round began with. The first round learns none. Those
 * sums leave without noise: no plan of the general network has a privacy mechanism. */
#pragma once

#include <cyaml/cyaml.h>
#include <stdint.h>

#include "common/error.h"

#define NX_PROTOTYPES 64           /* most classes */
#define NX_PROTOTYPE_WIDTH 128     /* of a unit vector */
#define NX_PROTOTYPE_NAMES 1024    /* all names with a space between, terminated */
#define NX_PROTOTYPE_NO_CLASS 0xff /* of a window or sample */

struct nx_plan;

struct nx_plan_prototypes {
  char **classes;
  uint32_t n_classes;
  double weight, temperature;
  uint32_t minimum_count;
};

extern const cyaml_schema_field_t nx_plan_prototypes_fields[];

/* Whether the section fits the plan. NX_E_FORMAT: key_out is the dotted key that is wrong. */
int nx_plan_prototypes_check(const struct nx_plan *plan, const char **key_out,
                             struct nx_error *err);
