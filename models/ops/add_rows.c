#include "models/ops/ops.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *y = node->output, *x = node->inputs[0], *v = node->inputs[1];
  const size_t *inner = node->saved;
  nx_real *dv = nx_tensor_gradient_to_add(tape, v);
  if (dv)
    tape->kernels->add_rows_backward(tape->stream, y->rows, y->columns, y->gradient, v->rows,
                                     *inner, dv);
  nx_tensor_pass_gradient(tape, y, x);
}

struct nx_tensor *nx_op_add_rows(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *v,
                                 size_t inner) {
  if (!x || !v || tape->failed || v->columns != x->columns || !inner)
    return nx_tape_fail(tape, NX_E_INVALID, "add rows");
  struct nx_tensor *y = nx_tape_take_over(tape, x, "add rows");
  if (!y)
    return NULL;
  tape->kernels->add_rows(tape->stream, y->rows, y->columns, v->value, v->rows, inner, y->value);
  size_t *saved = nx_tape_record(tape, "add rows", sizeof *saved, backward, y, x, v, NULL);
  if (saved)
    *saved = inner;
  return y;
}
