#include "models/backend/cpu.h"
#include "models/ops/ops.h"

/* ---- Kernels ---- */

/* log(1 + e^-|x|) + max(x, 0) - x t, and its derivative (sigmoid(x) - t) / n. */
void nx_cpu_cross_entropy(struct nx_stream *stream, size_t n, const nx_real *logits,
                          const nx_real *targets, nx_real *loss, nx_real *dlogits) {
  (void)stream;
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    double x = (double)logits[i], t = (double)targets[i], e = exp(-fabs(x));
    sum += log1p(e) + (x > 0 ? x : 0) - x * t;
    double sigmoid = x >= 0 ? 1 / (1 + e) : e / (1 + e);
    dlogits[i] = (nx_real)((sigmoid - t) / (double)n);
  }
  *loss = (nx_real)(sum / (double)n);
}

NX_FAST void nx_cpu_square_error(struct nx_stream *stream, size_t rows, size_t columns,
                                 const nx_real *x, const nx_real *target, const uint8_t *skip,
                                 nx_real scale, nx_real *loss, nx_real *dx) {
  (void)stream;
  double sum = 0;
  for (size_t r = 0; r < rows; r++, x += columns, target += columns, dx += columns) {
    if (skip && skip[r]) {
      memset(dx, 0, columns * sizeof *dx);
      continue;
    }
    for (size_t i = 0; i < columns; i++)
      dx[i] = x[i] - target[i];
    sum += (double)nx_dot(columns, dx, dx);
    for (size_t i = 0; i < columns; i++)
      dx[i] *= 2 * scale;
  }
  *loss = (nx_real)(sum * (double)scale);
}

NX_FAST void nx_cpu_scale(struct nx_stream *stream, size_t n, nx_real s, const nx_real *d,
                          nx_real *dx, int acc) {
  (void)stream;
  for (size_t i = 0; i < n; i++)
    dx[i] = (acc ? dx[i] : 0) + s * d[i];
}

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
