#include "node/train/trainer.h"

#include <math.h>
#include <string.h>

#include "common/size.h"
#include "models/optim/adamw.h"
#include "models/optim/adapted.h"
#include "models/optim/schedule.h"

#define SCORE_CHUNK 24                     /* windows scored at once: bounds memory */
#define DROPOUT_STREAM (UINT64_C(1) << 63) /* apart from the stream that draws batches */

struct nx_network_input nx_train_input(const struct nx_batch *batch) {
  return (struct nx_network_input){
      .n_windows = batch->n_windows,
      .n_channels = batch->shape.n_channels,
      .patches = batch->patches,
      .spectra = batch->spectra,
      .stats = batch->stats,
      .positions = batch->positions,
      .labels = batch->labels,
  };
}

/* What one call of nx_train() works with. */
struct training {
  struct nx_batch batch;
  struct nx_adapted adapted;
  struct nx_network *network;
  struct nx_adamw *adamw;
  struct nx_rng draws, dropout;
};

static void finish(struct training *t) {
  nx_batch_finish(&t->batch);
  nx_network_destroy(t->network);
  nx_adapted_finish(&t->adapted);
  nx_adamw_destroy(t->adamw);
}

static int prepare(struct training *t, const struct nx_model *model,
                   const struct nx_dataset *dataset, const struct nx_plan *plan,
                   const struct nx_train_options *options, struct nx_error *err) {
  const struct nx_adamw_options adamw = {
      .beta1 = plan->training.beta1,
      .beta2 = plan->training.beta2,
      .weight_decay = plan->training.weight_decay,
      .clip_norm = plan->training.gradient_clip_norm,
  };
  nx_rng_init(&t->draws, options->seed, options->stream);
  nx_rng_init(&t->dropout, options->seed, options->stream | DROPOUT_STREAM);
  int r = nx_batch_init(&t->batch, dataset, plan, options->batch, err);
  if (!r)
    r = nx_adapted_begin(&t->adapted, model, err);
  if (!r)
    r = nx_network_create(t->adapted.plain, &t->network, err);
  if (!r)
    nx_network_use_checkpoints(t->network, plan->training.checkpoint_activations);
  if (!r)
    r = nx_adamw_create(model, &adamw, &t->adamw, err);
  return r;
}

static int step(struct training *t, struct nx_model *model, const struct nx_dataset *dataset,
                const struct nx_plan *plan, const struct nx_train_options *options, size_t k,
                double *loss_out, struct nx_error *err) {
  int r = nx_batch_draw(&t->batch, dataset, options->batch, &t->draws, err);
  if (r < 0)
    return r;
  struct nx_network_input input = nx_train_input(&t->batch);
  r = nx_network_train_step(t->network, t->adapted.plain, &input, plan->training.label_smoothing,
                            &t->dropout, loss_out, err);
  const float *gradients = NULL;
  if (!r)
    r = nx_adapted_gradients(&t->adapted, model, nx_network_gradients(t->network), &gradients, err);
  if (r < 0)
    return r;
  double norm;
  double rate = nx_learning_rate(&plan->training, options->first_step + k, options->total_steps);
  r = nx_adamw_step(t->adamw, model, gradients, rate, &norm, err);
  return r < 0 ? r : nx_adapted_merge(&t->adapted, model, err);
}

int nx_train(struct nx_model *model, const struct nx_dataset *dataset, const struct nx_plan *plan,
             const struct nx_train_options *options, struct nx_train_result *result_out,
             struct nx_error *err) {
  _cleanup_(finish) struct training t = {0};
  memset(result_out, 0, sizeof *result_out);
  int r = prepare(&t, model, dataset, plan, options, err);
  for (size_t k = 0; !r && k < options->n_steps; k++) {
    double loss = NAN;
    r = step(&t, model, dataset, plan, options, k, &loss, err);
    if (r < 0)
      return nx_error_prefix(err, r, "training step %llu",
                             (unsigned long long)(options->first_step + k + 1));
    result_out->n_windows += t.batch.n_windows;
    result_out->loss_sum += loss * (double)t.batch.n_windows;
    result_out->last_loss = loss;
    if (options->cancelled && options->cancelled(options->context))
      return nx_fail(err, NX_E_CANCELLED, "training was stopped");
  }
  return r;
}

/* log(1 + exp(-z)) for the right class, without overflow. */
static double cross_entropy(double logit, uint8_t label) {
  double z = label ? logit : -logit;
  return fmax(-z, 0) + log1p(exp(-fabs(z)));
}

void nx_score_add(struct nx_score_result *result, const float *logits, const uint8_t *labels,
                  size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint64_t *histogram = labels[i] ? result->positive : result->negative;
    histogram[nx_histogram_bin(logits[i])]++;
    result->loss_sum += cross_entropy(logits[i], labels[i]);
  }
  result->n_windows += n;
}

int nx_score(const struct nx_model *model, const struct nx_dataset *dataset,
             const struct nx_plan *plan, enum nx_split split, float *logits_out,
             struct nx_score_result *result_out, struct nx_error *err) {
  _cleanup_(nx_batch_finish) struct nx_batch batch = {0};
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  _cleanup_(nx_adapted_finish) struct nx_adapted adapted = {0};
  float logits[SCORE_CHUNK];
  memset(result_out, 0, sizeof *result_out);
  int r = nx_batch_init(&batch, dataset, plan, SCORE_CHUNK, err);
  if (!r)
    r = nx_adapted_begin(&adapted, model, err);
  if (!r)
    r = nx_network_create(adapted.plain, &network, err);
  while (!r) {
    r = nx_batch_grid(&batch, dataset, split, result_out->n_windows, SCORE_CHUNK, err);
    if (r < 0 || batch.n_windows == 0)
      break;
    struct nx_network_input input = nx_train_input(&batch);
    r = nx_network_forward(network, adapted.plain, &input, logits, err);
    if (r < 0)
      return nx_error_prefix(err, r, "score held-out windows");
    if (logits_out)
      memcpy(logits_out + result_out->n_windows, logits, batch.n_windows * sizeof *logits);
    nx_score_add(result_out, logits, batch.labels, batch.n_windows);
  }
  return r;
}
