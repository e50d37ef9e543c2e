/* Privacy: what a node writes into its ledger, and tells about it. */
#include <signal.h>

#include "common/clock.h"
#include "common/log.h"
#include "crypto/plan_numbers.h"
#include "node/node_private.h"

static const char *mechanism_of(const struct nx_ledger_charge *charge) {
  if (!charge->n_steps)
    return nx_plan_privacy_name(NX_PRIVACY_NONE);
  if (charge->unit == NX_UNIT_NODE)
    return nx_plan_privacy_name(NX_PRIVACY_NODE_LEVEL);
  return nx_plan_privacy_name(charge->step.kind == NX_STEP_GAUSSIAN ? NX_PRIVACY_SITE_LOCAL
                                                                    : NX_PRIVACY_DISTRIBUTED);
}

static void drill(const struct nx_node *node, uint64_t round) {
  if (node->options.drill != NX_DRILL_KILL_AFTER_CHARGE || node->options.drill_round != round)
    return;
  NX_LOG(NX_LOG_WARNING, "drill.kill", NX_STR("where", "after-charge"), NX_U64("round", round));
  raise(SIGKILL);
}

/* The ledger first, then the log: an attempt that ends between the two stays charged. */
int nx_node_charge(struct nx_node *node, const struct nx_participant_action *action,
                   struct nx_error *err) {
  struct nx_budget_account account;
  if (action->round != node->charge_round)
    return nx_fail(err, NX_E_STATE, "round %llu would upload what was never considered",
                   (unsigned long long)action->round);
  if (!node->charges)
    return 0;
  node->charge.round = action->round;
  node->charge.attempt = action->attempt;
  node->charge.at = nx_clock_unix();
  int r = nx_privacy_ledger_charge(node->ledger, &node->charge, err);
  if (r < 0)
    return r;
  drill(node, action->round);
  r = nx_budget_account(node->ledger, nx_site_gate_delta(node->gate), &node->charge, &account, err);
  return r < 0 ? r
               : nx_site_audit_charged(node->audit, &node->charge, mechanism_of(&node->charge),
                                       account.delta, account.all.epsilon, err);
}

int nx_node_refund(struct nx_node *node, const struct nx_participant_action *action,
                   struct nx_error *err) {
  int r =
      nx_privacy_ledger_refund(node->ledger, action->round, action->attempt, nx_clock_unix(), err);
  if (r)
    return r < 0 ? r : 0;
  NX_LOG(NX_LOG_INFO, "privacy.refunded", NX_U64("round", action->round),
         NX_U64("attempt", action->attempt));
  return nx_site_audit_refunded(node->audit, action->round, action->attempt, err);
}

static void log_spent(const struct nx_site_round *round, const struct nx_budget_account *account) {
  struct nx_log_field fields[9] = {NX_U64("round", round->round),
                                   NX_STR("dataset", account->dataset),
                                   NX_F64("plan_epsilon", account->plan.epsilon),
                                   NX_F64("plan_delta", account->plan_delta),
                                   NX_U64("plan_steps", account->plan.n_steps),
                                   NX_F64("epsilon", account->all.epsilon),
                                   NX_F64("delta", account->delta)};
  size_t n = 7;
  if (account->all.n_unprotected)
    fields[n++] = NX_U64("rounds_without_mechanism", account->all.n_unprotected);
  nx_log_write(NX_LOG_INFO, "privacy.spent", fields, n);
}

/* After every round of a plan with a mechanism. The charge of a round in which this node was a
 * witness is not in the ledger, and not in what is told. */
int nx_node_tell_spent(struct nx_node *node, const struct nx_site_round *round,
                       struct nx_error *err) {
  struct nx_budget_account account;
  if (node->charge_round != round->round || !(node->charge.delta > 0))
    return 0;
  int r =
      nx_budget_account(node->ledger, nx_site_gate_delta(node->gate), &node->charge, &account, err);
  if (r < 0)
    return r;
  log_spent(round, &account);
  return nx_site_audit_spent(node->audit, round, &account, err);
}
