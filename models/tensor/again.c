/* Parts of a pass that backward computes again: models/tensor/tape.h. */
#include <string.h>

#include "models/tensor/tape.h"

struct again {
  nx_tape_part_fn *part;
  struct nx_rng rng; /* as it was before the part */
  _Alignas(16) uint8_t context[];
};

static bool same_size(const struct nx_tensor *x, const struct nx_tensor *y) {
  return x->rows == y->rows && x->columns == y->columns;
}

static void copy(struct nx_tape *tape, const struct nx_tensor *x, const nx_real *from,
                 nx_real *to) {
  tape->kernels->scale(tape->stream, x->rows * x->columns, 1, from, to, 0);
}

/* The gradient of the part's x, wherever the part left it, in the memory of y's: the rest is about
 * to be forgotten. */
static void bring_out(struct nx_tape *tape, struct nx_tensor *y, nx_real *dy,
                      const struct nx_tensor *inner, struct nx_tensor *x) {
  if (!x->wants_gradient || x->has_gradient || !inner->has_gradient)
    return;
  if (inner->gradient != dy)
    copy(tape, x, inner->gradient, dy);
  x->gradient = dy;
  x->has_gradient = true;
  y->gradient = NULL;
}

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *y = node->output, *x = node->inputs[0], inner = *x;
  const struct again *again = node->saved;
  const struct nx_tape outside = *tape;
  const struct nx_arena_mark mark = nx_arena_mark(tape->arena);
  struct nx_rng rng = again->rng;
  nx_real *dy = y->gradient;
  tape->rng = outside.rng ? &rng : NULL;
  tape->last = NULL;
  tape->spare = NULL;
  struct nx_tensor *z = again->part(tape, again->context, &inner);
  if (z && z->wants_gradient) {
    z->gradient = dy;
    z->has_gradient = true;
    nx_tape_walk(tape);
  }
  if (!tape->failed)
    bring_out(tape, y, dy, &inner, x);
  tape->rng = outside.rng;
  tape->last = outside.last;
  tape->spare = outside.spare;
  nx_arena_rewind(tape->arena, &mark);
}

static void forward(struct nx_tape *tape, const struct again *again, struct nx_tensor *x,
                    struct nx_tensor *y) {
  const struct nx_arena_mark mark = nx_arena_mark(tape->arena);
  const nx_real *value = x->value;
  tape->recording = false;
  const struct nx_tensor *z = again->part(tape, again->context, x);
  tape->recording = true;
  if (z && (!same_size(x, z) || x->value != value))
    nx_tape_fail(tape, NX_E_INVALID, "part");
  else if (z)
    copy(tape, y, z->value, y->value);
  nx_arena_rewind(tape->arena, &mark);
}

struct nx_tensor *nx_tape_again(struct nx_tape *tape, nx_tape_part_fn *part, const void *context,
                                size_t context_size, struct nx_tensor *x) {
  if (!x || tape->failed)
    return nx_tape_fail(tape, NX_E_INVALID, "part");
  if (!tape->recording)
    return part(tape, context, x);
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns, "part");
  if (!y)
    return NULL;
  /* Whether or not x wants a gradient: parameters inside may. */
  struct again *again =
      nx_tape_record_always(tape, "part", sizeof *again + context_size, backward, y, x);
  if (!again)
    return NULL;
  again->part = part;
  if (tape->rng)
    again->rng = *tape->rng;
  memcpy(again->context, context, context_size);
  forward(tape, again, x, y);
  return tape->failed ? NULL : y;
}
