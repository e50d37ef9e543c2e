#include "models/nets/general_network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "models/nets/lanes.h"
#include "models/nets/masking.h"
#include "models/nets/sources.h"
#include "models/ops/ops.h"

/* Tokens and latent rows of a slice, about (see nets/network.c). */
#define SLICE_TOKENS 1024
#define POSITION_UNIT_MM 100.0

struct nx_general_network {
  struct nx_model_shape shape;
  struct nx_model_tensor *tensors;
  size_t n_tensors;
  struct nx_sources sources; /* of a quantised model, whose plain table nets read */
  struct nx_lanes lanes;
  bool again;           /* activation checkpointing */
  struct slice *slices; /* of the current batch */
  size_t slices_room;
  uint8_t *visible; /* masks of the current batch */
  size_t visible_room;
  float *scratch; /* centred samples and correlations of a group */
  size_t scratch_room;
  uint8_t *related;
  size_t related_room;
  double *scales; /* of the loss, by group */
  size_t scales_room;
  uint64_t *loads; /* of experts, by slice */
  size_t loads_room;
};

struct slice {
  size_t group, first, n; /* windows of a group */
  size_t row;             /* of the first in the whole batch */
  const uint8_t *visible;
};

enum work {
  WORK_LOGITS,
  WORK_VALUES,
  WORK_EMBED,
  WORK_DIRECTIONS,
  WORK_CLASSIFY,
  WORK_REGRESS,
  WORK_ASK
};

struct batch {
  enum work work;
  bool train;
  struct nx_general_network *network;
  const struct nx_model *model;
  const struct nx_general_input *groups;
  size_t n_groups, n_windows, n_slices;
  double smoothing;
  double contrast; /* weight of a window that has a prototype; 0: no such loss */
  uint64_t dropout_seed;
  float *out; /* logits, values or embeddings */
  bool loads; /* of experts are counted */
  nx_general_answer_fn *answer;
  void *answer_context;
};

/* ---- Making one ---- */

static int make_net(const void *context, void **net_out, struct nx_error *err) {
  const struct nx_general_network *network = context;
  struct nx_general *general;
  const struct nx_sources *s = &network->sources;
  int r = nx_general_create(&network->shape, s->n_tensors ? s->tensors : network->tensors,
                            s->n_tensors ? s->n_tensors : network->n_tensors, &general, err);
  if (!r)
    *net_out = general;
  return r;
}

static void destroy_net(void *net) {
  nx_general_destroy(net);
}

int nx_general_network_create(const struct nx_model *model, struct nx_general_network **network_out,
                              struct nx_error *err) {
  _cleanup_(nx_general_network_destroyp) struct nx_general_network *network =
      calloc(1, sizeof *network);
  if (!network)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  if (model->shape.network != NX_NETWORK_GENERAL)
    return nx_fail(err, NX_E_INVALID, "the model's network is nano, not general");
  network->shape = model->shape;
  network->n_tensors = model->n_tensors;
  network->tensors = calloc(model->n_tensors, sizeof *network->tensors);
  if (!network->tensors)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  memcpy(network->tensors, model->tensors, model->n_tensors * sizeof *model->tensors);
  const struct nx_lane_net net = {make_net, destroy_net, network};
  int r = nx_sources_init(&network->sources, model, err);
  if (!r)
    r = nx_lanes_init(&network->lanes, &net, model->n_params, err);
  if (r < 0)
    return r;
  *network_out = nx_steal(&network);
  return 0;
}

void nx_general_network_destroy(struct nx_general_network *network) {
  if (!network)
    return;
  nx_lanes_finish(&network->lanes);
  nx_sources_finish(&network->sources);
  free(network->tensors);
  free(network->slices);
  free(network->visible);
  free(network->scratch);
  free(network->related);
  free(network->scales);
  free(network->loads);
  free(network);
}

int nx_general_network_use_pool(struct nx_general_network *network, struct nx_pool *pool,
                                struct nx_error *err) {
  return nx_lanes_use_pool(&network->lanes, pool, err);
}

