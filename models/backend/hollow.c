/* Hollow: a backend that computes nothing. A pass over it takes the memory of a real one from its
 * tape's arena, which is hollow, too (common/arena.h): how much a step needs is found by taking
 * one, in milliseconds, without having it. No value means anything, but for the one that decides
 * sizes: which expert a row goes to. */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <stdlib.h>

#include "common/size.h"
#include "models/backend/backend.h"

struct nx_stream {
  char nothing;
};

static int stream_create(struct nx_stream **stream_out, struct nx_error *err) {
  *stream_out = calloc(1, sizeof **stream_out);
  return *stream_out ? 0 : nx_fail(err, NX_E_NOMEM, "out of memory for a stream");
}

static void stream_destroy(struct nx_stream *stream) {
  free(stream);
}

static void synchronize(struct nx_stream *stream) {
}

static int set_precision(struct nx_stream *stream, enum nx_precision precision,
                         struct nx_error *err) {
  return 0;
}

/* Rows go to column after column in unlike numbers (1 : 3 : 5 …): what one expert gives back does
 * then not fit the next, which is the worst there can be. */
static void softmax(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                    nx_real *y) {
  for (size_t r = 0, column = 0; r < rows; r++) {
    while (column + 1 < columns && r * columns * columns >= (column + 1) * (column + 1) * rows)
      column++;
    for (size_t c = 0; c < columns; c++)
      y[r * columns + c] = c == column;
  }
}

static double square_sum(struct nx_stream *stream, size_t n, const nx_real *x) {
  return 0;
}

/* What is left of each of the others. */
static void gemm(struct nx_stream *stream, char op_a, char op_b, size_t m, size_t n, size_t k,
                 nx_real alpha, const nx_real *a, size_t lda, const nx_real *b, size_t ldb,
                 nx_real beta, nx_real *c, size_t ldc) {
}
static void gemm_frozen(struct nx_stream *stream, char op_w, size_t m,
                        const struct nx_frozen_matrix *w, const nx_real *a, size_t lda,
                        nx_real beta, nx_real *c, size_t ldc) {
}
static void dequantise(struct nx_stream *stream, const struct nx_frozen_matrix *w, size_t first,
                       size_t rows, nx_real *y) {
}
static void clear(struct nx_stream *stream, size_t n, nx_real *y) {
}
static void add(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y) {
}
static void repeat_row(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *v,
                       nx_real *y) {
}
static void sum_rows(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *dy,
                     nx_real *dv) {
}
static void add_rows(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *v,
                     size_t count, size_t inner, nx_real *y) {
}
static void add_rows_backward(struct nx_stream *stream, size_t rows, size_t columns,
                              const nx_real *dy, size_t count, size_t inner, nx_real *dv) {
}
static void rms_norm(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                     const nx_real *gain, nx_real *y, nx_real *inverse) {
}
static void rms_norm_backward(struct nx_stream *stream, size_t rows, size_t columns,
                              const nx_real *x, const nx_real *gain, const nx_real *inverse,
                              const nx_real *dy, nx_real *dx, int acc, nx_real *dgain) {
}
static void silu(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y) {
}
static void silu_backward(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *dy,
                          nx_real *dx, int acc) {
}
static void swiglu(struct nx_stream *stream, size_t rows, size_t f, const nx_real *x, nx_real *y) {
}
static void swiglu_backward(struct nx_stream *stream, size_t rows, size_t f, const nx_real *x,
                            const nx_real *dy, nx_real *dx, int acc) {
}
static void gelu(struct nx_stream *stream, size_t n, const nx_real *x, nx_real *y) {
}
static void gelu_backward(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *dy,
                          nx_real *dx, int acc) {
}
static void layer_norm(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                       const nx_real *gain, const nx_real *bias, nx_real *y, nx_real *moments) {
}
static void layer_norm_backward(struct nx_stream *stream, size_t rows, size_t columns,
                                const nx_real *x, const nx_real *gain, const nx_real *moments,
                                const nx_real *dy, nx_real *dx, int acc, nx_real *dgain,
                                nx_real *dbias) {
}
static void unit_norm(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                      nx_real *y, nx_real *inverse) {
}
static void unit_norm_backward(struct nx_stream *stream, size_t rows, size_t columns,
                               const nx_real *x, const nx_real *inverse, const nx_real *dy,
                               nx_real *dx, int acc) {
}
static void gather(struct nx_stream *stream, size_t n, size_t columns, const nx_real *x,
                   const uint32_t *rows, nx_real *y) {
}
static void scatter_add(struct nx_stream *stream, size_t n, size_t columns, const nx_real *dy,
                        const uint32_t *rows, nx_real *dx) {
}
static void choose(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                   const nx_real *v, const uint8_t *keep, nx_real *y) {
}
static void choose_backward(struct nx_stream *stream, size_t rows, size_t columns,
                            const nx_real *dy, const uint8_t *keep, nx_real *dx, nx_real *dv) {
}
static void softmax_backward(struct nx_stream *stream, size_t rows, size_t columns,
                             const nx_real *y, const nx_real *dy, nx_real *dx, int acc) {
}
static void mixture_add(struct nx_stream *stream, size_t n, size_t columns, const nx_real *x,
                        const uint32_t *rows, const nx_real *p, size_t ldp, nx_real *y) {
}
static void mixture_backward(struct nx_stream *stream, size_t n, size_t columns, const nx_real *x,
                             const uint32_t *rows, const nx_real *p, size_t ldp, const nx_real *dy,
                             nx_real *dx, int acc, nx_real *dp) {
}
static void dropout_mask(struct nx_stream *stream, size_t n, struct nx_rng *rng, double drop,
                         nx_real *mask) {
}
static void masked_add(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *f,
                       const nx_real *mask, nx_real *y) {
}
static void rotate(struct nx_stream *stream, size_t rows, size_t stride, size_t heads,
                   size_t head_width, size_t positions, const nx_real *cosines,
                   const nx_real *sines, int direction, nx_real *x) {
}
static void attention(struct nx_stream *stream, const struct nx_attention_shape *shape,
                      const nx_real *q, const nx_real *k, const nx_real *v, nx_real *output,
                      nx_real *probabilities, nx_real *scratch) {
}
static void attention_backward(struct nx_stream *stream, const struct nx_attention_shape *shape,
                               const nx_real *q, const nx_real *k, const nx_real *v,
                               const nx_real *probabilities, const nx_real *doutput, nx_real *dq,
                               nx_real *dk, nx_real *dv, int acc, nx_real *scratch) {
}
static void unify(struct nx_stream *stream, const struct nx_unify_shape *shape, const nx_real *h,
                  const uint8_t *visible, nx_real *scores, nx_real *pooled) {
}
static void unify_backward(struct nx_stream *stream, const struct nx_unify_shape *shape,
                           const nx_real *h, const nx_real *probabilities, const nx_real *dpooled,
                           nx_real *dscores, nx_real *dh, nx_real *scratch) {
}
static void pool(struct nx_stream *stream, size_t sets, size_t n, size_t d, const nx_real *x,
                 const nx_real *h, nx_real *weights, nx_real *y) {
}
static void pool_backward(struct nx_stream *stream, size_t sets, size_t n, size_t d,
                          const nx_real *x, const nx_real *h, const nx_real *weights,
                          const nx_real *dy, nx_real *dx, int acc, nx_real *dh) {
}
static void cross_entropy(struct nx_stream *stream, size_t n, const nx_real *logits,
                          const nx_real *targets, nx_real *loss, nx_real *dlogits) {
}
static void square_error(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                         const nx_real *target, const uint8_t *skip, nx_real scale, nx_real *loss,
                         nx_real *dx) {
}
static void class_entropy(struct nx_stream *stream, size_t rows, size_t classes,
                          const nx_real *logits, const uint32_t *labels, nx_real *loss,
                          nx_real *dlogits) {
}
static void poisson(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                    const nx_real *counts, const uint8_t *skip, nx_real scale, nx_real *loss,
                    nx_real *dx) {
}
static void half_dot(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *y,
                     nx_real *loss) {
}
static void scale(struct nx_stream *stream, size_t n, nx_real s, const nx_real *d, nx_real *dx,
                  int acc) {
}
static void standardise(struct nx_stream *stream, size_t rows, size_t n, const float *patch,
                        size_t f, const float *spectrum, const float *mean, const float *sd,
                        nx_real *x) {
}
static void adamw(struct nx_stream *stream, const struct nx_adamw_factors *factors, size_t n,
                  const nx_real *gradients, nx_real *m, nx_real *v, nx_real *p) {
}

