#include "models/ops/ops.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0], *h = node->inputs[1];
  nx_real *const *weights = node->saved;
  size_t sets = node->output->rows;
  int acc = 0;
  nx_real *dh = nx_tensor_gradient_to_add(tape, h);
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (!tape->failed)
    tape->kernels->pool_backward(tape->stream, sets, x->rows / sets, x->columns, x->value, h->value,
                                 *weights, node->output->gradient, dx, acc, dh);
}

struct nx_tensor *nx_op_pool(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *h,
                             size_t n) {
  if (!x || !h || tape->failed || !n || x->rows % n || h->columns != x->columns)
    return nx_tape_fail(tape, NX_E_INVALID, "pool");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows / n, x->columns, "pool");
  nx_real *weights = nx_tape_memory(tape, x->rows, sizeof *weights, "pool");
  if (!y || !weights)
    return NULL;
  tape->kernels->pool(tape->stream, y->rows, n, x->columns, x->value, h->value, weights, y->value);
  nx_real **saved = nx_tape_record(tape, "pool", sizeof *saved, backward, y, x, h, NULL);
  if (saved)
    *saved = weights;
  return y;
}
