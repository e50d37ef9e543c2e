#include "common/plan_initial_model.h"

#include <string.h>

#include "common/bytes.h"
#include "common/plan.h"

#define DIGITS 64

const cyaml_schema_field_t nx_plan_initial_model_fields[] = {
    CYAML_FIELD_STRING_PTR("sha256", CYAML_FLAG_POINTER, struct nx_plan_initial_model, sha256, 1,
                           128),
    CYAML_FIELD_END};

int nx_plan_initial_model_check(const struct nx_plan_initial_model *section, struct nx_error *err) {
  uint8_t hash[DIGITS / 2];
  if (!section || (strlen(section->sha256) == DIGITS &&
                   nx_hex_decode(section->sha256, hash, sizeof hash, NULL) == 0))
    return 0;
  return nx_fail(err, NX_E_FORMAT,
                 "initial_model.sha256 is not 64 hexadecimal digits: write what "
                 "neurox-coordinator import prints");
}

bool nx_plan_initial_model_hash(const struct nx_plan *plan, uint8_t out[32]) {
  return plan->initial_model &&
         nx_hex_decode(plan->initial_model->sha256, out, DIGITS / 2, NULL) == 0;
}
