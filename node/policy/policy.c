#include "node/policy/policy.h"

#include <string.h>

#include "common/clock.h"
#include "common/size.h"
#include "crypto/plan_numbers.h"
#include "node/policy/calendar.h"

static bool is_listed(const char *word, char *const *words, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    if (!strcmp(word, words[i]))
      return true;
  return false;
}

/* ---- the plan --------------------------------------------------------------------------- */

static int check_approval(const struct nx_site_policy *policy, const struct nx_policy_plan *asked,
                          struct nx_error *err) {
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(&asked->hash, hex);
  if (asked->decision && !asked->decision->approved)
    return nx_fail(err, NX_E_DENIED, "approval: plan %.12s was rejected at this site", hex);
  if (policy->approval == NX_APPROVAL_AUTO || asked->decision)
    return 0;
  return nx_fail(err, NX_E_DENIED,
                 "approval: plan %.12s is not approved at this site; its steward can run "
                 "`neurox-node plan approve %.12s`",
                 hex, hex);
}

static int check_kind(const struct nx_site_policy_plans *plans, const struct nx_policy_plan *asked,
                      struct nx_error *err) {
  static const char *const words[] = {[NX_OBJECTIVE_CLASSIFICATION] = "classification",
                                      [NX_OBJECTIVE_RECONSTRUCTION] = "reconstruction",
                                      [NX_OBJECTIVE_NEXT_PATCH] = "reconstruction",
                                      [NX_OBJECTIVE_REGRESSION] = "regression"};
  const char *objective = words[asked->plan->training.objective];
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(&asked->hash, hex);
  const struct {
    const char *rule, *word;
    char *const *words;
    uint32_t n;
  } rules[] = {
      {"plans.allowed", hex, plans->allowed, plans->n_allowed},
      {"plans.species", asked->plan->data.species, plans->species, plans->n_species},
      {"plans.modalities", asked->plan->data.modality, plans->modalities, plans->n_modalities},
      {"plans.objectives", objective, plans->objectives, plans->n_objectives}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rules); i++)
    if (rules[i].n && !is_listed(rules[i].word, rules[i].words, rules[i].n))
      return nx_fail(err, NX_E_DENIED, "%s: this site does not allow %.64s", rules[i].rule,
                     rules[i].word);
  return 0;
}

static int check_numbers(const struct nx_policy_plan *asked, struct nx_error *err) {
  const struct nx_plan_aggregation *aggregation = &asked->plan->aggregation;
  if (aggregation->spot_checks < 1)
    return nx_fail(err, NX_E_DENIED,
                   "the plan asks for no spot checks of the sum; this site wants at least 1");
  return nx_plan_check_ring(
      asked->plan, asked->n_members ? asked->n_members : aggregation->minimum_members, err);
}

static int check_privacy(const struct nx_site_policy *policy, const struct nx_plan *plan,
                         struct nx_error *err) {
  if (policy->privacy.mechanism == NX_POLICY_MECHANISM_NOISE && plan->privacy == NX_PRIVACY_NONE)
    return nx_fail(err, NX_E_DENIED,
                   "privacy.mechanism: the plan adds no noise, and this site asks for it");
  bool capped = policy->privacy.epsilon_per_data_set > 0 || policy->privacy.epsilon_per_year > 0;
  if (capped && plan->privacy == NX_PRIVACY_NONE)
    return nx_fail(err, NX_E_DENIED,
                   "%s: the plan says privacy: none, and without a mechanism no epsilon holds",
                   policy->privacy.epsilon_per_data_set > 0 ? "privacy.epsilon_per_data_set"
                                                            : "privacy.epsilon_per_year");
  return 0;
}

static int64_t end_of(const struct nx_site_policy_protocol *protocol) {
  int64_t end;
  return nx_date_end(protocol->expires, &end, NULL) == 0 ? end : 0;
}

static bool is_named(const struct nx_plan_irb *irb, const char *number) {
  return irb && is_listed(number, irb->protocols, irb->n_protocols);
}

const struct nx_site_policy_protocol *nx_policy_protocol(const struct nx_site_policy *policy,
                                                         const struct nx_plan *plan, int64_t now) {
  const struct nx_site_policy_protocol *best = NULL;
  for (uint32_t i = 0; policy->irb && i < policy->irb->n_protocols; i++) {
    const struct nx_site_policy_protocol *protocol = &policy->irb->protocols[i];
    if (is_named(plan->irb, protocol->number) && end_of(protocol) > now / NX_SECOND &&
        (!best || end_of(protocol) > end_of(best)))
      best = protocol;
  }
  return best;
}

