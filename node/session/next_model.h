/* Next model: what a node computes for itself from (its model, an opened sum), to compare
 * with what the coordinator says came out. */
#pragma once

#include "common/aux_lanes.h"
#include "common/plan.h"
#include "crypto/hash.h"
#include "models/model.h"

/* SHA-256 of the model's canonical bytes, which are appended to bytes_out when not NULL. */
int nx_model_hash(const struct nx_model *model, struct nx_buffer *bytes_out,
                  struct nx_hash *hash_out, struct nx_error *err);

/* sum: n_lanes u32 LE and n_aux u64 LE of a round of that kind. hash: the model's, from which
 * the plan's rotation follows. The model itself stays. */
int nx_next_model(const struct nx_model *model, const struct nx_hash *hash,
                  const struct nx_plan *plan, enum nx_round_kind kind, struct nx_bytes sum,
                  struct nx_model **next_out, struct nx_error *err);
