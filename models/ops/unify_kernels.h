/* Kernels of unify.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include "models/backend/cpu.h"

/* What is one patch of one window: token c is at [c * patches] of what the pointers show. */
struct patch {
  size_t channels, columns, width, token, score; /* strides from channel to channel */
  size_t visible_stride;
};

static struct patch patch_of(const struct nx_unify_shape *s) {
  return (struct patch){
      s->channels, s->columns, s->width, s->patches * s->width, s->patches * s->columns,
      s->patches};
}

/* Softmax down the channels, column by column; hidden channels get 0. */
NX_INLINE void softmax_channels(const struct patch *p, const uint8_t *visible, nx_real *x) {
  for (size_t k = 0; k < p->columns; k++) {
    nx_real largest = -INFINITY, sum = 0;
    for (size_t c = 0; c < p->channels; c++)
      if (!visible || visible[c * p->visible_stride])
        largest = x[c * p->score + k] > largest ? x[c * p->score + k] : largest;
    for (size_t c = 0; c < p->channels; c++) {
      nx_real *e = x + c * p->score + k;
      *e = !visible || visible[c * p->visible_stride] ? nx_exp1(*e - largest) : 0;
      sum += *e;
    }
    for (size_t c = 0; c < p->channels; c++)
      x[c * p->score + k] *= sum > 0 ? 1 / sum : 0;
  }
}

/* The same for sixteen columns from k on at once. */
NX_INLINE void softmax_channels16(const struct patch *p, const uint8_t *visible, nx_real *x) {
  nx_v16 largest = (nx_v16){0} - (nx_real)1e30, sum = {0};
  for (size_t c = 0; c < p->channels; c++)
    if (!visible || visible[c * p->visible_stride]) {
      nx_v16 v = NX_LOAD(x + c * p->score);
      nx_max16(&largest, &v);
    }
  for (size_t c = 0; c < p->channels; c++) {
    nx_v16 e = {0};
    if (!visible || visible[c * p->visible_stride]) {
      e = NX_LOAD(x + c * p->score) - largest;
      nx_exp16(&e);
    }
    NX_STORE(x + c * p->score, e);
    sum += e;
  }
  sum = 1 / (sum + (nx_real)1e-30); /* 1 / 1e-30 * 0 where nothing is visible */
  for (size_t c = 0; c < p->channels; c++)
    NX_STORE(x + c * p->score, NX_LOAD(x + c * p->score) * sum);
}

static void unify(struct nx_stream *stream, const struct nx_unify_shape *s, const nx_real *h,
                  const uint8_t *visible, nx_real *scores, nx_real *pooled) {
  (void)stream;
  struct patch p = patch_of(s);
  for (size_t w = 0; w < s->windows; w++)
    for (size_t t = 0; t < s->patches; t++) {
      size_t first = w * s->channels * s->patches + t;
      const uint8_t *seen = visible ? visible + first : NULL;
      nx_real *x = scores + first * s->columns;
      struct patch rest = p;
      size_t k = 0;
      for (; k + NX_LANES <= s->columns; k += NX_LANES)
        softmax_channels16(&p, seen, x + k);
      rest.columns = s->columns - k;
      softmax_channels(&rest, seen, x + k);
      nx_small_gemm(s->columns, s->width, s->channels, x, 1, p.score, h + first * s->width, p.token,
                    pooled + (w * s->patches + t) * s->columns * s->width, s->width, 0);
    }
}

/* scratch[width, columns] = dpooled^T; dP = h dpooled^T, dS = P (dP - sum over channels). */
NX_INLINE void patch_backward(const struct patch *p, const nx_real *h, const nx_real *x,
                              const nx_real *dpooled, nx_real *scratch, nx_real *dscores,
                              nx_real *dh) {
  for (size_t i = 0; i < p->width; i++)
    for (size_t k = 0; k < p->columns; k++)
      scratch[i * p->columns + k] = dpooled[k * p->width + i];
  nx_small_gemm(p->channels, p->columns, p->width, h, p->token, 1, scratch, p->columns, dscores,
                p->score, 0);
  nx_small_gemm(p->channels, p->width, p->columns, x, p->score, 1, dpooled, p->width, dh, p->token,
                0);
  nx_real *restrict mean = scratch;
  memset(mean, 0, p->columns * sizeof *mean);
  for (size_t c = 0; c < p->channels; c++) {
    const nx_real *restrict a = x + c * p->score, *restrict d = dscores + c * p->score;
    for (size_t k = 0; k < p->columns; k++)
      mean[k] += a[k] * d[k];
  }
  for (size_t c = 0; c < p->channels; c++) {
    const nx_real *restrict a = x + c * p->score;
    nx_real *restrict d = dscores + c * p->score;
    for (size_t k = 0; k < p->columns; k++)
      d[k] = a[k] * (d[k] - mean[k]);
  }
}

static void unify_backward(struct nx_stream *stream, const struct nx_unify_shape *s,
                           const nx_real *h, const nx_real *probabilities, const nx_real *dpooled,
                           nx_real *dscores, nx_real *dh, nx_real *scratch) {
  struct patch p = patch_of(s);
  (void)stream;
  for (size_t w = 0; w < s->windows; w++)
    for (size_t t = 0; t < s->patches; t++) {
      size_t first = w * s->channels * s->patches + t;
      patch_backward(&p, h + first * s->width, probabilities + first * s->columns,
                     dpooled + (w * s->patches + t) * s->columns * s->width, scratch,
                     dscores + first * s->columns, dh + first * s->width);
    }
}
