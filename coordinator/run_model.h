/* Run model: what a plan says about its rounds, and the next model from an opened sum.
 * The node computes the same for itself (node/session/next_model.c) and compares hashes. */
#pragma once

#include "common/aux_lanes.h"
#include "common/plan.h"
#include "coordinator/store/model_registry.h"
#include "crypto/transcript.h"
#include "crypto/upload.h"
#include "models/model.h"

/* Rounds of a plan: one of statistics, the training rounds, one of evaluation. */
uint64_t nx_plan_rounds(const struct nx_plan *plan);
/* The kind of its index-th round, from 0. */
enum nx_round_kind nx_plan_round_kind(const struct nx_plan *plan, uint64_t index);

/* What T0 binds about the numbers of such a round. */
struct nx_transcript_parameters nx_plan_parameters(const struct nx_plan *plan,
                                                   const struct nx_model *model,
                                                   enum nx_round_kind kind);
struct nx_upload_layout nx_plan_layout(const struct nx_plan *plan, const struct nx_model *model,
                                       enum nx_round_kind kind);
/* Can a federation of n members run this plan at all? NX_E_INVALID or NX_E_LIMIT say why not. */
int nx_plan_check(const struct nx_plan *plan, uint32_t n_members, struct nx_error *err);

/* Moves the model, whose hash is `from`, on by the opened lanes [n_lanes] and counters
 * [n_aux] of the layout. On failure the model is unchanged. */
int nx_model_advance(struct nx_model *model, const struct nx_hash *from, const struct nx_plan *plan,
                     enum nx_round_kind kind, const struct nx_upload_layout *layout,
                     const uint32_t *lanes, const uint64_t *aux, struct nx_error *err);
/* Keeps the model's canonical bytes in the registry. */
int nx_model_publish(const struct nx_model *model, struct nx_model_registry *registry,
                     struct nx_hash *hash_out, struct nx_error *err);
/* Model 0 of the plan: drawn from its seed, or the one that its section initial_model names.
 * NX_E_NOT_FOUND: that one was not imported. */
int nx_model_first(const struct nx_plan *plan, const struct nx_model_registry *registry,
                   struct nx_model **model_out, struct nx_error *err);
int nx_model_recall(const struct nx_plan *plan, const struct nx_model_registry *registry,
                    const struct nx_hash *hash, struct nx_model **model_out, struct nx_error *err);
