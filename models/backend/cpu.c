#include "models/backend/cpu.h"

#include <stdlib.h>

#ifndef NX_REAL_DOUBLE
#include <dnnl.h>

/* GNU OpenMP, which oneDNN works on. A stream is one thread: a federation's node must not
 * take the cores of the machine it is a guest on. */
extern void omp_set_num_threads(int n);
#endif

static int stream_create(struct nx_stream **stream_out, struct nx_error *err) {
  struct nx_stream *stream = calloc(1, sizeof *stream);
  if (!stream)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a stream");
  stream->threads = 1;
  *stream_out = stream;
  return 0;
}

static void stream_destroy(struct nx_stream *stream) {
  free(stream);
}

static void synchronize(struct nx_stream *stream) {
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
#else
void nx_cpu_gemm(struct nx_stream *stream, char op_a, char op_b, size_t m, size_t n, size_t k,
                 nx_real alpha, const nx_real *a, size_t lda, const nx_real *b, size_t ldb,
                 nx_real beta, nx_real *c, size_t ldc) {
  omp_set_num_threads(stream->threads); /* a setting of the calling thread */
  dnnl_sgemm(op_a, op_b, (dnnl_dim_t)m, (dnnl_dim_t)n, (dnnl_dim_t)k, alpha, a, (dnnl_dim_t)lda, b,
             (dnnl_dim_t)ldb, beta, c, (dnnl_dim_t)ldc);
}
#endif

#define ENTRY(name) .name = nx_cpu_##name,
static const struct nx_kernels kernels = {
    .stream_destroy = stream_destroy, .synchronize = synchronize, NX_CPU_KERNELS(ENTRY)};

static const struct nx_backend cpu = {
    .name = "cpu", .kernels = &kernels, .stream_create = stream_create};

const struct nx_backend *nx_backend_cpu(void) {
  return &cpu;
}
