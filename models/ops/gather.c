#include "models/ops/ops.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0], *y = node->output;
  const uint32_t *const *rows = node->saved;
  nx_real *dx = nx_tensor_gradient_to_add(tape, x);
  if (dx)
    tape->kernels->scatter_add(tape->stream, y->rows, y->columns, y->gradient, *rows, dx);
}

struct nx_tensor *nx_op_gather(struct nx_tape *tape, struct nx_tensor *x, const uint32_t *rows,
                               size_t n) {
  if (!x || tape->failed)
    return nx_tape_fail(tape, NX_E_INVALID, "gather");
  for (size_t i = 0; i < n; i++)
    if (rows[i] >= x->rows)
      return nx_tape_fail(tape, NX_E_INVALID, "gather");
  struct nx_tensor *y = nx_tape_tensor(tape, n, x->columns, "gather");
  if (!y)
    return NULL;
  tape->kernels->gather(tape->stream, n, x->columns, x->value, rows, y->value);
  const uint32_t **saved =
      nx_tape_record(tape, "gather", sizeof *saved, backward, y, x, NULL, NULL);
  if (saved)
    *saved = rows;
  return y;
}
