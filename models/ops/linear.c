#include "models/ops/frozen.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0], *w = node->inputs[1], *b = node->inputs[2];
  const nx_real *dy = node->output->gradient;
  size_t rows = x->rows, in = w->columns, out = w->rows;
  const struct nx_kernels *k = tape->kernels;
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (dx)
    k->gemm(tape->stream, 'N', 'N', rows, in, out, 1, dy, out, w->value, in, acc ? 1 : 0, dx, in);
  nx_real *dw = nx_tensor_gradient(tape, w, &acc);
  if (dw)
    k->gemm(tape->stream, 'T', 'N', out, in, rows, 1, dy, out, x->value, in, acc ? 1 : 0, dw, in);
  nx_real *db = nx_tensor_gradient_to_add(tape, b);
  if (db)
    k->sum_rows(tape->stream, rows, out, dy, db);
}

struct nx_tensor *nx_op_linear(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *w,
                               struct nx_tensor *b) {
  if (!x || !w || tape->failed || w->columns != x->columns || (b && b->columns != w->rows))
    return nx_tape_fail(tape, NX_E_INVALID, "linear");
  if (w->frozen)
    return b ? nx_tape_fail(tape, NX_E_INVALID, "linear") : nx_op_frozen_linear(tape, x, w);
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, w->rows, "linear");
  if (!y)
    return NULL;
  const struct nx_kernels *k = tape->kernels;
  if (b)
    k->repeat_row(tape->stream, y->rows, y->columns, b->value, y->value);
  k->gemm(tape->stream, 'N', 'T', x->rows, w->rows, x->columns, 1, x->value, x->columns, w->value,
          w->columns, b ? 1 : 0, y->value, y->columns);
  nx_tape_record(tape, "linear", 0, backward, y, x, w, b);
  return y;
}
