#include "models/ops/ops.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0], *y = node->output;
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (dx)
    tape->kernels->softmax_backward(tape->stream, y->rows, y->columns, y->value, y->gradient, dx,
                                    acc);
}

struct nx_tensor *nx_op_softmax(struct nx_tape *tape, struct nx_tensor *x) {
  if (!x || tape->failed)
    return nx_tape_fail(tape, NX_E_INVALID, "softmax");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns, "softmax");
  if (!y)
    return NULL;
  tape->kernels->softmax(tape->stream, x->rows, x->columns, x->value, y->value);
  nx_tape_record(tape, "softmax", 0, backward, y, x, NULL, NULL);
  return y;
}
