#include "models/nets/nano.h"

#include <math.h>
#include <stdlib.h>

#include "models/ops/ops.h"

#define PLACE_FREQUENCIES 16
#define TIME_FREQUENCIES 8
#define SHORTEST_PERIOD 2.0 /* seconds, of the rotary positions */
#define LONGEST_PERIOD 300.0

struct nx_nano {
  struct nx_model_shape shape;
  const struct nx_model_tensor *tensors;
  nx_real *cosines, *sines; /* [S * Q, head width / 2] */
  nx_real *patch_times;     /* [S, 2 * TIME_FREQUENCIES] for the decoder */
  struct nx_tensor **bound; /* of the current pass, in table order */
  size_t n_tensors;
  double place_frequencies[PLACE_FREQUENCIES];
};

/* Where the tensors of nano_layout.c begin, in its order. */
enum { TOKENS, TOKENS_BIAS, HIDDEN, HIDDEN_BIAS, PLACE, PLACE_BIAS, STATS, QUERIES };
enum { UNIFIER_QUERY = QUERIES + 1, UNIFIER_KEY, UNIFIER_VALUE, UNIFIER_OUTPUT, FIRST_BLOCK };
enum { NORM1, QKV, OUTPUT, NORM2, FEED_IN, FEED_OUT, PER_BLOCK };
enum { HEAD_QUERY, HEAD_NORM, HEAD_WEIGHT, HEAD_BIAS };
enum { DECODER_QUERY, DECODER_KEY, DECODER_VALUE, DECODER_TIME, DECODER_OUTPUT, DECODER_BIAS };

static void fill_tables(struct nx_nano *nano) {
  const struct nx_model_shape *s = &nano->shape;
  size_t half = s->width / s->heads / 2;
  double ratio = log(LONGEST_PERIOD / SHORTEST_PERIOD);
  for (size_t t = 0; t < (size_t)s->patches * s->queries; t++)
    for (size_t i = 0; i < half; i++) {
      double period = SHORTEST_PERIOD * exp(half > 1 ? ratio * (double)i / (double)(half - 1) : 0);
      double seconds = (double)(t / s->queries) * s->patch_seconds;
      nano->cosines[t * half + i] = (nx_real)cos(2 * M_PI * seconds / period);
      nano->sines[t * half + i] = (nx_real)sin(2 * M_PI * seconds / period);
    }
  for (size_t p = 0; p < s->patches; p++)
    for (size_t i = 0; i < TIME_FREQUENCIES; i++) {
      double angle = (double)p / s->patches * M_PI * (double)(i + 1);
      nano->patch_times[p * 2 * TIME_FREQUENCIES + i] = (nx_real)sin(angle);
      nano->patch_times[p * 2 * TIME_FREQUENCIES + TIME_FREQUENCIES + i] = (nx_real)cos(angle);
    }
  for (size_t i = 0; i < PLACE_FREQUENCIES; i++)
    nano->place_frequencies[i] = M_PI / 2 * exp2(4.0 * (double)i / (PLACE_FREQUENCIES - 1));
}

int nx_nano_create(const struct nx_model_shape *shape, const struct nx_model_tensor *tensors,
                   size_t n_tensors, struct nx_nano **nano_out, struct nx_error *err) {
  _cleanup_(nx_nano_destroyp) struct nx_nano *nano = calloc(1, sizeof *nano);
  size_t table = (size_t)shape->patches * shape->queries * (shape->width / shape->heads / 2);
  if (!nano)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  nano->shape = *shape;
  nano->tensors = tensors;
  nano->n_tensors = n_tensors;
  nano->cosines = calloc(table, sizeof *nano->cosines);
  nano->sines = calloc(table, sizeof *nano->sines);
  nano->patch_times = calloc((size_t)shape->patches * 2 * TIME_FREQUENCIES, sizeof(nx_real));
  nano->bound = calloc(n_tensors, sizeof(struct nx_tensor *));
  if (!nano->cosines || !nano->sines || !nano->patch_times || !nano->bound)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  fill_tables(nano);
  *nano_out = nx_steal(&nano);
  return 0;
}

void nx_nano_destroy(struct nx_nano *nano) {
  if (!nano)
    return;
  free(nano->cosines);
  free(nano->sines);
  free(nano->patch_times);
  free(nano->bound);
  free(nano);
}

