#include "crypto/plan_numbers.h"

#include <math.h>

#include "crypto/agreement.h"
#include "crypto/dp_noise.h"

#define ROUNDING_BETA 0.60653065971263342 /* exp(-1/2) */

/* Noise that is added to the lanes themselves. */
static bool has_shared_noise(uint32_t privacy) {
  return privacy == NX_PRIVACY_DISTRIBUTED || privacy == NX_PRIVACY_NODE_LEVEL;
}

static struct nx_quantize widths(const struct nx_plan *plan) {
  return (struct nx_quantize){.ring_bits = plan->aggregation.ring_bits,
                              .value_bits = plan->aggregation.value_bits,
                              .value_range = plan->aggregation.value_range,
                              .clip_norm = plan->aggregation.update_clip_norm,
                              .rotate = plan->aggregation.rotation};
}

int nx_plan_quantize(const struct nx_plan *plan, const struct nx_hash *model,
                     struct nx_quantize *quantize_out, struct nx_error *err) {
  *quantize_out = widths(plan);
  if (!quantize_out->rotate || !model)
    return 0;
  return nx_rotation_seed(model, &quantize_out->rotation_seed, err);
}

double nx_plan_grid(const struct nx_plan *plan) {
  struct nx_quantize q = widths(plan);
  return nx_quantize_scale(&q);
}

int nx_plan_mechanism(const struct nx_plan *plan, uint64_t n_params,
                      struct nx_privacy_mechanism *mechanism_out, struct nx_error *err) {
  const struct nx_plan_differential_privacy *dp = plan->differential_privacy;
  if (plan->privacy == NX_PRIVACY_NONE || !dp)
    return nx_fail(err, NX_E_STATE, "the plan names no privacy mechanism");
  bool shared = has_shared_noise(plan->privacy), node = plan->privacy == NX_PRIVACY_NODE_LEVEL;
  *mechanism_out = (struct nx_privacy_mechanism){
      .kind = shared ? NX_MECHANISM_SKELLAM : NX_MECHANISM_GAUSSIAN,
      .unit = node ? NX_UNIT_NODE : NX_UNIT_SUBJECT,
      .noise_multiplier = dp->noise_multiplier,
      .sampling_rate = dp->sampling_rate,
      .clip_norm = dp->clip_norm,
      .scale = shared ? nx_plan_grid(plan) : 0,
      .dimension = n_params,
      .rounding_beta = ROUNDING_BETA,
      .delta = dp->delta,
  };
  return nx_privacy_mechanism_check(mechanism_out, err);
}

uint64_t nx_plan_noisy_steps(const struct nx_plan *plan, enum nx_round_kind kind) {
  if (plan->privacy == NX_PRIVACY_NONE || kind != NX_ROUND_TRAIN)
    return 0;
  return plan->privacy == NX_PRIVACY_SITE_LOCAL ? plan->training.local_steps : 1;
}

struct nx_transcript_parameters nx_plan_round_parameters(const struct nx_plan *plan,
                                                         size_t n_params, size_t n_features,
                                                         enum nx_round_kind kind) {
  struct nx_quantize q = widths(plan);
  return (struct nx_transcript_parameters){
      .kind = kind,
      .n_lanes = kind == NX_ROUND_TRAIN ? nx_quantize_lanes(&q, n_params) : 0,
      .n_aux = nx_plan_aux_lanes(plan, kind, n_features),
      .ring_bits = q.ring_bits,
      .value_bits = q.value_bits,
      .value_range = q.value_range,
      .clip_norm = q.clip_norm,
      .rotation = q.rotate,
      .narrow_keystream = plan->aggregation.narrow_keystream,
      .mask_cipher = plan->aggregation.mask_cipher,
      .privacy = (uint32_t)plan->privacy,
      .noise_multiplier =
          plan->differential_privacy ? plan->differential_privacy->noise_multiplier : 0,
  };
}

static int noise_share(const struct nx_transcript_parameters *p, uint32_t n_members,
                       double *variance_out, struct nx_error *err) {
  const struct nx_quantize q = {.value_bits = p->value_bits, .value_range = p->value_range};
  *variance_out = 0;
  if (!has_shared_noise(p->privacy))
    return 0;
  return nx_noise_share(p->noise_multiplier, nx_quantize_scale(&q), p->clip_norm, n_members,
                        variance_out, err);
}

int nx_plan_noise_share(const struct nx_plan *plan, uint32_t n_members, double *variance_out,
                        struct nx_error *err) {
  struct nx_transcript_parameters p = nx_plan_round_parameters(plan, 0, 0, NX_ROUND_TRAIN);
  return noise_share(&p, n_members, variance_out, err);
}

int nx_parameters_check_ring(const struct nx_transcript_parameters *p, uint32_t n_members,
                             struct nx_error *err) {
  const struct nx_quantize q = {.ring_bits = p->ring_bits,
                                .value_bits = p->value_bits,
                                .value_range = p->value_range,
                                .clip_norm = p->clip_norm};
  double share = 0;
  int r = nx_quantize_check(&q, n_members, 0, err); /* first: the grid follows from it */
  if (r == 0)
    r = noise_share(p, n_members, &share, err);
  if (r == 0 && share > 0 && !(share >= 1 && share <= NX_NOISE_VARIANCE_MAX))
    return nx_fail(err, NX_E_LIMIT,
                   "each of %u members would add noise of variance %g, not 1 to %g: choose another "
                   "noise_multiplier, value_bits or value_range",
                   n_members, share, NX_NOISE_VARIANCE_MAX);
  return r < 0 ? r : nx_quantize_check(&q, n_members, nx_noise_margin(share, n_members), err);
}

int nx_plan_check_ring(const struct nx_plan *plan, uint32_t n_members, struct nx_error *err) {
  struct nx_transcript_parameters p = nx_plan_round_parameters(plan, 0, 0, NX_ROUND_TRAIN);
  return nx_parameters_check_ring(&p, n_members, err);
}

double nx_plan_server_scale(const struct nx_plan *plan) {
  double scale = nx_plan_grid(plan);
  if (plan->privacy != NX_PRIVACY_DISTRIBUTED)
    return scale;
  return scale * plan->differential_privacy->subjects_per_step / plan->training.learning_rate;
}
