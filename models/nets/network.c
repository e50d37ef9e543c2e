#include "models/nets/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "models/nets/lanes.h"
#include "models/nets/masking.h"
#include "models/nets/nano.h"
#include "models/nets/sources.h"
#include "models/ops/ops.h"

/* Windows go through the tape in slices of about this many tokens: what a slice leaves
 * behind for backward stays near the processor, and memory does not grow with the batch.
 * Each draws dropout from a sequence of its own. */
#define SLICE_TOKENS 1024

struct nx_network {
  struct nx_model_shape shape;
  struct nx_model_tensor *tensors;
  size_t n_tensors;
  struct nx_sources sources; /* of a quantised model, whose plain table nets read */
  struct nx_lanes lanes;
  bool again;       /* activation checkpointing */
  uint8_t *visible; /* masks of a batch */
  size_t n_visible; /* room */
};

enum work { WORK_LOGITS, WORK_EMBED, WORK_CLASSIFY, WORK_RECONSTRUCT, WORK_RECONSTRUCTION_LOSS };

/* One call: what all slices read. */
struct batch {
  enum work work;
  struct nx_network *network;
  const struct nx_model *model;
  const struct nx_network_input *input;
  size_t slice_windows;
  double smoothing, scale;
  uint64_t dropout_seed;
  float *rows_out; /* of logits [B][1] or embeddings [B][width] */
  double loss;
};

static int make_nano(const void *context, void **net_out, struct nx_error *err) {
  const struct nx_network *network = context;
  struct nx_nano *nano;
  const struct nx_sources *s = &network->sources;
  int r = nx_nano_create(&network->shape, s->n_tensors ? s->tensors : network->tensors,
                         s->n_tensors ? s->n_tensors : network->n_tensors, &nano, err);
  if (!r)
    *net_out = nano;
  return r;
}

static void destroy_nano(void *net) {
  nx_nano_destroy(net);
}

int nx_network_create(const struct nx_model *model, struct nx_network **network_out,
                      struct nx_error *err) {
  _cleanup_(nx_network_destroyp) struct nx_network *network = calloc(1, sizeof *network);
  if (!network)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  if (model->shape.network != NX_NETWORK_NANO)
    return nx_fail(err, NX_E_INVALID, "a model of network: general in the place of a nano");
  network->shape = model->shape;
  network->n_tensors = model->n_tensors;
  network->tensors = calloc(model->n_tensors, sizeof *network->tensors);
  if (!network->tensors)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  memcpy(network->tensors, model->tensors, model->n_tensors * sizeof *model->tensors);
  const struct nx_lane_net net = {make_nano, destroy_nano, network};
  int r = nx_sources_init(&network->sources, model, err);
  if (!r)
    r = nx_lanes_init(&network->lanes, &net, model->n_params, err);
  if (r < 0)
    return r;
  *network_out = nx_steal(&network);
  return 0;
}

void nx_network_destroy(struct nx_network *network) {
  if (!network)
    return;
  nx_lanes_finish(&network->lanes);
  nx_sources_finish(&network->sources);
  free(network->tensors);
  free(network->visible);
  free(network);
}

int nx_network_use_pool(struct nx_network *network, struct nx_pool *pool, struct nx_error *err) {
  return nx_lanes_use_pool(&network->lanes, pool, err);
}

int nx_network_use_bf16(struct nx_network *network, struct nx_error *err) {
  return nx_lanes_use_bf16(&network->lanes, err);
}

void nx_network_use_checkpoints(struct nx_network *network, bool on) {
  network->again = on;
}

float *nx_network_gradients(struct nx_network *network) {
  return network->lanes.gradients;
}

size_t nx_network_activations(const struct nx_network *network) {
  return nx_lanes_peak(&network->lanes);
}

