/* Policy: may this plan, and this round of it, run here? Answers depend on the arguments
 * alone. A refusal is a sentence that an operator elsewhere may read: it begins with the rule
 * (a key of policy.yaml) and never holds data, paths or names of people. */
#pragma once

#include "common/plan.h"
#include "node/policy/decision.h"
#include "node/policy/site_policy.h"

#define NX_POLICY_NAME_SIZE 65

struct nx_policy_plan {
  const struct nx_plan *plan;
  struct nx_hash hash;
  const char *data_set;               /* node.yaml's data.name, or NULL */
  const struct nx_decision *decision; /* the steward's, or NULL */
  uint32_t n_members;                 /* of the federation; 0: not known (preview) */
  int64_t now;                        /* Unix ns */
};

/* 0, or NX_E_DENIED: not approved here, not within the policy, or less than this node asks for
 * (members, spot checks, a privacy mechanism); NX_E_LIMIT: a sum over so many members, noise
 * included, does not fit its ring. What is left of a cap on epsilon is asked every round:
 * budget.h. */
int nx_policy_judge_plan(const struct nx_site_policy *policy, const struct nx_policy_plan *asked,
                         struct nx_error *err);

struct nx_policy_round {
  const char (*cohort)[NX_POLICY_NAME_SIZE]; /* names of those invited */
  size_t n_cohort;
  uint32_t threshold;
  uint64_t bytes;      /* that would leave */
  uint64_t day_bytes;  /* that left in the last 24 hours */
  uint32_t day_rounds; /* other rounds joined in the last 24 hours */
  int64_t now;         /* Unix ns */
};

int nx_policy_judge_round(const struct nx_site_policy *policy, const struct nx_policy_round *asked,
                          struct nx_error *err);

/* The protocol that the plan names and this site holds, with the latest last day, or NULL. */
const struct nx_site_policy_protocol *nx_policy_protocol(const struct nx_site_policy *policy,
                                                         const struct nx_plan *plan, int64_t now);
