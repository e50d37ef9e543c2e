#include "models/nets/network.h"

#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "models/nets/masking.h"
#include "models/nets/nano.h"
#include "models/ops/ops.h"

/* Windows go through the tape in slices of about this many tokens: what a slice leaves
 * behind for backward stays near the processor, and memory does not grow with the batch.
 * Slices are what threads share out. Each draws dropout from a sequence of its own, and their
 * gradients are added in order, so results do not depend on the number of threads. */
#define SLICE_TOKENS 1024

/* What one thread works with. */
struct lane {
  struct nx_tape tape;
  struct nx_nano *nano;
  float *gradients; /* of a slice that is not the first; made when first needed */
};

struct nx_network {
  struct nx_model_shape shape;
  struct nx_model_tensor *tensors;
  size_t n_tensors, n_params;
  float *gradients;
  struct nx_pool *pool; /* NULL: this thread alone */
  enum nx_precision precision;
  size_t n_lanes;
  struct lane *lanes;
  uint8_t *visible; /* masks of a batch */
  size_t n_visible; /* room */
};

enum work { WORK_LOGITS, WORK_CLASSIFY, WORK_RECONSTRUCT, WORK_RECONSTRUCTION_LOSS };

/* One call: what all slices read, and where they leave their results, one after another. */
struct batch {
  enum work work;
  struct nx_network *network;
  const struct nx_model *model;
  const struct nx_network_input *input;
  size_t slice_windows, n_slices;
  double smoothing, scale;
  uint64_t dropout_seed;
  float *logits;
  pthread_mutex_t lock;
  pthread_cond_t turn;
  size_t finished; /* slices whose results are in */
  double loss;
  int code; /* of the first slice that failed */
  struct nx_error err;
};

/* ---- Lanes ---- */

static float *new_gradients(size_t n) {
  return aligned_alloc(64, (n * sizeof(float) + 63) & ~(size_t)63);
}

static void lane_finish(struct lane *lane) {
  nx_nano_destroy(lane->nano);
  nx_tape_finish(&lane->tape);
  free(lane->gradients);
}

static int lane_init(struct lane *lane, const struct nx_network *network, struct nx_error *err) {
  int r = nx_tape_init(&lane->tape, nx_backend_cpu(), err);
  if (!r)
    r = lane->tape.kernels->set_precision(lane->tape.stream, network->precision, err);
  if (!r)
    r = nx_nano_create(&network->shape, network->tensors, network->n_tensors, &lane->nano, err);
  return r;
}

static int make_lanes(struct nx_network *network, size_t n, struct nx_error *err) {
  struct lane *lanes = realloc(network->lanes, n * sizeof *lanes);
  if (!lanes)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network of %zu threads", n);
  network->lanes = lanes;
  for (int r; network->n_lanes < n; network->n_lanes++) {
    struct lane *lane = &lanes[network->n_lanes];
    *lane = (struct lane){0};
    r = lane_init(lane, network, err);
    if (r < 0) {
      lane_finish(lane);
      return r;
    }
  }
  return 0;
}

int nx_network_create(const struct nx_model *model, struct nx_network **network_out,
                      struct nx_error *err) {
  _cleanup_(nx_network_destroyp) struct nx_network *network = calloc(1, sizeof *network);
  if (!network)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  network->shape = model->shape;
  network->n_tensors = model->n_tensors;
  network->n_params = model->n_params;
  network->tensors = calloc(model->n_tensors, sizeof *network->tensors);
  network->gradients = new_gradients(model->n_params);
  if (!network->tensors || !network->gradients)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the gradients of %zu parameters",
                   model->n_params);
  memcpy(network->tensors, model->tensors, model->n_tensors * sizeof *model->tensors);
  memset(network->gradients, 0, model->n_params * sizeof(float));
  int r = make_lanes(network, 1, err);
  if (r < 0)
    return r;
  *network_out = nx_steal(&network);
  return 0;
}

