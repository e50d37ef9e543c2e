/* Plan section `initial_model:` (optional): training goes on from a model that is there already,
 * instead of weights drawn from the plan's seed.
 *
 *   initial_model:
 *     sha256: 3f2a…      # 64 digits, as `neurox-coordinator import MODEL --plan PLAN` prints them
 *
 * 64 zeros stand for a hash that import will tell. The hash is of the canonical bytes of the plan's
 * own model 0, so that what a site approves is exactly what it will start from; nodes fetch the
 * bytes by it. */
#pragma once

#include <cyaml/cyaml.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct nx_plan;

struct nx_plan_initial_model {
  char *sha256;
};

extern const cyaml_schema_field_t nx_plan_initial_model_fields[];

/* NX_E_FORMAT: not 64 hexadecimal digits. NULL is fine. */
int nx_plan_initial_model_check(const struct nx_plan_initial_model *section, struct nx_error *err);
/* Puts the 32 bytes out and says true; false: the plan has no such section. */
bool nx_plan_initial_model_hash(const struct nx_plan *plan, uint8_t out[32]);
