#include "models/ops/ops.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *y = node->output, *p = node->inputs[0];
  const nx_real *const *pull = node->saved;
  nx_tensor_pass_gradient(tape, y, p);
  if (p->wants_gradient)
    tape->kernels->add_rows(tape->stream, p->rows, p->columns, *pull, 1, 1, p->gradient);
}

struct nx_tensor *nx_op_balance(struct nx_tape *tape, struct nx_tensor *p, const nx_real *pull) {
  if (!p || tape->failed)
    return nx_tape_fail(tape, NX_E_INVALID, "balance");
  struct nx_tensor *y = nx_tape_tensor(tape, p->rows, p->columns, "balance");
  if (!y)
    return NULL;
  tape->kernels->clear(tape->stream, y->rows * y->columns, y->value);
  tape->kernels->add(tape->stream, y->rows * y->columns, p->value, y->value);
  const nx_real **saved =
      nx_tape_record(tape, "balance", sizeof *saved, backward, y, p, NULL, NULL);
  if (saved)
    *saved = pull;
  return y;
}
