#include "node/train/update.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/plan_aux.h"
#include "common/size.h"
#include "node/dataset/targets.h"
#include "node/train/prototype_sums.h"

#define ALIGNMENT 64
#define LOAD_STREAM (UINT64_C(1) << 61) /* apart from those that draw batches and masks */

static int allocate(enum nx_round_kind kind, const struct nx_model *model,
                    const struct nx_plan *plan, struct nx_update *update, struct nx_error *err) {
  update->n_aux = nx_plan_aux_lanes(plan, kind, model->n_features);
  update->aux = calloc(update->n_aux, sizeof *update->aux);
  if (!update->aux)
    return nx_fail(err, NX_E_NOMEM, "update: out of memory");
  if (kind != NX_ROUND_TRAIN)
    return 0;
  size_t size = (model->n_params * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  update->delta = aligned_alloc(ALIGNMENT, size);
  if (!update->delta)
    return nx_fail(err, NX_E_NOMEM, "update of %zu values: out of memory", model->n_params);
  memset(update->delta, 0, size);
  update->n_values = model->n_params;
  return 0;
}

static void put_common(double samples, const struct nx_plan *plan, struct nx_update *update) {
  double cap = plan->aggregation.weight_cap;
  update->weight = fmin(samples, cap) / cap;
  update->train_loss = update->held_out_loss = NAN;
  update->aux[NX_AUX_CONTRIBUTORS] = 1;
  update->aux[NX_AUX_WEIGHT] = nx_aux_encode(update->weight, NX_AUX_WEIGHT_SCALE);
}

/* The lane carries the weight in 16 bits: the update is weighted by exactly what it says. */
static double weight_as_sent(const struct nx_update *update) {
  return nx_aux_decode(update->aux[NX_AUX_WEIGHT], NX_AUX_WEIGHT_SCALE);
}

static int put_statistics(const struct nx_dataset *dataset, const struct nx_plan *plan,
                          const struct nx_model *model, struct nx_update *update,
                          struct nx_error *err) {
  struct nx_feature_sums sums;
  int r = nx_feature_sums(dataset, plan, &sums, err);
  if (r < 0)
    return r;
  size_t n = sums.n_bins + NX_FEATURE_STATS;
  if (n != model->n_features)
    return nx_fail(err, NX_E_STATE, "the model has %zu features, the recordings give %zu",
                   model->n_features, n);
  update->aux[NX_AUX_SPECTRAL_COUNT] = sums.n_spectra;
  update->aux[NX_AUX_CHANNEL_COUNT] = sums.n_stats;
  for (size_t i = 0; i < n; i++) {
    uint64_t *lanes = update->aux + NX_AUX_FEATURE_SUMS;
    lanes[i] = nx_aux_encode(sums.sum[i], NX_AUX_FEATURE_SCALE);
    lanes[n + i] = nx_aux_encode(sums.sum_squares[i], NX_AUX_FEATURE_SCALE);
  }
  return 0;
}

static void put_scores(const struct nx_score_result *result, struct nx_update *update) {
  update->aux[NX_AUX_HELD_OUT_WINDOWS] = result->n_windows;
  update->aux[NX_AUX_HELD_OUT_LOSS] = nx_aux_encode(result->loss_sum, NX_AUX_LOSS_SCALE);
  for (size_t b = 0; b < NX_HISTOGRAM_BINS; b++) {
    update->aux[NX_AUX_HISTOGRAM_NEGATIVE + b] = result->negative[b];
    update->aux[NX_AUX_HISTOGRAM_POSITIVE + b] = result->positive[b];
  }
  if (result->moments.n_targets)
    nx_moments_to_lanes(&result->moments, update->aux);
  if (result->n_windows)
    update->held_out_loss = result->loss_sum / (double)result->n_windows;
}

static int put_held_out(const struct nx_model *model, const struct nx_dataset *dataset,
                        const struct nx_plan *plan, struct nx_update *update,
                        struct nx_error *err) {
  struct nx_score_result result = {0};
  if (plan->training.objective != NX_OBJECTIVE_CLASSIFICATION ||
      nx_dataset_summary(dataset)->n_held_out_windows == 0)
    return 0;
  int r = nx_score(model, dataset, plan, NX_SPLIT_HELD_OUT, NULL, &result, err);
  if (r < 0)
    return r;
  put_scores(&result, update);
  return 0;
}

/* local - global, clipped to the plan's L2 norm, weighted. */
void nx_update_put_delta(const struct nx_model *global, const struct nx_model *local,
                         const struct nx_plan *plan, struct nx_update *update) {
  double squares = 0, clip = plan->aggregation.update_clip_norm;
  for (size_t i = 0; i < update->n_values; i++) {
    double d = (double)local->params[i] - (double)global->params[i];
    squares += d * d;
  }
  update->norm = sqrt(squares);
  double factor = weight_as_sent(update) * (update->norm > clip ? clip / update->norm : 1);
  for (size_t i = 0; i < update->n_values; i++)
    update->delta[i] = (float)(factor * ((double)local->params[i] - (double)global->params[i]));
}

static void destroy_wiped(struct nx_model *model) {
  if (model)
    explicit_bzero(model->params, model->n_params * sizeof *model->params);
  nx_model_destroy(model);
}
NX_DEFINE_CLEANUP(struct nx_model *, destroy_wiped)

static struct nx_train_options options_of(const struct nx_plan *plan, uint64_t training_round,
                                          uint32_t member_id, bool (*cancelled)(void *context),
                                          void *context) {
  const struct nx_plan_training *training = &plan->training;
  return (struct nx_train_options){
      .seed = plan->seed,
      .stream = (training_round + 1) << 8 | (member_id & 0xff),
      .first_step = training_round * training->local_steps,
      .n_steps = training->local_steps,
      .total_steps = (size_t)training->rounds * training->local_steps,
      .batch = training->batch,
      .cancelled = cancelled,
      .context = context,
  };
}

/* Who trains: one of the two. */
struct site {
  const struct nx_dataset *dataset;
  const struct nx_site_signals *signals;
  struct nx_pool *pool;
};

static int put_training(const struct nx_model *model, const struct site *site,
                        const struct nx_plan *plan, const struct nx_train_options *options,
                        struct nx_update *update, struct nx_error *err) {
  _cleanup_(destroy_wipedp) struct nx_model *local = NULL;
  struct nx_train_result result;
  int r = nx_model_clone(model, &local, err);
  if (!r)
    r = site->signals
            ? nx_general_train(local, site->signals, plan, options, site->pool, &result, err)
            : nx_train(local, site->dataset, plan, options, &result, err);
  if (r < 0)
    return r;
  nx_update_put_delta(model, local, plan, update);
  update->aux[NX_AUX_TRAIN_WINDOWS] = result.n_windows;
  update->aux[NX_AUX_TRAIN_LOSS] = nx_aux_encode(result.loss_sum, NX_AUX_LOSS_SCALE);
  update->train_loss = result.loss_sum / (double)result.n_windows;
  return 0;
}

int nx_update_compute(enum nx_round_kind kind, const struct nx_model *model,
                      const struct nx_dataset *dataset, const struct nx_plan *plan,
                      uint64_t training_round, uint32_t member_id, bool (*cancelled)(void *context),
                      void *context, struct nx_update *update_out, struct nx_error *err) {
  memset(update_out, 0, sizeof *update_out);
  int r = allocate(kind, model, plan, update_out, err);
  if (!r)
    put_common((double)nx_dataset_summary(dataset)->n_train_windows, plan, update_out);
  if (!r && kind == NX_ROUND_STATISTICS)
    r = put_statistics(dataset, plan, model, update_out, err);
  if (!r && kind != NX_ROUND_STATISTICS)
    r = put_held_out(model, dataset, plan, update_out, err);
  const struct site site = {.dataset = dataset};
  const struct nx_train_options options =
      options_of(plan, training_round, member_id, cancelled, context);
  if (!r && kind == NX_ROUND_TRAIN)
    r = put_training(model, &site, plan, &options, update_out, err);
  if (r < 0)
    nx_update_finish(update_out);
  return r;
}

/* What the general network's statistics are of: the targets of a regression, in their unit. */
static int put_target_sums(const struct nx_site_signals *site, const struct nx_plan *plan,
                           struct nx_update *update, struct nx_error *err) {
  const double most = ldexp(1, 62) / NX_AUX_FEATURE_SCALE;
  const struct nx_signals *set = &site->sets[0];
  size_t k = plan->regression->n_targets;
  uint64_t *lanes = update->aux + NX_AUX_FEATURE_SUMS;
  struct nx_target_sums sums = {0};
  for (size_t i = 0; i < set->n; i++)
    if (set->signals[i].split == NX_SPLIT_TRAIN && set->signals[i].targets)
      nx_targets_sum(set->signals[i].targets, k, set->signals[i].n_samples,
                     set->tokeniser->patch_samples, &sums);
  update->aux[NX_AUX_SPECTRAL_COUNT] = update->aux[NX_AUX_CHANNEL_COUNT] = (uint64_t)sums.n;
  for (size_t i = 0; i < k; i++) {
    if (!(fabs(sums.sum[i]) < most) || !(sums.squares[i] < most))
      return nx_fail(
          err, NX_E_INVALID,
          "target %s: the sum of its squares is %g, the most that can be sent is %g: use "
          "a larger regression.unit",
          plan->regression->targets[i], sums.squares[i], most);
    lanes[i] = nx_aux_encode(sums.sum[i], NX_AUX_FEATURE_SCALE);
    lanes[k + i] = nx_aux_encode(sums.squares[i], NX_AUX_FEATURE_SCALE);
  }
  return 0;
}

static int put_held_out_general(const struct nx_model *model, const struct nx_site_signals *site,
                                const struct nx_plan *plan, struct nx_update *update,
                                struct nx_error *err) {
  struct nx_score_result result = {0};
  double loss = NAN;
  bool asks = plan->training.objective == NX_OBJECTIVE_RECONSTRUCTION ||
              plan->training.objective == NX_OBJECTIVE_NEXT_PATCH;
  int r = asks ? nx_general_loss_of(model, site, NX_SPLIT_HELD_OUT, plan->seed, &result.n_windows,
                                    &loss, err)
          : plan->regression
              ? nx_general_regression_score(model, site, NX_SPLIT_HELD_OUT, &result, err)
              : nx_general_score(model, site, NX_SPLIT_HELD_OUT, NULL, &result, err);
  if (asks && result.n_windows)
    result.loss_sum = loss * (double)result.n_windows;
  if (!r)
    put_scores(&result, update);
  return r;
}

/* How full each expert is, over as many windows as a round trains on, at most the plan's cap. */
static int put_loads(const struct nx_model *model, const struct site *who,
                     const struct nx_plan *plan, const struct nx_train_options *options,
                     struct nx_update *update, struct nx_error *err) {
  size_t n_loads = (size_t)nx_plan_expert_blocks(plan) * plan->modalities->experts;
  size_t windows = NX_MIN(options->n_steps * options->batch, plan->aggregation.weight_cap);
  struct nx_rng rng;
  if (!(model->shape.balance > 0))
    return 0;
  nx_rng_init(&rng, options->seed, options->stream | LOAD_STREAM);
  return nx_expert_sums(model, who->signals, windows, &rng, who->pool,
                        update->aux + update->n_aux - n_loads, err);
}

int nx_update_compute_general(enum nx_round_kind kind, const struct nx_model *model,
                              const struct nx_site_signals *site, const struct nx_plan *plan,
                              uint64_t training_round, uint32_t member_id, struct nx_pool *pool,
                              bool (*cancelled)(void *context), void *context,
                              struct nx_update *update_out, struct nx_error *err) {
  memset(update_out, 0, sizeof *update_out);
  int r = nx_site_signals_check(site, &model->shape, err);
  if (!r)
    r = allocate(kind, model, plan, update_out, err);
  if (r < 0)
    return r;
  size_t windows = nx_signals_windows(&site->sets[0], NX_SPLIT_TRAIN, model->shape.patches);
  put_common((double)windows, plan, update_out);
  if (kind == NX_ROUND_STATISTICS && plan->regression)
    r = put_target_sums(site, plan, update_out, err);
  else if (kind == NX_ROUND_STATISTICS) /* nothing is standardised: how much was looked at */
    update_out->aux[NX_AUX_SPECTRAL_COUNT] = update_out->aux[NX_AUX_CHANNEL_COUNT] = windows;
  else
    r = put_held_out_general(model, site, plan, update_out, err);
  const struct site who = {.signals = site, .pool = pool};
  const struct nx_train_options options =
      options_of(plan, training_round, member_id, cancelled, context);
  if (!r && kind == NX_ROUND_TRAIN && plan->prototypes)
    r = nx_prototype_sums(model, site, plan->aggregation.weight_cap, training_round, pool,
                          update_out->aux, err);
  if (!r && kind == NX_ROUND_TRAIN)
    r = put_loads(model, &who, plan, &options, update_out, err);
  if (!r && kind == NX_ROUND_TRAIN)
    r = put_training(model, &who, plan, &options, update_out, err);
  if (r < 0)
    nx_update_finish(update_out);
  return r;
}

void nx_update_finish(struct nx_update *update) {
  if (update->delta)
    explicit_bzero(update->delta, update->n_values * sizeof *update->delta);
  if (update->aux)
    explicit_bzero(update->aux, update->n_aux * sizeof *update->aux);
  if (update->lanes)
    explicit_bzero(update->lanes, update->n_values * sizeof *update->lanes);
  free(update->delta);
  free(update->lanes);
  free(update->aux);
  memset(update, 0, sizeof *update);
}
