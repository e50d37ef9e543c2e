/* Backend: where a tape's arithmetic happens. This table is the only seam through which
 * another device comes in: ops call nothing else for numbers.
 *
 * Work is submitted to a stream and done in order. The CPU does it before returning; a
 * device may return at once, then values are on the host only after synchronize(). All
 * matrices are row-major; x[r, c] of a matrix with leading dimension ld is x[r * ld + c].
 * "+=" arguments accumulate; `acc` = 1 accumulates and 0 overwrites. Pointers do not alias
 * unless said. Kernels never allocate from the heap once warm, and each gives the same bits
 * for the same arguments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/plan_adapters.h"
#include "common/rng.h"
#include "models/tensor/real.h"

/* What matrix products compute in; everything else, weights and gradients included, stays
 * nx_real. */
enum nx_precision { NX_PRECISION_FULL, NX_PRECISION_BF16 };

/* W[rows, columns] in few bits (models/tensor/quantise.h). */
struct nx_frozen_matrix {
  enum nx_storage storage; /* not float32 */
  size_t rows, columns;
  const void *codes;
  const float *scales;
};

struct nx_tape;
struct nx_stream; /* the backend's own: scratch memory, a device queue */

/* Multi-head attention over `batch` independent sets; head h of a row begins at column
 * h * head_width. */
struct nx_attention_shape {
  size_t batch, heads, head_width;
  size_t n_queries, n_keys;        /* rows of each set */
  size_t query_stride, key_stride; /* from one row to the next; values like keys */
  size_t output_stride;
  const uint32_t *limits; /* [n_queries]: keys that each query sees, or NULL for all */
};

/* Unifier: W windows, C channels, S patches, K = queries * heads score columns, width d. */
struct nx_unify_shape {
  size_t windows, channels, patches, columns, width;
};

/* One step of AdamW with its constants folded (models/optim/adamw.h). */
struct nx_adamw_factors {
  nx_real beta1, beta2, clip, keep, rate, root_correction, epsilon;
};

/* Keys of attention in whole vectors: what rows of its probabilities and scratch are long. */
static inline size_t nx_attention_padded(size_t n_keys) {
  return (n_keys + 15) / 16 * 16;
}

struct nx_kernels {
  void (*stream_destroy)(struct nx_stream *stream);
  void (*synchronize)(struct nx_stream *stream);
  /* 0, or NX_E_UNSUPPORTED where the processor has no instructions for it. */
  int (*set_precision)(struct nx_stream *stream, enum nx_precision precision, struct nx_error *err);

  /* C[m, n] = alpha op(A) op(B) + beta C, op by 'N' or 'T'. */
  void (*gemm)(struct nx_stream *stream, char op_a, char op_b, size_t m, size_t n, size_t k,
               nx_real alpha, const nx_real *a, size_t lda, const nx_real *b, size_t ldb,
               nx_real beta, nx_real *c, size_t ldc);

  /* ops/frozen.c: C[m, rows] = A[m, columns] W^T + beta C ('T'), or C[m, columns] =
   * A[m, rows] W + beta C ('N'), without a whole W in memory. */
  void (*gemm_frozen)(struct nx_stream *stream, char op_w, size_t m,
                      const struct nx_frozen_matrix *w, const nx_real *a, size_t lda, nx_real beta,
                      nx_real *c, size_t ldc);
  /* y[rows, w->columns] = rows of W from `first` on */
  void (*dequantise)(struct nx_stream *stream, const struct nx_frozen_matrix *w, size_t first,
                     size_t rows, nx_real *y);