static int check_irb(const struct nx_site_policy *policy, const struct nx_policy_plan *asked,
                     struct nx_error *err) {
  if (!policy->irb || nx_policy_protocol(policy, asked->plan, asked->now))
    return 0;
  if (!asked->plan->irb)
    return nx_fail(err, NX_E_DENIED,
                   "irb.protocols: the plan names no ethics protocol, and this site asks for one");
  for (uint32_t i = 0; i < policy->irb->n_protocols; i++)
    if (is_named(asked->plan->irb, policy->irb->protocols[i].number))
      return nx_fail(err, NX_E_DENIED,
                     "irb.protocols: protocol %.64s expired at this site on %.10s",
                     policy->irb->protocols[i].number, policy->irb->protocols[i].expires);
  return nx_fail(err, NX_E_DENIED,
                 "irb.protocols: none of the ethics protocols that the plan names is this site's");
}

int nx_policy_judge_plan(const struct nx_site_policy *policy, const struct nx_policy_plan *asked,
                         struct nx_error *err) {
  int r = check_approval(policy, asked, err);
  if (r == 0)
    r = check_kind(&policy->plans, asked, err);
  if (r == 0 && asked->plan->requires)
    r = nx_plan_requires_judge(asked->plan->requires, asked->data_set, err);
  if (r == 0 && asked->n_members && asked->n_members < policy->cohort.minimum_members)
    r = nx_fail(err, NX_E_DENIED,
                "cohort.minimum_members: the federation has %u members, this site asks for at "
                "least %u",
                asked->n_members, policy->cohort.minimum_members);
  if (r == 0)
    r = check_privacy(policy, asked->plan, err);
  if (r == 0)
    r = check_irb(policy, asked, err);
  return r < 0 ? r : check_numbers(asked, err);
}

/* ---- the round -------------------------------------------------------------------------- */

static int check_cohort(const struct nx_site_policy_cohort *cohort,
                        const struct nx_policy_round *asked, struct nx_error *err) {
  if (asked->n_cohort < cohort->minimum_members)
    return nx_fail(err, NX_E_DENIED,
                   "cohort.minimum_members: %zu members were invited, this site asks for at least "
                   "%u",
                   asked->n_cohort, cohort->minimum_members);
  if (asked->threshold < cohort->minimum_threshold)
    return nx_fail(err, NX_E_DENIED,
                   "cohort.minimum_threshold: %u members would open the sum, this site asks for at "
                   "least %u",
                   asked->threshold, cohort->minimum_threshold);
  for (size_t i = 0; i < asked->n_cohort; i++)
    if (is_listed(asked->cohort[i], cohort->refuse_members, cohort->n_refuse_members))
      return nx_fail(err, NX_E_DENIED,
                     "cohort.refuse_members: this site does not train with one of the members "
                     "invited");
  return 0;
}

static int check_hours(const struct nx_site_policy_limits *limits, int64_t now,
                       struct nx_error *err) {
  for (uint32_t i = 0; i < limits->n_hours; i++) {
    struct nx_hours hours;
    if (nx_hours_parse(limits->hours[i], &hours, NULL) == 0 &&
        nx_hours_hold(&hours, now / NX_SECOND))
      return 0;
  }
  return limits->n_hours
             ? nx_fail(err, NX_E_DENIED, "limits.hours: no round runs at this site at this hour")
             : 0;
}

static int check_bytes(const char *rule, double cap_mb, uint64_t before, uint64_t bytes,
                       struct nx_error *err) {
  if (cap_mb == 0 || (double)before + (double)bytes <= cap_mb * 1e6)
    return 0;
  return nx_fail(err, NX_E_DENIED, "%s: %.3f MB would leave, this site allows %.3f", rule,
                 ((double)before + (double)bytes) / 1e6, cap_mb);
}

int nx_policy_judge_round(const struct nx_site_policy *policy, const struct nx_policy_round *asked,
                          struct nx_error *err) {
  const struct nx_site_policy_limits *limits = &policy->limits;
  int r = check_cohort(&policy->cohort, asked, err);
  if (r == 0)
    r = check_hours(limits, asked->now, err);
  if (r == 0 && limits->rounds_per_day && asked->day_rounds >= limits->rounds_per_day)
    r = nx_fail(err, NX_E_DENIED,
                "limits.rounds_per_day: this site joined %u rounds within a day, and allows %u",
                asked->day_rounds, limits->rounds_per_day);
  if (r == 0)
    r = check_bytes("limits.round_mb", limits->round_mb, 0, asked->bytes, err);
  return r < 0 ? r
               : check_bytes("limits.day_mb", limits->day_mb, asked->day_bytes, asked->bytes, err);
}
