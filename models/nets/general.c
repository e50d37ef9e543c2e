#include "models/nets/general.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "models/ops/ops.h"

#define PLACE_FREQUENCIES 16
#define TIME_FREQUENCIES 16
#define SHORTEST_PERIOD 0.02 /* seconds, of the rotary positions and of questions */
#define LONGEST_PERIOD 300.0
#define MEAN_COUNT_STAT 1 /* log of a channel's mean, node/dataset/signal.h */

/* What depends on how long a patch is. */
struct tables {
  nx_real *cosines, *sines;             /* [S * Q, head width / 2]: of latent rows */
  nx_real *patch_cosines, *patch_sines; /* [S, head width / 2]: of questions */
  nx_real *times;                       /* [S, 2 * TIME_FREQUENCIES] */
  nx_real *weighting;                   /* M [n, n], quadratic losses only */
};

struct nx_general {
  struct nx_model_shape shape;
  const struct nx_model_tensor *tensors;
  size_t n_tensors;
  struct tables tables[NX_TOKENISERS];
  double place_frequencies[PLACE_FREQUENCIES];
  uint32_t *causal; /* [S * Q]: keys of each latent row when patches may not look ahead */
};

/* ---- Tables ---- */

static double period_of(size_t i, size_t n) {
  double ratio = log(LONGEST_PERIOD / SHORTEST_PERIOD);
  return SHORTEST_PERIOD * exp(n > 1 ? ratio * (double)i / (double)(n - 1) : 0);
}

/* `each` rows for every patch. */
static void fill_rotary(const struct nx_model_shape *s, double patch_seconds, size_t each,
                        nx_real *cosines, nx_real *sines) {
  size_t half = s->width / s->heads / 2;
  for (size_t r = 0; r < s->patches * each; r++)
    for (size_t i = 0; i < half; i++) {
      double angle = 2 * M_PI * (double)(r / each) * patch_seconds / period_of(i, half);
      cosines[r * half + i] = (nx_real)cos(angle);
      sines[r * half + i] = (nx_real)sin(angle);
    }
}

static void fill_times(const struct nx_model_shape *s, double patch_seconds, struct tables *t) {
  fill_rotary(s, patch_seconds, s->queries, t->cosines, t->sines);
  fill_rotary(s, patch_seconds, 1, t->patch_cosines, t->patch_sines);
  for (size_t p = 0; p < s->patches; p++)
    for (size_t i = 0; i < TIME_FREQUENCIES; i++) {
      double angle = 2 * M_PI * (double)p * patch_seconds / period_of(i, TIME_FREQUENCIES);
      t->times[p * 2 * TIME_FREQUENCIES + i] = (nx_real)sin(angle);
      t->times[p * 2 * TIME_FREQUENCIES + TIME_FREQUENCIES + i] = (nx_real)cos(angle);
    }
}

/* M is a function of i - j: I + lambda sum over f of D_f times the projector onto frequency f. */
static void fill_weighting(const struct nx_model_tokeniser *k, nx_real *m) {
  size_t n = k->patch_samples, half = n / 2;
  double mean = 0;
  for (size_t f = 1; f <= half; f++)
    mean += pow((double)f, k->frequency_power) / (double)half;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++) {
      double sum = i == j;
      for (size_t f = 1; f <= half; f++) {
        double d = pow((double)f, k->frequency_power) / mean, share = f == half ? 1 : 2;
        double angle = 2 * M_PI * (double)f * ((double)i - (double)j) / (double)n;
        sum += k->frequency_weight * d * share / (double)n * cos(angle);
      }
      m[i * n + j] = (nx_real)sum;
    }
}

static int make_tables(struct nx_general *g, size_t index, struct nx_error *err) {
  const struct nx_model_shape *s = &g->shape;
  const struct nx_model_tokeniser *k = &s->tokenisers[index];
  struct tables *t = &g->tables[index];
  size_t n = k->patch_samples;
  size_t rotary = (size_t)s->patches * (s->width / s->heads / 2);
  t->cosines = calloc(rotary * s->queries, sizeof(nx_real));
  t->sines = calloc(rotary * s->queries, sizeof(nx_real));
  t->patch_cosines = calloc(rotary, sizeof(nx_real));
  t->patch_sines = calloc(rotary, sizeof(nx_real));
  t->times = calloc((size_t)s->patches * 2 * TIME_FREQUENCIES, sizeof(nx_real));
  t->weighting = calloc(n * n, sizeof(nx_real));
  if (!t->cosines || !t->sines || !t->patch_cosines || !t->patch_sines || !t->times ||
      !t->weighting)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  fill_times(s, k->patch_seconds, t);
  if (k->loss == NX_TOKEN_LOSS_QUADRATIC)
    fill_weighting(k, t->weighting);
  return 0;
}

