/* Budget: from a plan to what its rounds charge, and from the ledger to yes or no. The node
 * makes its own charges from the plan that its people approved; it is never told one. */
#pragma once

#include "common/aux_lanes.h"
#include "common/plan.h"
#include "node/policy/privacy_ledger.h"
#include "node/policy/site_policy.h"

/* What one round of that kind, of a model of n_params values, charges. data_set: node.yaml's
 * data.name, or NULL: "data". charges_out false: nothing of the data leaves in it. */
int nx_budget_charge(const char *data_set, const struct nx_plan *plan,
                     const struct nx_hash *plan_hash, enum nx_round_kind kind, uint64_t n_params,
                     struct nx_ledger_charge *charge_out, bool *charges_out, struct nx_error *err);

/* The delta at which a site tells epsilon. */
double nx_budget_delta(const struct nx_site_policy_privacy *privacy);

#define NX_BUDGET_NEAR 0.8 /* of a cap: people are told */

/* A cap of which so much is spent (or will be, by the round that was asked about and may run). */
struct nx_budget_near {
  const char *rule; /* NULL: none */
  double epsilon, cap;
};

/* Would the caps still hold after it? NX_E_DENIED begins with the rule that would not, and says
 * what is spent; NX_E_* when the ledger cannot say. now: unix ns. */
int nx_budget_allows(struct nx_privacy_ledger *ledger, const struct nx_site_policy_privacy *privacy,
                     const struct nx_ledger_charge *charge, int64_t now,
                     struct nx_budget_near *near_out, struct nx_error *err);

/* What is told after a round. */
struct nx_budget_account {
  const char *dataset;         /* the charge's */
  double plan_delta, delta;    /* the plan's and this site's */
  struct nx_ledger_spent plan; /* of this plan, in its own unit, at its own delta */
  struct nx_ledger_spent all;  /* of a subject of the data set, over all plans */
};
int nx_budget_account(struct nx_privacy_ledger *ledger, double delta,
                      const struct nx_ledger_charge *charge, struct nx_budget_account *account_out,
                      struct nx_error *err);
