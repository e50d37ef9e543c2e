#include "coordinator/run_model.h"

#include "common/aux_lanes.h"
#include "crypto/quantize.h"
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
  return (struct nx_transcript_parameters){
      .kind = kind,
      .n_lanes = kind == NX_ROUND_TRAIN ? model->n_params : 0,
      .n_aux = nx_aux_lanes(kind, model->n_features),
      .ring_bits = plan->aggregation.ring_bits,
      .value_bits = plan->aggregation.value_bits,
      .value_range = plan->aggregation.value_range,
      .clip_norm = plan->aggregation.update_clip_norm,
      .privacy = (uint32_t)plan->privacy,
  };
}

struct nx_upload_layout nx_plan_layout(const struct nx_plan *plan, const struct nx_model *model,
                                       enum nx_round_kind kind) {
  struct nx_transcript_parameters p = nx_plan_parameters(plan, model, kind);
  return (struct nx_upload_layout){
      .n_lanes = p.n_lanes, .ring_bits = p.ring_bits, .n_aux = p.n_aux};
}

static struct nx_quantize quantize_of(const struct nx_plan *plan) {
  return (struct nx_quantize){.ring_bits = plan->aggregation.ring_bits,
                              .value_bits = plan->aggregation.value_bits,
                              .value_range = plan->aggregation.value_range,
                              .clip_norm = plan->aggregation.update_clip_norm};
}

int nx_plan_check(const struct nx_plan *plan, uint32_t n_members, struct nx_error *err) {
  struct nx_quantize q = quantize_of(plan);
  if (n_members < NX_MEMBERS_MIN)
    return nx_fail(err, NX_E_INVALID,
                   "a federation of %u cannot sum without showing too much: invite at least %u",
                   n_members, NX_MEMBERS_MIN);
  if (plan->aggregation.minimum_members > n_members)
    return nx_fail(err, NX_E_INVALID,
                   "the plan wants at least %u members, the federation has %u: change "
                   "aggregation.minimum_members or invite more",
                   plan->aggregation.minimum_members, n_members);
  return nx_quantize_check(&q, n_members, 0, err);
}

int nx_model_advance(struct nx_model *model, const struct nx_plan *plan, enum nx_round_kind kind,
                     const struct nx_upload_layout *layout, const uint32_t *lanes,
                     const uint64_t *aux, struct nx_error *err) {
  struct nx_quantize q = quantize_of(plan);
  if (kind == NX_ROUND_STATISTICS)
    return nx_server_apply_statistics(model, aux, layout->n_aux, err);
  if (kind == NX_ROUND_TRAIN)
    return nx_server_apply_average(model, lanes, layout->n_lanes, q.ring_bits,
                                   nx_quantize_scale(&q), aux, layout->n_aux, err);
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
