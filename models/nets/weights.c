#include "models/nets/weights.h"

static nx_real *gradient_at(const struct nx_weights *weights, size_t offset) {
  return weights->gradients && offset != NX_NO_GRADIENT ? weights->gradients + offset : NULL;
}

static struct nx_tensor *bind_frozen(const struct nx_weights *weights, struct nx_tape *tape,
                                     const struct nx_model_tensor *t,
                                     const struct nx_weight_source *sources, size_t together) {
  struct nx_frozen *frozen = nx_tape_memory(tape, 1, sizeof *frozen, "weights");
  struct nx_frozen_part *parts = nx_tape_memory(tape, together, sizeof *parts, "weights");
  bool trains = false;
  if (!frozen || !parts)
    return NULL;
  for (size_t i = 0; i < together; i++) {
    parts[i] = sources[i].part;
    parts[i].da = gradient_at(weights, sources[i].a);
    parts[i].db = gradient_at(weights, sources[i].b);
    trains = trains || parts[i].da;
  }
  *frozen = (struct nx_frozen){together, parts};
  return nx_tape_frozen(tape, frozen, trains, t->dims[0] * together, t->dims[1]);
}

struct nx_tensor *nx_weights_bind(const struct nx_weights *weights, struct nx_tape *tape,
                                  const struct nx_model_tensor *tensors, size_t index,
                                  size_t together) {
  const struct nx_model_tensor *t = &tensors[index];
  const struct nx_weight_source *source = weights->sources ? weights->sources + index : NULL;
  bool vector = t->n_dims == 1;
  if (source && !source->value)
    return bind_frozen(weights, tape, t, source, together);
  return nx_tape_parameter(tape, source ? source->value : weights->params + t->offset,
                           gradient_at(weights, source ? source->gradient : t->offset),
                           vector ? 1 : t->dims[0] * together, vector ? t->dims[0] : t->dims[1]);
}