int nx_general_create(const struct nx_model_shape *shape, const struct nx_model_tensor *tensors,
                      size_t n_tensors, struct nx_general **general_out, struct nx_error *err) {
  _cleanup_(nx_general_destroyp) struct nx_general *g = calloc(1, sizeof *g);
  size_t rows = (size_t)shape->patches * shape->queries;
  int r = 0;
  if (!g)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  g->shape = *shape;
  g->tensors = tensors;
  g->n_tensors = n_tensors;
  g->causal = calloc(rows, sizeof *g->causal);
  if (!g->causal)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network");
  for (size_t i = 0; i < rows; i++)
    g->causal[i] = (uint32_t)(i / shape->queries + 1) * shape->queries;
  for (size_t i = 0; i < PLACE_FREQUENCIES; i++)
    g->place_frequencies[i] = M_PI / 2 * exp2(4.0 * (double)i / (PLACE_FREQUENCIES - 1));
  for (size_t i = 0; !r && i < shape->n_tokenisers; i++)
    r = make_tables(g, i, err);
  if (r < 0)
    return r;
  *general_out = nx_steal(&g);
  return 0;
}

void nx_general_destroy(struct nx_general *general) {
  if (!general)
    return;
  for (size_t i = 0; i < NX_TOKENISERS; i++) {
    free(general->tables[i].cosines);
    free(general->tables[i].sines);
    free(general->tables[i].patch_cosines);
    free(general->tables[i].patch_sines);
    free(general->tables[i].times);
    free(general->tables[i].weighting);
  }
  free(general->causal);
  free(general);
}

/* ---- One pass ---- */

struct pass {
  struct nx_general *g;
  struct nx_tape *tape;
  const struct nx_general_pass *from;
  const struct nx_model_tokeniser *tokeniser;
  const struct tables *tables;
  struct nx_tensor *x, *code;
};

static struct pass begin(struct nx_general *g, struct nx_tape *tape,
                         const struct nx_general_pass *from) {
  return (struct pass){.g = g,
                       .tape = tape,
                       .from = from,
                       .tokeniser = &g->shape.tokenisers[from->input->tokeniser],
                       .tables = &g->tables[from->input->tokeniser]};
}

static bool causal(const struct nx_general *g) {
  return g->shape.objective == NX_OBJECTIVE_NEXT_PATCH;
}

/* `together` tensors from the one so named on, which lie together, as one matrix. */
static struct nx_tensor *stacked(const struct pass *p, size_t together, const char *format,
                                 va_list words) {
  char name[NX_MODEL_TENSOR_NAME];
  vsnprintf(name, sizeof name, format, words);
  size_t i = 0;
  while (i < p->g->n_tensors && strcmp(p->g->tensors[i].name, name))
    i++;
  assert(i + together <= p->g->n_tensors);
  return nx_weights_bind(&p->from->weights, p->tape, p->g->tensors, i, together);
}

