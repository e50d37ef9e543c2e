#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "models/nets/general.h"

#define PLACE_FEATURES 96 /* 3 coordinates * 16 frequencies * (sin, cos) */
#define TIME_FEATURES 32  /* 16 frequencies * (sin, cos) */

static struct nx_init constant(double value) {
  return (struct nx_init){NX_INIT_CONSTANT, value};
}
static struct nx_init fan_in(uint32_t inputs) {
  return (struct nx_init){NX_INIT_UNIFORM, 1.0 / sqrt(inputs)};
}
static struct nx_init normal(double sd) {
  return (struct nx_init){NX_INIT_NORMAL, sd};
}

static void add_matrix(struct nx_layout *layout, uint32_t out, uint32_t in, const char *part,
                       const char *name) {
  nx_layout_add(layout, fan_in(in), out, in, "%s.%s.weight", part, name);
}

static void add_linear(struct nx_layout *layout, uint32_t out, uint32_t in, const char *part,
                       const char *name) {
  add_matrix(layout, out, in, part, name);
  nx_layout_add(layout, fan_in(in), out, 0, "%s.%s.bias", part, name);
}

static struct nx_init small(const struct nx_model_shape *s) {
  return normal(0.08 / sqrt(2.0 * s->blocks));
}

/* query, key, value lie together, and so do gate and up: each is read as one matrix. */
static void add_attention(struct nx_layout *layout, const struct nx_model_shape *s,
                          const char *part, struct nx_init output) {
  nx_layout_add(layout, constant(1), s->width, 0, "%s.attention.norm", part);
  add_matrix(layout, s->width, s->width, part, "attention.query");
  add_matrix(layout, s->width, s->width, part, "attention.key");
  add_matrix(layout, s->width, s->width, part, "attention.value");
  nx_layout_add(layout, output, s->width, s->width, "%s.attention.output.weight", part);
}

static void add_swiglu(struct nx_layout *layout, const struct nx_model_shape *s, uint32_t f,
                       const char *part) {
  add_matrix(layout, f, s->width, part, "gate");
  add_matrix(layout, f, s->width, part, "up");
  nx_layout_add(layout, small(s), s->width, f, "%s.output.weight", part);
}

static void add_feed_forward(struct nx_layout *layout, const struct nx_model_shape *s,
                             const char *part) {
  char name[NX_MODEL_TENSOR_NAME];
  snprintf(name, sizeof name, "%s.feed_forward", part);
  nx_layout_add(layout, constant(1), s->width, 0, "%s.norm", name);
  add_swiglu(layout, s, s->feed_forward, name);
}

static void add_code(struct nx_layout *layout, const struct nx_model_shape *s) {
  for (uint32_t i = 0; i < s->n_tokenisers; i++)
    add_linear(layout, s->width, s->tokenisers[i].inputs, "tokens",
               nx_tokeniser_name(s->tokenisers[i].kind));
  add_linear(layout, s->width, PLACE_FEATURES, "place", "hidden");
  add_linear(layout, s->width, s->width, "place", "output");
  nx_layout_add(layout, normal(0.1), s->width, 0, "place.unknown");
  nx_layout_add(layout, fan_in(NX_MODEL_STATS), s->width, NX_MODEL_STATS, "stats.weight");
  for (int i = 0; i < NX_MODALITIES; i++)
    nx_layout_add(layout, normal(0.1), s->width, 0, "modality.%s",
                  nx_modality_name((enum nx_modality)i));
  for (int i = 0; i < NX_SPECIES_COUNT; i++)
    nx_layout_add(layout, normal(0.1), s->width, 0, "species.%s",
                  nx_species_name((enum nx_species)i));
  for (int i = 0; i < NX_SIGNAL_REFERENCES; i++)
    nx_layout_add(layout, normal(0.1), s->width, 0, "reference.%s",
                  nx_signal_reference_name((enum nx_signal_reference)i));
}

static void add_experts(struct nx_layout *layout, const struct nx_model_shape *s,
                        const char *block) {
  char name[NX_MODEL_TENSOR_NAME];
  nx_layout_add(layout, fan_in(s->width), s->experts, s->width, "%s.experts.gate.weight", block);
  for (int i = 0; i < NX_MODALITIES; i++)
    nx_layout_add(layout, constant(0), s->experts, 0, "%s.experts.bias.%s", block,
                  nx_modality_name((enum nx_modality)i));
  for (uint32_t e = 0; e < s->experts; e++) {
    snprintf(name, sizeof name, "%.32s.expert.%u", block, e);
    add_swiglu(layout, s, s->feed_forward / 2, name);
  }
}