int nx_general_network_use_bf16(struct nx_general_network *network, struct nx_error *err) {
  return nx_lanes_use_bf16(&network->lanes, err);
}

void nx_general_network_use_checkpoints(struct nx_general_network *network, bool on) {
  network->again = on;
}

float *nx_general_network_gradients(struct nx_general_network *network) {
  return network->lanes.gradients;
}

size_t nx_general_network_activations(const struct nx_general_network *network) {
  return nx_lanes_peak(&network->lanes);
}

size_t nx_general_network_memory(const struct nx_general_network *network) {
  return sizeof *network + nx_lanes_memory(&network->lanes) + network->visible_room +
         network->scratch_room * sizeof(float) + network->related_room;
}

/* ---- What may come in ---- */

static int check_group(const struct nx_model_shape *s, const struct nx_general_input *in,
                       struct nx_error *err) {
  size_t tokens;
  if (in->tokeniser >= s->n_tokenisers)
    return nx_fail(err, NX_E_INVALID, "no such tokeniser: the model has %u", s->n_tokenisers);
  const struct nx_model_tokeniser *k = &s->tokenisers[in->tokeniser];
  if (!nx_tokeniser_reads(k->kind, in->modality))
    return nx_fail(err, NX_E_INVALID, "tokeniser %s does not read %s", nx_tokeniser_name(k->kind),
                   nx_modality_name(in->modality));
  if ((size_t)in->species >= NX_SPECIES_COUNT || (size_t)in->reference >= NX_SIGNAL_REFERENCES)
    return nx_fail(err, NX_E_INVALID, "a species or reference that the model does not know");
  if (!in->n_windows || !in->n_channels)
    return nx_fail(err, NX_E_INVALID, "%s recording: no %s to read", nx_modality_name(in->modality),
                   in->n_channels ? "windows" : "channels");
  if (!in->x || !in->stats || !in->positions || !in->placed)
    return nx_fail(err, NX_E_INVALID, "a batch without samples, statistics or positions");
  if (!nx_size_mul(in->n_windows, in->n_channels, &tokens) ||
      !nx_size_mul(tokens, s->patches, &tokens) || tokens > UINT32_MAX ||
      !nx_size_mul(tokens, k->inputs, &tokens))
    return nx_fail(err, NX_E_INVALID, "a batch of absurd size");
  for (size_t i = 0; in->classes && i < in->n_windows; i++)
    if (in->classes[i] >= s->n_classes && in->classes[i] != NX_PROTOTYPE_NO_CLASS)
      return nx_fail(err, NX_E_INVALID, "a window of class %u: the model has %u", in->classes[i],
                     s->n_classes);
  return 0;
}

static int check(const struct batch *b, struct nx_error *err) {
  if (b->model->n_params != b->network->lanes.n_params ||
      b->model->n_tensors != b->network->n_tensors ||
      !nx_sources_fit(&b->network->sources, b->model))
    return nx_fail(err, NX_E_INVALID, "the network was made for a model of another shape");
  if (b->train && b->network->sources.n_tensors && !b->model->base)
    return nx_fail(err, NX_E_INVALID, "a quantised model does not train: adapters over it do");
  if (!b->n_groups)
    return nx_fail(err, NX_E_INVALID, "no recordings in a batch");
  for (size_t i = 0; i < b->n_groups; i++) {
    int r = check_group(&b->network->shape, &b->groups[i], err);
    if (!r && b->work == WORK_CLASSIFY && !b->groups[i].labels)
      r = nx_fail(err, NX_E_INVALID, "training windows without labels");
    if (!r && b->work == WORK_REGRESS && !b->groups[i].targets)
      r = nx_fail(err, NX_E_INVALID, "training windows without targets");
    if (r < 0)
      return r;
  }
  return 0;
}

/* ---- Masks ---- */

static int grow(void **memory, size_t *room, size_t n, size_t size, struct nx_error *err) {
  if (*room >= n)
    return 0;
  void *larger = realloc(*memory, n * size);
  if (!larger)
    return nx_fail(err, NX_E_NOMEM, "out of memory for masks");
  *memory = larger;
  *room = n;
  return 0;
}

