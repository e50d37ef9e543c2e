#include "node/train/private_update.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "crypto/plan_numbers.h"
#include "models/optim/adamw.h"
#include "models/optim/schedule.h"
#include "node/train/subject_sums.h"

/* What all three ways work with. */
struct work {
  const struct nx_model *model;
  const struct nx_dataset *dataset;
  const struct nx_plan *plan;
  const struct nx_private_options *options;
  struct nx_dp_rounding rounding;
  struct nx_noise *noise;
  int64_t *sums; /* [n_params] */
  struct nx_model *local;
};

static void finish(struct work *w) {
  size_t n = w->model->n_params;
  if (w->sums)
    explicit_bzero(w->sums, n * sizeof *w->sums);
  if (w->local)
    explicit_bzero(w->local->params, n * sizeof *w->local->params);
  nx_model_destroy(w->local);
  nx_noise_destroy(w->noise);
  free(w->sums);
}

static int create_noise(struct work *w, struct nx_error *err) {
  double share;
  if (w->plan->privacy == NX_PRIVACY_SITE_LOCAL)
    return nx_noise_create_gaussian(&w->noise, err);
  int r = nx_plan_noise_share(w->plan, w->options->n_members, &share, err);
  return r < 0 ? r : nx_noise_create_skellam(share, &w->noise, err);
}

static int prepare(struct work *w, struct nx_update *update, struct nx_error *err) {
  struct nx_privacy_mechanism mechanism;
  size_t n = w->model->n_params;
  int r = nx_plan_mechanism(w->plan, n, &mechanism, err);
  if (r == 0)
    r = nx_privacy_mechanism_scale(&mechanism, &w->rounding.scale, err);
  if (r == 0)
    r = nx_privacy_mechanism_bound(&mechanism, &w->rounding.bound, err);
  if (r == 0)
    r = create_noise(w, err);
  if (r < 0)
    return r;
  w->rounding.clip_norm = mechanism.clip_norm;
  w->sums = calloc(n + 1, sizeof *w->sums);
  if (w->plan->privacy == NX_PRIVACY_SITE_LOCAL)
    update->delta = aligned_alloc(64, (n * sizeof *update->delta + 63) / 64 * 64);
  else
    update->lanes = calloc(n + 1, sizeof *update->lanes);
  update->n_values = n;
  if (!w->sums || (!update->delta && !update->lanes))
    return nx_fail(err, NX_E_NOMEM, "update of %zu values: out of memory", n);
  return 0;
}

/* ---- noise in full, here --------------------------------------------------------------- */

static int noisy_gradient(struct work *w, struct nx_subject_sums *subjects, float *gradient,
                          double *loss_out, struct nx_error *err) {
  double unit = w->rounding.scale * w->plan->differential_privacy->subjects_per_step;
  int r = nx_subject_sums_step(subjects, w->local, w->options->cancelled, w->options->context,
                               w->sums, loss_out, err);
  if (r == 0)
    r = nx_noise_add_sums(w->noise, w->options->entropy, w->sums, w->model->n_params, err);
  for (size_t i = 0; r == 0 && i < w->model->n_params; i++)
    gradient[i] = (float)((double)w->sums[i] / unit);
  return r;
}

/* From here on everything is made of noisy gradients, and free. */
static int descend(struct work *w, struct nx_subject_sums *subjects, struct nx_update *update,
                   struct nx_error *err) {
  const struct nx_plan_training *training = &w->plan->training;
  const struct nx_adamw_options options = {.beta1 = training->beta1,
                                           .beta2 = training->beta2,
                                           .weight_decay = training->weight_decay,
                                           .clip_norm = training->gradient_clip_norm};
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  _cleanup_free_ float *gradient = calloc(w->model->n_params + 1, sizeof *gradient);
  uint64_t first = w->options->training_round * training->local_steps;
  double norm, loss = NAN;
  int r = gradient ? nx_adamw_create(w->model, &options, &adamw, err)
                   : nx_fail(err, NX_E_NOMEM, "update: out of memory");
  for (uint32_t k = 0; r == 0 && k < training->local_steps; k++) {
    double rate =
        nx_learning_rate(training, first + k, (uint64_t)training->rounds * training->local_steps);
    r = noisy_gradient(w, subjects, gradient, &loss, err);
    if (r == 0)
      r = nx_adamw_step(adamw, w->local, gradient, rate, &norm, err);
  }
  update->train_loss = loss;
  return r;
}

static int site_local(struct work *w, struct nx_update *update, struct nx_error *err) {
  _cleanup_(nx_subject_sums_destroyp) struct nx_subject_sums *subjects = NULL;
  int r = nx_subject_sums_create(w->model, w->dataset, w->plan, &w->rounding, w->options->entropy,
                                 &subjects, err);
  if (r == 0)
    r = nx_model_clone(w->model, &w->local, err);
  if (r == 0)
    r = descend(w, subjects, update, err);
  if (r == 0)
    nx_update_put_delta(w->model, w->local, w->plan, update);
  return r;
}

/* ---- a share of the noise ------------------------------------------------------------------ */

/* Whole numbers of this site, cut to the width that the ring was checked for (which makes no
 * difference between two sums larger), into lanes; then the noise. */
