#include "models/backend/cpu.h"
#include "models/ops/ops.h"

/* ---- Kernels ---- */

NX_INLINE void softmax(size_t n, nx_real *x) {
  nx_real largest = x[0], sum = 0;
  for (size_t i = 1; i < n; i++)
    largest = x[i] > largest ? x[i] : largest;
  for (size_t i = 0; i < n; i++)
    sum += x[i] = nx_exp1(x[i] - largest);
  for (size_t i = 0; i < n; i++)
    x[i] /= sum;
}

NX_FAST void nx_cpu_pool(struct nx_stream *stream, size_t sets, size_t n, size_t d,
                         const nx_real *x, const nx_real *h, nx_real *weights, nx_real *y) {
  (void)stream;
  nx_real scale = 1 / (nx_real)sqrt((double)d);
  for (size_t s = 0; s < sets; s++, x += n * d, weights += n, y += d) {
    for (size_t i = 0; i < n; i++)
      weights[i] = nx_dot(d, x + i * d, h) * scale;
    softmax(n, weights);
    memset(y, 0, d * sizeof *y);
    for (size_t i = 0; i < n; i++)
      nx_axpy(d, weights[i], x + i * d, y);
  }
}

/* With a = softmax(s): ds_i = a_i (dy x_i - dy y); dx_i = a_i dy + ds_i h; dh = sum ds_i x_i. */
NX_FAST void nx_cpu_pool_backward(struct nx_stream *stream, size_t sets, size_t n, size_t d,
                                  const nx_real *x, const nx_real *h, const nx_real *weights,
                                  const nx_real *dy, nx_real *dx, int acc, nx_real *dh) {
  (void)stream;
  nx_real scale = 1 / (nx_real)sqrt((double)d);
  for (size_t s = 0; s < sets; s++, x += n * d, weights += n, dy += d) {
    nx_real mean = 0;
    for (size_t i = 0; i < n; i++)
      mean += weights[i] * nx_dot(d, dy, x + i * d);
    for (size_t i = 0; i < n; i++) {
      nx_real ds = weights[i] * (nx_dot(d, dy, x + i * d) - mean) * scale;
      if (dh)
        nx_axpy(d, ds, x + i * d, dh);
      if (!dx)
        continue;
      nx_real *row = dx + (s * n + i) * d;
      if (!acc)
        memset(row, 0, d * sizeof *row);
      nx_axpy(d, weights[i], dy, row);
      nx_axpy(d, ds, h, row);
    }
  }
}

/* ---- Op ---- */

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0], *h = node->inputs[1];
  nx_real *const *weights = node->saved;
  size_t sets = node->output->rows;
  int acc = 0, hacc;
  nx_real *dh = nx_tensor_gradient(tape, h, &hacc);
  if (dh && !hacc)
    memset(dh, 0, h->columns * sizeof *dh);
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