/* One channel's samples over the group's windows, centred and of norm 1. */
static void centre(const struct nx_general_input *in, size_t S, size_t n, size_t n_in, size_t c,
                   float *out) {
  size_t patches = in->n_windows * S, i = 0;
  double sum = 0, squares = 0;
  for (size_t w = 0; w < in->n_windows; w++)
    for (size_t s = 0; s < S; s++)
      for (size_t j = 0; j < n; j++)
        sum += (double)(out[i++] = in->x[((w * in->n_channels + c) * S + s) * n_in + j]);
  for (i = 0; i < patches * n; i++) {
    out[i] -= (float)(sum / (double)(patches * n));
    squares += (double)out[i] * (double)out[i];
  }
  for (i = 0; i < patches * n; i++)
    out[i] *= squares > 0 ? (float)(1 / sqrt(squares)) : 0;
}

static int relate(struct nx_general_network *network, const struct nx_general_input *in,
                  struct nx_error *err) {
  const struct nx_model_shape *s = &network->shape;
  const struct nx_model_tokeniser *k = &s->tokenisers[in->tokeniser];
  size_t C = in->n_channels, length = in->n_windows * s->patches * k->patch_samples;
  int r = grow((void **)&network->scratch, &network->scratch_room, C * (length + C), sizeof(float),
               err);
  if (!r)
    r = grow((void **)&network->related, &network->related_room, C * C, 1, err);
  if (r < 0)
    return r;
  float *correlation = network->scratch + C * length;
  for (size_t c = 0; c < C; c++)
    centre(in, s->patches, k->patch_samples, k->inputs, c, network->scratch + c * length);
  struct nx_tape *tape = &network->lanes.lanes[0].tape;
  tape->kernels->gemm(tape->stream, 'N', 'T', C, C, length, 1, network->scratch, length,
                      network->scratch, length, 0, correlation, C);
  nx_masking_related(correlation, s->mask_correlation, in->positions, in->placed,
                     s->mask_radius_mm / POSITION_UNIT_MM, C, network->related);
  return 0;
}

static int draw_masks(struct batch *b, struct nx_rng *rng, struct nx_error *err) {
  struct nx_general_network *network = b->network;
  const struct nx_model_shape *s = &network->shape;
  size_t total = 0;
  for (size_t i = 0; i < b->n_groups; i++)
    total += b->groups[i].n_windows * b->groups[i].n_channels * s->patches;
  int r = grow((void **)&network->visible, &network->visible_room, total, 1, err);
  uint8_t *visible = network->visible;
  for (size_t i = 0; !r && i < b->n_groups; i++) {
    const struct nx_general_input *in = &b->groups[i];
    size_t window = in->n_channels * s->patches;
    r = relate(network, in, err);
    for (size_t w = 0; !r && w < in->n_windows; w++, visible += window)
      nx_masking_draw_related(network->related, in->n_channels, s->patches, s->mask_fraction, rng,
                              visible);
  }
  return r;
}

/* All of a patch's targets are known. */
static bool is_known(const float *targets, size_t k) {
  for (size_t j = 0; j < k; j++)
    if (!isfinite(targets[j]))
      return false;
  return true;
}

/* Numbers that a regression is asked for in a group. */
static size_t count_targets(const struct nx_general_input *in, const struct nx_model_shape *s) {
  size_t n = 0;
  for (size_t i = 0; i < in->n_windows * s->patches; i++)
    n += is_known(in->targets + i * s->n_targets, s->n_targets);
  return n * s->n_targets;
}

/* The loss of a group is a mean over its questions; groups weigh as many as their windows. */
static void set_scales(const struct batch *b) {
  const uint8_t *visible = b->network->visible;
  size_t S = b->network->shape.patches;
  for (size_t i = 0; i < b->n_groups; i++) {
    const struct nx_general_input *in = &b->groups[i];
    size_t n = in->n_windows * in->n_channels * S, asked = in->n_windows * in->n_channels * (S - 1);
    if (b->work == WORK_REGRESS) {
      asked = count_targets(in, &b->network->shape);
    } else if (b->network->shape.objective == NX_OBJECTIVE_RECONSTRUCTION) {
      asked = 0;
      for (size_t t = 0; t < n; t++)
        asked += !visible[t];
      visible += n;
    }
    double share = (double)in->n_windows / (double)b->n_windows;
    b->network->scales[i] = asked ? share / (double)asked : 0;
  }
}