static int protect_sums(struct work *w, struct nx_update *update, struct nx_error *err) {
  struct nx_quantize q;
  int r = nx_plan_quantize(w->plan, NULL, &q, err);
  if (r < 0)
    return r;
  int64_t limit = nx_quantize_limit(&q);
  uint32_t modulo = UINT32_MAX >> (32 - q.ring_bits);
  for (size_t i = 0; i < update->n_values; i++) {
    int64_t x = NX_MAX(-limit, NX_MIN(limit, w->sums[i]));
    update->n_clamped += x != w->sums[i];
    update->lanes[i] = (uint32_t)x & modulo;
  }
  return nx_noise_add_lanes(w->noise, w->options->entropy, update->lanes, update->n_values,
                            q.ring_bits, err);
}

static int distributed(struct work *w, struct nx_update *update, struct nx_error *err) {
  _cleanup_(nx_subject_sums_destroyp) struct nx_subject_sums *subjects = NULL;
  int r = nx_subject_sums_create(w->model, w->dataset, w->plan, &w->rounding, w->options->entropy,
                                 &subjects, err);
  if (r == 0)
    r = nx_subject_sums_step(subjects, w->model, w->options->cancelled, w->options->context,
                             w->sums, &update->train_loss, err);
  for (size_t i = 0; r == 0 && i < update->n_values; i++)
    w->sums[i] = -w->sums[i]; /* the next model adds what it is given: down the gradient */
  return r < 0 ? r : protect_sums(w, update, err);
}

static int train_whole(struct work *w, struct nx_update *update, struct nx_error *err) {
  const struct nx_plan_training *training = &w->plan->training;
  const struct nx_train_options options = {
      .seed = w->plan->seed,
      .stream = (w->options->training_round + 1) << 8 | (w->options->member_id & 0xff),
      .first_step = w->options->training_round * training->local_steps,
      .n_steps = training->local_steps,
      .total_steps = (size_t)training->rounds * training->local_steps,
      .batch = training->batch,
      .cancelled = w->options->cancelled,
      .context = w->options->context,
  };
  struct nx_train_result result;
  int r = nx_model_clone(w->model, &w->local, err);
  if (r == 0)
    r = nx_train(w->local, w->dataset, w->plan, &options, &result, err);
  if (r == 0)
    update->train_loss = result.loss_sum / (double)result.n_windows;
  return r;
}

static int round_update(struct work *w, struct nx_error *err) {
  size_t n = w->model->n_params;
  _cleanup_free_ float *delta = calloc(n + 1, sizeof *delta);
  _cleanup_free_ int32_t *rounded = calloc(n + 1, sizeof *rounded);
  struct nx_rng rng;
  uint64_t seed;
  if (!delta || !rounded)
    return nx_fail(err, NX_E_NOMEM, "update of %zu values: out of memory", n);
  int r = w->options->entropy->fill(w->options->entropy->context, &seed, sizeof seed, err);
  if (r < 0)
    return r;
  nx_rng_init(&rng, seed, 0);
  for (size_t i = 0; i < n; i++)
    delta[i] = (float)((double)w->local->params[i] - (double)w->model->params[i]);
  r = nx_dp_round(&w->rounding, delta, n, &rng, rounded, err);
  for (size_t i = 0; r == 0 && i < n; i++)
    w->sums[i] = rounded[i];
  explicit_bzero(delta, n * sizeof *delta);
  explicit_bzero(rounded, n * sizeof *rounded);
  return r;
}

static int node_level(struct work *w, struct nx_update *update, struct nx_error *err) {
  int r = train_whole(w, update, err);
  if (r == 0)
    r = round_update(w, err);
  return r < 0 ? r : protect_sums(w, update, err);
}

/* ---- all --------------------------------------------------------------------------------- */

/* What every node of every site says in every round: it tells nothing. */
static int put_constants(enum nx_round_kind kind, const struct nx_model *model,
                         struct nx_update *update, struct nx_error *err) {
  update->n_aux = nx_aux_lanes(kind, model->n_features);
  update->aux = calloc(update->n_aux, sizeof *update->aux);
  if (!update->aux)
    return nx_fail(err, NX_E_NOMEM, "update: out of memory");
  update->weight = 1;
  update->train_loss = update->held_out_loss = NAN;
  update->aux[NX_AUX_CONTRIBUTORS] = 1;
  update->aux[NX_AUX_WEIGHT] = nx_aux_encode(1, NX_AUX_WEIGHT_SCALE);
  return 0;
}

static int train(struct work *w, struct nx_update *update, struct nx_error *err) {
  int r = prepare(w, update, err);
  if (r < 0)
    return r;
  return w->plan->privacy == NX_PRIVACY_SITE_LOCAL    ? site_local(w, update, err)
         : w->plan->privacy == NX_PRIVACY_DISTRIBUTED ? distributed(w, update, err)
                                                      : node_level(w, update, err);
}

int nx_private_update_compute(enum nx_round_kind kind, const struct nx_model *model,
                              const struct nx_dataset *dataset, const struct nx_plan *plan,
                              const struct nx_private_options *options,
                              struct nx_update *update_out, struct nx_error *err) {
  _cleanup_(finish) struct work w = {
      .model = model, .dataset = dataset, .plan = plan, .options = options};
  memset(update_out, 0, sizeof *update_out);
  if (plan->privacy == NX_PRIVACY_NONE)
    return nx_fail(err, NX_E_STATE, "the plan names no privacy mechanism");
  int r = put_constants(kind, model, update_out, err);
  if (r == 0 && kind == NX_ROUND_TRAIN)
    r = train(&w, update_out, err);
  if (r < 0) {
    nx_update_finish(update_out);
    return nx_error_prefix(err, r, "private update");
  }
  return 0;
}