void nx_network_destroy(struct nx_network *network) {
  if (!network)
    return;
  for (size_t i = 0; i < network->n_lanes; i++)
    lane_finish(&network->lanes[i]);
  free(network->lanes);
  free(network->tensors);
  free(network->gradients);
  free(network->visible);
  free(network);
  malloc_trim(0); /* activations are large: an idle node gives them back to its host */
}

int nx_network_use_pool(struct nx_network *network, struct nx_pool *pool, struct nx_error *err) {
  int r = make_lanes(network, NX_MAX(network->n_lanes, pool ? nx_pool_threads(pool) : 1), err);
  if (!r)
    network->pool = pool;
  return r;
}

int nx_network_use_bf16(struct nx_network *network, struct nx_error *err) {
  for (size_t i = 0; i < network->n_lanes; i++) {
    struct nx_tape *tape = &network->lanes[i].tape;
    int r = tape->kernels->set_precision(tape->stream, NX_PRECISION_BF16, err);
    if (r < 0)
      return r;
  }
  network->precision = NX_PRECISION_BF16;
  return 0;
}

float *nx_network_gradients(struct nx_network *network) {
  return network->gradients;
}

size_t nx_network_memory(const struct nx_network *network) {
  size_t total = sizeof *network + network->n_params * sizeof(float) + network->n_visible;
  for (size_t i = 0; i < network->n_lanes; i++)
    total += nx_arena_used(network->lanes[i].tape.arena) +
             (network->lanes[i].gradients ? network->n_params * sizeof(float) : 0);
  return total;
}

/* ---- Slices ---- */

static size_t tokens_of_window(const struct nx_network *network,
                               const struct nx_network_input *input) {
  return input->n_channels * network->shape.patches;
}

static struct nx_network_input slice_of(const struct batch *b, size_t index) {
  const struct nx_model_shape *s = &b->network->shape;
  struct nx_network_input part = *b->input;
  size_t first = index * b->slice_windows, tokens = tokens_of_window(b->network, b->input);
  part.n_windows = NX_MIN(b->slice_windows, b->input->n_windows - first);
  part.patches += first * tokens * s->patch_samples;
  part.spectra += first * tokens * s->bins;
  part.stats += first * b->input->n_channels * s->stats;
  if (part.labels)
    part.labels += first;
  return part;
}

/* The part of the mean loss that this slice is: weighted by its share of the windows. */
static struct nx_tensor *classify(const struct batch *b, struct lane *lane,
                                  const struct nx_nano_pass *pass, double *weight) {
  size_t n = pass->input->n_windows;
  struct nx_tensor *logits = nx_nano_classify(lane->nano, &lane->tape, pass);
  float *targets = nx_tape_memory(&lane->tape, n, sizeof *targets, "targets");
  for (size_t i = 0; targets && i < n; i++)
    targets[i] = (float)((pass->input->labels[i] != 0) * (1 - b->smoothing) + 0.5 * b->smoothing);
  *weight = (double)n / (double)b->input->n_windows;
  return nx_op_cross_entropy(&lane->tape, logits, targets);
}

static int logits_of(const struct batch *b, struct lane *lane, const struct nx_nano_pass *pass,
                     size_t first, struct nx_error *err) {
  struct nx_tensor *logits = nx_nano_classify(lane->nano, &lane->tape, pass);
  int r = nx_tape_check(&lane->tape, err);
  for (size_t i = 0; !r && i < pass->input->n_windows; i++) {
    b->logits[first + i] = logits->value[i];
    if (!isfinite(logits->value[i]))
      r = nx_fail(err, NX_E_STATE,
                  "a logit is not finite: the model diverged, or a window holds NaN");
  }
  return r;
}

