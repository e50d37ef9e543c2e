/* libFuzzer: any bytes as a plan. What is accepted must be accepted again, and say the same. */
#include <stdlib.h>
#include <string.h>

#include "common/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL, *again = NULL;
  struct nx_bytes text = nx_bytes(data, size);
  if (nx_plan_parse("plan", text, &plan, NULL) < 0)
    return 0;
  if (nx_plan_parse("plan", text, &again, NULL) < 0 || strcmp(plan->name, again->name))
    abort();
  return 0;
}
