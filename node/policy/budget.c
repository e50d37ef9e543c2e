#include "node/policy/budget.h"

#include <stdio.h>

#include "crypto/plan_numbers.h"

#define UNNAMED "data"

int nx_budget_charge(const char *data_set, const struct nx_plan *plan,
                     const struct nx_hash *plan_hash, enum nx_round_kind kind, uint64_t n_params,
                     struct nx_ledger_charge *charge_out, bool *charges_out, struct nx_error *err) {
  struct nx_privacy_mechanism mechanism;
  *charge_out = (struct nx_ledger_charge){
      .plan = *plan_hash, .unit = NX_UNIT_SUBJECT, .n_steps = nx_plan_noisy_steps(plan, kind)};
  snprintf(charge_out->dataset, sizeof charge_out->dataset, "%s", data_set ? data_set : UNNAMED);
  *charges_out = plan->privacy == NX_PRIVACY_NONE || charge_out->n_steps;
  if (plan->privacy == NX_PRIVACY_NONE)
    return 0;
  int r = nx_plan_mechanism(plan, n_params, &mechanism, err);
  if (r < 0)
    return r;
  charge_out->unit = mechanism.unit;
  charge_out->delta = mechanism.delta;
  return charge_out->n_steps ? nx_privacy_mechanism_step(&mechanism, &charge_out->step, err) : 0;
}

double nx_budget_delta(const struct nx_site_policy_privacy *privacy) {
  return privacy->epsilon_delta > 0 ? privacy->epsilon_delta : NX_EPSILON_DELTA;
}

/* cap 0: there is none. */
static int check_cap(struct nx_privacy_ledger *ledger, const struct nx_ledger_query *query,
                     double cap, const char *rule, struct nx_budget_near *near,
                     struct nx_error *err) {
  struct nx_ledger_query before = *query;
  struct nx_ledger_spent after, spent;
  if (!(cap > 0))
    return 0;
  if (!query->more->n_steps)
    return nx_fail(err, NX_E_DENIED, "%s: without a privacy mechanism no epsilon holds", rule);
  before.more = NULL;
  int r = nx_privacy_ledger_spent(ledger, query, &after, err);
  if (r == 0)
    r = nx_privacy_ledger_spent(ledger, &before, &spent, err);
  if (r < 0)
    return r;
  double epsilon = after.epsilon <= cap ? after.epsilon : spent.epsilon;
  if (epsilon >= NX_BUDGET_NEAR * cap)
    *near = (struct nx_budget_near){rule, epsilon, cap};
  if (after.epsilon <= cap)
    return 0;
  return nx_fail(err, NX_E_DENIED,
                 "%s: this round would bring epsilon to %.3f at delta %g; the cap is %g, and %.3f "
                 "is spent",
                 rule, after.epsilon, query->delta, cap, spent.epsilon);
}

int nx_budget_allows(struct nx_privacy_ledger *ledger, const struct nx_site_policy_privacy *privacy,
                     const struct nx_ledger_charge *charge, int64_t now,
                     struct nx_budget_near *near_out, struct nx_error *err) {
  *near_out = (struct nx_budget_near){0};
  struct nx_ledger_query query = {.dataset = charge->dataset,
                                  .unit = NX_UNIT_SUBJECT,
                                  .delta = nx_budget_delta(privacy),
                                  .more = charge};
  int r = check_cap(ledger, &query, privacy->epsilon_per_data_set, "privacy.epsilon_per_data_set",
                    near_out, err);
  query.since = now - NX_LEDGER_YEAR;
  if (r == 0)
    r = check_cap(ledger, &query, privacy->epsilon_per_year, "privacy.epsilon_per_year", near_out,
                  err);
  return r;
}

int nx_budget_account(struct nx_privacy_ledger *ledger, double delta,
                      const struct nx_ledger_charge *charge, struct nx_budget_account *account_out,
                      struct nx_error *err) {
  *account_out = (struct nx_budget_account){
      .dataset = charge->dataset, .plan_delta = charge->delta, .delta = delta};
  const struct nx_ledger_query all = {
      .dataset = charge->dataset, .unit = NX_UNIT_SUBJECT, .delta = delta};
  const struct nx_ledger_query plan = {.dataset = charge->dataset,
                                       .plan = &charge->plan,
                                       .unit = charge->unit,
                                       .delta = charge->delta > 0 ? charge->delta : delta};
  int r = nx_privacy_ledger_spent(ledger, &plan, &account_out->plan, err);
  return r < 0 ? r : nx_privacy_ledger_spent(ledger, &all, &account_out->all, err);
}
