#include "common/plan_aux.h"

#include "common/plan_prototypes.h"

size_t nx_plan_aux_lanes(const struct nx_plan *plan, enum nx_round_kind kind, size_t n_features) {
  size_t n = nx_aux_lanes(kind, n_features);
  if (kind == NX_ROUND_TRAIN && plan->prototypes)
    n += (size_t)plan->prototypes->n_classes * (1 + NX_PROTOTYPE_WIDTH);
  if (kind == NX_ROUND_TRAIN && plan->modalities && plan->modalities->expert_balance > 0)
    n += (size_t)nx_plan_expert_blocks(plan) * plan->modalities->experts;
  return n;
}