static bool has_prototype(const struct nx_model *model, uint8_t class) {
  const struct nx_model_tensor *t = nx_model_find(model, "prototypes.mean");
  for (size_t i = 0; class != NX_PROTOTYPE_NO_CLASS && i < NX_PROTOTYPE_WIDTH; i++)
    if (model->params[t->offset + class * (size_t)NX_PROTOTYPE_WIDTH + i] != 0)
      return true;
  return false;
}

/* The contrast is a mean over the batch's windows that have a prototype. */
static void set_contrast(struct batch *b) {
  const struct nx_model_shape *s = &b->network->shape;
  size_t n = 0;
  for (size_t i = 0; s->n_classes && i < b->n_groups; i++)
    for (size_t w = 0; b->groups[i].classes && w < b->groups[i].n_windows; w++)
      n += has_prototype(b->model, b->groups[i].classes[w]);
  b->contrast = n ? s->contrast_weight / (double)n : 0;
}

/* ---- Slices ---- */

static int cut(struct batch *b, struct nx_error *err) {
  struct nx_general_network *network = b->network;
  const struct nx_model_shape *s = &network->shape;
  const uint8_t *visible = network->visible;
  bool masked = b->work == WORK_ASK && s->objective == NX_OBJECTIVE_RECONSTRUCTION;
  b->n_slices = 0;
  for (size_t i = 0, row = 0; i < b->n_groups; i++) {
    const struct nx_general_input *in = &b->groups[i];
    size_t tokens = (in->n_channels + s->queries) * s->patches;
    size_t most = NX_MAX(1, SLICE_TOKENS / tokens);
    for (size_t first = 0; first < in->n_windows; first += most) {
      size_t n = NX_MIN(most, in->n_windows - first);
      int r = grow((void **)&network->slices, &network->slices_room, b->n_slices + 1,
                   sizeof *network->slices, err);
      if (r < 0)
        return r;
      network->slices[b->n_slices++] = (struct slice){i, first, n, row, masked ? visible : NULL};
      row += n;
      if (masked)
        visible += n * in->n_channels * s->patches;
    }
  }
  return 0;
}

static struct nx_general_input part_of(const struct batch *b, const struct slice *slice) {
  struct nx_general_input part = b->groups[slice->group];
  const struct nx_model_shape *s = &b->network->shape;
  part.x += slice->first * part.n_channels * s->patches * s->tokenisers[part.tokeniser].inputs;
  part.n_windows = slice->n;
  if (part.labels)
    part.labels += slice->first;
  if (part.targets)
    part.targets += slice->first * s->patches * s->n_targets;
  if (part.classes)
    part.classes += slice->first;
  return part;
}

/* The part of the mean loss that this slice is. */
static struct nx_tensor *classify(const struct batch *b, struct nx_lane *lane,
                                  const struct nx_general_pass *pass, double *weight) {
  size_t n = pass->input->n_windows;
  struct nx_tensor *logits = nx_general_classify(lane->net, &lane->tape, pass);
  float *targets = nx_tape_memory(&lane->tape, n, sizeof *targets, "targets");
  for (size_t i = 0; targets && i < n; i++)
    targets[i] = (float)((pass->input->labels[i] != 0) * (1 - b->smoothing) + 0.5 * b->smoothing);
  *weight = (double)n / (double)b->n_windows;
  return nx_op_cross_entropy(&lane->tape, logits, targets);
}