static void bind(struct nx_nano *nano, struct nx_tape *tape, const struct nx_nano_pass *pass) {
  for (size_t i = 0; i < nano->n_tensors; i++)
    nano->bound[i] = nx_weights_bind(&pass->weights, tape, nano->tensors, i, 1);
}

static size_t windows_of(const struct nx_nano_pass *pass) {
  return pass->input->n_windows;
}

/* Where a channel is and what it is like: place(position) + W_stats stats, [B * C, d]. */
static struct nx_tensor *channel_code(struct nx_nano *nano, struct nx_tape *tape,
                                      const struct nx_nano_pass *pass) {
  struct nx_tensor **w = nano->bound;
  const struct nx_network_input *in = pass->input;
  uint32_t bins = nano->shape.bins;
  struct nx_tensor *place = nx_op_fourier(tape, in->n_channels, 3, in->positions, PLACE_FREQUENCIES,
                                          nano->place_frequencies);
  place = nx_op_silu(tape, nx_op_linear(tape, place, w[HIDDEN], w[HIDDEN_BIAS]));
  place = nx_op_linear(tape, place, w[PLACE], w[PLACE_BIAS]);
  struct nx_tensor *stats =
      nx_op_standardise(tape, in->n_windows * in->n_channels, 0, in->stats, nano->shape.stats,
                        in->stats, pass->feature_mean + bins, pass->feature_sd + bins);
  return nx_op_add_rows(tape, nx_op_linear(tape, stats, w[STATS], NULL), place, 1);
}

/* Queries over the channels of every patch: [B * S * Q, d]. */
static struct nx_tensor *unifier(struct nx_nano *nano, struct nx_tape *tape,
                                 const struct nx_nano_pass *pass, struct nx_tensor *tokens) {
  struct nx_tensor **w = nano->bound;
  const struct nx_model_shape *s = &nano->shape;
  struct nx_tensor *h = nx_op_rms_norm(tape, tokens, NULL);
  struct nx_tensor *queries = nx_op_linear(tape, w[QUERIES], w[UNIFIER_QUERY], NULL);
  struct nx_tensor *folded = nx_op_fold(tape, queries, w[UNIFIER_KEY], s->heads);
  struct nx_tensor *z = nx_op_unify(tape, h, folded, pass->visible, windows_of(pass),
                                    pass->input->n_channels, s->patches, s->heads);
  z = nx_op_values(tape, z, w[UNIFIER_VALUE], s->heads);
  z = nx_op_linear(tape, z, w[UNIFIER_OUTPUT], NULL);
  return nx_op_add_rows(tape, z, w[QUERIES], 1);
}

/* One block, as a part of the pass. */
struct block {
  const struct nx_nano *nano;
  struct nx_tensor **w;
  size_t batch;
};

static struct nx_tensor *block(struct nx_tape *tape, const void *context, struct nx_tensor *z) {
  const struct block *of = context;
  const struct nx_nano *nano = of->nano;
  struct nx_tensor **w = of->w;
  const struct nx_model_shape *s = &nano->shape;
  size_t positions = (size_t)s->patches * s->queries;
  struct nx_tensor *a = nx_op_linear(tape, nx_op_rms_norm(tape, z, w[NORM1]), w[QKV], NULL);
  a = nx_op_rope(tape, a, 2 * s->heads, s->width / s->heads, positions, nano->cosines, nano->sines);
  a = nx_op_self_attention(tape, a, of->batch, s->heads, NULL);
  z = nx_op_residual(tape, z, nx_op_linear(tape, a, w[OUTPUT], NULL), s->dropout);
  struct nx_tensor *f = nx_op_linear(tape, nx_op_rms_norm(tape, z, w[NORM2]), w[FEED_IN], NULL);
  f = nx_op_linear(tape, nx_op_swiglu(tape, f), w[FEED_OUT], NULL);
  return nx_op_residual(tape, z, f, s->dropout);
}

