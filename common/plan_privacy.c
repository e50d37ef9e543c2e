#include "common/plan_privacy.h"

#include <math.h>

#include "common/plan.h"
#include "common/size.h"

const cyaml_strval_t nx_plan_privacy_words[NX_PLAN_PRIVACY_WORDS] = {
    {"none", NX_PRIVACY_NONE},
    {"site-local-gaussian", NX_PRIVACY_SITE_LOCAL},
    {"distributed-skellam", NX_PRIVACY_DISTRIBUTED},
    {"node-level-skellam", NX_PRIVACY_NODE_LEVEL},
};

static const cyaml_schema_value_t number = {
    CYAML_VALUE_FLOAT(CYAML_FLAG_DEFAULT, double),
};

#define REAL(key)                                                                                  \
  CYAML_FIELD_FLOAT(#key, CYAML_FLAG_DEFAULT, struct nx_plan_differential_privacy, key)
#define REALS(key)                                                                                 \
  CYAML_FIELD_SEQUENCE_COUNT(#key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,                       \
                             struct nx_plan_differential_privacy, key, n_##key, &number, 0, 4096)

const cyaml_schema_field_t nx_plan_differential_privacy_fields[] = {
    REAL(sampling_rate),     REAL(clip_norm),     REAL(noise_multiplier), REAL(delta),
    REAL(subjects_per_step), REALS(feature_mean), REALS(feature_sd),      CYAML_FIELD_END};

const char *nx_plan_privacy_name(enum nx_plan_privacy privacy) {
  for (size_t i = 0; i < NX_ARRAY_LENGTH(nx_plan_privacy_words); i++)
    if (nx_plan_privacy_words[i].val == (int64_t)privacy)
      return nx_plan_privacy_words[i].str;
  return "unknown";
}

#define SECTION "differential_privacy"

static int check_ranges(const struct nx_plan_differential_privacy *dp, const char **key_out,
                        struct nx_error *err) {
  const struct {
    const char *key;
    double value, low, high;
  } ranges[] = {
      {SECTION ".sampling_rate", dp->sampling_rate, 1e-9, 1},
      {SECTION ".clip_norm", dp->clip_norm, 1e-6, 1e6},
      {SECTION ".noise_multiplier", dp->noise_multiplier, 0.01, 10000},
      {SECTION ".delta", dp->delta, 1e-30, 0.01},
      {SECTION ".subjects_per_step", dp->subjects_per_step, 1e-3, 1e6},
  };
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ranges); i++)
    if (!(ranges[i].value >= ranges[i].low && ranges[i].value <= ranges[i].high)) {
      *key_out = ranges[i].key;
      return nx_fail(err, NX_E_FORMAT, "%s is %g: use %g to %g", ranges[i].key, ranges[i].value,
                     ranges[i].low, ranges[i].high);
    }
  return 0;
}

static int check_features(const struct nx_plan_differential_privacy *dp, const char **key_out,
                          struct nx_error *err) {
  *key_out = SECTION ".feature_sd";
  if (dp->n_feature_mean != dp->n_feature_sd)
    return nx_fail(err, NX_E_FORMAT, "%s has %u numbers, feature_mean %u: they go in pairs",
                   *key_out, dp->n_feature_sd, dp->n_feature_mean);
  for (uint32_t i = 0; i < dp->n_feature_sd; i++)
    if (!(dp->feature_sd[i] >= 1e-3 && dp->feature_sd[i] <= 1e6))
      return nx_fail(err, NX_E_FORMAT, "%s: number %u is %g: use 0.001 to 1e6", *key_out, i + 1,
                     dp->feature_sd[i]);
  *key_out = SECTION ".feature_mean";
  for (uint32_t i = 0; i < dp->n_feature_mean; i++)
    if (!(fabs(dp->feature_mean[i]) <= 1e6))
      return nx_fail(err, NX_E_FORMAT, "%s: number %u is %g: use -1e6 to 1e6", *key_out, i + 1,
                     dp->feature_mean[i]);
  return 0;
}

/* A number that a mechanism does not use may not stand in the plan as if it did. */
struct demand {
  const char *key;
  double value, wanted;
  const char *why;
};

