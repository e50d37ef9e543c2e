#include "models/ops/ops.h"

/* ---- Ops: both know their derivative at once. ---- */

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0];
  nx_real *const *derivative = node->saved;
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (dx)
    tape->kernels->scale(tape->stream, x->rows * x->columns, *node->output->gradient, *derivative,
                         dx, acc);
}

static struct nx_tensor *record(struct nx_tape *tape, const char *op, struct nx_tensor *loss,
                                struct nx_tensor *x, nx_real *derivative) {
  nx_real **saved = nx_tape_record(tape, op, sizeof *saved, backward, loss, x, NULL, NULL);
  if (saved)
    *saved = derivative;
  return loss;
}

struct nx_tensor *nx_op_cross_entropy(struct nx_tape *tape, struct nx_tensor *logits,
                                      const nx_real *targets) {
  if (!logits || tape->failed || logits->columns != 1)
    return nx_tape_fail(tape, NX_E_INVALID, "cross entropy");
  struct nx_tensor *loss = nx_tape_tensor(tape, 1, 1, "cross entropy");
  nx_real *d = nx_tape_memory(tape, logits->rows, sizeof *d, "cross entropy");
  if (!loss || !d)
    return NULL;
  tape->kernels->cross_entropy(tape->stream, logits->rows, logits->value, targets, loss->value, d);
  return record(tape, "cross entropy", loss, logits, d);
}

struct nx_tensor *nx_op_square_error(struct nx_tape *tape, struct nx_tensor *x,
                                     const struct nx_tensor *target, const uint8_t *skip,
                                     nx_real scale) {
  if (!x || !target || tape->failed || x->rows != target->rows || x->columns != target->columns)
    return nx_tape_fail(tape, NX_E_INVALID, "square error");
  struct nx_tensor *loss = nx_tape_tensor(tape, 1, 1, "square error");
  nx_real *d = nx_tape_memory(tape, x->rows * x->columns, sizeof *d, "square error");
  if (!loss || !d)
    return NULL;
  tape->kernels->square_error(tape->stream, x->rows, x->columns, x->value, target->value, skip,
                              scale, loss->value, d);
  return record(tape, "square error", loss, x, d);
}

struct nx_tensor *nx_op_class_entropy(struct nx_tape *tape, struct nx_tensor *logits,
                                      const uint32_t *labels) {
  if (!logits || tape->failed)
    return nx_tape_fail(tape, NX_E_INVALID, "class entropy");
  for (size_t i = 0; i < logits->rows; i++)
    if (labels[i] >= logits->columns)
      return nx_tape_fail(tape, NX_E_INVALID, "class entropy");
  struct nx_tensor *loss = nx_tape_tensor(tape, 1, 1, "class entropy");
  nx_real *d = nx_tape_memory(tape, logits->rows * logits->columns, sizeof *d, "class entropy");
  if (!loss || !d)
    return NULL;
  tape->kernels->class_entropy(tape->stream, logits->rows, logits->columns, logits->value, labels,
                               loss->value, d);
  return record(tape, "class entropy", loss, logits, d);
}

struct nx_tensor *nx_op_poisson(struct nx_tape *tape, struct nx_tensor *x,
                                const struct nx_tensor *counts, const uint8_t *skip,
                                nx_real scale) {
  if (!x || !counts || tape->failed || x->rows != counts->rows || x->columns != counts->columns)
    return nx_tape_fail(tape, NX_E_INVALID, "poisson");
  struct nx_tensor *loss = nx_tape_tensor(tape, 1, 1, "poisson");
  nx_real *d = nx_tape_memory(tape, x->rows * x->columns, sizeof *d, "poisson");
  if (!loss || !d)
    return NULL;
  tape->kernels->poisson(tape->stream, x->rows, x->columns, x->value, counts->value, skip, scale,
                         loss->value, d);
  return record(tape, "poisson", loss, x, d);
}

/* loss = scale sum r^T M r by way of D = 2 scale R M: sum R * D / 2. M is symmetric. */
struct nx_tensor *nx_op_quadratic(struct nx_tape *tape, struct nx_tensor *x,
                                  const struct nx_tensor *target, const struct nx_tensor *m,
                                  const uint8_t *skip, nx_real scale) {
  if (!x || !target || !m || tape->failed || x->rows != target->rows ||
      x->columns != target->columns || m->rows != x->columns || m->columns != x->columns)
    return nx_tape_fail(tape, NX_E_INVALID, "quadratic");
  size_t n = x->rows * x->columns;
  struct nx_tensor *loss = nx_tape_tensor(tape, 1, 1, "quadratic");
  nx_real *r = nx_tape_memory(tape, n, sizeof *r, "quadratic");
  nx_real *d = nx_tape_memory(tape, n, sizeof *d, "quadratic");
  if (!loss || !r || !d)
    return NULL;
  tape->kernels->square_error(tape->stream, x->rows, x->columns, x->value, target->value, skip,
                              (nx_real)0.5, loss->value, r); /* r = x - target, 0 if skipped */
  tape->kernels->gemm(tape->stream, 'N', 'N', x->rows, x->columns, x->columns, 2 * scale, r,
                      x->columns, m->value, x->columns, 0, d, x->columns);
  tape->kernels->half_dot(tape->stream, n, r, d, loss->value);
  return record(tape, "quadratic", loss, x, d);
}