/* Everything up to the last block. *x_out: inputs [B * C * S, n + F]; *code_out: channel codes. */
static struct nx_tensor *encode(struct nx_nano *nano, struct nx_tape *tape,
                                const struct nx_nano_pass *pass, struct nx_tensor **x_out,
                                struct nx_tensor **code_out) {
  const struct nx_network_input *in = pass->input;
  const struct nx_model_shape *s = &nano->shape;
  bind(nano, tape, pass);
  struct nx_tensor **w = nano->bound;
  *x_out =
      nx_op_standardise(tape, in->n_windows * in->n_channels * s->patches, s->patch_samples,
                        in->patches, s->bins, in->spectra, pass->feature_mean, pass->feature_sd);
  *code_out = channel_code(nano, tape, pass);
  struct nx_tensor *tokens = nx_op_linear(tape, *x_out, w[TOKENS], w[TOKENS_BIAS]);
  tokens = nx_op_add_rows(tape, tokens, *code_out, s->patches);
  struct nx_tensor *z = unifier(nano, tape, pass, tokens);
  for (uint32_t i = 0; i < s->blocks; i++) {
    const struct block of = {nano, w + FIRST_BLOCK + i * PER_BLOCK, in->n_windows};
    z = pass->again ? nx_tape_again(tape, block, &of, sizeof of, z) : block(tape, &of, z);
  }
  return z;
}

struct nx_tensor *nx_nano_classify(struct nx_nano *nano, struct nx_tape *tape,
                                   const struct nx_nano_pass *pass) {
  const struct nx_model_shape *s = &nano->shape;
  struct nx_tensor **head = nano->bound + FIRST_BLOCK + s->blocks * PER_BLOCK, *x, *code;
  struct nx_tensor *z = nx_op_rms_norm(tape, encode(nano, tape, pass, &x, &code), NULL);
  struct nx_tensor *p = nx_op_pool(tape, z, head[HEAD_QUERY], (size_t)s->patches * s->queries);
  p = nx_op_dropout(tape, nx_op_rms_norm(tape, p, head[HEAD_NORM]), s->dropout);
  return nx_op_linear(tape, p, head[HEAD_WEIGHT], head[HEAD_BIAS]);
}

struct nx_tensor *nx_nano_embed(struct nx_nano *nano, struct nx_tape *tape,
                                const struct nx_nano_pass *pass) {
  const struct nx_model_shape *s = &nano->shape;
  struct nx_tensor *x, *code;
  struct nx_tensor *z = nx_op_rms_norm(tape, encode(nano, tape, pass, &x, &code), NULL);
  /* a pool that looks at nothing weighs all alike */
  return nx_op_pool(tape, z, nx_op_zeros(tape, 1, s->width), (size_t)s->patches * s->queries);
}

struct nx_tensor *nx_nano_reconstruct(struct nx_nano *nano, struct nx_tape *tape,
                                      const struct nx_nano_pass *pass, nx_real scale) {
  const struct nx_model_shape *s = &nano->shape;
  size_t batch = windows_of(pass), tokens = batch * pass->input->n_channels * s->patches;
  struct nx_tensor **w = nano->bound + FIRST_BLOCK + s->blocks * PER_BLOCK, *x, *code;
  struct nx_tensor *z = nx_op_rms_norm(tape, encode(nano, tape, pass, &x, &code), NULL);
  struct nx_tensor *times =
      nx_tape_constant(tape, nano->patch_times, s->patches, 2 * TIME_FREQUENCIES);
  times = nx_op_linear(tape, times, w[DECODER_TIME], NULL);
  struct nx_tensor *asked = nx_op_zeros(tape, tokens, s->width);
  asked = nx_op_add_rows(tape, asked, code, s->patches);
  asked = nx_op_add_rows(tape, asked, times, 1);
  struct nx_tensor *q =
      nx_op_linear(tape, nx_op_rms_norm(tape, asked, NULL), w[DECODER_QUERY], NULL);
  struct nx_tensor *k = nx_op_linear(tape, z, w[DECODER_KEY], NULL);
  struct nx_tensor *v = nx_op_linear(tape, z, w[DECODER_VALUE], NULL);
  struct nx_tensor *o = nx_op_cross_attention(tape, q, k, v, batch, s->heads, NULL);
  o = nx_op_linear(tape, o, w[DECODER_OUTPUT], w[DECODER_BIAS]);
  return nx_op_square_error(tape, o, x, pass->visible, scale);
}
