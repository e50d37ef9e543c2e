#include <math.h>

#include "models/ops/ops.h"

struct saved {
  struct nx_unify_shape shape;
  nx_real *probabilities;
};

static void unify_backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *h = node->inputs[0], *folded = node->inputs[1];
  const struct saved *s = node->saved;
  const struct nx_kernels *k = tape->kernels;
  size_t rows = h->rows, columns = s->shape.columns, d = s->shape.width;
  int acc;
  nx_real *ds = nx_tape_memory(tape, rows * columns, sizeof *ds, "unify");
  nx_real *dh = nx_tensor_gradient(tape, h, &acc), *first = dh;
  if (!dh || acc) /* the kernel overwrites */
    first = nx_tape_memory(tape, rows * d, sizeof *first, "unify");
  nx_real *scratch = nx_tape_memory(tape, d * columns, sizeof *scratch, "unify");
  if (tape->failed)
    return;
  k->unify_backward(tape->stream, &s->shape, h->value, s->probabilities, node->output->gradient, ds,
                    first, scratch);
  if (dh)
    k->gemm(tape->stream, 'N', 'N', rows, d, columns, 1, ds, columns, folded->value, d, 1, first,
            d);
  if (dh && acc)
    k->add(tape->stream, rows * d, first, dh);
  nx_real *df = nx_tensor_gradient(tape, folded, &acc);
  if (df)
    k->gemm(tape->stream, 'T', 'N', columns, d, rows, 1, ds, columns, h->value, d, acc ? 1 : 0, df,
            d);
}

struct nx_tensor *nx_op_unify(struct nx_tape *tape, struct nx_tensor *h, struct nx_tensor *folded,
                              const uint8_t *visible, size_t windows, size_t channels,
                              size_t patches, size_t heads) {
  if (!h || !folded || tape->failed || h->columns != folded->columns || !heads ||
      folded->rows % heads || h->rows != windows * channels * patches)
    return nx_tape_fail(tape, NX_E_INVALID, "unify");
  size_t d = h->columns, columns = folded->rows;
  struct saved s = {.shape = {windows, channels, patches, columns, d}};
  struct nx_tensor *y =
      nx_tape_tensor(tape, windows * patches * (columns / heads), heads * d, "unify");
  s.probabilities = nx_tape_memory(tape, h->rows * columns, sizeof *s.probabilities, "unify");
  if (!y || !s.probabilities)
    return NULL;
  tape->kernels->gemm(tape->stream, 'N', 'T', h->rows, columns, d, 1, h->value, d, folded->value, d,
                      0, s.probabilities, columns);
  tape->kernels->unify(tape->stream, &s.shape, h->value, visible, s.probabilities, y->value);
  struct saved *saved = nx_tape_record(tape, "unify", sizeof s, unify_backward, y, h, folded, NULL);
  if (saved)
    *saved = s;
  return y;
}

/* a[q * H + h, :] = queries[q, head h] W[head h, :] / sqrt(head width): one GEMM a head. */
static void fold_backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *queries = node->inputs[0], *key = node->inputs[1];
  const struct nx_kernels *k = tape->kernels;
  size_t d = key->columns, n = queries->rows, heads = node->output->rows / n, e = d / heads;
  nx_real scale = 1 / (nx_real)sqrt((double)e);
  const nx_real *da = node->output->gradient;
  int qacc = 0, kacc = 0;
  nx_real *dq = nx_tensor_gradient(tape, queries, &qacc);
  nx_real *dk = nx_tensor_gradient(tape, key, &kacc);
  for (size_t h = 0; h < heads && !tape->failed; h++) {
    if (dq)
      k->gemm(tape->stream, 'N', 'T', n, e, d, scale, da + h * d, heads * d, key->value + h * e * d,
              d, qacc ? 1 : 0, dq + h * e, d);
    if (dk)
      k->gemm(tape->stream, 'T', 'N', e, d, n, scale, queries->value + h * e, d, da + h * d,
              heads * d, kacc ? 1 : 0, dk + h * e * d, d);
  }
}

struct nx_tensor *nx_op_fold(struct nx_tape *tape, struct nx_tensor *queries, struct nx_tensor *key,
                             size_t heads) {
  if (!queries || !key || tape->failed || !heads || queries->columns != key->rows ||
      key->rows != key->columns || key->rows % heads)
    return nx_tape_fail(tape, NX_E_INVALID, "fold");
  size_t d = key->columns, n = queries->rows, e = d / heads;
  struct nx_tensor *a = nx_tape_tensor(tape, n * heads, d, "fold");
  for (size_t h = 0; a && h < heads; h++)
    tape->kernels->gemm(tape->stream, 'N', 'N', n, d, e, 1 / (nx_real)sqrt((double)e),
                        queries->value + h * e, d, key->value + h * e * d, d, 0, a->value + h * d,
                        heads * d);
  if (a)
    nx_tape_record(tape, "fold", 0, fold_backward, a, queries, key, NULL);
  return a;
}

static void values_backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0], *value = node->inputs[1];
  const struct nx_kernels *k = tape->kernels;
  size_t d = value->columns, heads = x->columns / d, e = d / heads, rows = x->rows;
  const nx_real *dy = node->output->gradient;
  int xacc = 0, vacc = 0;
  nx_real *dx = nx_tensor_gradient(tape, x, &xacc);
  nx_real *dv = nx_tensor_gradient(tape, value, &vacc);
  for (size_t h = 0; h < heads && !tape->failed; h++) {
    if (dx)
      k->gemm(tape->stream, 'N', 'N', rows, d, e, 1, dy + h * e, d, value->value + h * e * d, d,
              xacc ? 1 : 0, dx + h * d, heads * d);
    if (dv)
      k->gemm(tape->stream, 'T', 'N', e, d, rows, 1, dy + h * e, d, x->value + h * d, heads * d,
              vacc ? 1 : 0, dv + h * e * d, d);
  }
}

struct nx_tensor *nx_op_values(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *value,
                               size_t heads) {
  if (!x || !value || tape->failed || !heads || value->rows != value->columns ||
      value->rows % heads || x->columns != heads * value->columns)
    return nx_tape_fail(tape, NX_E_INVALID, "values");
  size_t d = value->columns, e = d / heads;
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, d, "values");
  for (size_t h = 0; y && h < heads; h++)
    tape->kernels->gemm(tape->stream, 'N', 'T', x->rows, e, d, 1, x->value + h * d, heads * d,
                        value->value + h * e * d, d, 0, y->value + h * e, d);
  if (y)
    nx_tape_record(tape, "values", 0, values_backward, y, x, value, NULL);
  return y;
}
