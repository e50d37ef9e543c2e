#include "models/ops/ops.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *y = node->output, *x = node->inputs[0], *v = node->inputs[1];
  const uint8_t *const *keep = node->saved;
  nx_real *dx = nx_tensor_gradient_to_add(tape, x), *dv = nx_tensor_gradient_to_add(tape, v);
  if (!tape->failed)
    tape->kernels->choose_backward(tape->stream, y->rows, y->columns, y->gradient, *keep, dx, dv);
}

struct nx_tensor *nx_op_choose(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *v,
                               const uint8_t *keep) {
  if (!x || !v || tape->failed || v->rows != 1 || v->columns != x->columns)
    return nx_tape_fail(tape, NX_E_INVALID, "choose");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns, "choose");
  if (!y)
    return NULL;
  tape->kernels->choose(tape->stream, x->rows, x->columns, x->value, v->value, keep, y->value);
  const uint8_t **saved = nx_tape_record(tape, "choose", sizeof *saved, backward, y, x, v, NULL);
  if (saved)
    *saved = keep;
  return y;
}
