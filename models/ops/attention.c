#include "models/ops/ops.h"

struct saved {
  struct nx_attention_shape shape;
  nx_real *probabilities;
};

static nx_real *scratch_of(struct nx_tape *tape, const struct nx_attention_shape *s) {
  return nx_tape_memory(tape, (s->head_width + s->n_queries) * nx_attention_padded(s->n_keys),
                        sizeof(nx_real), "attention");
}

static bool limits_fit(const uint32_t *limits, size_t n_queries, size_t n_keys) {
  for (size_t i = 0; limits && i < n_queries; i++)
    if (limits[i] < 1 || limits[i] > n_keys)
      return false;
  return true;
}

static struct nx_tensor *attend(struct nx_tape *tape, const struct nx_attention_shape *s,
                                const nx_real *q, const nx_real *k, const nx_real *v,
                                nx_real **probabilities) {
  size_t padded = nx_attention_padded(s->n_keys);
  struct nx_tensor *y =
      nx_tape_tensor(tape, s->batch * s->n_queries, s->heads * s->head_width, "attention");
  *probabilities = nx_tape_memory(tape, s->batch * s->heads * s->n_queries * padded,
                                  sizeof **probabilities, "attention");
  nx_real *scratch = scratch_of(tape, s);
  if (!y || !*probabilities || !scratch)
    return NULL;
  tape->kernels->attention(tape->stream, s, q, k, v, y->value, *probabilities, scratch);
  return y;
}

static void self_backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0];
  const struct saved *s = node->saved;
  size_t d = x->columns / 3;
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc), *scratch = scratch_of(tape, &s->shape);
  if (dx && scratch)
    tape->kernels->attention_backward(tape->stream, &s->shape, x->value, x->value + d,
                                      x->value + 2 * d, s->probabilities, node->output->gradient,
                                      dx, dx + d, dx + 2 * d, acc, scratch);
}

struct nx_tensor *nx_op_self_attention(struct nx_tape *tape, struct nx_tensor *qkv, size_t batch,
                                       size_t heads, const uint32_t *limits) {
  if (!qkv || tape->failed || !batch || qkv->rows % batch || !heads || qkv->columns % (3 * heads) ||
      !limits_fit(limits, qkv->rows / batch, qkv->rows / batch))
    return nx_tape_fail(tape, NX_E_INVALID, "self attention");
  size_t d = qkv->columns / 3, n = qkv->rows / batch;
  struct saved s = {.shape = {batch, heads, d / heads, n, n, 3 * d, 3 * d, d, limits}};
  const nx_real *x = qkv->value;
  struct nx_tensor *y = attend(tape, &s.shape, x, x + d, x + 2 * d, &s.probabilities);
  if (!y)
    return NULL;
  struct saved *saved =
      nx_tape_record(tape, "self attention", sizeof s, self_backward, y, qkv, NULL, NULL);
  if (saved)
    *saved = s;
  return y;
}

/* The kernel has one `acc` for all three and computes all three: each gradient is made ready
 * to be added to, or is thrown away. */
static nx_real *ready_gradient(struct nx_tape *tape, struct nx_tensor *x) {
  if (x->wants_gradient)
    return nx_tensor_gradient_to_add(tape, x);
  nx_real *unwanted = nx_tape_memory(tape, x->rows * x->columns, sizeof *unwanted, "attention");
  if (unwanted)
    tape->kernels->clear(tape->stream, x->rows * x->columns, unwanted);
  return unwanted;
}

static void cross_backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *q = node->inputs[0], *k = node->inputs[1], *v = node->inputs[2];
  const struct saved *s = node->saved;
  nx_real *dq = ready_gradient(tape, q), *dk = ready_gradient(tape, k);
  nx_real *dv = ready_gradient(tape, v), *scratch = scratch_of(tape, &s->shape);
  if (!tape->failed)
    tape->kernels->attention_backward(tape->stream, &s->shape, q->value, k->value, v->value,
                                      s->probabilities, node->output->gradient, dq, dk, dv, 1,
                                      scratch);
}

struct nx_tensor *nx_op_cross_attention(struct nx_tape *tape, struct nx_tensor *q,
                                        struct nx_tensor *k, struct nx_tensor *v, size_t batch,
                                        size_t heads, const uint32_t *limits) {
  if (!q || !k || !v || tape->failed || !batch || !heads || q->rows % batch || k->rows % batch ||
      v->rows != k->rows || k->columns != q->columns || v->columns != q->columns ||
      q->columns % heads || !limits_fit(limits, q->rows / batch, k->rows / batch))
    return nx_tape_fail(tape, NX_E_INVALID, "cross attention");
  size_t d = q->columns;
  struct saved s = {
      .shape = {batch, heads, d / heads, q->rows / batch, k->rows / batch, d, d, d, limits}};
  struct nx_tensor *y = attend(tape, &s.shape, q->value, k->value, v->value, &s.probabilities);
  if (!y)
    return NULL;
  struct saved *saved =
      nx_tape_record(tape, "cross attention", sizeof s, cross_backward, y, q, k, v);
  if (saved)
    *saved = s;
  return y;
}
