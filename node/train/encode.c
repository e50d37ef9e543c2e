#include "node/train/encode.h"

#include <math.h>
#include <stdlib.h>

#include "common/size.h"
#include "models/nets/general_network.h"
#include "models/optim/adapted.h"
#include "node/train/signal_batch.h"
#include "node/train/trainer.h"

#define CHUNK 24 /* windows at once of a nano: bounds memory */
#define SIGNAL_CHUNK                                                                               \
  8 /* of the general network, whose recordings may have hundreds of channels                      \
     */

struct job {
  const struct nx_model *model;
  const struct nx_dataset *dataset;
  const struct nx_plan *plan;
  enum nx_encode_what what;
  struct nx_pool *pool;
  void (*progress)(void *context, size_t done, size_t total);
  void *context;
  size_t total;
  struct nx_encoding *out;
};

static const enum nx_split splits[] = {NX_SPLIT_TRAIN, NX_SPLIT_HELD_OUT};

static int allocate(struct job *job, struct nx_error *err) {
  size_t values;
  const struct nx_model_shape *s = &job->model->shape;
  bool values_of_patches = job->what == NX_ENCODE_PREDICTION && s->n_targets;
  job->out->columns = job->what == NX_ENCODE_EMBEDDING ? s->width
                      : values_of_patches              ? (size_t)s->patches * s->n_targets
                                                       : 1;
  if (!job->total)
    return nx_fail(err, NX_E_NOT_FOUND, "no recording is as long as one window of the plan");
  if (!nx_size_mul(job->total, job->out->columns, &values))
    return nx_fail(err, NX_E_LIMIT, "%zu windows are too many", job->total);
  job->out->values = calloc(values, sizeof *job->out->values);
  job->out->windows = calloc(job->total, sizeof *job->out->windows);
  if (values_of_patches)
    job->out->targets = calloc(values, sizeof *job->out->targets);
  return job->out->values && job->out->windows && (job->out->targets || !values_of_patches)
             ? 0
             : nx_fail(err, NX_E_NOMEM, "out of memory for %zu windows", job->total);
}

static float *rows(const struct job *job) {
  return job->out->values + job->out->n * job->out->columns;
}

static void told(const struct job *job) {
  if (job->progress)
    job->progress(job->context, job->out->n, job->total);
}

/* ---- nano ---- */

static void note_windows(struct job *job, const struct nx_batch *batch, enum nx_split split) {
  for (size_t i = 0; i < batch->n_windows; i++) {
    const struct nx_dataset_recording *r = nx_dataset_recording(job->dataset, batch->recordings[i]);
    job->out->windows[job->out->n + i] = (struct nx_encoded_window){
        .recording = batch->recordings[i],
        .tokeniser = "",
        .window = batch->windows[i],
        .start_s = r->from_s + batch->windows[i] * job->plan->window.seconds,
        .seconds = job->plan->window.seconds,
        .held_out = split == NX_SPLIT_HELD_OUT,
        .unlabelled = r->unlabelled,
        .label = r->label,
    };
  }
}

static int encode_split(struct job *job, struct nx_network *network, struct nx_batch *batch,
                        enum nx_split split, struct nx_error *err) {
  for (size_t first = 0;; first += batch->n_windows) {
    int r = nx_batch_grid(batch, job->dataset, split, first, CHUNK, err);
    if (r < 0 || !batch->n_windows)
      return r;
    struct nx_network_input input = nx_train_input(batch);
    r = job->what == NX_ENCODE_EMBEDDING
            ? nx_network_embed(network, job->model, &input, rows(job), err)
            : nx_network_forward(network, job->model, &input, rows(job), err);
    if (r < 0)
      return r;
    note_windows(job, batch, split);
    job->out->n += batch->n_windows;
    told(job);
  }
}

static int encode_nano(struct job *job, struct nx_error *err) {
  _cleanup_(nx_batch_finish) struct nx_batch batch = {0};
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  const struct nx_dataset_summary *summary = nx_dataset_summary(job->dataset);
  job->total = summary->n_train_windows + summary->n_held_out_windows;
  int r = allocate(job, err);
  if (!r)
    r = nx_batch_init(&batch, job->dataset, job->plan, CHUNK, err);
  if (!r)
    r = nx_network_create(job->model, &network, err);
  if (!r && job->pool)
    r = nx_network_use_pool(network, job->pool, err);
  for (size_t i = 0; !r && i < NX_ARRAY_LENGTH(splits); i++)
    r = encode_split(job, network, &batch, splits[i], err);
  return r;
}

/* ---- general ---- */