static const struct nx_kernels hollow = {
    .stream_destroy = stream_destroy,
    .synchronize = synchronize,
    .set_precision = set_precision,
    .gemm = gemm,
    .gemm_frozen = gemm_frozen,
    .dequantise = dequantise,
    .clear = clear,
    .add = add,
    .repeat_row = repeat_row,
    .sum_rows = sum_rows,
    .add_rows = add_rows,
    .add_rows_backward = add_rows_backward,
    .rms_norm = rms_norm,
    .rms_norm_backward = rms_norm_backward,
    .silu = silu,
    .silu_backward = silu_backward,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .layer_norm = layer_norm,
    .layer_norm_backward = layer_norm_backward,
    .unit_norm = unit_norm,
    .unit_norm_backward = unit_norm_backward,
    .gather = gather,
    .scatter_add = scatter_add,
    .choose = choose,
    .choose_backward = choose_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .mixture_add = mixture_add,
    .mixture_backward = mixture_backward,
    .dropout_mask = dropout_mask,
    .masked_add = masked_add,
    .rotate = rotate,
    .attention = attention,
    .attention_backward = attention_backward,
    .unify = unify,
    .unify_backward = unify_backward,
    .pool = pool,
    .pool_backward = pool_backward,
    .cross_entropy = cross_entropy,
    .square_error = square_error,
    .class_entropy = class_entropy,
    .poisson = poisson,
    .half_dot = half_dot,
    .scale = scale,
    .standardise = standardise,
    .square_sum = square_sum,
    .adamw = adamw,
};

const struct nx_backend *nx_backend_hollow(void) {
  static const struct nx_backend backend = {
      .name = "hollow", .kernels = &hollow, .stream_create = stream_create, .hollow = true};
  return &backend;
}