/* The same of a regression: squares of standardised errors, where every target is known. */
static struct nx_tensor *regress(const struct batch *b, struct nx_lane *lane,
                                 const struct nx_general_pass *pass, double scale) {
  const struct nx_model *model = b->model;
  size_t k = model->shape.n_targets, n = pass->input->n_windows * model->shape.patches;
  struct nx_tensor *values = nx_general_regress(lane->net, &lane->tape, pass);
  struct nx_tensor *targets = nx_op_zeros(&lane->tape, n, k);
  uint8_t *skip = nx_tape_memory(&lane->tape, n, sizeof *skip, "targets");
  for (size_t i = 0; targets && skip && i < n; i++) {
    const float *y = pass->input->targets + i * k;
    skip[i] = !is_known(y, k);
    for (size_t j = 0; !skip[i] && j < k; j++)
      targets->value[i * k + j] = (y[j] - model->feature_mean[j]) / model->feature_sd[j];
  }
  return nx_op_square_error(&lane->tape, values, targets, skip, (float)scale);
}

/* The same of what is hidden or comes next, and of the contrast beside it. */
static struct nx_tensor *reconstruct(const struct batch *b, struct nx_lane *lane,
                                     const struct nx_general_pass *pass, double scale,
                                     struct nx_general_decoded *decoded) {
  struct nx_tape *tape = &lane->tape;
  if (!nx_general_decode(lane->net, tape, pass, decoded))
    return NULL;
  struct nx_tensor *contrast = NULL;
  if (b->contrast > 0)
    contrast = nx_general_contrast(lane->net, tape, pass, decoded->latent, (float)b->contrast);
  struct nx_tensor *loss = nx_general_loss(lane->net, tape, pass, decoded, (float)scale);
  return contrast ? nx_op_residual(tape, loss, contrast, 0) : loss;
}

static struct nx_tensor *rows_of(const struct batch *b, struct nx_lane *lane,
                                 const struct nx_general_pass *pass) {
  return b->work == WORK_EMBED        ? nx_general_embed(lane->net, &lane->tape, pass)
         : b->work == WORK_VALUES     ? nx_general_regress(lane->net, &lane->tape, pass)
         : b->work == WORK_DIRECTIONS ? nx_general_direction(lane->net, &lane->tape, pass)
                                      : nx_general_classify(lane->net, &lane->tape, pass);
}

static int put_rows(const struct batch *b, struct nx_lane *lane, const struct nx_general_pass *pass,
                    size_t row, struct nx_error *err) {
  struct nx_tensor *y = rows_of(b, lane, pass);
  int r = nx_tape_check(&lane->tape, err);
  for (size_t i = 0; !r && i < y->rows * y->columns; i++) {
    b->out[row * (y->rows / pass->input->n_windows) * y->columns + i] = y->value[i];
    if (!isfinite(y->value[i]))
      r = nx_fail(err, NX_E_STATE,
                  "an output is not finite: the model diverged, or a window holds NaN");
  }
  return r;
}

static void show_answers(const struct batch *b, const struct slice *slice,
                         const struct nx_general_decoded *d) {
  size_t n = d->prediction->columns;
  for (size_t i = 0; i < d->prediction->rows; i++)
    if (!d->padding[i])
      b->answer(b->answer_context, slice->group, slice->first + i / d->n_questions, d->tokens[i],
                d->prediction->value + i * n, d->target->value + i * n, n);
}

/* The weight of balance in each row of the latent. */
static double row_balance(const struct batch *b) {
  const struct nx_model_shape *s = &b->network->shape;
  return b->train ? s->balance / (double)(b->n_windows * s->patches * s->queries) : 0;
}

static size_t n_loads(const struct nx_general_network *network) {
  return (size_t)(network->shape.blocks / 2) * network->shape.experts;
}

