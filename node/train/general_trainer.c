#include "node/train/general_trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "models/optim/adamw.h"
#include "models/optim/adapted.h"
#include "models/optim/schedule.h"

#define GRID_CHUNK 8                       /* windows evaluated at once: bounds memory */
#define DROPOUT_STREAM (UINT64_C(1) << 63) /* apart from the stream that draws batches */
#define MASK_STREAM (UINT64_C(1) << 62)

int nx_site_signals_check(const struct nx_site_signals *site, const struct nx_model_shape *shape,
                          struct nx_error *err) {
  int r = site->n_sets ? 0 : nx_fail(err, NX_E_INVALID, "this site has no recordings to train on");
  for (size_t i = 0; !r && i < site->n_sets; i++) {
    struct nx_signal_batch batch = {0};
    r = nx_signal_batch_init(&batch, &site->sets[i], shape, err);
    nx_signal_batch_finish(&batch);
  }
  return r;
}

/* What one call of nx_general_train() works with. */
struct training {
  struct nx_signal_batch *batches; /* one for each set */
  size_t n_batches;
  struct nx_adapted adapted;
  struct nx_general_network *network;
  struct nx_adamw *adamw;
  struct nx_rng draws, dropout;
};

static void finish(struct training *t) {
  for (size_t i = 0; i < t->n_batches; i++)
    nx_signal_batch_finish(&t->batches[i]);
  free(t->batches);
  nx_general_network_destroy(t->network);
  nx_adapted_finish(&t->adapted);
  nx_adamw_destroy(t->adamw);
}

static int open_batches(struct training *t, const struct nx_site_signals *site,
                        const struct nx_model_shape *shape, struct nx_error *err) {
  if (!site->n_sets)
    return nx_site_signals_check(site, shape, err);
  t->batches = calloc(site->n_sets, sizeof *t->batches);
  if (!t->batches)
    return nx_fail(err, NX_E_NOMEM, "out of memory for batches");
  for (; t->n_batches < site->n_sets; t->n_batches++) {
    int r = nx_signal_batch_init(&t->batches[t->n_batches], &site->sets[t->n_batches], shape, err);
    if (r < 0)
      return r;
  }
  return 0;
}

static int prepare(struct training *t, const struct nx_model *model,
                   const struct nx_site_signals *site, const struct nx_plan *plan,
                   const struct nx_train_options *options, struct nx_pool *pool,
                   struct nx_error *err) {
  const struct nx_adamw_options adamw = {
      .beta1 = plan->training.beta1,
      .beta2 = plan->training.beta2,
      .weight_decay = plan->training.weight_decay,
      .clip_norm = plan->training.gradient_clip_norm,
  };
  nx_rng_init(&t->draws, options->seed, options->stream);
  nx_rng_init(&t->dropout, options->seed, options->stream | DROPOUT_STREAM);
  int r = open_batches(t, site, &model->shape, err);
  if (!r)
    r = nx_adapted_begin(&t->adapted, model, err);
  if (!r)
    r = nx_general_network_create(t->adapted.plain, &t->network, err);
  if (!r)
    nx_general_network_use_checkpoints(t->network, plan->training.checkpoint_activations);
  if (!r && pool)
    r = nx_general_network_use_pool(t->network, pool, err);
  if (!r)
    r = nx_adamw_create(model, &adamw, &t->adamw, err);
  return r;
}

/* Frozen is what no recording of this step's batch touches. */
static void freeze(struct training *t, const struct nx_model *model,
                   const struct nx_signal_batch *batch) {
  for (size_t i = 0; i < model->n_tensors; i++) {
    bool touched = false;
    for (size_t g = 0; g < batch->n_groups && !touched; g++)
      touched = nx_general_touches(&model->shape, model->tensors[i].name, &batch->groups[g]);
    nx_adamw_freeze(t->adamw, i, !touched);
  }
}

static int step(struct training *t, struct nx_model *model, const struct nx_plan *plan,
                const struct nx_train_options *options, size_t k, struct nx_train_result *result,
                struct nx_error *err) {
  size_t number = options->first_step + k;
  struct nx_signal_batch *batch = &t->batches[number % t->n_batches];
  double norm, loss = NAN;
  int r = nx_signal_batch_draw(batch, options->batch, NX_RECORDINGS_A_STEP, &t->draws, err);
  if (!r)
    r = nx_general_network_train_step(t->network, t->adapted.plain, batch->groups, batch->n_groups,
                                      plan->training.label_smoothing, &t->dropout, &loss, err);
  const float *gradients = NULL;
  if (!r)
    r = nx_adapted_gradients(&t->adapted, model, nx_general_network_gradients(t->network),
                             &gradients, err);
  if (r < 0)
    return r;
  freeze(t, model, batch);
  result->n_windows += batch->n_windows;
  result->loss_sum += loss * (double)batch->n_windows;
  result->last_loss = loss;
  double rate = nx_learning_rate(&plan->training, number, options->total_steps);
  r = nx_adamw_step(t->adamw, model, gradients, rate, &norm, err);
  return r < 0 ? r : nx_adapted_merge(&t->adapted, model, err);
}

