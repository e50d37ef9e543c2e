#include "models/nets/network.h"

#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "models/nets/masking.h"
#include "models/nets/nano.h"
#include "models/ops/ops.h"

/* Windows go through the tape in slices of about this many tokens: what a slice leaves
 * behind for backward stays near the processor, and memory does not grow with the batch. */
#define SLICE_TOKENS 1024

struct nx_network {
  struct nx_model_shape shape;
  struct nx_model_tensor *tensors;
  struct nx_nano *nano;
  struct nx_tape tape;
  size_t n_tensors, n_params;
  float *gradients;
  uint8_t *visible; /* masks of a batch */
  size_t n_visible; /* room */
};

int nx_network_create(const struct nx_model *model, struct nx_network **network_out,
                      struct nx_error *err) {
  _cleanup_(nx_network_destroyp) struct nx_network *network = calloc(1, sizeof *network);
  if (!network)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  network->shape = model->shape;
  network->n_tensors = model->n_tensors;
  network->n_params = model->n_params;
  network->tensors = calloc(model->n_tensors, sizeof *network->tensors);
  size_t bytes = (model->n_params * sizeof(float) + 63) & ~(size_t)63;
  network->gradients = aligned_alloc(64, bytes);
  if (!network->tensors || !network->gradients)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the gradients of %zu parameters",
                   model->n_params);
  memcpy(network->tensors, model->tensors, model->n_tensors * sizeof *model->tensors);
  memset(network->gradients, 0, bytes);
  int r = nx_tape_init(&network->tape, nx_backend_cpu(), err);
  if (!r)
    r = nx_nano_create(&network->shape, network->tensors, network->n_tensors, &network->nano, err);
  if (r < 0)
    return r;
  *network_out = nx_steal(&network);
  return 0;
}

void nx_network_destroy(struct nx_network *network) {
  if (!network)
    return;
  nx_nano_destroy(network->nano);
  nx_tape_finish(&network->tape);
  free(network->tensors);
  free(network->gradients);
  free(network->visible);
  free(network);
  malloc_trim(0); /* activations are large: an idle node gives them back to its host */
}

int nx_network_use_bf16(struct nx_network *network, struct nx_error *err) {
  return network->tape.kernels->set_precision(network->tape.stream, NX_PRECISION_BF16, err);
}

float *nx_network_gradients(struct nx_network *network) {
  return network->gradients;
}

size_t nx_network_memory(const struct nx_network *network) {
  return sizeof *network + network->n_params * sizeof(float) + network->n_visible +
         nx_arena_used(network->tape.arena);
}

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

static size_t tokens_of_window(const struct nx_network *network,
                               const struct nx_network_input *input) {
  return input->n_channels * network->shape.patches;
}

/* Windows first .. of the input, as many as make a slice. */
static struct nx_network_input slice(const struct nx_network *network,
                                     const struct nx_network_input *input, size_t first) {
  struct nx_network_input part = *input;
  size_t tokens = tokens_of_window(network, input);
  size_t most = NX_MAX(1, SLICE_TOKENS / tokens);
  part.n_windows = NX_MIN(most, input->n_windows - first);
  part.patches += first * tokens * network->shape.patch_samples;
  part.spectra += first * tokens * network->shape.bins;
  part.stats += first * input->n_channels * network->shape.stats;
  if (part.labels)
    part.labels += first;
  return part;
}

static struct nx_nano_pass pass_of(const struct nx_model *model,
                                   const struct nx_network_input *input, float *gradients) {
  return (struct nx_nano_pass){.params = model->params,
                               .gradients = gradients,
                               .feature_mean = model->feature_mean,
                               .feature_sd = model->feature_sd,
                               .input = input};
}

int nx_network_forward(struct nx_network *network, const struct nx_model *model,
                       const struct nx_network_input *input, float *logits_out,
                       struct nx_error *err) {
  int r = check_input(network, model, input, err);
  if (r < 0)
    return r;
  if (model->shape.objective != NX_OBJECTIVE_CLASSIFICATION)
    return nx_fail(err, NX_E_INVALID, "a model made for reconstruction has no logits");
  for (size_t first = 0; first < input->n_windows;) {
    struct nx_network_input part = slice(network, input, first);
    struct nx_nano_pass pass = pass_of(model, &part, NULL);
    nx_tape_begin(&network->tape, /*recording=*/false, NULL);
    struct nx_tensor *logits = nx_nano_classify(network->nano, &network->tape, &pass);
    r = nx_tape_check(&network->tape, err);
    if (r < 0)
      return r;
    for (size_t i = 0; i < part.n_windows; i++, first++) {
      logits_out[first] = logits->value[i];
      if (!isfinite(logits_out[first]))
        return nx_fail(err, NX_E_STATE,
                       "a logit is not finite: the model diverged, or a window holds NaN");
    }
  }
  return 0;
}