static int run_slice(void *context, struct nx_lane *lane, size_t index, float *gradients,
                     double *loss, struct nx_error *err) {
  const struct batch *b = context;
  const struct slice *slice = &b->network->slices[index];
  struct nx_general_input part = part_of(b, slice);
  struct nx_general_pass pass = {.weights = {b->model->params, gradients, b->network->sources.of},
                                 .input = &part,
                                 .visible = slice->visible,
                                 .balance = (float)row_balance(b),
                                 .loads = b->loads ? b->network->loads + index * n_loads(b->network)
                                                   : NULL,
                                 .again = b->network->again};
  struct nx_general_decoded decoded;
  struct nx_tensor *part_loss = NULL;
  struct nx_rng rng;
  double weight = 1;
  nx_rng_init(&rng, b->dropout_seed, index);
  nx_tape_begin(&lane->tape, gradients != NULL, gradients ? &rng : NULL);
  if (b->out)
    return put_rows(b, lane, &pass, slice->row, err);
  if (b->work == WORK_CLASSIFY)
    part_loss = classify(b, lane, &pass, &weight);
  else if (b->work == WORK_REGRESS)
    part_loss = regress(b, lane, &pass, b->network->scales[slice->group]);
  else
    part_loss = reconstruct(b, lane, &pass, b->network->scales[slice->group], &decoded);
  if (part_loss && b->answer)
    show_answers(b, slice, &decoded);
  if (gradients)
    nx_tape_backward(&lane->tape, part_loss, (float)weight);
  int r = nx_tape_check(&lane->tape, err);
  *loss = r ? 0 : weight * (double)*part_loss->value;
  return r;
}

static int run(struct batch *b, struct nx_rng *rng, double *loss_out, struct nx_error *err) {
  bool asks = b->work == WORK_ASK;
  int r = check(b, err);
  if (!r)
    r = grow((void **)&b->network->scales, &b->network->scales_room, b->n_groups, sizeof(double),
             err);
  if (!r)
    nx_sources_point(&b->network->sources, b->model);
  for (size_t i = 0; !r && i < b->n_groups; i++)
    b->n_windows += b->groups[i].n_windows;
  if (!r && asks && b->network->shape.objective == NX_OBJECTIVE_RECONSTRUCTION)
    r = draw_masks(b, rng, err);
  if (!r && (asks || b->work == WORK_REGRESS))
    set_scales(b);
  if (!r && asks && b->train)
    set_contrast(b);
  if (!r)
    r = cut(b, err);
  if (!r && b->loads)
    r = grow((void **)&b->network->loads, &b->network->loads_room,
             b->n_slices * n_loads(b->network), sizeof(uint64_t), err);
  if (r < 0)
    return r;
  if (b->loads)
    memset(b->network->loads, 0, b->n_slices * n_loads(b->network) * sizeof(uint64_t));
  if (b->train)
    b->dropout_seed = nx_rng_u64(rng);
  const struct nx_slices slices = {b->n_slices, b->train, run_slice, b};
  double loss = 0;
  r = nx_lanes_run(&b->network->lanes, &slices, &loss, err);
  if (!r && !isfinite(loss))
    r = nx_fail(err, NX_E_STATE,
                "the loss is not finite: training diverged, or a window holds NaN");
  if (!r && loss_out)
    *loss_out = loss;
  return r;
}

/* ---- Calls ---- */

static enum work loss_of(const struct nx_model *model) {
  return model->shape.objective == NX_OBJECTIVE_CLASSIFICATION ? WORK_CLASSIFY
         : model->shape.objective == NX_OBJECTIVE_REGRESSION   ? WORK_REGRESS
                                                               : WORK_ASK;
}

int nx_general_network_train_step(struct nx_general_network *network, const struct nx_model *model,
                                  const struct nx_general_input *groups, size_t n,
                                  double label_smoothing, struct nx_rng *rng, double *loss_out,
                                  struct nx_error *err) {
  struct batch b = {.work = loss_of(model),
                    .train = true,
                    .network = network,
                    .model = model,
                    .groups = groups,
                    .n_groups = n,
                    .smoothing = label_smoothing};
  return run(&b, rng, loss_out, err);
}

int nx_general_network_logits(struct nx_general_network *network, const struct nx_model *model,
                              const struct nx_general_input *groups, size_t n, float *logits_out,
                              struct nx_error *err) {
  struct batch b = {.work = WORK_LOGITS,
                    .network = network,
                    .model = model,
                    .groups = groups,
                    .n_groups = n,
                    .out = logits_out};
  if (model->shape.objective != NX_OBJECTIVE_CLASSIFICATION)
    return nx_fail(err, NX_E_INVALID, "a model that was not made for classification has no logits");
  return run(&b, NULL, NULL, err);
}

