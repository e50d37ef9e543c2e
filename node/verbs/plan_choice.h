/* Plan choice: the plan that a steward means on the command line. */
#pragma once

#include "common/plan.h"
#include "crypto/hash.h"
#include "node/policy/plan_words.h"

struct nx_plan_choice {
  struct nx_plan *plan;
  struct nx_buffer text; /* exactly as written */
  struct nx_hash hash;
  struct nx_plan_keys keys;
};

/* which: at least 6 digits of a SHA-256 of a plan in `folder`, or a file. NX_E_NOT_FOUND,
 * NX_E_INVALID (several begin like that), or what is wrong with the plan. */
int nx_plan_choose(const char *folder, const char *which, struct nx_plan_choice *out,
                   struct nx_error *err);
/* Builds the network to count what it holds. */
int nx_plan_choice_facts(const struct nx_plan_choice *choice, struct nx_plan_facts *out,
                         struct nx_error *err);
void nx_plan_choice_finish(struct nx_plan_choice *choice); /* zeroed is fine */