static struct nx_tensor *named(const struct pass *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static struct nx_tensor *named(const struct pass *p, const char *format, ...) {
  va_list words;
  va_start(words, format);
  struct nx_tensor *t = stacked(p, 1, format, words);
  va_end(words);
  return t;
}

static struct nx_tensor *several(const struct pass *p, size_t together, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static struct nx_tensor *several(const struct pass *p, size_t together, const char *format, ...) {
  va_list words;
  va_start(words, format);
  struct nx_tensor *t = stacked(p, together, format, words);
  va_end(words);
  return t;
}

static struct nx_tensor *norm(const struct pass *p, struct nx_tensor *x, const char *part,
                              const char *which) {
  return nx_op_rms_norm(p->tape, x, named(p, "%s.%s", part, which));
}

/* Where a channel is and what it is like, [C, d]. */
static struct nx_tensor *channel_code(const struct pass *p) {
  const struct nx_general_input *in = p->from->input;
  struct nx_tape *tape = p->tape;
  struct nx_tensor *code = nx_op_fourier(tape, in->n_channels, 3, in->positions, PLACE_FREQUENCIES,
                                         p->g->place_frequencies);
  code = nx_op_linear(tape, code, named(p, "place.hidden.weight"), named(p, "place.hidden.bias"));
  code = nx_op_linear(tape, nx_op_silu(tape, code), named(p, "place.output.weight"),
                      named(p, "place.output.bias"));
  code = nx_op_choose(tape, code, named(p, "place.unknown"), in->placed);
  struct nx_tensor *stats =
      nx_op_standardise(tape, in->n_channels, NX_MODEL_STATS, in->stats, 0, in->stats, NULL, NULL);
  stats = nx_op_linear(tape, stats, named(p, "stats.weight"), NULL);
  code = nx_op_add_rows(tape, code, stats, 1);
  code = nx_op_add_rows(tape, code, named(p, "modality.%s", nx_modality_name(in->modality)), 1);
  code = nx_op_add_rows(tape, code, named(p, "species.%s", nx_species_name(in->species)), 1);
  return nx_op_add_rows(tape, code,
                        named(p, "reference.%s", nx_signal_reference_name(in->reference)), 1);
}

static struct nx_tensor *swiglu(const struct pass *p, struct nx_tensor *h, const char *part) {
  h = nx_op_linear(p->tape, h, several(p, 2, "%s.gate.weight", part), NULL);
  return nx_op_linear(p->tape, nx_op_swiglu(p->tape, h), named(p, "%s.output.weight", part), NULL);
}

/* Rows of h whose gate is largest at `expert`. */
static uint32_t *rows_of_expert(const struct pass *p, const struct nx_tensor *gates, size_t expert,
                                size_t *n_out) {
  uint32_t *rows = nx_tape_memory(p->tape, gates->rows, sizeof *rows, "experts");
  *n_out = 0;
  for (size_t r = 0; rows && r < gates->rows; r++) {
    const nx_real *g = gates->value + r * gates->columns;
    size_t best = 0;
    for (size_t e = 1; e < gates->columns; e++)
      best = g[e] > g[best] ? e : best;
    if (best == expert)
      rows[(*n_out)++] = (uint32_t)r;
  }
  return rows;
}

/* What a row's loss grows by with each gate: a E (F_e + f_e) / 2 over the batch's rows, f this
 * pass's own share of rows. */
static nx_real *pull_of(const struct pass *p, const struct nx_tensor *gates, const char *block) {
  size_t n = p->g->shape.experts;
  const struct nx_tensor *load = named(p, "%s.experts.load", block);
  nx_real *pull = nx_tape_memory(p->tape, n, sizeof *pull, "balance");
  for (size_t e = 0; load && pull && gates && e < n; e++) {
    size_t rows;
    if (!rows_of_expert(p, gates, e, &rows))
      return NULL;
    nx_real share = (nx_real)rows / (nx_real)gates->rows;
    pull[e] = p->from->balance * (nx_real)n * (load->value[e] + share) / 2;
  }
  return pull;
}

/* f + the expert of each row of h, weighted by its gate. */
static struct nx_tensor *experts(const struct pass *p, struct nx_tensor *f, struct nx_tensor *h,
                                 const char *block, uint32_t index) {
  const char *modality = nx_modality_name(p->from->input->modality);
  struct nx_tensor *gates = nx_op_linear(p->tape, h, named(p, "%s.experts.gate.weight", block),
                                         named(p, "%s.experts.bias.%s", block, modality));
  gates = nx_op_softmax(p->tape, gates);
  if (p->from->balance > 0)
    gates = nx_op_balance(p->tape, gates, pull_of(p, gates, block));
  uint64_t *loads = p->from->loads ? p->from->loads + index / 2 * p->g->shape.experts : NULL;
  for (uint32_t e = 0; gates && e < p->g->shape.experts; e++) {
    char part[NX_MODEL_TENSOR_NAME];
    size_t n;
    uint32_t *rows = rows_of_expert(p, gates, e, &n);
    if (loads)
      loads[e] += n;
    if (!rows || !n)
      continue;
    snprintf(part, sizeof part, "%.32s.expert.%u", block, e);
    struct nx_tensor *y = swiglu(p, nx_op_gather(p->tape, h, rows, n), part);
    f = nx_op_mixture(p->tape, f, y, rows, gates, e);
  }
  return f;
}

/* z + SwiGLU(norm(z)), without experts (NULL) or with those of that block. */
static struct nx_tensor *feed_forward(const struct pass *p, struct nx_tensor *z, const char *part,
                                      const uint32_t *with_experts) {
  char name[NX_MODEL_TENSOR_NAME];
  snprintf(name, sizeof name, "%.32s.feed_forward", part);
  struct nx_tensor *h = norm(p, z, name, "norm"), *f = swiglu(p, h, name);
  if (with_experts)
    f = experts(p, f, h, part, *with_experts);
  return nx_op_residual(p->tape, z, f, p->g->shape.dropout);
}

/* Queries over the channels of every patch: [B * S * Q, d]. */
static struct nx_tensor *unifier(const struct pass *p, struct nx_tensor *tokens) {
  const struct nx_model_shape *s = &p->g->shape;
  const struct nx_general_input *in = p->from->input;
  const uint8_t *visible = causal(p->g) ? NULL : p->from->visible;
  struct nx_tape *tape = p->tape;
  struct nx_tensor *h = norm(p, tokens, "unifier", "attention.norm");
  struct nx_tensor *learnt = named(p, "unifier.queries");
  struct nx_tensor *queries =
      nx_op_linear(tape, learnt, named(p, "unifier.attention.query.weight"), NULL);
  struct nx_tensor *folded =
      nx_op_fold(tape, queries, named(p, "unifier.attention.key.weight"), s->heads);
  struct nx_tensor *z =
      nx_op_unify(tape, h, folded, visible, in->n_windows, in->n_channels, s->patches, s->heads);
  z = nx_op_values(tape, z, named(p, "unifier.attention.value.weight"), s->heads);
  z = nx_op_linear(tape, z, named(p, "unifier.attention.output.weight"), NULL);
  z = nx_op_add_rows(tape, z, learnt, 1);
  return feed_forward(p, z, "unifier", NULL);
}

/* One block, as a part of the pass. */
struct block {
  struct pass pass;
  uint32_t index;
};

static struct nx_tensor *block(struct nx_tape *tape, const void *context, struct nx_tensor *z) {
  const struct pass *p = &((const struct block *)context)->pass;
  uint32_t index = ((const struct block *)context)->index;
  const struct nx_model_shape *s = &p->g->shape;
  size_t positions = (size_t)s->patches * s->queries;
  char part[24];
  snprintf(part, sizeof part, "block.%u", index);
  struct nx_tensor *a = norm(p, z, part, "attention.norm");
  a = nx_op_linear(tape, a, several(p, 3, "%s.attention.query.weight", part), NULL);
  a = nx_op_rope(tape, a, 2 * s->heads, s->width / s->heads, positions, p->tables->cosines,
                 p->tables->sines);
  a = nx_op_self_attention(tape, a, p->from->input->n_windows, s->heads,
                           causal(p->g) ? p->g->causal : NULL);
  a = nx_op_linear(tape, a, named(p, "%s.attention.output.weight", part), NULL);
  z = nx_op_residual(tape, z, a, s->dropout);
  return feed_forward(p, z, part, s->experts && index % 2 ? &index : NULL);
}

/* Everything up to the last block; fills p->x and p->code. */
static struct nx_tensor *encode(struct pass *p) {
  const struct nx_general_input *in = p->from->input;
  const char *tokeniser = nx_tokeniser_name(p->tokeniser->kind);
  size_t rows = in->n_windows * in->n_channels * p->g->shape.patches;
  p->x = nx_op_standardise(p->tape, rows, p->tokeniser->inputs, in->x, 0, in->x, NULL, NULL);
  p->code = channel_code(p);
  struct nx_tensor *z = nx_op_linear(p->tape, p->x, named(p, "tokens.%s.weight", tokeniser),
                                     named(p, "tokens.%s.bias", tokeniser));
  z = unifier(p, nx_op_add_rows(p->tape, z, p->code, p->g->shape.patches));
  for (uint32_t i = 0; i < p->g->shape.blocks; i++) {
    const struct block of = {*p, i};
    z = p->from->again ? nx_tape_again(p->tape, block, &of, sizeof of, z) : block(p->tape, &of, z);
  }
  return z;
}

/* A head over every `together` rows of the latent. */
static struct nx_tensor *head(struct pass *p, size_t together) {
  struct nx_tape *tape = p->tape;
  struct nx_tensor *z = nx_op_rms_norm(tape, encode(p), NULL);
  z = nx_op_pool(tape, z, named(p, "head.query"), together);
  z = nx_op_dropout(tape, norm(p, z, "head", "norm"), p->g->shape.dropout);
  return nx_op_linear(tape, z, named(p, "head.weight"), named(p, "head.bias"));
}

struct nx_tensor *nx_general_classify(struct nx_general *general, struct nx_tape *tape,
                                      const struct nx_general_pass *pass) {
  struct pass p = begin(general, tape, pass);
  return head(&p, (size_t)general->shape.patches * general->shape.queries);
}

struct nx_tensor *nx_general_regress(struct nx_general *general, struct nx_tape *tape,
                                     const struct nx_general_pass *pass) {
  struct pass p = begin(general, tape, pass);
  return head(&p, general->shape.queries);
}

/* The mean over a window's rows of the latent, normalised. */
static struct nx_tensor *mean_of(const struct pass *p, struct nx_tensor *latent) {
  const struct nx_model_shape *s = &p->g->shape;
  struct nx_tensor *z = nx_op_rms_norm(p->tape, latent, NULL);
  /* a pool that looks at nothing weighs all alike */
  return nx_op_pool(p->tape, z, nx_op_zeros(p->tape, 1, s->width), (size_t)s->patches * s->queries);
}

struct nx_tensor *nx_general_embed(struct nx_general *general, struct nx_tape *tape,
                                   const struct nx_general_pass *pass) {
  struct pass p = begin(general, tape, pass);
  return mean_of(&p, encode(&p));
}

/* ---- Prototypes ---- */

static struct nx_tensor *direction(const struct pass *p, struct nx_tensor *latent) {
  struct nx_tensor *u =
      nx_op_linear(p->tape, mean_of(p, latent), named(p, "prototypes.weight"), NULL);
  return nx_op_unit_norm(p->tape, u);
}

struct nx_tensor *nx_general_direction(struct nx_general *general, struct nx_tape *tape,
                                       const struct nx_general_pass *pass) {
  struct pass p = begin(general, tape, pass);
  return direction(&p, encode(&p));
}

/* Rows of mu that are known, over the temperature: a constant. places[class]: its row, or
 * UINT32_MAX. */
static struct nx_tensor *known_prototypes(const struct pass *p, uint32_t *places) {
  const struct nx_model_shape *s = &p->g->shape;
  const struct nx_tensor *mu = named(p, "prototypes.mean");
  struct nx_tensor *known = nx_op_zeros(p->tape, s->n_classes, NX_PROTOTYPE_WIDTH);
  size_t n = 0;
  if (!mu || !known)
    return NULL;
  for (uint32_t c = 0; c < s->n_classes; c++) {
    const nx_real *from = mu->value + c * NX_PROTOTYPE_WIDTH;
    bool is_known = false;
    for (size_t i = 0; i < NX_PROTOTYPE_WIDTH; i++) {
      known->value[n * NX_PROTOTYPE_WIDTH + i] = from[i] / (nx_real)s->temperature;
      is_known |= from[i] != 0;
    }
    places[c] = is_known ? (uint32_t)n++ : UINT32_MAX;
  }
  known->rows = n;
  return known;
}

struct nx_tensor *nx_general_contrast(struct nx_general *general, struct nx_tape *tape,
                                      const struct nx_general_pass *pass, struct nx_tensor *latent,
                                      nx_real scale) {
  struct pass p = begin(general, tape, pass);
  size_t B = pass->input->n_windows, n = 0;
  uint32_t places[NX_PROTOTYPES];
  struct nx_tensor *mu = known_prototypes(&p, places);
  uint32_t *rows = nx_tape_memory(tape, B, sizeof *rows, "contrast");
  uint32_t *labels = nx_tape_memory(tape, B, sizeof *labels, "contrast");
  if (!mu || !rows || !labels)
    return NULL;
  for (size_t w = 0; pass->input->classes && w < B; w++) {
    uint8_t class = pass->input->classes[w];
    if (class == NX_PROTOTYPE_NO_CLASS || places[class] == UINT32_MAX)
      continue;
    rows[n] = (uint32_t)w;
    labels[n++] = places[class];
  }
  if (!n)
    return NULL;
  struct nx_tensor *u = nx_op_gather(tape, direction(&p, latent), rows, n);
  struct nx_tensor *loss = nx_op_class_entropy(tape, nx_op_linear(tape, u, mu, NULL), labels);
  struct nx_tensor *factor = nx_op_zeros(tape, 1, 1);
  if (!factor)
    return NULL;
  *factor->value = scale * (nx_real)n; /* the op has the mean */
  return nx_op_linear(tape, loss, factor, NULL);
}

/* ---- Decoder ---- */

static void ask_hidden(const struct pass *p, size_t window, struct nx_general_decoded *d,
                       uint32_t *tokens, uint8_t *padding) {
  size_t n = p->from->input->n_channels * p->g->shape.patches, i = 0;
  const uint8_t *visible = p->from->visible + window * n;
  for (size_t t = 0; t < n; t++)
    if (!visible[t])
      tokens[i++] = (uint32_t)t;
  d->n_wanted += i;
  for (; i < d->n_questions; i++)
    padding[i] = 1; /* token 0 is asked once more, for nothing */
}

static void ask_next(const struct pass *p, struct nx_general_decoded *d, uint32_t *tokens) {
  size_t n = p->from->input->n_channels * p->g->shape.patches, i = 0;
  for (size_t t = 0; t < n; t++)
    if (t % p->g->shape.patches)
      tokens[i++] = (uint32_t)t;
  d->n_wanted += i;
}

static size_t most_hidden(const struct pass *p) {
  size_t n = p->from->input->n_channels * p->g->shape.patches, most = 0;
  for (size_t w = 0; w < p->from->input->n_windows; w++) {
    size_t hidden = 0;
    for (size_t t = 0; t < n; t++)
      hidden += !p->from->visible[w * n + t];
    most = NX_MAX(most, hidden);
  }
  return most;
}

static bool ask(const struct pass *p, struct nx_general_decoded *d) {
  size_t S = p->g->shape.patches, B = p->from->input->n_windows;
  if (!causal(p->g) && !p->from->visible)
    return false;
  d->n_questions = causal(p->g) ? p->from->input->n_channels * (S - 1) : most_hidden(p);
  d->n_wanted = 0;
  uint32_t *tokens = nx_tape_memory(p->tape, B * d->n_questions, sizeof *tokens, "questions");
  uint8_t *padding = nx_tape_memory(p->tape, B * d->n_questions, 1, "questions");
  if (!tokens || !padding || !d->n_questions)
    return false;
  memset(tokens, 0, B * d->n_questions * sizeof *tokens);
  memset(padding, 0, B * d->n_questions);
  for (size_t w = 0; w < B; w++)
    if (causal(p->g))
      ask_next(p, d, tokens + w * d->n_questions);
    else
      ask_hidden(p, w, d, tokens + w * d->n_questions, padding + w * d->n_questions);
  d->tokens = tokens;
  d->padding = padding;
  return true;
}

/* Every (channel, patch) as a question, [C * S, d]. */
static struct nx_tensor *questions(const struct pass *p) {
  const struct nx_model_shape *s = &p->g->shape;
  struct nx_tape *tape = p->tape;
  struct nx_tensor *times =
      nx_tape_constant(tape, p->tables->times, s->patches, 2 * TIME_FREQUENCIES);
  times = nx_op_linear(tape, times, named(p, "decoder.time.weight"), NULL);
  times = nx_op_linear(tape, times, named(p, "decoder.ask.time.weight"), NULL);
  struct nx_tensor *code = nx_op_linear(tape, p->code, named(p, "decoder.ask.code.weight"),
                                        named(p, "decoder.ask.code.bias"));
  struct nx_tensor *q = nx_op_zeros(tape, p->from->input->n_channels * s->patches, s->width);
  q = nx_op_add_rows(tape, nx_op_add_rows(tape, q, code, s->patches), times, 1);
  return nx_op_linear(tape, nx_op_silu(tape, q), named(p, "decoder.ask.output.weight"), NULL);
}

/* How many latent rows a question may see: those of the patches before the one it asks for. */
static const uint32_t *limits_of(const struct pass *p, const struct nx_general_decoded *d) {
  if (!causal(p->g))
    return NULL;
  uint32_t *limits = nx_tape_memory(p->tape, d->n_questions, sizeof *limits, "questions");
  for (size_t i = 0; limits && i < d->n_questions; i++)
    limits[i] = d->tokens[i] % p->g->shape.patches * p->g->shape.queries;
  return limits;
}

/* The samples that are asked for, and for counts each channel's log mean beside them. */
static void put_targets(const struct pass *p, struct nx_general_decoded *d, nx_real *means) {
  const struct nx_general_input *in = p->from->input;
  size_t S = p->g->shape.patches, n = p->tokeniser->patch_samples, n_in = p->tokeniser->inputs;
  for (size_t i = 0; i < d->target->rows; i++) {
    size_t window = i / d->n_questions, token = window * in->n_channels * S + d->tokens[i];
    for (size_t j = 0; j < n; j++) {
      d->target->value[i * n + j] = (nx_real)in->x[token * n_in + j];
      if (means)
        means[i * n + j] = (nx_real)in->stats[d->tokens[i] / S * NX_MODEL_STATS + MEAN_COUNT_STAT];
    }
  }
}

static struct nx_tensor *answers(const struct pass *p, struct nx_tensor *a) {
  const char *tokeniser = nx_tokeniser_name(p->tokeniser->kind);
  a = norm(p, a, "samples", "norm");
  return nx_op_linear(p->tape, a, named(p, "samples.%s.weight", tokeniser),
                      named(p, "samples.%s.bias", tokeniser));
}

bool nx_general_decode(struct nx_general *general, struct nx_tape *tape,
                       const struct nx_general_pass *pass, struct nx_general_decoded *out) {
  struct pass p = begin(general, tape, pass);
  size_t batch = pass->input->n_windows, heads = general->shape.heads;
  bool counts = p.tokeniser->loss == NX_TOKEN_LOSS_POISSON;
  if (!ask(&p, out))
    return nx_tape_fail(tape, NX_E_INVALID, "questions");
  out->latent = encode(&p);
  struct nx_tensor *z = norm(&p, out->latent, "decoder", "latent.norm");
  size_t rows = batch * out->n_questions, n = p.tokeniser->patch_samples;
  size_t head_width = general->shape.width / heads, S = general->shape.patches;
  struct nx_tensor *asked = questions(&p);
  struct nx_tensor *q = nx_op_linear(tape, norm(&p, asked, "decoder", "attention.norm"),
                                     named(&p, "decoder.attention.query.weight"), NULL);
  q = nx_op_rope(tape, q, heads, head_width, S, p.tables->patch_cosines, p.tables->patch_sines);
  q = nx_op_gather(tape, q, out->tokens, rows);
  asked = nx_op_gather(tape, asked, out->tokens, rows);
  struct nx_tensor *k = nx_op_linear(tape, z, named(&p, "decoder.attention.key.weight"), NULL);
  k = nx_op_rope(tape, k, heads, head_width, S * general->shape.queries, p.tables->cosines,
                 p.tables->sines);
  struct nx_tensor *v = nx_op_linear(tape, z, named(&p, "decoder.attention.value.weight"), NULL);
  struct nx_tensor *a = nx_op_cross_attention(tape, q, k, v, batch, heads, limits_of(&p, out));
  a = nx_op_linear(tape, a, named(&p, "decoder.attention.output.weight"), NULL);
  a = feed_forward(&p, nx_op_residual(tape, asked, a, 0), "decoder", NULL);
  out->target = nx_op_zeros(tape, rows, n);
  struct nx_tensor *means = counts ? nx_op_zeros(tape, rows, n) : NULL;
  if (tape->failed)
    return false;
  put_targets(&p, out, means ? means->value : NULL);
  out->prediction = answers(&p, a);
  if (counts)
    out->prediction = nx_op_residual(tape, means, out->prediction, 0);
  return !tape->failed;
}

struct nx_tensor *nx_general_loss(struct nx_general *general, struct nx_tape *tape,
                                  const struct nx_general_pass *pass,
                                  const struct nx_general_decoded *d, nx_real scale) {
  const struct nx_model_tokeniser *k = &general->shape.tokenisers[pass->input->tokeniser];
  size_t n = k->patch_samples;
  scale /= (nx_real)n;
  if (k->loss == NX_TOKEN_LOSS_POISSON)
    return nx_op_poisson(tape, d->prediction, d->target, d->padding, scale);
  struct nx_tensor *m =
      nx_tape_constant(tape, general->tables[pass->input->tokeniser].weighting, n, n);
  return nx_op_quadratic(tape, d->prediction, d->target, m, d->padding, scale);
}
