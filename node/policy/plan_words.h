/* Plan words: a plan in sentences for the people who say yes or no to it. */
#pragma once

#include <stdio.h>

#include "common/plan.h"
#include "node/policy/plan_diff.h"

/* What follows from the plan and the network it names; computed by whoever can. */
struct nx_plan_facts {
  uint64_t n_values;     /* of the network: what an update holds */
  uint64_t upload_bytes; /* of one training round */
};

/* keys: of the same plan; sections that the sentences do not tell of are named. */
void nx_plan_tell(const struct nx_plan *plan, const struct nx_plan_facts *facts,
                  const struct nx_plan_keys *keys, FILE *out);