size_t nx_network_memory(const struct nx_network *network) {
  return sizeof *network + nx_lanes_memory(&network->lanes) + network->n_visible;
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
static struct nx_tensor *classify(const struct batch *b, struct nx_lane *lane,
                                  const struct nx_nano_pass *pass, double *weight) {
  size_t n = pass->input->n_windows;
  struct nx_tensor *logits = nx_nano_classify(lane->net, &lane->tape, pass);
  float *targets = nx_tape_memory(&lane->tape, n, sizeof *targets, "targets");
  for (size_t i = 0; targets && i < n; i++)
    targets[i] = (float)((pass->input->labels[i] != 0) * (1 - b->smoothing) + 0.5 * b->smoothing);
  *weight = (double)n / (double)b->input->n_windows;
  return nx_op_cross_entropy(&lane->tape, logits, targets);
}

static int put_rows(const struct batch *b, struct nx_lane *lane, const struct nx_nano_pass *pass,
                    size_t first, struct nx_error *err) {
  struct nx_tensor *y = b->work == WORK_EMBED ? nx_nano_embed(lane->net, &lane->tape, pass)
                                              : nx_nano_classify(lane->net, &lane->tape, pass);
  int r = nx_tape_check(&lane->tape, err);
  for (size_t i = 0; !r && i < y->rows * y->columns; i++) {
    b->rows_out[first * y->columns + i] = y->value[i];
    if (!isfinite(y->value[i]))
      r = nx_fail(err, NX_E_STATE,
                  "an output is not finite: the model diverged, or a window holds NaN");
  }
  return r;
}

static int run_slice(void *context, struct nx_lane *lane, size_t index, float *gradients,
                     double *loss, struct nx_error *err) {
  const struct batch *b = context;
  struct nx_network_input part = slice_of(b, index);
  size_t first = index * b->slice_windows;
  struct nx_nano_pass pass = {.weights = {b->model->params, gradients, b->network->sources.of},
                              .feature_mean = b->model->feature_mean,
                              .feature_sd = b->model->feature_sd,
                              .input = &part,
                              .again = b->network->again};
  struct nx_rng rng;
  double weight = 1;
  nx_rng_init(&rng, b->dropout_seed, index);
  nx_tape_begin(&lane->tape, gradients != NULL, gradients ? &rng : NULL);
  if (b->work == WORK_LOGITS || b->work == WORK_EMBED)
    return put_rows(b, lane, &pass, first, err);
  struct nx_tensor *part_loss;
  if (b->work == WORK_CLASSIFY)
    part_loss = classify(b, lane, &pass, &weight);
  else {
    pass.visible = b->network->visible + first * tokens_of_window(b->network, b->input);
    part_loss = nx_nano_reconstruct(lane->net, &lane->tape, &pass, (float)b->scale);
  }
  if (gradients)
    nx_tape_backward(&lane->tape, part_loss, (float)weight);
  int r = nx_tape_check(&lane->tape, err);
  *loss = r ? 0 : weight * (double)*part_loss->value;
  return r;
}

static struct nx_slices cut(struct batch *b) {
  size_t tokens = tokens_of_window(b->network, b->input), n = b->input->n_windows;
  b->slice_windows = NX_MAX(1, SLICE_TOKENS / tokens);
  return (struct nx_slices){
      .n = (n + b->slice_windows - 1) / b->slice_windows,
      .train = b->work == WORK_CLASSIFY || b->work == WORK_RECONSTRUCT,
      .run = run_slice,
      .context = b,
  };
}

static int run_batch(struct batch *b, struct nx_error *err) {
  nx_sources_point(&b->network->sources, b->model);
  const struct nx_slices slices = cut(b);
  return nx_lanes_run(&b->network->lanes, &slices, &b->loss, err);
}

/* ---- Calls ---- */

static int check_input(const struct nx_network *network, const struct nx_model *model,
                       const struct nx_network_input *input, struct nx_error *err) {
  size_t tokens;
  if (model->n_params != network->lanes.n_params || model->n_tensors != network->n_tensors ||
      model->n_features != network->shape.bins + network->shape.stats ||
      !nx_sources_fit(&network->sources, model))
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
                    .rows_out = logits_out};
  return run_batch(&b, err);
}

int nx_network_embed(struct nx_network *network, const struct nx_model *model,
                     const struct nx_network_input *input, float *embeddings_out,
                     struct nx_error *err) {
  struct batch b = {.work = WORK_EMBED,
                    .network = network,
                    .model = model,
                    .input = input,
                    .rows_out = embeddings_out};
  int r = check_input(network, model, input, err);
  return r < 0 ? r : run_batch(&b, err);
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
  if (!r && network->sources.n_tensors && !model->base)
    r = nx_fail(err, NX_E_INVALID, "a quantised model does not train: adapters over it do");
  if (!r && !masked && !input->labels)
    r = nx_fail(err, NX_E_INVALID, "training windows without labels");
  if (!r && masked)
    r = draw_masks(network, input, rng, &b.scale, err);
  if (r < 0)
    return r;
  b.dropout_seed = nx_rng_u64(rng);
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

/* ---- Measuring ---- */

/* Inputs of that size, of which nobody reads a value. */
static int put_nothing(struct nx_arena *space, const struct nx_model_shape *s,
                       struct nx_network_input *input, struct nx_error *err) {
  size_t rows = input->n_windows * input->n_channels;
  input->patches = nx_arena_take(space, rows * s->patches * s->patch_samples, sizeof(float));
  input->spectra = nx_arena_take(space, rows * s->patches * s->bins + 1, sizeof(float));
  input->stats = nx_arena_take(space, rows * s->stats, sizeof(float));
  input->positions = nx_arena_take(space, input->n_channels * 3, sizeof(float));
  input->labels = nx_arena_take(space, input->n_windows, 1);
  return input->patches && input->spectra && input->stats && input->positions && input->labels
             ? 0
             : nx_fail(err, NX_E_LIMIT, "no address space for %zu windows", input->n_windows);
}

int nx_network_measure(const struct nx_model *model, size_t n_windows, size_t n_channels,
                       bool checkpoints, struct nx_slice_memory *memory_out, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *space = NULL;
  bool masked = model->shape.objective == NX_OBJECTIVE_RECONSTRUCTION;
  struct nx_network network = {.shape = model->shape,
                               .tensors = (struct nx_model_tensor *)(uintptr_t)model->tensors,
                               .n_tensors = model->n_tensors,
                               .lanes.n_params = model->n_params,
                               .again = checkpoints};
  struct nx_network_input input = {.n_windows = n_windows, .n_channels = n_channels};
  struct batch b = {.work = masked ? WORK_RECONSTRUCT : WORK_CLASSIFY,
                    .network = &network,
                    .model = model,
                    .input = &input};
  const struct nx_lane_net net = {make_nano, destroy_nano, &network};
  int r = nx_arena_create_hollow(&space, err);
  if (!r)
    r = nx_sources_init(&network.sources, model, err);
  if (!r)
    r = put_nothing(space, &model->shape, &input, err);
  if (!r)
    r = check_input(&network, model, &input, err);
  if (!r) {
    nx_sources_point(&network.sources, model);
    network.visible = (uint8_t *)(uintptr_t)input.patches;
    const struct nx_slices slices = cut(&b);
    memory_out->n_slices = slices.n;
    r = nx_lanes_measure(&net, model->n_params, &slices, &memory_out->bytes, err);
  }
  nx_sources_finish(&network.sources);
  return r;
}
