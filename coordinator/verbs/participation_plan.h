/* Participation, the plan's part: what was asked of the sites, where their model came from, and
 * what the rounds cost in privacy by the plan's own numbers. */
#pragma once

#include <cjson/cJSON.h>

#include "common/plan.h"
#include "coordinator/admin/federation.h"

struct nx_plan_told {
  struct nx_plan *plan;
  struct nx_hash first_model; /* what the run began with */
  uint64_t noisy_steps;       /* of its rounds so far; the caller counts */
};

/* "plan", "start" and "clipping" into root. */
int nx_participation_tell_plan(struct nx_federation *federation, const struct nx_hash *plan,
                               cJSON *root, struct nx_plan_told *told_out, struct nx_error *err);
/* "privacy": mechanism, noisy steps and the epsilon that they cost one unit (subject or site) that
 * was in every one of them, at the plan's delta. Reckoned here from the plan: no site has told its
 * own. model: any version of the run that is among the blobs, for its size. */
int nx_participation_tell_privacy(struct nx_federation *federation, const struct nx_hash *model,
                                  const struct nx_plan_told *told, cJSON *root,
                                  struct nx_error *err);
void nx_plan_told_finish(struct nx_plan_told *told);
