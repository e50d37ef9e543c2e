/* Plan aux: how many aux lanes (common/aux_lanes.h) a round of a plan has. Pure. */
#pragma once

#include "common/aux_lanes.h"
#include "common/plan.h"

size_t nx_plan_aux_lanes(const struct nx_plan *plan, enum nx_round_kind kind, size_t n_features);
