#include "models/backend/cpu.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/size.h"

#ifndef NX_REAL_DOUBLE
#include <dnnl.h>

/* GNU OpenMP, which oneDNN works on. A stream is one thread: a federation's node must not
 * take the cores of the machine it is a guest on. */
extern void omp_set_num_threads(int n);

/* oneDNN exports this beside dnnl_sgemm() for its own tests, without a line in dnnl.h. */
extern dnnl_status_t dnnl_gemm_bf16bf16f32(char op_a, char op_b, dnnl_dim_t m, dnnl_dim_t n,
                                           dnnl_dim_t k, float alpha, const uint16_t *a,
                                           dnnl_dim_t lda, const uint16_t *b, dnnl_dim_t ldb,
                                           float beta, float *c, dnnl_dim_t ldc);

#define BF16_LEAST ((size_t)1 << 18) /* multiply-adds */
#endif

static int stream_create(struct nx_stream **stream_out, struct nx_error *err) {
  struct nx_stream *stream = calloc(1, sizeof *stream);
  if (!stream)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a stream");
  stream->threads = 1;
  stream->panel = aligned_alloc(64, NX_CPU_PANEL * sizeof *stream->panel);
  stream->pack = aligned_alloc(64, (NX_PACK * sizeof *stream->pack + 63) & ~(size_t)63);
  if (!stream->panel || !stream->pack) {
    nx_cpu_stream_destroy(stream);
    return nx_fail(err, NX_E_NOMEM, "out of memory for a stream");
  }
  *stream_out = stream;
  return 0;
}

void nx_cpu_stream_destroy(struct nx_stream *stream) {
  if (!stream)
    return;
  free(stream->a.data);
  free(stream->b.data);
  free(stream->panel);
  free(stream->pack);
  free(stream);
}

void nx_cpu_synchronize(struct nx_stream *stream) {
  (void)stream;
}

#ifdef NX_REAL_DOUBLE
void nx_cpu_gemm(struct nx_stream *stream, char op_a, char op_b, size_t m, size_t n, size_t k,
                 nx_real alpha, const nx_real *a, size_t lda, const nx_real *b, size_t ldb,
                 nx_real beta, nx_real *c, size_t ldc) {
  (void)stream;
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      nx_real sum = 0;
      for (size_t l = 0; l < k; l++)
        sum += (op_a == 'T' ? a[l * lda + i] : a[i * lda + l]) *
               (op_b == 'T' ? b[j * ldb + l] : b[l * ldb + j]);
      c[i * ldc + j] = alpha * sum + (beta != 0 ? beta * c[i * ldc + j] : 0);
    }
}

int nx_cpu_set_precision(struct nx_stream *stream, enum nx_precision precision,
                         struct nx_error *err) {
  (void)stream;
  return precision == NX_PRECISION_FULL
             ? 0
             : nx_fail(err, NX_E_UNSUPPORTED, "the reference computes in float64 only");
}
#else
int nx_cpu_set_precision(struct nx_stream *stream, enum nx_precision precision,
                         struct nx_error *err) {
#ifdef __x86_64__
  if (precision == NX_PRECISION_BF16 && !__builtin_cpu_supports("avx512bf16"))
#else
  if (precision == NX_PRECISION_BF16)
#endif
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "this processor has no bf16 instructions (AVX512-BF16): use float32");
  stream->precision = precision;
  stream->to_bf16 = nx_cpu_to_bf16_base;
#ifdef __x86_64__
  stream->to_bf16 = nx_cpu_to_bf16_v4; /* AVX512-BF16 comes with all of v4 */
#endif
  return 0;
}

/* NULL without memory. */
static uint16_t *halves_of(struct nx_stream *stream, struct nx_cpu_halves *halves, size_t rows,
                           size_t columns, const float *x, size_t ld) {
  if (halves->room < rows * columns) {
    free(halves->data);
    halves->data = aligned_alloc(64, (rows * columns * sizeof(uint16_t) + 63) & ~(size_t)63);
    halves->room = halves->data ? rows * columns : 0;
  }
  if (halves->data)
    stream->to_bf16(rows, columns, x, ld, halves->data);
  return halves->data;
}

/* True when done. Small products are not worth the conversion. */
static bool gemm_bf16(struct nx_stream *stream, char op_a, char op_b, size_t m, size_t n, size_t k,
                      float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                      float beta, float *c, size_t ldc) {
  size_t a_columns = op_a == 'T' ? m : k, b_columns = op_b == 'T' ? k : n;
  if (stream->precision != NX_PRECISION_BF16 || m * n * k < BF16_LEAST)
    return false;
  uint16_t *ha = halves_of(stream, &stream->a, op_a == 'T' ? k : m, a_columns, a, lda);
  uint16_t *hb = halves_of(stream, &stream->b, op_b == 'T' ? n : k, b_columns, b, ldb);
  return ha && hb &&
         dnnl_gemm_bf16bf16f32(op_a, op_b, (dnnl_dim_t)m, (dnnl_dim_t)n, (dnnl_dim_t)k, alpha, ha,
                               (dnnl_dim_t)a_columns, hb, (dnnl_dim_t)b_columns, beta, c,
                               (dnnl_dim_t)ldc) == dnnl_success;
}

void nx_cpu_gemm(struct nx_stream *stream, char op_a, char op_b, size_t m, size_t n, size_t k,
                 nx_real alpha, const nx_real *a, size_t lda, const nx_real *b, size_t ldb,
                 nx_real beta, nx_real *c, size_t ldc) {
  omp_set_num_threads(stream->threads); /* a setting of the calling thread */
  if (gemm_bf16(stream, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc))
    return;
  dnnl_sgemm(op_a, op_b, (dnnl_dim_t)m, (dnnl_dim_t)n, (dnnl_dim_t)k, alpha, a, (dnnl_dim_t)lda, b,
             (dnnl_dim_t)ldb, beta, c, (dnnl_dim_t)ldc);
}
#endif

static const struct nx_kernels *best_kernels(void) {
#if defined(__x86_64__) && !defined(NX_REAL_DOUBLE)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return &nx_cpu_kernels_v4;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2"))
    return &nx_cpu_kernels_v3;
#endif
  return &nx_cpu_kernels_base;
}

void nx_cpu_gemm_frozen(struct nx_stream *stream, char op_w, size_t m,
                        const struct nx_frozen_matrix *w, const nx_real *a, size_t lda,
                        nx_real beta, nx_real *c, size_t ldc) {
  const struct nx_kernels *kernels = best_kernels();
  size_t most = NX_CPU_PANEL / w->columns, n;
  assert(most > 0);
  for (size_t first = 0; first < w->rows; first += n) {
    n = NX_MIN(most, w->rows - first);
    kernels->dequantise(stream, w, first, n, stream->panel);
    if (op_w == 'T')
      kernels->gemm(stream, 'N', 'T', m, n, w->columns, 1, a, lda, stream->panel, w->columns, beta,
                    c + first, ldc);
    else
      kernels->gemm(stream, 'N', 'N', m, w->columns, n, 1, a + first, lda, stream->panel,
                    w->columns, first ? 1 : beta, c, ldc);
  }
}

const struct nx_backend *nx_backend_cpu(void) {
  static struct nx_backend cpu = {.name = "cpu", .stream_create = stream_create};
  cpu.kernels = best_kernels();
  return &cpu;
}
