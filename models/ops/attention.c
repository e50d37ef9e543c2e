#include "models/backend/cpu.h"
#include "models/ops/ops.h"

/* ---- Kernels ----
 * One (set, head) at a time: its keys, values and scores stay in the nearest cache. Score
 * rows are padded to whole vectors; padding holds zero probability. */

struct head {
  size_t nq, nk, padded, width, query_stride, key_stride, output_stride;
  const nx_real *q, *k, *v;
};

static struct head head_of(const struct nx_attention_shape *s, const nx_real *q, const nx_real *k,
                           const nx_real *v, size_t set, size_t h) {
  size_t query = set * s->n_queries * s->query_stride + h * s->head_width;
  size_t key = set * s->n_keys * s->key_stride + h * s->head_width;
  return (struct head){s->n_queries,    s->n_keys,     nx_padded(s->n_keys), s->head_width,
                       s->query_stride, s->key_stride, s->output_stride,     q + query,
                       k + key,         v + key};
}

/* t[width, padded] = x[n, width]^T, zero behind column n */
NX_INLINE void transpose(size_t n, size_t width, size_t padded, const nx_real *x, size_t stride,
                         nx_real *t) {
  for (size_t e = 0; e < width; e++) {
    for (size_t j = 0; j < n; j++)
      t[e * padded + j] = x[j * stride + e];
    for (size_t j = n; j < padded; j++)
      t[e * padded + j] = 0;
  }
}

/* In place over n of padded scores; the rest becomes 0. */
NX_INLINE void softmax_row(size_t n, size_t padded, nx_real scale, nx_real *x) {
  nx_real largest = x[0], sum = 0;
  for (size_t j = 1; j < n; j++)
    largest = x[j] > largest ? x[j] : largest;
  for (size_t j = 0; j < padded; j += NX_LANES) {
    nx_v16 e = (NX_LOAD(x + j) - largest) * scale;
    nx_exp16(&e);
    NX_STORE(x + j, e);
  }
  for (size_t j = n; j < padded; j++)
    x[j] = 0;
  for (size_t j = 0; j < n; j++)
    sum += x[j];
  nx_real inverse = 1 / sum;
  for (size_t j = 0; j < padded; j += NX_LANES)
    NX_STORE(x + j, NX_LOAD(x + j) * inverse);
}

NX_INLINE void forward_head(const struct head *a, nx_real scale, nx_real *keys, nx_real *p,
                            nx_real *output) {
  transpose(a->nk, a->width, a->padded, a->k, a->key_stride, keys);
  nx_small_gemm(a->nq, a->padded, a->width, a->q, a->query_stride, 1, keys, a->padded, p, a->padded,
                0);
  for (size_t i = 0; i < a->nq; i++)
    softmax_row(a->nk, a->padded, scale, p + i * a->padded);
  nx_small_gemm(a->nq, a->width, a->nk, p, a->padded, 1, a->v, a->key_stride, output,
                a->output_stride, 0);
}

NX_FAST void nx_cpu_attention(struct nx_stream *stream, const struct nx_attention_shape *s,
                              const nx_real *q, const nx_real *k, const nx_real *v, nx_real *output,
                              nx_real *probabilities, nx_real *scratch) {
  (void)stream;
  size_t padded = nx_padded(s->n_keys);
  nx_real scale = 1 / (nx_real)sqrt((double)s->head_width);
  for (size_t set = 0; set < s->batch; set++)
    for (size_t h = 0; h < s->heads; h++) {
      struct head a = head_of(s, q, k, v, set, h);
      forward_head(&a, scale, scratch, probabilities + (set * s->heads + h) * s->n_queries * padded,
                   output + set * s->n_queries * s->output_stride + h * s->head_width);
    }
}

/* From dP to dS, in place: dS = P (dP - sum(dP P)) scale. */
NX_INLINE void softmax_backward_row(size_t padded, nx_real scale, const nx_real *p, nx_real *d) {
  nx_real mean = nx_dot(padded, p, d);
  for (size_t j = 0; j < padded; j += NX_LANES)
    NX_STORE(d + j, NX_LOAD(p + j) * (NX_LOAD(d + j) - mean) * scale);
}

