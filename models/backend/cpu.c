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

void nx_cpu_stream_destroy(struct nx_stream *stream) {
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
#else
void nx_cpu_gemm(struct nx_stream *stream, char op_a, char op_b, size_t m, size_t n, size_t k,
                 nx_real alpha, const nx_real *a, size_t lda, const nx_real *b, size_t ldb,
                 nx_real beta, nx_real *c, size_t ldc) {
  omp_set_num_threads(stream->threads); /* a setting of the calling thread */
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

const struct nx_backend *nx_backend_cpu(void) {
  static struct nx_backend cpu = {.name = "cpu", .stream_create = stream_create};
  cpu.kernels = best_kernels();
  return &cpu;
}