static int check_demands(const struct demand *demands, size_t n, const char **key_out,
                         struct nx_error *err) {
  for (size_t i = 0; i < n; i++)
    if (demands[i].value != demands[i].wanted) {
      *key_out = demands[i].key;
      return nx_fail(err, NX_E_FORMAT, "%s is %g: write %g, %s", demands[i].key, demands[i].value,
                     demands[i].wanted, demands[i].why);
    }
  return 0;
}

static int check_distributed(const struct nx_plan *plan, const char **key_out,
                             struct nx_error *err) {
  static const char plain[] = "since distributed-skellam makes plain steps of one rate and keeps "
                              "no state between rounds";
  const struct nx_plan_training *t = &plan->training;
  const struct demand demands[] = {
      {"training.local_steps", t->local_steps, 1,
       "since distributed-skellam makes one secure sum of every step"},
      {"training.warmup_steps", t->warmup_steps, 0, plain},
      {"training.final_learning_rate_fraction", t->final_learning_rate_fraction, 1, plain},
      {"training.weight_decay", t->weight_decay, 0, plain},
      {"training.beta1", t->beta1, 0, plain},
      {"training.beta2", t->beta2, 0, plain},
      {"training.gradient_clip_norm", t->gradient_clip_norm, plan->differential_privacy->clip_norm,
       "the norm to which each subject's gradient is clipped"},
  };
  return check_demands(demands, NX_ARRAY_LENGTH(demands), key_out, err);
}

static int check_node_level(const struct nx_plan *plan, const char **key_out,
                            struct nx_error *err) {
  const struct nx_plan_differential_privacy *dp = plan->differential_privacy;
  const struct demand demands[] = {
      {SECTION ".sampling_rate", dp->sampling_rate, 1, "since sites are not sampled"},
      {SECTION ".subjects_per_step", dp->subjects_per_step, 1,
       "since the whole site is one unit under node-level-skellam"},
  };
  return check_demands(demands, NX_ARRAY_LENGTH(demands), key_out, err);
}

/* What the sum of whole numbers goes through is the grid of the noise and nothing else. */
static int check_shared_noise(const struct nx_plan *plan, const char **key_out,
                              struct nx_error *err) {
  const struct demand demands[] = {
      {"aggregation.update_clip_norm", plan->aggregation.update_clip_norm,
       plan->differential_privacy->clip_norm, "the clip_norm of " SECTION ": there is one clip"},
  };
  *key_out = "aggregation.rotation";
  if (plan->aggregation.rotation)
    return nx_fail(err, NX_E_FORMAT,
                   "%s is on: leave it out, the noise of %s is added on the grid that is summed",
                   *key_out, nx_plan_privacy_name(plan->privacy));
  return check_demands(demands, NX_ARRAY_LENGTH(demands), key_out, err);
}

int nx_plan_privacy_check(const struct nx_plan *plan, const char **key_out, struct nx_error *err) {
  const struct nx_plan_differential_privacy *dp = plan->differential_privacy;
  *key_out = "privacy";
  if (plan->privacy == NX_PRIVACY_NONE && dp)
    return nx_fail(err, NX_E_FORMAT,
                   "privacy is none but there is a section " SECTION ": name its mechanism "
                   "(site-local-gaussian, distributed-skellam, node-level-skellam) or take the "
                   "section out");
  if (plan->privacy == NX_PRIVACY_NONE)
    return 0;
  if (!dp)
    return nx_fail(err, NX_E_FORMAT,
                   "privacy is %s but there is no section " SECTION " with its numbers",
                   nx_plan_privacy_name(plan->privacy));
  *key_out = "model.network";
  if (plan->model.network != NX_NETWORK_NANO)
    return nx_fail(err, NX_E_FORMAT,
                   "%s must be nano with a privacy mechanism: no other network is trained that way",
                   *key_out);
  *key_out = "aggregation.error_feedback";
  if (plan->aggregation.error_feedback)
    return nx_fail(err, NX_E_FORMAT,
                   "%s is on: leave it out, it would carry one round's data into the next",
                   *key_out);
  int r = check_ranges(dp, key_out, err);
  if (!r)
    r = check_features(dp, key_out, err);
  if (!r && plan->privacy != NX_PRIVACY_SITE_LOCAL)
    r = check_shared_noise(plan, key_out, err);
  if (!r && plan->privacy == NX_PRIVACY_DISTRIBUTED)
    r = check_distributed(plan, key_out, err);
  if (!r && plan->privacy == NX_PRIVACY_NODE_LEVEL)
    r = check_node_level(plan, key_out, err);
  return r;
}