/* Adds a slice's part of the mean loss, weighted by its share of the windows. */
static int classify_slice(struct nx_network *network, const struct nx_nano_pass *pass,
                          double smoothing, struct nx_rng *rng, double share, double *loss,
                          struct nx_error *err) {
  struct nx_tape *tape = &network->tape;
  nx_tape_begin(tape, /*recording=*/true, rng);
  struct nx_tensor *logits = nx_nano_classify(network->nano, tape, pass);
  size_t n = pass->input->n_windows;
  float *targets = nx_tape_memory(tape, n, sizeof *targets, "targets");
  for (size_t i = 0; targets && i < n; i++)
    targets[i] = (float)((pass->input->labels[i] != 0) * (1 - smoothing) + 0.5 * smoothing);
  struct nx_tensor *mean = nx_op_cross_entropy(tape, logits, targets);
  nx_tape_backward(tape, mean, (float)share);
  int r = nx_tape_check(tape, err);
  if (!r)
    *loss += share * (double)*mean->value;
  return r;
}

static int reconstruct_slice(struct nx_network *network, const struct nx_nano_pass *pass,
                             struct nx_rng *rng, double scale, bool train, double *loss,
                             struct nx_error *err) {
  struct nx_tape *tape = &network->tape;
  nx_tape_begin(tape, train, train ? rng : NULL);
  struct nx_tensor *sum = nx_nano_reconstruct(network->nano, tape, pass, (float)scale);
  if (train)
    nx_tape_backward(tape, sum, 1);
  int r = nx_tape_check(tape, err);
  if (!r)
    *loss += (double)*sum->value;
  return r;
}

/* Masks for a whole batch, so that the mean over hidden inputs is one mean. */
static int draw_masks(struct nx_network *network, const struct nx_network_input *input,
                      struct nx_rng *rng, size_t *hidden, struct nx_error *err) {
  size_t tokens = tokens_of_window(network, input), n = input->n_windows * tokens;
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
  *hidden = 0;
  for (size_t i = 0; i < n; i++)
    *hidden += !network->visible[i];
  return 0;
}

static int reconstruct(struct nx_network *network, const struct nx_model *model,
                       const struct nx_network_input *input, struct nx_rng *rng, bool train,
                       double *loss, struct nx_error *err) {
  size_t hidden = 0, columns = network->shape.patch_samples + network->shape.bins;
  int r = draw_masks(network, input, rng, &hidden, err);
  for (size_t first = 0; !r && first < input->n_windows;) {
    struct nx_network_input part = slice(network, input, first);
    struct nx_nano_pass pass = pass_of(model, &part, train ? network->gradients : NULL);
    pass.visible = network->visible + first * tokens_of_window(network, input);
    double scale = hidden ? 1.0 / ((double)hidden * (double)columns) : 0;
    r = reconstruct_slice(network, &pass, rng, scale, train, loss, err);
    first += part.n_windows;
  }
  return r;
}

static int classify(struct nx_network *network, const struct nx_model *model,
                    const struct nx_network_input *input, double smoothing, struct nx_rng *rng,
                    double *loss, struct nx_error *err) {
  int r = input->labels ? 0 : nx_fail(err, NX_E_INVALID, "training windows without labels");
  for (size_t first = 0; !r && first < input->n_windows;) {
    struct nx_network_input part = slice(network, input, first);
    struct nx_nano_pass pass = pass_of(model, &part, network->gradients);
    double share = (double)part.n_windows / (double)input->n_windows;
    r = classify_slice(network, &pass, smoothing, rng, share, loss, err);
    first += part.n_windows;
  }
  return r;
}

int nx_network_train_step(struct nx_network *network, const struct nx_model *model,
                          const struct nx_network_input *input, double label_smoothing,
                          struct nx_rng *rng, double *loss_out, struct nx_error *err) {
  int r = check_input(network, model, input, err);
  double loss = 0;
  if (r < 0)
    return r;
  memset(network->gradients, 0, network->n_params * sizeof *network->gradients);
  if (model->shape.objective == NX_OBJECTIVE_RECONSTRUCTION)
    r = reconstruct(network, model, input, rng, /*train=*/true, &loss, err);
  else
    r = classify(network, model, input, label_smoothing, rng, &loss, err);
  if (r < 0)
    return r;
  if (!isfinite(loss))
    return nx_fail(err, NX_E_STATE,
                   "the loss is not finite: training diverged, or a window holds NaN");
  *loss_out = loss;
  return 0;
}

int nx_network_reconstruct(struct nx_network *network, const struct nx_model *model,
                           const struct nx_network_input *input, struct nx_rng *rng,
                           double *loss_out, struct nx_error *err) {
  int r = check_input(network, model, input, err);
  if (r < 0)
    return r;
  if (model->shape.objective != NX_OBJECTIVE_RECONSTRUCTION)
    return nx_fail(err, NX_E_INVALID, "a model made for classification has no decoder");
  *loss_out = 0;
  r = reconstruct(network, model, input, rng, /*train=*/false, loss_out, err);
  if (!r && !isfinite(*loss_out))
    return nx_fail(err, NX_E_STATE, "the loss is not finite: a window holds NaN");
  return r;
}