int nx_general_train(struct nx_model *model, const struct nx_site_signals *site,
                     const struct nx_plan *plan, const struct nx_train_options *options,
                     struct nx_pool *pool, struct nx_train_result *result_out,
                     struct nx_error *err) {
  _cleanup_(finish) struct training t = {0};
  memset(result_out, 0, sizeof *result_out);
  int r = prepare(&t, model, site, plan, options, pool, err);
  for (size_t k = 0; !r && k < options->n_steps; k++) {
    r = step(&t, model, plan, options, k, result_out, err);
    if (r < 0)
      return nx_error_prefix(err, r, "training step %llu",
                             (unsigned long long)(options->first_step + k + 1));
    if (options->cancelled && options->cancelled(options->context))
      return nx_fail(err, NX_E_CANCELLED, "training was stopped");
  }
  return r;
}

/* ---- Looking at a split ---- */

int nx_general_loss_of(const struct nx_model *model, const struct nx_site_signals *site,
                       enum nx_split split, uint64_t seed, size_t *n_windows_out, double *loss_out,
                       struct nx_error *err) {
  _cleanup_(finish) struct training t = {0};
  double sum = 0;
  *n_windows_out = 0;
  int r = open_batches(&t, site, &model->shape, err);
  if (!r)
    r = nx_adapted_begin(&t.adapted, model, err);
  if (!r)
    r = nx_general_network_create(t.adapted.plain, &t.network, err);
  for (size_t i = 0; !r && i < t.n_batches; i++)
    for (size_t first = 0; !r; first += t.batches[i].n_windows) {
      double loss = NAN;
      struct nx_rng masks;
      nx_rng_init(&masks, seed, MASK_STREAM | first);
      r = nx_signal_batch_grid(&t.batches[i], split, first, GRID_CHUNK, err);
      if (r < 0 || !t.batches[i].n_windows)
        break;
      r = nx_general_network_evaluate(t.network, t.adapted.plain, t.batches[i].groups,
                                      t.batches[i].n_groups, &masks, NULL, NULL, &loss, err);
      sum += loss * (double)t.batches[i].n_windows;
      *n_windows_out += t.batches[i].n_windows;
    }
  *loss_out = *n_windows_out ? sum / (double)*n_windows_out : NAN;
  return r;
}

int nx_general_score(const struct nx_model *model, const struct nx_site_signals *site,
                     enum nx_split split, float *logits_out, struct nx_score_result *result_out,
                     struct nx_error *err) {
  _cleanup_(finish) struct training t = {0};
  float logits[GRID_CHUNK];
  memset(result_out, 0, sizeof *result_out);
  int r = open_batches(&t, site, &model->shape, err);
  if (!r)
    r = nx_adapted_begin(&t.adapted, model, err);
  if (!r)
    r = nx_general_network_create(t.adapted.plain, &t.network, err);
  while (!r) {
    struct nx_signal_batch *batch = &t.batches[0];
    r = nx_signal_batch_grid(batch, split, result_out->n_windows, GRID_CHUNK, err);
    if (r < 0 || !batch->n_windows)
      break;
    r = nx_general_network_logits(t.network, t.adapted.plain, batch->groups, batch->n_groups,
                                  logits, err);
    if (r < 0)
      return nx_error_prefix(err, r, "score held-out windows");
    if (logits_out)
      memcpy(logits_out + result_out->n_windows, logits, batch->n_windows * sizeof *logits);
    nx_score_add(result_out, logits, batch->groups[0].labels, batch->n_windows);
  }
  return r;
}

/* Patches of one window: y in the targets' unit, p standardised. */
static void add_window(const struct nx_model *model, const float *y, const float *p,
                       struct nx_score_result *result) {
  size_t k = model->shape.n_targets, n = 0;
  double sum = 0;
  for (size_t s = 0; s < model->shape.patches; s++, y += k, p += k) {
    bool known = true;
    for (size_t j = 0; j < k; j++)
      known &= (bool)isfinite(y[j]);
    n += known;
    for (size_t j = 0; known && j < k; j++) {
      double z = ((double)y[j] - (double)model->feature_mean[j]) / (double)model->feature_sd[j];
      nx_moments_add(&result->moments.of[j], z, (double)p[j]);
      sum += (z - (double)p[j]) * (z - (double)p[j]);
    }
  }
  result->n_windows += n > 0;
  result->loss_sum += n ? sum / (double)(n * k) : 0;
}

int nx_general_regression_score(const struct nx_model *model, const struct nx_site_signals *site,
                                enum nx_split split, struct nx_score_result *result_out,
                                struct nx_error *err) {
  _cleanup_(finish) struct training t = {0};
  size_t each = (size_t)model->shape.patches * model->shape.n_targets, first = 0;
  _cleanup_free_ float *values = calloc(GRID_CHUNK * each, sizeof *values);
  memset(result_out, 0, sizeof *result_out);
  result_out->moments.n_targets = model->shape.n_targets;
  int r = values ? open_batches(&t, site, &model->shape, err)
                 : nx_fail(err, NX_E_NOMEM, "out of memory for values");
  if (!r)
    r = nx_adapted_begin(&t.adapted, model, err);
  if (!r)
    r = nx_general_network_create(t.adapted.plain, &t.network, err);
  for (; !r; first += t.batches[0].n_windows) {
    struct nx_signal_batch *batch = &t.batches[0];
    r = nx_signal_batch_grid(batch, split, first, GRID_CHUNK, err);
    if (r < 0 || !batch->n_windows)
      break;
    r = nx_general_network_values(t.network, t.adapted.plain, batch->groups, batch->n_groups,
                                  values, err);
    if (r < 0)
      return nx_error_prefix(err, r, "score held-out windows");
    for (size_t i = 0; i < batch->n_windows; i++)
      add_window(model, batch->targets + i * each, values + i * each, result_out);
  }
  return r;
}
