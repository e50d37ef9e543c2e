#include "common/plan_irb.h"

#include <ctype.h>

static const cyaml_schema_value_t protocol = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 64)};

const cyaml_schema_field_t nx_plan_irb_fields[] = {
    CYAML_FIELD_SEQUENCE_COUNT("protocols", CYAML_FLAG_POINTER, struct nx_plan_irb, protocols,
                               n_protocols, &protocol, 1, 256),
    CYAML_FIELD_STRING_PTR("statement", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                           struct nx_plan_irb, statement, 1, 1000),
    CYAML_FIELD_END};

int nx_plan_irb_check(const struct nx_plan_irb *irb, struct nx_error *err) {
  for (uint32_t i = 0; i < irb->n_protocols; i++)
    for (const char *c = irb->protocols[i]; *c; c++)
      if (!isprint((unsigned char)*c))
        return nx_fail(err, NX_E_FORMAT,
                       "irb.protocols: a number has a character that is not "
                       "printable ASCII");
  return 0;
}