/* Runs slice `index`; its gradients are added to gradients (NULL: none). */
static int run_slice(const struct batch *b, struct lane *lane, size_t index, float *gradients,
                     double *loss, struct nx_error *err) {
  struct nx_network_input part = slice_of(b, index);
  size_t first = index * b->slice_windows;
  struct nx_nano_pass pass = {.params = b->model->params,
                              .gradients = gradients,
                              .feature_mean = b->model->feature_mean,
                              .feature_sd = b->model->feature_sd,
                              .input = &part};
  struct nx_rng rng;
  double weight = 1;
  nx_rng_init(&rng, b->dropout_seed, index);
  nx_tape_begin(&lane->tape, gradients != NULL, gradients ? &rng : NULL);
  if (b->work == WORK_LOGITS)
    return logits_of(b, lane, &pass, first, err);
  struct nx_tensor *part_loss;
  if (b->work == WORK_CLASSIFY)
    part_loss = classify(b, lane, &pass, &weight);
  else {
    pass.visible = b->network->visible + first * tokens_of_window(b->network, b->input);
    part_loss = nx_nano_reconstruct(lane->nano, &lane->tape, &pass, (float)b->scale);
  }
  if (gradients)
    nx_tape_backward(&lane->tape, part_loss, (float)weight);
  int r = nx_tape_check(&lane->tape, err);
  *loss = r ? 0 : weight * (double)*part_loss->value;
  return r;
}

/* Where slice `index` adds its gradients. The first has the result to itself until it is
 * finished; later ones fill their lane's and add that when it is their turn. */
static float *gradients_for(const struct batch *b, struct lane *lane, size_t index) {
  size_t n = b->network->n_params;
  if (index == 0)
    return b->network->gradients;
  if (!lane->gradients)
    lane->gradients = new_gradients(n);
  return lane->gradients ? memset(lane->gradients, 0, n * sizeof(float)) : NULL;
}

static void wait_for_turn(struct batch *b, size_t index) {
  pthread_mutex_lock(&b->lock);
  while (b->finished != index)
    pthread_cond_wait(&b->turn, &b->lock);
  pthread_mutex_unlock(&b->lock);
}

static void end_turn(struct batch *b) {
  pthread_mutex_lock(&b->lock);
  b->finished++;
  pthread_cond_broadcast(&b->turn);
  pthread_mutex_unlock(&b->lock);
}

static void slice_task(void *context, size_t index, size_t worker) {
  struct batch *b = context;
  struct lane *lane = &b->network->lanes[worker];
  bool train = b->work == WORK_CLASSIFY || b->work == WORK_RECONSTRUCT;
  float *gradients = train ? gradients_for(b, lane, index) : NULL;
  struct nx_error err = {0};
  double loss = 0;
  int r = train && !gradients ? nx_fail(&err, NX_E_NOMEM, "out of memory for gradients")
                              : run_slice(b, lane, index, gradients, &loss, &err);
  wait_for_turn(b, index);
  if (r < 0 && !b->code) {
    b->code = r;
    b->err = err;
  }
  if (train && index && !b->code)
    lane->tape.kernels->add(lane->tape.stream, b->network->n_params, gradients,
                            b->network->gradients);
  b->loss += loss;
  end_turn(b);
}

static int run_batch(struct batch *b, struct nx_error *err) {
  size_t tokens = tokens_of_window(b->network, b->input), n = b->input->n_windows;
  b->slice_windows = NX_MAX(1, SLICE_TOKENS / tokens);
  b->n_slices = (n + b->slice_windows - 1) / b->slice_windows;
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->turn, NULL);
  if (b->network->pool)
    nx_pool_run(b->network->pool, b->n_slices, slice_task, b);
  else
    for (size_t i = 0; i < b->n_slices && !b->code; i++)
      slice_task(b, i, 0);
  pthread_cond_destroy(&b->turn);
  pthread_mutex_destroy(&b->lock);
  if (b->code && err)
    *err = b->err;
  return b->code;
}

/* ---- Calls ---- */

static int check_input(const struct nx_network *network, const struct nx_model *model,
                       const struct nx_network_input *input, struct nx_error *err) {
  size_t tokens;
  if (model->n_params != network->n_params || model->n_tensors != network->n_tensors ||
      model->n_features != network->shape.bins + network->shape.stats)
    return nx_fail(err, NX_E_INVALID, "the network was made for a model of another shape");
  if (!input->n_windows || !input->n_channels || !input->patches || !input->spectra ||
      !input->stats || !input->positions)
    return nx_fail(err, NX_E_INVALID, "no windows, no channels or no features to read");
  if (!nx_size_mul(input->n_windows, input->n_channels, &tokens) ||
      !nx_size_mul(tokens, network->shape.patches, &tokens) ||
      !nx_size_mul(tokens, network->shape.patch_samples + network->shape.bins, &tokens))
    return nx_fail(err, NX_E_INVALID, "a batch of absurd size");
  return 0;
}

