#include "models/ops/ops.h"

static nx_real *draw_mask(struct nx_tape *tape, const struct nx_tensor *x, double drop,
                          const char *op) {
  if (!tape->rng || drop <= 0)
    return NULL;
  size_t n = x->rows * x->columns;
  nx_real *mask = nx_tape_memory(tape, n, sizeof *mask, op);
  if (mask)
    tape->kernels->dropout_mask(tape->stream, n, tape->rng, drop, mask);
  return mask;
}

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *y = node->output, *f = node->inputs[0], *x = node->inputs[1];
  nx_real *const *mask = node->saved;
  int acc;
  nx_real *df = nx_tensor_gradient(tape, f, &acc);
  if (df)
    tape->kernels->masked_add(tape->stream, y->rows * y->columns, acc ? df : NULL, y->gradient,
                              *mask, df);
  if (x)
    nx_tensor_pass_gradient(tape, y, x);
}

static struct nx_tensor *masked_sum(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *f,
                                    double drop, const char *op) {
  nx_real *mask = draw_mask(tape, f, drop, op);
  struct nx_tensor *y = nx_tape_tensor(tape, f->rows, f->columns, op);
  if (!y || tape->failed)
    return NULL;
  tape->kernels->masked_add(tape->stream, y->rows * y->columns, x ? x->value : NULL, f->value, mask,
                            y->value);
  nx_real **saved = nx_tape_record(tape, op, sizeof *saved, backward, y, f, x, NULL);
  if (saved)
    *saved = mask;
  return y;
}

struct nx_tensor *nx_op_dropout(struct nx_tape *tape, struct nx_tensor *x, double drop) {
  if (!x || tape->failed)
    return nx_tape_fail(tape, NX_E_INVALID, "dropout");
  return tape->rng && drop > 0 ? masked_sum(tape, NULL, x, drop, "dropout") : x;
}

struct nx_tensor *nx_op_residual(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *f,
                                 double drop) {
  if (!x || !f || tape->failed || x->rows != f->rows || x->columns != f->columns)
    return nx_tape_fail(tape, NX_E_INVALID, "residual");
  return masked_sum(tape, x, f, drop, "residual");
}