  /* y = 0 */
  void (*clear)(struct nx_stream *stream, size_t n, nx_real *y);
  /* y += x */
  void (*add)(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y);
  /* y[r, :] = v for every row, and back: dv[:] += sum over rows of dy */
  void (*repeat_row)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *v,
                     nx_real *y);
  void (*sum_rows)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *dy,
                   nx_real *dv);
  /* y[r, :] += v[(r / inner) % count, :], and back: dv[(r / inner) % count, :] += dy[r, :] */
  void (*add_rows)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *v,
                   size_t count, size_t inner, nx_real *y);
  void (*add_rows_backward)(struct nx_stream *stream, size_t rows, size_t columns,
                            const nx_real *dy, size_t count, size_t inner, nx_real *dv);

  /* ops/rms_norm.c: gain and dgain may be NULL. inverse[rows] = 1 / rms. */
  void (*rms_norm)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                   const nx_real *gain, nx_real *y, nx_real *inverse);
  void (*rms_norm_backward)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                            const nx_real *gain, const nx_real *inverse, const nx_real *dy,
                            nx_real *dx, int acc, nx_real *dgain);

  /* ops/silu.c */
  void (*silu)(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y);
  void (*silu_backward)(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *dy,
                        nx_real *dx, int acc);
  /* ops/swiglu.c: x[rows, 2 f] = [u, v], y[rows, f] = silu(u) v */
  void (*swiglu)(struct nx_stream *stream, size_t rows, size_t f, const nx_real *x, nx_real *y);
  void (*swiglu_backward)(struct nx_stream *stream, size_t rows, size_t f, const nx_real *x,
                          const nx_real *dy, nx_real *dx, int acc);

  /* ops/gelu.c: x Phi(x) */
  void (*gelu)(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y);
  void (*gelu_backward)(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *dy,
                        nx_real *dx, int acc);
  /* ops/layer_norm.c: moments[rows, 2] = mean, 1 / deviation */
  void (*layer_norm)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                     const nx_real *gain, const nx_real *bias, nx_real *y, nx_real *moments);
  void (*layer_norm_backward)(struct nx_stream *stream, size_t rows, size_t columns,
                              const nx_real *x, const nx_real *gain, const nx_real *moments,
                              const nx_real *dy, nx_real *dx, int acc, nx_real *dgain,
                              nx_real *dbias);
  /* ops/unit_norm.c: inverse[rows] = 1 / |x| */
  void (*unit_norm)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                    nx_real *y, nx_real *inverse);
  void (*unit_norm_backward)(struct nx_stream *stream, size_t rows, size_t columns,
                             const nx_real *x, const nx_real *inverse, const nx_real *dy,
                             nx_real *dx, int acc);
  /* ops/gather.c: y[i, :] = x[rows[i], :], and back: dx[rows[i], :] += dy[i, :] */
  void (*gather)(struct nx_stream *stream, size_t n, size_t columns, const nx_real *x,
                 const uint32_t *rows, nx_real *y);
  void (*scatter_add)(struct nx_stream *stream, size_t n, size_t columns, const nx_real *dy,
                      const uint32_t *rows, nx_real *dx);

  /* ops/choose.c: y[r, :] = keep[r] ? x[r, :] : v, and back (dx, dv: added to, or NULL) */
  void (*choose)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                 const nx_real *v, const uint8_t *keep, nx_real *y);
  void (*choose_backward)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *dy,
                          const uint8_t *keep, nx_real *dx, nx_real *dv);
  /* ops/softmax.c: by row */
  void (*softmax)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                  nx_real *y);
  void (*softmax_backward)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *y,
                           const nx_real *dy, nx_real *dx, int acc);
  /* ops/mixture.c: y[rows[i], :] += p[rows[i] * ldp] x[i, :], and back; dx, dp may be NULL, dp is
   * added to. No row is named twice. */
  void (*mixture_add)(struct nx_stream *stream, size_t n, size_t columns, const nx_real *x,
                      const uint32_t *rows, const nx_real *p, size_t ldp, nx_real *y);
  void (*mixture_backward)(struct nx_stream *stream, size_t n, size_t columns, const nx_real *x,
                           const uint32_t *rows, const nx_real *p, size_t ldp, const nx_real *dy,
                           nx_real *dx, int acc, nx_real *dp);

  /* ops/dropout.c: mask = 0 or 1 / keep; y = x + f mask (x NULL: 0, mask NULL: 1). */
  void (*dropout_mask)(struct nx_stream *stream, size_t n, struct nx_rng *rng, double drop,
                       nx_real *mask);
  void (*masked_add)(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *f,
                     const nx_real *mask, nx_real *y);

  /* ops/rope.c: rotates `heads` heads from the start of each row of x, in place; row r has
   * position r % positions; direction 1 or, for gradients, -1. */
  void (*rotate)(struct nx_stream *stream, size_t rows, size_t stride, size_t heads,
                 size_t head_width, size_t positions, const nx_real *cosines, const nx_real *sines,
                 int direction, nx_real *x);

  /* ops/attention.c: probabilities[batch, heads, n_queries, n_keys rounded up to 16] are
   * saved for backward; scratch[(head_width + n_queries) * n_keys rounded up]. */
  void (*attention)(struct nx_stream *stream, const struct nx_attention_shape *shape,
                    const nx_real *q, const nx_real *k, const nx_real *v, nx_real *output,
                    nx_real *probabilities, nx_real *scratch);
  void (*attention_backward)(struct nx_stream *stream, const struct nx_attention_shape *shape,
                             const nx_real *q, const nx_real *k, const nx_real *v,
                             const nx_real *probabilities, const nx_real *doutput, nx_real *dq,
                             nx_real *dk, nx_real *dv, int acc, nx_real *scratch);

  /* ops/unify.c: scores[W, C, S, K] become probabilities over the visible channels in
   * place; pooled[W, S, K, d] = sum over channels of probability * h[W, C, S, d]. visible
   * [W, C, S] or NULL for all; without a visible channel pooled is 0. */
  void (*unify)(struct nx_stream *stream, const struct nx_unify_shape *shape, const nx_real *h,
                const uint8_t *visible, nx_real *scores, nx_real *pooled);
  /* dscores and dh are overwritten; scratch[K * d]. */
  void (*unify_backward)(struct nx_stream *stream, const struct nx_unify_shape *shape,
                         const nx_real *h, const nx_real *probabilities, const nx_real *dpooled,
                         nx_real *dscores, nx_real *dh, nx_real *scratch);

  /* ops/pool.c: weights[sets, n] = softmax(x h / sqrt(d)), y[sets, d] = weighted sum of x. */
  void (*pool)(struct nx_stream *stream, size_t sets, size_t n, size_t d, const nx_real *x,
               const nx_real *h, nx_real *weights, nx_real *y);
  void (*pool_backward)(struct nx_stream *stream, size_t sets, size_t n, size_t d, const nx_real *x,
                        const nx_real *h, const nx_real *weights, const nx_real *dy, nx_real *dx,
                        int acc, nx_real *dh);

  /* ops/loss.c: loss (one number) and its derivatives by the logits or predictions. */
  void (*cross_entropy)(struct nx_stream *stream, size_t n, const nx_real *logits,
                        const nx_real *targets, nx_real *loss, nx_real *dlogits);
  void (*square_error)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                       const nx_real *target, const uint8_t *skip, nx_real scale, nx_real *loss,
                       nx_real *dx);
  void (*class_entropy)(struct nx_stream *stream, size_t rows, size_t classes,
                        const nx_real *logits, const uint32_t *labels, nx_real *loss,
                        nx_real *dlogits);
  void (*poisson)(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                  const nx_real *counts, const uint8_t *skip, nx_real scale, nx_real *loss,
                  nx_real *dx);
  void (*half_dot)(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *y,
                   nx_real *loss);
  /* dx = s d, or += */
  void (*scale)(struct nx_stream *stream, size_t n, nx_real s, const nx_real *d, nx_real *dx,
                int acc);

  /* ops/inputs.c: no gradients. x[rows, n + f] = [patch, (spectrum - mean) / sd]. */
  void (*standardise)(struct nx_stream *stream, size_t rows, size_t n, const float *patch, size_t f,
                      const float *spectrum, const float *mean, const float *sd, nx_real *x);

  /* optim/adamw.c: sum of squares in double, and the step on n parameters. */
  double (*square_sum)(struct nx_stream *stream, size_t n, const nx_real *x);
  void (*adamw)(struct nx_stream *stream, const struct nx_adamw_factors *factors, size_t n,
                const nx_real *gradients, nx_real *m, nx_real *v, nx_real *p);
};

struct nx_backend {
  const char *name;
  const struct nx_kernels *kernels;
  int (*stream_create)(struct nx_stream **stream_out, struct nx_error *err);
  bool hollow; /* computes nothing: tapes take address space alone */
};

/* The processor this runs on; kernels are chosen by what it can do. Its stream belongs to one
 * thread. Loads nothing and allocates nothing before the first stream is made. */
const struct nx_backend *nx_backend_cpu(void);
/* No device: for finding out what a pass takes (backend/hollow.c). */
const struct nx_backend *nx_backend_hollow(void);
