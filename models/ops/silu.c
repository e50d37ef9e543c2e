#include "models/ops/ops.h"

static void silu_backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0];
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (dx)
    tape->kernels->silu_backward(tape->stream, x->rows * x->columns, x->value,
                                 node->output->gradient, dx, acc);
}

struct nx_tensor *nx_op_silu(struct nx_tape *tape, struct nx_tensor *x) {
  if (!x || tape->failed)
    return nx_tape_fail(tape, NX_E_INVALID, "silu");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns, "silu");
  if (!y)
    return NULL;
  tape->kernels->silu(tape->stream, x->rows * x->columns, x->value, y->value);
  nx_tape_record(tape, "silu", 0, silu_backward, y, x, NULL, NULL);
  return y;
}

static void swiglu_backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0];
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (dx)
    tape->kernels->swiglu_backward(tape->stream, x->rows, x->columns / 2, x->value,
                                   node->output->gradient, dx, acc);
}

struct nx_tensor *nx_op_swiglu(struct nx_tape *tape, struct nx_tensor *x) {
  if (!x || tape->failed || x->columns % 2)
    return nx_tape_fail(tape, NX_E_INVALID, "swiglu");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns / 2, "swiglu");
  if (!y)
    return NULL;
  tape->kernels->swiglu(tape->stream, x->rows, x->columns / 2, x->value, y->value);
  nx_tape_record(tape, "swiglu", 0, swiglu_backward, y, x, NULL, NULL);
  return y;
}
