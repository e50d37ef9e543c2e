#include "models/backend/cpu.h"
#include "models/ops/ops.h"

/* ---- Kernels ---- */

NX_INLINE void sigmoid16(nx_v16 *x) {
  *x = -*x;
  nx_exp16(x);
  *x = 1 / (1 + *x);
}

NX_FAST void nx_cpu_silu(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y) {
  (void)stream;
  size_t i = 0;
  for (; i + NX_LANES <= n; i += NX_LANES) {
    nx_v16 s = NX_LOAD(x + i);
    sigmoid16(&s);
    NX_STORE(y + i, s * NX_LOAD(x + i));
  }
  for (; i < n; i++)
    y[i] = x[i] / (1 + nx_exp1(-x[i]));
}

/* silu' = s + x s (1 - s), s = sigmoid(x) */
NX_FAST void nx_cpu_silu_backward(struct nx_stream *stream, size_t n, const nx_real *x,
                                  const nx_real *dy, nx_real *dx, int acc) {
  (void)stream;
  size_t i = 0;
  for (; i + NX_LANES <= n; i += NX_LANES) {
    nx_v16 s = NX_LOAD(x + i);
    sigmoid16(&s);
    nx_v16 d = NX_LOAD(dy + i) * (s + NX_LOAD(x + i) * s * (1 - s));
    NX_STORE(dx + i, acc ? NX_LOAD(dx + i) + d : d);
  }
  for (; i < n; i++) {
    nx_real s = 1 / (1 + nx_exp1(-x[i])), d = dy[i] * (s + x[i] * s * (1 - s));
    dx[i] = acc ? dx[i] + d : d;
  }
}

NX_FAST void nx_cpu_swiglu(struct nx_stream *stream, size_t rows, size_t f, const nx_real *x,
                           nx_real *y) {
  (void)stream;
  for (size_t r = 0; r < rows; r++, x += 2 * f, y += f) {
    size_t i = 0;
    for (; i + NX_LANES <= f; i += NX_LANES) {
      nx_v16 s = NX_LOAD(x + i);
      sigmoid16(&s);
      NX_STORE(y + i, s * NX_LOAD(x + i) * NX_LOAD(x + f + i));
    }
    for (; i < f; i++)
      y[i] = x[i] / (1 + nx_exp1(-x[i])) * x[f + i];
  }
}

NX_INLINE void swiglu_row_backward(size_t f, const nx_real *x, const nx_real *dy, nx_real *dx,
                                   int acc) {
  size_t i = 0;
  for (; i + NX_LANES <= f; i += NX_LANES) {
    nx_v16 u = NX_LOAD(x + i), s = u, g = NX_LOAD(dy + i);
    sigmoid16(&s);
    nx_v16 du = g * NX_LOAD(x + f + i) * (s + u * s * (1 - s)), dv = g * u * s;
    NX_STORE(dx + i, acc ? NX_LOAD(dx + i) + du : du);
    NX_STORE(dx + f + i, acc ? NX_LOAD(dx + f + i) + dv : dv);
  }
  for (; i < f; i++) {
    nx_real u = x[i], s = 1 / (1 + nx_exp1(-u));
    nx_real du = dy[i] * x[f + i] * (s + u * s * (1 - s)), dv = dy[i] * u * s;
    dx[i] = acc ? dx[i] + du : du;
    dx[f + i] = acc ? dx[f + i] + dv : dv;
  }
}

NX_FAST void nx_cpu_swiglu_backward(struct nx_stream *stream, size_t rows, size_t f,
                                    const nx_real *x, const nx_real *dy, nx_real *dx, int acc) {
  (void)stream;
  for (size_t r = 0; r < rows; r++)
    swiglu_row_backward(f, x + 2 * f * r, dy + f * r, dx + 2 * f * r, acc);
}

/* ---- Ops ---- */

static void silu_backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0];
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (dx)
    tape->kernels->silu_backward(tape->stream, x->rows * x->columns, x->value,
                                 node->output->gradient, dx, acc);
}

struct nx_tensor *nx_op_silu(struct nx_tape *tape, struct nx_tensor *x) {
  if (!x || tape->failed)
    return nx_tape_fail(tape, NX_E_INVALID, "silu");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns, "silu");
  if (!y)
    return NULL;
  tape->kernels->silu(tape->stream, x->rows * x->columns, x->value, y->value);
  nx_tape_record(tape, "silu", 0, silu_backward, y, x, NULL, NULL);
  return y;
}

static void swiglu_backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0];
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (dx)
    tape->kernels->swiglu_backward(tape->stream, x->rows, x->columns / 2, x->value,
                                   node->output->gradient, dx, acc);
}

struct nx_tensor *nx_op_swiglu(struct nx_tape *tape, struct nx_tensor *x) {
  if (!x || tape->failed || x->columns % 2)
    return nx_tape_fail(tape, NX_E_INVALID, "swiglu");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns / 2, "swiglu");
  if (!y)
    return NULL;
  tape->kernels->swiglu(tape->stream, x->rows, x->columns / 2, x->value, y->value);
  nx_tape_record(tape, "swiglu", 0, swiglu_backward, y, x, NULL, NULL);
  return y;
}
