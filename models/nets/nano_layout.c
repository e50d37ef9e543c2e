#include <math.h>

#include "models/nets/nano.h"

#define PLACE_FEATURES 96 /* 3 coordinates * 16 frequencies * (sin, cos) */
#define TIME_FEATURES 16  /* 8 frequencies * (sin, cos) */

static struct nx_init constant(double value) {
  return (struct nx_init){NX_INIT_CONSTANT, value};
}
static struct nx_init fan_in(uint32_t inputs) {
  return (struct nx_init){NX_INIT_UNIFORM, 1.0 / sqrt(inputs)};
}
static struct nx_init normal(double sd) {
  return (struct nx_init){NX_INIT_NORMAL, sd};
}

static void add_matrix(struct nx_layout *layout, uint32_t out, uint32_t in, const char *name) {
  nx_layout_add(layout, fan_in(in), out, in, "%s.weight", name);
}

static void add_linear(struct nx_layout *layout, uint32_t out, uint32_t in, const char *name) {
  add_matrix(layout, out, in, name);
  nx_layout_add(layout, fan_in(in), out, 0, "%s.bias", name);
}

static void add_tokens_and_unifier(struct nx_layout *layout, const struct nx_model_shape *s) {
  add_linear(layout, s->width, s->patch_samples + s->bins, "tokens");
  add_linear(layout, s->width, PLACE_FEATURES, "place.hidden");
  add_linear(layout, s->width, s->width, "place.output");
  add_matrix(layout, s->width, s->stats, "stats");
  nx_layout_add(layout, normal(1), s->queries, s->width, "unifier.queries");
  add_matrix(layout, s->width, s->width, "unifier.query");
  add_matrix(layout, s->width, s->width, "unifier.key");
  add_matrix(layout, s->width, s->width, "unifier.value");
  add_matrix(layout, s->width, s->width, "unifier.output");
}

static void add_block(struct nx_layout *layout, const struct nx_model_shape *s, uint32_t i) {
  uint32_t d = s->width, f = s->feed_forward;
  struct nx_init small = normal(0.08 / sqrt(2.0 * s->blocks));
  nx_layout_add(layout, constant(1), d, 0, "block.%u.attention.norm", i);
  nx_layout_add(layout, fan_in(d), 3 * d, d, "block.%u.attention.qkv.weight", i);
  nx_layout_add(layout, small, d, d, "block.%u.attention.output.weight", i);
  nx_layout_add(layout, constant(1), d, 0, "block.%u.feed_forward.norm", i);
  nx_layout_add(layout, fan_in(d), 2 * f, d, "block.%u.feed_forward.input.weight", i);
  nx_layout_add(layout, small, d, f, "block.%u.feed_forward.output.weight", i);
}

static void add_head(struct nx_layout *layout, const struct nx_model_shape *s) {
  nx_layout_add(layout, normal(0.5), s->width, 0, "head.query");
  nx_layout_add(layout, constant(1), s->width, 0, "head.norm");
  nx_layout_add(layout, constant(0), 1, s->width, "head.weight");
  nx_layout_add(layout, constant(0), 1, 0, "head.bias");
}

static void add_decoder(struct nx_layout *layout, const struct nx_model_shape *s) {
  add_matrix(layout, s->width, s->width, "decoder.query");
  add_matrix(layout, s->width, s->width, "decoder.key");
  add_matrix(layout, s->width, s->width, "decoder.value");
  add_matrix(layout, s->width, TIME_FEATURES, "decoder.time");
  add_linear(layout, s->patch_samples + s->bins, s->width, "decoder.output");
}

int nx_nano_layout(const struct nx_model_shape *shape, struct nx_layout *layout,
                   struct nx_error *err) {
  add_tokens_and_unifier(layout, shape);
  for (uint32_t i = 0; i < shape->blocks; i++)
    add_block(layout, shape, i);
  if (shape->objective == NX_OBJECTIVE_RECONSTRUCTION)
    add_decoder(layout, shape);
  else
    add_head(layout, shape);
  if (layout->failed)
    return nx_fail(err, layout->failed,
                   "the model has more than %d tensors or %zu parameters: lower the plan's "
                   "model.width, blocks or feed_forward",
                   NX_MODEL_TENSORS, NX_MODEL_PARAMS_CAP);
  return 0;
}
