#include "models/backend/cpu.h"
#include "models/ops/ops.h"

/* ---- Kernels ---- */

NX_FAST void nx_cpu_add(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y) {
  (void)stream;
  nx_axpy(n, 1, x, y);
}

NX_FAST void nx_cpu_add_rows(struct nx_stream *stream, size_t rows, size_t columns,
                             const nx_real *v, size_t count, size_t inner, nx_real *y) {
  (void)stream;
  for (size_t r = 0; r < rows; r++)
    nx_axpy(columns, 1, v + r / inner % count * columns, y + r * columns);
}

NX_FAST void nx_cpu_add_rows_backward(struct nx_stream *stream, size_t rows, size_t columns,
                                      const nx_real *dy, size_t count, size_t inner, nx_real *dv) {
  (void)stream;
  for (size_t r = 0; r < rows; r++)
    nx_axpy(columns, 1, dy + r * columns, dv + r / inner % count * columns);
}

/* ---- Op ---- */

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *y = node->output, *x = node->inputs[0], *v = node->inputs[1];
  const size_t *inner = node->saved;
  int acc;
  nx_real *dv = nx_tensor_gradient(tape, v, &acc);
  if (dv && !acc)
    memset(dv, 0, v->rows * v->columns * sizeof *dv);
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
