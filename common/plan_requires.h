/* Plan section `requires:` (optional): which data sets the plan is for, and how much of them.
 *
 *   requires:
 *     data_sets: [charite-eeg, ucl-eeg]   # names as in the sites' own node.yaml (data.name)
 *     minimum_recordings: 4               # of a site, held-out ones not counted
 *
 * A site whose data set is not named here takes no part. */
#pragma once

#include <cyaml/cyaml.h>
#include <stdint.h>

#include "common/error.h"

struct nx_plan_requires {
  char **data_sets;
  uint32_t n_data_sets;
  uint32_t minimum_recordings; /* 0: no such demand */
};

extern const cyaml_schema_field_t nx_plan_requires_fields[];

/* 0, or NX_E_DENIED: `data_set` (NULL: it has no name) is not one the plan is for. */
int nx_plan_requires_judge(const struct nx_plan_requires *required, const char *data_set,
                           struct nx_error *err);
