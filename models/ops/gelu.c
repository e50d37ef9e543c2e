#include "models/ops/ops.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0];
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (dx)
    tape->kernels->gelu_backward(tape->stream, x->rows * x->columns, x->value,
                                 node->output->gradient, dx, acc);
}

struct nx_tensor *nx_op_gelu(struct nx_tape *tape, struct nx_tensor *x) {
  if (!x || tape->failed)
    return nx_tape_fail(tape, NX_E_INVALID, "gelu");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns, "gelu");
  if (!y)
    return NULL;
  tape->kernels->gelu(tape->stream, x->rows * x->columns, x->value, y->value);
  nx_tape_record(tape, "gelu", 0, backward, y, x, NULL, NULL);
  return y;
}
