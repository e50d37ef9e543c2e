#include "common/plan_prototypes.h"

#include <string.h>

#include "common/plan.h"
#include "common/size.h"

static const cyaml_schema_value_t name = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 32)};

const cyaml_schema_field_t nx_plan_prototypes_fields[] = {
    CYAML_FIELD_SEQUENCE_COUNT("classes", CYAML_FLAG_POINTER, struct nx_plan_prototypes, classes,
                               n_classes, &name, 2, NX_PROTOTYPES),
    CYAML_FIELD_FLOAT("weight", CYAML_FLAG_DEFAULT, struct nx_plan_prototypes, weight),
    CYAML_FIELD_FLOAT("temperature", CYAML_FLAG_DEFAULT, struct nx_plan_prototypes, temperature),
    CYAML_FIELD_UINT("minimum_count", CYAML_FLAG_DEFAULT, struct nx_plan_prototypes, minimum_count),
    CYAML_FIELD_END};

static int check_classes(const struct nx_plan_prototypes *p, struct nx_error *err) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
  size_t length = 0;
  for (uint32_t i = 0; i < p->n_classes; i++) {
    if (p->classes[i][strspn(p->classes[i], allowed)])
      return nx_fail(err, NX_E_FORMAT,
                     "prototypes.classes: '%s' has more than small letters, digits, - and _",
                     p->classes[i]);
    for (uint32_t j = 0; j < i; j++)
      if (!strcmp(p->classes[i], p->classes[j]))
        return nx_fail(err, NX_E_FORMAT, "prototypes.classes names '%s' twice", p->classes[i]);
    length += strlen(p->classes[i]) + 1;
  }
  return length <= NX_PROTOTYPE_NAMES
             ? 0
             : nx_fail(err, NX_E_FORMAT, "prototypes.classes: the names have %zu letters, use %d",
                       length, NX_PROTOTYPE_NAMES);
}

static int check_ranges(const struct nx_plan_prototypes *p, const char **key_out,
                        struct nx_error *err) {
  const struct {
    const char *key;
    double value, low, high;
  } ranges[] = {{"prototypes.weight", p->weight, 1e-6, 100},
                {"prototypes.temperature", p->temperature, 0.01, 10},
                {"prototypes.minimum_count", p->minimum_count, 16, 1e9}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ranges); i++)
    if (!(ranges[i].value >= ranges[i].low && ranges[i].value <= ranges[i].high)) {
      *key_out = ranges[i].key;
      return nx_fail(err, NX_E_FORMAT, "%s is %g: use %g to %g", ranges[i].key, ranges[i].value,
                     ranges[i].low, ranges[i].high);
    }
  return 0;
}

int nx_plan_prototypes_check(const struct nx_plan *plan, const char **key_out,
                             struct nx_error *err) {
  const struct nx_plan_prototypes *p = plan->prototypes;
  if (!p)
    return 0;
  *key_out = "prototypes";
  if (plan->model.network != NX_NETWORK_GENERAL ||
      (plan->training.objective != NX_OBJECTIVE_RECONSTRUCTION &&
       plan->training.objective != NX_OBJECTIVE_NEXT_PATCH))
    return nx_fail(err, NX_E_FORMAT,
                   "a section prototypes is for model.network: general with training.objective: "
                   "reconstruction or next-patch");
  if (plan->adapters)
    return nx_fail(err, NX_E_FORMAT,
                   "prototypes do not go together with adapters: leave one of the sections out");
  *key_out = "prototypes.classes";
  int r = check_classes(p, err);
  return r ? r : check_ranges(p, key_out, err);
}
