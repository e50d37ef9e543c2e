/* Kernels of attention.c. One (set, head) at a time: its keys, values and scores stay in the
 * nearest cache. Score rows are padded to whole vectors; padding holds zero probability. Compiled
 * by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"
#include "models/backend/gemm_kernels.h"

/* Few keys of narrow heads are done here, many go to the GEMM library. */
#define LIBRARY_LEAST ((size_t)1 << 16) /* multiply-adds */

NX_INLINE void head_product(struct nx_stream *stream, size_t m, size_t n, size_t k,
                            const nx_real *a, size_t a_row, size_t a_column, const nx_real *b,
                            size_t ldb, nx_real *c, size_t ldc, int acc) {
  if (m * n * k < LIBRARY_LEAST)
    nx_small_gemm(m, n, k, a, a_row, a_column, b, ldb, c, ldc, acc);
  else
    multiply(stream, a_column == 1 ? 'N' : 'T', 'N', m, n, k, 1, a,
             a_column == 1 ? a_row : a_column, b, ldb, acc ? 1 : 0, c, ldc);
}

struct attention_head {
  size_t nq, nk, padded, width, query_stride, key_stride, output_stride;
  const nx_real *q, *k, *v;
  const uint32_t *limits;
};

static struct attention_head attention_head_of(const struct nx_attention_shape *s, const nx_real *q,
                                               const nx_real *k, const nx_real *v, size_t set,
                                               size_t h) {
  size_t query = set * s->n_queries * s->query_stride + h * s->head_width;
  size_t key = set * s->n_keys * s->key_stride + h * s->head_width;
  return (struct attention_head){s->n_queries,     s->n_keys,       nx_attention_padded(s->n_keys),
                                 s->head_width,    s->query_stride, s->key_stride,
                                 s->output_stride, q + query,       k + key,
                                 v + key,          s->limits};
}

/* t[width, padded] = x[n, width]^T, zero behind column n */
NX_INLINE void transpose_padded(size_t n, size_t width, size_t padded, const nx_real *x,
                                size_t stride, nx_real *t) {
  for (size_t e = 0; e < width; e++) {
    for (size_t j = 0; j < n; j++)
      t[e * padded + j] = x[j * stride + e];
    for (size_t j = n; j < padded; j++)
      t[e * padded + j] = 0;
  }
}

/* In place over n of padded scores; the rest becomes 0. */
NX_INLINE void softmax_row(size_t n, size_t padded, nx_real scale, nx_real *x) {
  for (size_t j = n; j < padded; j++)
    x[j] = x[0];
  nx_v16 most = NX_LOAD(x);
  nx_real sum = 0;
  for (size_t j = NX_LANES; j < padded; j += NX_LANES) {
    nx_v16 v = NX_LOAD(x + j);
    nx_max16(&most, &v);
  }
  nx_real largest = nx_largest16(&most);
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

NX_INLINE void forward_head(struct nx_stream *stream, const struct attention_head *a, nx_real scale,
                            nx_real *keys, nx_real *p, nx_real *output) {
  transpose_padded(a->nk, a->width, a->padded, a->k, a->key_stride, keys);
  head_product(stream, a->nq, a->padded, a->width, a->q, a->query_stride, 1, keys, a->padded, p,
               a->padded, 0);
  for (size_t i = 0; i < a->nq; i++)
    softmax_row(a->limits ? a->limits[i] : a->nk, a->padded, scale, p + i * a->padded);
  head_product(stream, a->nq, a->width, a->nk, p, a->padded, 1, a->v, a->key_stride, output,
               a->output_stride, 0);
}

static void attention(struct nx_stream *stream, const struct nx_attention_shape *s,
                      const nx_real *q, const nx_real *k, const nx_real *v, nx_real *output,
                      nx_real *probabilities, nx_real *scratch) {
  size_t padded = nx_attention_padded(s->n_keys);
  nx_real scale = 1 / (nx_real)sqrt((double)s->head_width);
  for (size_t set = 0; set < s->batch; set++)
    for (size_t h = 0; h < s->heads; h++) {
      struct attention_head a = attention_head_of(s, q, k, v, set, h);
      forward_head(stream, &a, scale, scratch,
                   probabilities + (set * s->heads + h) * s->n_queries * padded,
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
NX_INLINE void backward_head(struct nx_stream *stream, const struct attention_head *a,
                             nx_real scale, const nx_real *p, const nx_real *doutput,
                             nx_real *scratch, nx_real *dq, nx_real *dk, nx_real *dv, int acc) {
  nx_real *values = scratch, *ds = scratch + a->width * a->padded;
  head_product(stream, a->nk, a->width, a->nq, p, 1, a->padded, doutput, a->output_stride, dv,
               a->key_stride, acc);
  transpose_padded(a->nk, a->width, a->padded, a->v, a->key_stride, values);
  head_product(stream, a->nq, a->padded, a->width, doutput, a->output_stride, 1, values, a->padded,
               ds, a->padded, 0);
  for (size_t i = 0; i < a->nq; i++)
    softmax_backward_row(a->padded, scale, p + i * a->padded, ds + i * a->padded);
  head_product(stream, a->nq, a->width, a->nk, ds, a->padded, 1, a->k, a->key_stride, dq,
               a->query_stride, acc);
  head_product(stream, a->nk, a->width, a->nq, ds, 1, a->padded, a->q, a->query_stride, dk,
               a->key_stride, acc);
}

static void attention_backward(struct nx_stream *stream, const struct nx_attention_shape *s,
                               const nx_real *q, const nx_real *k, const nx_real *v,
                               const nx_real *probabilities, const nx_real *doutput, nx_real *dq,
                               nx_real *dk, nx_real *dv, int acc, nx_real *scratch) {
  size_t padded = nx_attention_padded(s->n_keys);
  nx_real scale = 1 / (nx_real)sqrt((double)s->head_width);
  for (size_t set = 0; set < s->batch; set++)
    for (size_t h = 0; h < s->heads; h++) {
      struct attention_head a = attention_head_of(s, q, k, v, set, h);
      backward_head(stream, &a, scale, probabilities + (set * s->heads + h) * s->n_queries * padded,
                    doutput + set * s->n_queries * s->output_stride + h * s->head_width, scratch,
                    dq + (a.q - q), dk + (a.k - k), dv + (a.v - v), acc);
    }
}
