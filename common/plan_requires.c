#include "common/plan_requires.h"

#include <string.h>

static const cyaml_schema_value_t name = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 64)};

const cyaml_schema_field_t nx_plan_requires_fields[] = {
    CYAML_FIELD_SEQUENCE_COUNT("data_sets", CYAML_FLAG_POINTER, struct nx_plan_requires, data_sets,
                               n_data_sets, &name, 1, 256),
    CYAML_FIELD_UINT("minimum_recordings", CYAML_FLAG_OPTIONAL, struct nx_plan_requires,
                     minimum_recordings),
    CYAML_FIELD_END};

int nx_plan_requires_judge(const struct nx_plan_requires *required, const char *data_set,
                           struct nx_error *err) {
  if (!data_set)
    return nx_fail(err, NX_E_DENIED,
                   "the plan is for named data sets, and this site's has no name (data.name in "
                   "node.yaml)");
  for (uint32_t i = 0; i < required->n_data_sets; i++)
    if (!strcmp(required->data_sets[i], data_set))
      return 0;
  return nx_fail(err, NX_E_DENIED, "the plan is not for the data set of this site");
}