static void note_signals(struct job *job, const struct nx_signals *set,
                         const struct nx_signal_batch *batch) {
  const struct nx_plan_tokeniser *t = set->tokeniser;
  double seconds = job->model->shape.patches * t->patch_samples / t->rate_hz;
  struct nx_encoded_window *next = job->out->windows + job->out->n;
  for (size_t g = 0; g < batch->n_groups; g++) {
    const struct nx_signal *signal = &set->signals[batch->recordings[g]];
    for (size_t i = 0; i < batch->groups[g].n_windows; i++) {
      size_t window = batch->first_windows[g] + i;
      *next++ = (struct nx_encoded_window){
          .recording = signal->recording,
          .tokeniser = nx_tokeniser_name(t->kind),
          .window = window,
          .start_s = signal->from_s + (double)window * seconds,
          .seconds = seconds,
          .held_out = signal->split == NX_SPLIT_HELD_OUT,
          .unlabelled = signal->unlabelled,
          .label = signal->label,
      };
    }
  }
}

/* What was recorded, as the values are: standardised by the model. */
static void note_targets(struct job *job, const struct nx_signal_batch *batch) {
  const struct nx_model *model = job->model;
  size_t k = model->shape.n_targets, columns = job->out->columns;
  float *out = job->out->targets ? job->out->targets + job->out->n * columns : NULL;
  for (size_t i = 0; out && i < batch->n_windows * columns; i++)
    out[i] = (batch->targets[i] - model->feature_mean[i % k]) / model->feature_sd[i % k];
}

static int encode_batch(struct job *job, struct nx_general_network *network,
                        const struct nx_signal_batch *batch, struct nx_error *err) {
  return job->what == NX_ENCODE_EMBEDDING
             ? nx_general_network_embed(network, job->model, batch->groups, batch->n_groups,
                                        rows(job), err)
         : job->out->targets ? nx_general_network_values(network, job->model, batch->groups,
                                                         batch->n_groups, rows(job), err)
                             : nx_general_network_logits(network, job->model, batch->groups,
                                                         batch->n_groups, rows(job), err);
}

static int encode_signals(struct job *job, struct nx_general_network *network,
                          const struct nx_signals *set, enum nx_split split, struct nx_error *err) {
  _cleanup_(nx_signal_batch_finish) struct nx_signal_batch batch = {0};
  int r = nx_signal_batch_init(&batch, set, &job->model->shape, err);
  for (size_t first = 0; !r; first += batch.n_windows) {
    r = nx_signal_batch_grid(&batch, split, first, SIGNAL_CHUNK, err);
    if (r < 0 || !batch.n_windows)
      return r;
    r = encode_batch(job, network, &batch, err);
    if (r < 0)
      return r;
    note_signals(job, set, &batch);
    note_targets(job, &batch);
    job->out->n += batch.n_windows;
    told(job);
  }
  return r;
}

static int encode_general(struct job *job, struct nx_error *err) {
  _cleanup_(nx_general_network_destroyp) struct nx_general_network *network = NULL;
  size_t n_sets;
  const struct nx_signals *sets = nx_dataset_signals(job->dataset, &n_sets);
  for (size_t k = 0; k < n_sets; k++)
    for (size_t i = 0; i < NX_ARRAY_LENGTH(splits); i++)
      job->total += nx_signals_windows(&sets[k], splits[i], job->model->shape.patches);
  int r = allocate(job, err);
  if (!r)
    r = nx_general_network_create(job->model, &network, err);
  if (!r && job->pool)
    r = nx_general_network_use_pool(network, job->pool, err);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(splits); i++)
    for (size_t k = 0; !r && k < n_sets; k++)
      r = encode_signals(job, network, &sets[k], splits[i], err);
  return r;
}

int nx_encode_windows(const struct nx_model *model, const struct nx_dataset *dataset,
                      const struct nx_plan *plan, enum nx_encode_what what, struct nx_pool *pool,
                      void (*progress)(void *context, size_t done, size_t total), void *context,
                      struct nx_encoding *out, struct nx_error *err) {
  _cleanup_(nx_adapted_finish) struct nx_adapted adapted = {0};
  *out = (struct nx_encoding){0};
  if (what == NX_ENCODE_PREDICTION && model->shape.objective != NX_OBJECTIVE_CLASSIFICATION &&
      model->shape.objective != NX_OBJECTIVE_REGRESSION)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "the model was trained for %s and has no head that could predict: "
                   "neurox-node embed writes what it makes of each window",
                   model->shape.objective == NX_OBJECTIVE_NEXT_PATCH ? "the next patch"
                                                                     : "reconstruction");
  int r = nx_adapted_begin(&adapted, model, err);
  struct job job = {adapted.plain, dataset, plan, what, pool, progress, context, 0, out};
  if (!r)
    r = model->shape.network == NX_NETWORK_GENERAL ? encode_general(&job, err)
                                                   : encode_nano(&job, err);
  if (r < 0)
    nx_encoding_finish(out);
  return r;
}

void nx_encoding_finish(struct nx_encoding *encoding) {
  free(encoding->values);
  free(encoding->targets);
  free(encoding->windows);
  *encoding = (struct nx_encoding){0};
}