/* dq, dk, dv are those of this head; scratch holds width * padded + nq * padded. */
NX_INLINE void backward_head(const struct head *a, nx_real scale, const nx_real *p,
                             const nx_real *doutput, nx_real *scratch, nx_real *dq, nx_real *dk,
                             nx_real *dv, int acc) {
  nx_real *values = scratch, *ds = scratch + a->width * a->padded;
  nx_small_gemm(a->nk, a->width, a->nq, p, 1, a->padded, doutput, a->output_stride, dv,
                a->key_stride, acc);
  transpose(a->nk, a->width, a->padded, a->v, a->key_stride, values);
  nx_small_gemm(a->nq, a->padded, a->width, doutput, a->output_stride, 1, values, a->padded, ds,
                a->padded, 0);
  for (size_t i = 0; i < a->nq; i++)
    softmax_backward_row(a->padded, scale, p + i * a->padded, ds + i * a->padded);
  nx_small_gemm(a->nq, a->width, a->nk, ds, a->padded, 1, a->k, a->key_stride, dq, a->query_stride,
                acc);
  nx_small_gemm(a->nk, a->width, a->nq, ds, 1, a->padded, a->q, a->query_stride, dk, a->key_stride,
                acc);
}

NX_FAST void nx_cpu_attention_backward(struct nx_stream *stream, const struct nx_attention_shape *s,
                                       const nx_real *q, const nx_real *k, const nx_real *v,
                                       const nx_real *probabilities, const nx_real *doutput,
                                       nx_real *dq, nx_real *dk, nx_real *dv, int acc,
                                       nx_real *scratch) {
  (void)stream;
  size_t padded = nx_padded(s->n_keys);
  nx_real scale = 1 / (nx_real)sqrt((double)s->head_width);
  for (size_t set = 0; set < s->batch; set++)
    for (size_t h = 0; h < s->heads; h++) {
      struct head a = head_of(s, q, k, v, set, h);
      backward_head(&a, scale, probabilities + (set * s->heads + h) * s->n_queries * padded,
                    doutput + set * s->n_queries * s->output_stride + h * s->head_width, scratch,
                    dq + (a.q - q), dk + (a.k - k), dv + (a.v - v), acc);
    }
}

/* ---- Ops ---- */

struct saved {
  struct nx_attention_shape shape;
  nx_real *probabilities;
};

static nx_real *scratch_of(struct nx_tape *tape, const struct nx_attention_shape *s) {
  return nx_tape_memory(tape, (s->head_width + s->n_queries) * nx_padded(s->n_keys),
                        sizeof(nx_real), "attention");
}

static struct nx_tensor *attend(struct nx_tape *tape, const struct nx_attention_shape *s,
                                const nx_real *q, const nx_real *k, const nx_real *v,
                                nx_real **probabilities) {
  size_t padded = nx_padded(s->n_keys);
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
                                       size_t heads) {
  if (!qkv || tape->failed || !batch || qkv->rows % batch || !heads || qkv->columns % (3 * heads))
    return nx_tape_fail(tape, NX_E_INVALID, "self attention");
  size_t d = qkv->columns / 3, n = qkv->rows / batch;
  struct saved s = {.shape = {batch, heads, d / heads, n, n, 3 * d, 3 * d, d}};
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

/* The kernel has one `acc` for all three: each gradient is made ready to be added to. */
static nx_real *ready_gradient(struct nx_tape *tape, struct nx_tensor *x) {
  int acc;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (!x->wants_gradient)
    dx = nx_tape_memory(tape, x->rows * x->columns, sizeof *dx, "cross attention");
  else if (acc)
    return dx;
  if (dx)
    memset(dx, 0, x->rows * x->columns * sizeof *dx);
  return dx;
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
                                        size_t heads) {
  if (!q || !k || !v || tape->failed || !batch || !heads || q->rows % batch || k->rows % batch ||
      v->rows != k->rows || k->columns != q->columns || v->columns != q->columns ||
      q->columns % heads)
    return nx_tape_fail(tape, NX_E_INVALID, "cross attention");
  size_t d = q->columns;
  struct saved s = {.shape = {batch, heads, d / heads, q->rows / batch, k->rows / batch, d, d, d}};
  struct nx_tensor *y = attend(tape, &s.shape, q->value, k->value, v->value, &s.probabilities);
  if (!y)
    return NULL;
  struct saved *saved =
      nx_tape_record(tape, "cross attention", sizeof s, cross_backward, y, q, k, v);
  if (saved)
    *saved = s;
  return y;
}
