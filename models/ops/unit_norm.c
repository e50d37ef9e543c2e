#include "models/ops/ops.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0];
  nx_real *const *inverse = node->saved;
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (dx)
    tape->kernels->unit_norm_backward(tape->stream, x->rows, x->columns, x->value, *inverse,
                                      node->output->gradient, dx, acc);
}

struct nx_tensor *nx_op_unit_norm(struct nx_tape *tape, struct nx_tensor *x) {
  if (!x || tape->failed)
    return nx_tape_fail(tape, NX_E_INVALID, "unit norm");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns, "unit norm");
  nx_real *inverse = nx_tape_memory(tape, x->rows, sizeof *inverse, "unit norm");
  if (!y || !inverse)
    return NULL;
  tape->kernels->unit_norm(tape->stream, x->rows, x->columns, x->value, y->value, inverse);
  nx_real **saved = nx_tape_record(tape, "unit norm", sizeof *saved, backward, y, x, NULL, NULL);
  if (saved)
    *saved = inverse;
  return y;
}
