#include "node/session/next_model.h"

#include <stdlib.h>

#include "common/plan_prototypes.h"
#include "common/size.h"
#include "crypto/plan_numbers.h"
#include "models/optim/server_apply.h"

int nx_model_hash(const struct nx_model *model, struct nx_buffer *bytes_out,
                  struct nx_hash *hash_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer own = {.cap = (size_t)8 << 30};
  struct nx_buffer *bytes = bytes_out ? bytes_out : &own;
  size_t before = bytes->size;
  int r = nx_model_save(model, bytes, err);
  if (r < 0)
    return r;
  *hash_out = nx_sha256(bytes->data + before, bytes->size - before);
  return 0;
}

struct opened {
  const uint32_t *lanes;
  size_t n_lanes;
  const uint64_t *aux;
  size_t n_aux;
};

static int apply_rotated(struct nx_model *next, const struct nx_hash *hash,
                         const struct nx_plan *plan, const struct opened *sum,
                         struct nx_error *err) {
  _cleanup_free_ float *values = calloc(next->n_params, sizeof *values);
  struct nx_quantize q;
  double weight;
  if (!values)
    return nx_fail(err, NX_E_NOMEM, "next model: out of memory");
  int r = nx_plan_quantize(plan, hash, &q, err);
  if (r == 0)
    r = nx_server_weight(sum->aux, sum->n_aux, &weight, err);
  if (r == 0)
    r = nx_quantize_decode(&q, sum->lanes, next->n_params, weight, NULL, values, err);
  return r < 0 ? r : nx_server_apply_values(next, values, next->n_params, err);
}

static int apply(struct nx_model *next, const struct nx_hash *hash, const struct nx_plan *plan,
                 enum nx_round_kind kind, const struct opened *sum, struct nx_error *err) {
  const struct nx_plan_differential_privacy *dp = plan->differential_privacy;
  if (kind == NX_ROUND_STATISTICS && dp)
    return nx_server_apply_features(next, dp->feature_mean, dp->feature_sd, dp->n_feature_mean,
                                    err);
  if (kind == NX_ROUND_STATISTICS)
    return nx_server_apply_statistics(next, sum->aux, sum->n_aux, err);
  if (kind == NX_ROUND_TRAIN) {
    int r = nx_server_apply_sums(next, plan->prototypes ? plan->prototypes->minimum_count : 0,
                                 sum->aux, sum->n_aux, err);
    if (r < 0)
      return r;
  }
  if (kind == NX_ROUND_TRAIN && plan->aggregation.rotation)
    return apply_rotated(next, hash, plan, sum, err);
  if (kind == NX_ROUND_TRAIN)
    return nx_server_apply_average(next, sum->lanes, sum->n_lanes, plan->aggregation.ring_bits,
                                   nx_plan_server_scale(plan), sum->aux, sum->n_aux, err);
  return 0;
}

int nx_next_model(const struct nx_model *model, const struct nx_hash *hash,
                  const struct nx_plan *plan, enum nx_round_kind kind, struct nx_bytes sum,
                  struct nx_model **next_out, struct nx_error *err) {
  const struct nx_transcript_parameters p =
      nx_plan_round_parameters(plan, model->n_params, model->n_features, kind);
  size_t n_lanes = p.n_lanes, n_aux = p.n_aux;
  if (sum.size != 4 * n_lanes + 8 * n_aux)
    return nx_fail(err, NX_E_PROTOCOL, "the opened sum has %zu bytes, not %zu", sum.size,
                   4 * n_lanes + 8 * n_aux);
  _cleanup_(nx_model_destroyp) struct nx_model *next = NULL;
  _cleanup_free_ uint32_t *lanes = calloc(NX_MAX(n_lanes, (size_t)1), sizeof *lanes);
  _cleanup_free_ uint64_t *aux = calloc(n_aux, sizeof *aux);
  if (!lanes || !aux)
    return nx_fail(err, NX_E_NOMEM, "next model: out of memory");
  for (size_t i = 0; i < n_lanes; i++)
    lanes[i] = nx_load_le32(sum.data + 4 * i);
  for (size_t i = 0; i < n_aux; i++)
    aux[i] = nx_load_le64(sum.data + 4 * n_lanes + 8 * i);
  int r = nx_model_clone(model, &next, err);
  if (r == 0)
    r = apply(next, hash, plan, kind, &(struct opened){lanes, n_lanes, aux, n_aux}, err);
  if (r < 0)
    return nx_error_prefix(err, r, "next model");
  *next_out = nx_steal(&next);
  return 0;
}