static void add_decoder(struct nx_layout *layout, const struct nx_model_shape *s) {
  nx_layout_add(layout, fan_in(TIME_FEATURES), s->width, TIME_FEATURES, "decoder.time.weight");
  add_linear(layout, s->width, s->width, "decoder", "ask.code");
  add_matrix(layout, s->width, s->width, "decoder", "ask.time");
  add_matrix(layout, s->width, s->width, "decoder", "ask.output");
  nx_layout_add(layout, constant(1), s->width, 0, "decoder.latent.norm");
  add_attention(layout, s, "decoder", fan_in(s->width));
  add_feed_forward(layout, s, "decoder");
  nx_layout_add(layout, constant(1), s->width, 0, "samples.norm");
  for (uint32_t i = 0; i < s->n_tokenisers; i++) {
    const char *name = nx_tokeniser_name(s->tokenisers[i].kind);
    uint32_t n = s->tokenisers[i].patch_samples;
    nx_layout_add(layout, normal(0.02), n, s->width, "samples.%s.weight", name);
    nx_layout_add(layout, constant(0), n, 0, "samples.%s.bias", name);
  }
}

/* From the mean of the latent to a unit vector. */
static void add_direction(struct nx_layout *layout, const struct nx_model_shape *s) {
  if (s->n_classes)
    nx_layout_add(layout, fan_in(s->width), NX_PROTOTYPE_WIDTH, s->width, "prototypes.weight");
}

/* What nx_model_standing() counts: nobody trains it. */
static void add_standing(struct nx_layout *layout, const struct nx_model_shape *s) {
  if (s->n_classes)
    nx_layout_add(layout, constant(0), s->n_classes, NX_PROTOTYPE_WIDTH, "prototypes.mean");
  for (uint32_t i = 1; s->experts && s->balance > 0 && i < s->blocks; i += 2)
    nx_layout_add(layout, constant(0), s->experts, 0, "block.%u.experts.load", i);
}

static void add_head(struct nx_layout *layout, const struct nx_model_shape *s) {
  uint32_t outputs = NX_MAX(s->n_targets, 1u);
  nx_layout_add(layout, normal(0.5), s->width, 0, "head.query");
  nx_layout_add(layout, constant(1), s->width, 0, "head.norm");
  nx_layout_add(layout, constant(0), outputs, s->width, "head.weight");
  nx_layout_add(layout, constant(0), outputs, 0, "head.bias");
}

int nx_general_layout(const struct nx_model_shape *s, struct nx_layout *layout,
                      struct nx_error *err) {
  char block[24];
  add_code(layout, s);
  nx_layout_add(layout, normal(1), s->queries, s->width, "unifier.queries");
  add_attention(layout, s, "unifier", fan_in(s->width));
  add_feed_forward(layout, s, "unifier");
  for (uint32_t i = 0; i < s->blocks; i++) {
    snprintf(block, sizeof block, "block.%u", i);
    add_attention(layout, s, block, small(s));
    add_feed_forward(layout, s, block);
    if (s->experts && i % 2)
      add_experts(layout, s, block);
  }
  if (s->objective == NX_OBJECTIVE_CLASSIFICATION || s->objective == NX_OBJECTIVE_REGRESSION)
    add_head(layout, s);
  else
    add_decoder(layout, s);
  add_direction(layout, s);
  add_standing(layout, s);
  if (layout->failed)
    return nx_fail(err, layout->failed,
                   "the model has more than %d tensors or %zu parameters: lower the plan's "
                   "model.width, blocks, feed_forward or modalities.experts",
                   NX_MODEL_TENSORS, NX_MODEL_PARAMS_CAP);
  return 0;
}

/* What follows prefix in name up to the next dot or the end is `own`, or name does not begin so. */
static bool is_own(const char *name, const char *prefix, const char *own) {
  size_t n = strlen(prefix), m = strlen(own);
  if (strncmp(name, prefix, n))
    return true;
  return !strncmp(name + n, own, m) && (name[n + m] == '.' || name[n + m] == 0);
}

static bool has_class(const struct nx_general_input *input) {
  for (size_t i = 0; input->classes && i < input->n_windows; i++)
    if (input->classes[i] != NX_PROTOTYPE_NO_CLASS)
      return true;
  return false;
}

bool nx_general_touches(const struct nx_model_shape *shape, const char *tensor,
                        const struct nx_general_input *input) {
  const char *tokeniser = nx_tokeniser_name(shape->tokenisers[input->tokeniser].kind);
  const char *modality = nx_modality_name(input->modality);
  const char *bias = strstr(tensor, ".experts.bias.");
  if (!strcmp(tensor, "samples.norm"))
    return true;
  if (!strcmp(tensor, "prototypes.mean") || strstr(tensor, ".experts.load"))
    return false;
  if (!strcmp(tensor, "prototypes.weight"))
    return has_class(input);
  return is_own(tensor, "tokens.", tokeniser) && is_own(tensor, "samples.", tokeniser) &&
         is_own(tensor, "modality.", modality) &&
         is_own(tensor, "species.", nx_species_name(input->species)) &&
         is_own(tensor, "reference.", nx_signal_reference_name(input->reference)) &&
         (!bias || is_own(bias, ".experts.bias.", modality));
}
