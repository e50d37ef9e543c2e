/* Plan section `irb:` (optional): under which ethics protocols the researcher asks.
 *
 *   irb:
 *     protocols: [EA1/123/24, "2024-0117"]   # one that each site's own board gave
 *     statement: Secondary use of recordings for rest and arithmetic, no contact with patients.
 *
 * A site whose policy lists protocols takes part only when one of its own, not expired, is here. */
#pragma once

#include <cyaml/cyaml.h>
#include <stdint.h>

#include "common/error.h"

struct nx_plan_irb {
  char **protocols;
  uint32_t n_protocols;
  char *statement; /* NULL: none */
};

extern const cyaml_schema_field_t nx_plan_irb_fields[];

int nx_plan_irb_check(const struct nx_plan_irb *irb, struct nx_error *err);
