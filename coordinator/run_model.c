#include "coordinator/run_model.h"

#include <stdlib.h>

#include "common/aux_lanes.h"
#include "common/plan_initial_model.h"
#include "common/plan_prototypes.h"
#include "crypto/plan_numbers.h"
#include "crypto/threshold.h"
#include "models/optim/server_apply.h"

uint64_t nx_plan_rounds(const struct nx_plan *plan) {
  return (uint64_t)plan->training.rounds + 2;
}

enum nx_round_kind nx_plan_round_kind(const struct nx_plan *plan, uint64_t index) {
  if (index == 0)
    return NX_ROUND_STATISTICS;
  return index <= plan->training.rounds ? NX_ROUND_TRAIN : NX_ROUND_EVALUATE;
}

struct nx_transcript_parameters nx_plan_parameters(const struct nx_plan *plan,
                                                   const struct nx_model *model,
                                                   enum nx_round_kind kind) {
  return nx_plan_round_parameters(plan, model->n_params, model->n_features, kind);
}

struct nx_upload_layout nx_plan_layout(const struct nx_plan *plan, const struct nx_model *model,
                                       enum nx_round_kind kind) {
  struct nx_transcript_parameters p = nx_plan_parameters(plan, model, kind);
  return (struct nx_upload_layout){
      .n_lanes = p.n_lanes, .ring_bits = p.ring_bits, .n_aux = p.n_aux};
}

int nx_plan_check(const struct nx_plan *plan, uint32_t n_members, struct nx_error *err) {
  if (n_members < NX_MEMBERS_MIN)
    return nx_fail(err, NX_E_INVALID,
                   "a federation of %u cannot sum without showing too much: invite at least %u",
                   n_members, NX_MEMBERS_MIN);
  if (plan->aggregation.minimum_members > n_members)
    return nx_fail(err, NX_E_INVALID,
                   "the plan wants at least %u members, the federation has %u: change "
                   "aggregation.minimum_members or invite more",
                   plan->aggregation.minimum_members, n_members);
  return nx_plan_check_ring(plan, n_members, err);
}

static int advance_rotated(struct nx_model *model, const struct nx_hash *from,
                           const struct nx_plan *plan, const struct nx_upload_layout *layout,
                           const uint32_t *lanes, const uint64_t *aux, struct nx_error *err) {
  _cleanup_free_ float *values = calloc(model->n_params, sizeof *values);
  struct nx_quantize q;
  double weight;
  if (!values)
    return nx_fail(err, NX_E_NOMEM, "next model: out of memory");
  int r = nx_plan_quantize(plan, from, &q, err);
  if (r == 0)
    r = nx_server_weight(aux, layout->n_aux, &weight, err);
  if (r == 0)
    r = nx_quantize_decode(&q, lanes, model->n_params, weight, NULL, values, err);
  return r < 0 ? r : nx_server_apply_values(model, values, model->n_params, err);
}

int nx_model_advance(struct nx_model *model, const struct nx_hash *from, const struct nx_plan *plan,
                     enum nx_round_kind kind, const struct nx_upload_layout *layout,
                     const uint32_t *lanes, const uint64_t *aux, struct nx_error *err) {
  const struct nx_plan_differential_privacy *dp = plan->differential_privacy;
  if (kind == NX_ROUND_STATISTICS && dp)
    return nx_server_apply_features(model, dp->feature_mean, dp->feature_sd, dp->n_feature_mean,
                                    err);
  if (kind == NX_ROUND_STATISTICS)
    return nx_server_apply_statistics(model, aux, layout->n_aux, err);
  if (kind == NX_ROUND_TRAIN) {
    int r = nx_server_apply_sums(model, plan->prototypes ? plan->prototypes->minimum_count : 0, aux,
                                 layout->n_aux, err);
    if (r < 0)
      return r;
  }
  if (kind == NX_ROUND_TRAIN && plan->aggregation.rotation)
    return advance_rotated(model, from, plan, layout, lanes, aux, err);
  if (kind == NX_ROUND_TRAIN)
    return nx_server_apply_average(model, lanes, layout->n_lanes, plan->aggregation.ring_bits,
                                   nx_plan_server_scale(plan), aux, layout->n_aux, err);
  return 0;
}

int nx_model_publish(const struct nx_model *model, struct nx_model_registry *registry,
                     struct nx_hash *hash_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {.cap = NX_BLOB_CAP};
  int r = nx_model_save(model, &bytes, err);
  return r < 0 ? r : nx_model_registry_put(registry, nx_buffer_view(&bytes), hash_out, err);
}

int nx_model_recall(const struct nx_plan *plan, const struct nx_model_registry *registry,
                    const struct nx_hash *hash, struct nx_model **model_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {.cap = NX_BLOB_CAP};
  int r = nx_model_registry_get(registry, hash, &bytes, err);
  return r < 0 ? r : nx_model_load(plan, nx_buffer_view(&bytes), model_out, err);
}

int nx_model_first(const struct nx_plan *plan, const struct nx_model_registry *registry,
                   struct nx_model **model_out, struct nx_error *err) {
  struct nx_hash named;
  if (!nx_plan_initial_model_hash(plan, named.bytes))
    return nx_model_create(plan, model_out, err);
  int r = nx_model_recall(plan, registry, &named, model_out, err);
  if (r == NX_E_NOT_FOUND)
    return nx_fail(err, r,
                   "the plan's initial_model %.16s… is not here: neurox-coordinator import MODEL "
                   "--plan PLAN",
                   plan->initial_model->sha256);
  return r < 0 ? nx_error_prefix(err, r, "initial_model") : 0;
}