int nx_general_network_values(struct nx_general_network *network, const struct nx_model *model,
                              const struct nx_general_input *groups, size_t n, float *values_out,
                              struct nx_error *err) {
  struct batch b = {.work = WORK_VALUES,
                    .network = network,
                    .model = model,
                    .groups = groups,
                    .n_groups = n,
                    .out = values_out};
  if (model->shape.objective != NX_OBJECTIVE_REGRESSION)
    return nx_fail(err, NX_E_INVALID, "a model that was not made for regression has no values");
  return run(&b, NULL, NULL, err);
}

int nx_general_network_embed(struct nx_general_network *network, const struct nx_model *model,
                             const struct nx_general_input *groups, size_t n, float *embeddings_out,
                             struct nx_error *err) {
  struct batch b = {.work = WORK_EMBED,
                    .network = network,
                    .model = model,
                    .groups = groups,
                    .n_groups = n,
                    .out = embeddings_out};
  return run(&b, NULL, NULL, err);
}

int nx_general_network_directions(struct nx_general_network *network, const struct nx_model *model,
                                  const struct nx_general_input *groups, size_t n,
                                  float *directions_out, struct nx_error *err) {
  struct batch b = {.work = WORK_DIRECTIONS,
                    .network = network,
                    .model = model,
                    .groups = groups,
                    .n_groups = n,
                    .out = directions_out};
  if (!model->shape.n_classes)
    return nx_fail(err, NX_E_INVALID, "a model without prototypes has no directions");
  return run(&b, NULL, NULL, err);
}

int nx_general_network_loads(struct nx_general_network *network, const struct nx_model *model,
                             const struct nx_general_input *groups, size_t n, uint64_t *loads,
                             struct nx_error *err) {
  size_t windows = 0, each = n_loads(network);
  for (size_t i = 0; i < n; i++)
    windows += groups[i].n_windows;
  _cleanup_free_ float *embeddings = calloc(windows * model->shape.width + 1, sizeof *embeddings);
  struct batch b = {.work = WORK_EMBED,
                    .network = network,
                    .model = model,
                    .groups = groups,
                    .n_groups = n,
                    .out = embeddings,
                    .loads = true};
  if (!embeddings || !each)
    return embeddings ? nx_fail(err, NX_E_INVALID, "a model without experts has no loads")
                      : nx_fail(err, NX_E_NOMEM, "out of memory for loads");
  int r = run(&b, NULL, NULL, err);
  for (size_t i = 0; !r && i < b.n_slices * each; i++)
    loads[i % each] += network->loads[i];
  return r;
}

int nx_general_network_evaluate(struct nx_general_network *network, const struct nx_model *model,
                                const struct nx_general_input *groups, size_t n, struct nx_rng *rng,
                                nx_general_answer_fn *answer, void *context, double *loss_out,
                                struct nx_error *err) {
  struct batch b = {.work = loss_of(model),
                    .network = network,
                    .model = model,
                    .groups = groups,
                    .n_groups = n,
                    .answer = answer,
                    .answer_context = context};
  if (model->shape.objective == NX_OBJECTIVE_CLASSIFICATION)
    return nx_fail(err, NX_E_INVALID, "a model made for classification has no decoder");
  if (answer && b.work == WORK_REGRESS)
    return nx_fail(err, NX_E_INVALID, "answers are those of a decoder");
  if (answer && network->lanes.pool)
    return nx_fail(err, NX_E_INVALID, "answers are shown by one thread: use no pool");
  return run(&b, rng, loss_out, err);
}

/* ---- Measuring ---- */

