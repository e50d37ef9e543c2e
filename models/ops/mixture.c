#include "models/ops/ops.h"

struct saved {
  const uint32_t *rows;
  size_t column;
};

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *y = node->output, *base = node->inputs[0], *x = node->inputs[1];
  struct nx_tensor *p = node->inputs[2];
  const struct saved *s = node->saved;
  int acc = 0;
  nx_real *dp = nx_tensor_gradient_to_add(tape, p);
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (!tape->failed)
    tape->kernels->mixture_backward(tape->stream, x->rows, x->columns, x->value, s->rows,
                                    p->value + s->column, p->columns, y->gradient, dx, acc,
                                    dp ? dp + s->column : NULL);
  nx_tensor_pass_gradient(tape, y, base);
}

struct nx_tensor *nx_op_mixture(struct nx_tape *tape, struct nx_tensor *base, struct nx_tensor *x,
                                const uint32_t *rows, struct nx_tensor *p, size_t column) {
  if (!base || !x || !p || tape->failed || x->columns != base->columns || p->rows != base->rows ||
      column >= p->columns)
    return nx_tape_fail(tape, NX_E_INVALID, "mixture");
  for (size_t i = 0; i < x->rows; i++)
    if (rows[i] >= base->rows)
      return nx_tape_fail(tape, NX_E_INVALID, "mixture");
  struct nx_tensor *y = nx_tape_take_over(tape, base, "mixture");
  if (!y)
    return NULL;
  tape->kernels->mixture_add(tape->stream, x->rows, x->columns, x->value, rows, p->value + column,
                             p->columns, y->value);
  struct saved *saved = nx_tape_record(tape, "mixture", sizeof *saved, backward, y, base, x, p);
  if (saved)
    *saved = (struct saved){rows, column};
  return y;
}
