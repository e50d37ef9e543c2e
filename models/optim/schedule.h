/* Schedule: the learning rate of a step. */
#pragma once

#include <stdint.h>

#include "common/plan.h"

/* Rate of step t (0-based): peak * min(1, (t + 1) / w) * (f + (1 - f) * (1 + cos(pi u)) / 2),
 * u = clamp((t - w) / (total - w), 0, 1), w = max(1, warm-up steps), f = the final fraction.
 * Steps run through all rounds of a plan: total = rounds * local_steps. */
double nx_learning_rate(const struct nx_plan_training *training, uint64_t step,
                        uint64_t total_steps);