int nx_network_forward(struct nx_network *network, const struct nx_model *model,
                       const struct nx_network_input *input, float *logits_out,
                       struct nx_error *err) {
  int r = check_input(network, model, input, err);
  if (r < 0)
    return r;
  if (model->shape.objective != NX_OBJECTIVE_CLASSIFICATION)
    return nx_fail(err, NX_E_INVALID, "a model made for reconstruction has no logits");
  struct batch b = {.work = WORK_LOGITS,
                    .network = network,
                    .model = model,
                    .input = input,
                    .logits = logits_out};
  return run_batch(&b, err);
}

/* Masks for a whole batch, so that the mean over hidden inputs is one mean: *scale is one over
 * their number. */
static int draw_masks(struct nx_network *network, const struct nx_network_input *input,
                      struct nx_rng *rng, double *scale, struct nx_error *err) {
  size_t tokens = tokens_of_window(network, input), n = input->n_windows * tokens, hidden = 0;
  if (network->n_visible < n) {
    uint8_t *larger = realloc(network->visible, n);
    if (!larger)
      return nx_fail(err, NX_E_NOMEM, "out of memory for masks");
    network->visible = larger;
    network->n_visible = n;
  }
  for (size_t i = 0; i < input->n_windows; i++)
    nx_masking_draw(input->positions, input->n_channels, network->shape.patches, rng,
                    network->visible + i * tokens);
  for (size_t i = 0; i < n; i++)
    hidden += !network->visible[i];
  double columns = network->shape.patch_samples + network->shape.bins;
  *scale = hidden ? 1.0 / ((double)hidden * columns) : 0;
  return 0;
}

static int finite_loss(const struct batch *b, double *loss_out, struct nx_error *err) {
  if (!isfinite(b->loss))
    return nx_fail(err, NX_E_STATE,
                   "the loss is not finite: training diverged, or a window holds NaN");
  *loss_out = b->loss;
  return 0;
}

int nx_network_train_step(struct nx_network *network, const struct nx_model *model,
                          const struct nx_network_input *input, double label_smoothing,
                          struct nx_rng *rng, double *loss_out, struct nx_error *err) {
  bool masked = model->shape.objective == NX_OBJECTIVE_RECONSTRUCTION;
  struct batch b = {.work = masked ? WORK_RECONSTRUCT : WORK_CLASSIFY,
                    .network = network,
                    .model = model,
                    .input = input,
                    .smoothing = label_smoothing};
  int r = check_input(network, model, input, err);
  if (!r && !masked && !input->labels)
    r = nx_fail(err, NX_E_INVALID, "training windows without labels");
  if (!r && masked)
    r = draw_masks(network, input, rng, &b.scale, err);
  if (r < 0)
    return r;
  b.dropout_seed = nx_rng_u64(rng);
  memset(network->gradients, 0, network->n_params * sizeof *network->gradients);
  r = run_batch(&b, err);
  return r < 0 ? r : finite_loss(&b, loss_out, err);
}

int nx_network_reconstruct(struct nx_network *network, const struct nx_model *model,
                           const struct nx_network_input *input, struct nx_rng *rng,
                           double *loss_out, struct nx_error *err) {
  struct batch b = {
      .work = WORK_RECONSTRUCTION_LOSS, .network = network, .model = model, .input = input};
  int r = check_input(network, model, input, err);
  if (!r && model->shape.objective != NX_OBJECTIVE_RECONSTRUCTION)
    r = nx_fail(err, NX_E_INVALID, "a model made for classification has no decoder");
  if (!r)
    r = draw_masks(network, input, rng, &b.scale, err);
  if (!r)
    r = run_batch(&b, err);
  return r < 0 ? r : finite_loss(&b, loss_out, err);
}