/* Inputs of that size, of which hardly a value is read. */
static int put_nothing(struct nx_arena *space, const struct nx_model_shape *s,
                       struct nx_general_input *in, struct nx_error *err) {
  size_t tokens = in->n_windows * in->n_channels * s->patches;
  in->x = nx_arena_take(space, tokens * s->tokenisers[in->tokeniser].inputs, sizeof(float));
  in->stats = nx_arena_take(space, in->n_channels * NX_MODEL_STATS, sizeof(float));
  in->positions = nx_arena_take(space, in->n_channels * 3, sizeof(float));
  in->placed = nx_arena_take(space, in->n_channels, 1);
  in->labels = nx_arena_take(space, in->n_windows, 1);
  in->targets = nx_arena_take(space, in->n_windows * s->patches * s->n_targets + 1, sizeof(float));
  return in->x && in->stats && in->positions && in->placed && in->labels && in->targets
             ? 0
             : nx_fail(err, NX_E_LIMIT, "no address space for %zu windows", in->n_windows);
}

/* The most that nx_masking_draw_related() ever hides in a window: what it must, and then at most
 * the last neighbourhood, which may be all channels. */
static int hide_most(struct nx_arena *space, const struct nx_model_shape *s,
                     const struct nx_general_input *in, uint8_t **visible_out,
                     struct nx_error *err) {
  size_t n = in->n_channels * s->patches;
  size_t hidden = (size_t)ceil(s->mask_fraction * (double)n) + NX_MASK_PATCHES * in->n_channels - 1;
  uint8_t *visible = nx_arena_take(space, in->n_windows, n);
  if (!visible)
    return nx_fail(err, NX_E_LIMIT, "no address space for %zu windows", in->n_windows);
  for (size_t w = 0; w < in->n_windows; w++)
    memset(visible + w * n, 1, n - NX_MIN(n, hidden));
  *visible_out = visible;
  return 0;
}

/* Of the contrast with prototypes, which nobody has here: the latent rows, normalised, and their
 * gradients, at most. */
static size_t contrast_bytes(const struct nx_general_network *network, const struct slice *slice) {
  const struct nx_model_shape *s = &network->shape;
  return s->n_classes ? 4 * slice->n * s->patches * s->queries * s->width * sizeof(float) : 0;
}

static int measure(struct batch *b, struct nx_arena *space, struct nx_slice_memory *memory,
                   struct nx_error *err) {
  struct nx_general_network *network = b->network;
  struct nx_general_input group = *b->groups;
  const struct nx_lane_net net = {make_net, destroy_net, network};
  const struct nx_slices slices = {1, true, run_slice, b};
  b->groups = &group;
  int r = group.tokeniser < network->shape.n_tokenisers
              ? put_nothing(space, &network->shape, &group, err)
              : nx_fail(err, NX_E_INVALID, "no such tokeniser");
  if (!r)
    r = check(b, err);
  if (!r && network->shape.objective == NX_OBJECTIVE_RECONSTRUCTION)
    r = hide_most(space, &network->shape, &group, &network->visible, err);
  if (!r)
    r = cut(b, err);
  if (r < 0)
    return r;
  memory->n_slices = b->n_slices;
  nx_sources_point(&network->sources, b->model);
  r = nx_lanes_measure(&net, b->model->n_params, &slices, &memory->bytes, err);
  memory->bytes += contrast_bytes(network, &network->slices[0]);
  return r;
}

int nx_general_network_measure(const struct nx_model *model, const struct nx_general_input *group,
                               bool checkpoints, struct nx_slice_memory *memory_out,
                               struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *space = NULL;
  double scale = 0;
  struct nx_general_network network = {.shape = model->shape,
                                       .tensors =
                                           (struct nx_model_tensor *)(uintptr_t)model->tensors,
                                       .n_tensors = model->n_tensors,
                                       .lanes.n_params = model->n_params,
                                       .scales = &scale,
                                       .again = checkpoints};
  struct batch b = {.work = loss_of(model),
                    .train = true,
                    .network = &network,
                    .model = model,
                    .groups = group,
                    .n_groups = 1,
                    .n_windows = group->n_windows};
  int r = nx_arena_create_hollow(&space, err);
  if (!r)
    r = nx_sources_init(&network.sources, model, err);
  if (!r)
    r = measure(&b, space, memory_out, err);
  nx_sources_finish(&network.sources);
  free(network.slices);
  return r;
}
