#include "common/plan_regression.h"

#include <string.h>

#include "common/plan.h"
#include "common/size.h"

static const cyaml_strval_t choices[] = {
    {"federation", NX_STANDARDISE_FEDERATION},
    {"site", NX_STANDARDISE_SITE},
};

static const cyaml_schema_value_t target = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 32)};

const cyaml_schema_field_t nx_plan_regression_fields[] = {
    CYAML_FIELD_SEQUENCE_COUNT("targets", CYAML_FLAG_POINTER, struct nx_plan_regression, targets,
                               n_targets, &target, 1, NX_REGRESSION_TARGETS),
    CYAML_FIELD_STRING_PTR("unit", CYAML_FLAG_POINTER, struct nx_plan_regression, unit, 1, 16),
    CYAML_FIELD_ENUM("standardise", CYAML_FLAG_STRICT, struct nx_plan_regression, standardise,
                     choices, NX_ARRAY_LENGTH(choices)),
    CYAML_FIELD_END};

static int check_targets(const struct nx_plan_regression *r, struct nx_error *err) {
  for (uint32_t i = 0; i < r->n_targets; i++) {
    if (strpbrk(r->targets[i], "\t\r\n\"\\"))
      return nx_fail(err, NX_E_FORMAT,
                     "regression.targets: a name holds a tab, line end, quote or backslash");
    for (uint32_t j = 0; j < i; j++)
      if (!strcmp(r->targets[i], r->targets[j]))
        return nx_fail(err, NX_E_FORMAT, "regression.targets names '%s' twice", r->targets[i]);
  }
  return 0;
}

int nx_plan_regression_check(const struct nx_plan *plan, struct nx_error *err) {
  const struct nx_plan_regression *r = plan->regression;
  if (plan->training.objective != NX_OBJECTIVE_REGRESSION)
    return r ? nx_fail(err, NX_E_FORMAT,
                       "a section regression is for training.objective: regression")
             : 0;
  if (!r)
    return nx_fail(err, NX_E_FORMAT,
                   "training.objective is regression: say of what in a section regression "
                   "(targets, unit, standardise)");
  if (plan->model.network != NX_NETWORK_GENERAL)
    return nx_fail(err, NX_E_FORMAT,
                   "training.objective: regression is for model.network: general");
  if (plan->privacy != NX_PRIVACY_NONE)
    return nx_fail(err, NX_E_FORMAT,
                   "training.objective: regression does not go together with a privacy mechanism "
                   "yet: use privacy: none");
  if (r->standardise == NX_STANDARDISE_FEDERATION && !strcmp(r->unit, NX_REGRESSION_ANY_UNIT))
    return nx_fail(err, NX_E_FORMAT,
                   "regression.unit: any needs standardise: site, or sums would mix units");
  return check_targets(r, err);
}
