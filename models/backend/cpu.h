/* CPU: what the kernels beside the ops (ops/…_kernels.h) share. Each is written once, over
 * vectors of sixteen, and backend/cpu_kernels.c is compiled for several instruction sets, of
 * which cpu.c picks one. */
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "models/backend/backend.h"

#define NX_INLINE static inline __attribute__((always_inline))

/* One table for each instruction set cpu_kernels.c is compiled for. */
extern const struct nx_kernels nx_cpu_kernels_base;
extern const struct nx_kernels nx_cpu_kernels_v3; /* AVX2, FMA */
extern const struct nx_kernels nx_cpu_kernels_v4; /* AVX-512 */

/* y[rows, columns] = x[rows, columns] as bf16, rounded to nearest even, without gaps. NaN may
 * become infinite: both end the step. */
typedef void nx_cpu_to_bf16_fn(size_t rows, size_t columns, const nx_real *x, size_t ld,
                               uint16_t *y);
extern nx_cpu_to_bf16_fn *const nx_cpu_to_bf16_base, *const nx_cpu_to_bf16_v3,
                                                         *const nx_cpu_to_bf16_v4;

/* oneDNN's matrix product, in cpu.c; AVX2 has its own (backend/gemm_kernels.h). */
__typeof__(*((struct nx_kernels *)0)->gemm) nx_cpu_gemm;
__typeof__(*((struct nx_kernels *)0)->gemm_frozen) nx_cpu_gemm_frozen;
__typeof__(*((struct nx_kernels *)0)->stream_destroy) nx_cpu_stream_destroy;
__typeof__(*((struct nx_kernels *)0)->synchronize) nx_cpu_synchronize;
__typeof__(*((struct nx_kernels *)0)->set_precision) nx_cpu_set_precision;

#define NX_CPU_PANEL ((size_t)1 << 17) /* at least a row: plans keep columns below */

/* Blocks of backend/gemm_kernels.h: rows of the first factor by depth stay in the second cache,
 * depth by columns of the second in the third. */
#define NX_PACK_ROWS ((size_t)192)
#define NX_PACK_DEPTH ((size_t)352)
#define NX_PACK_COLUMNS ((size_t)2816)
#define NX_PACK_GAP ((size_t)16) /* behind each panel */
#define NX_PACK_FIRST (NX_PACK_ROWS * NX_PACK_DEPTH + NX_PACK_ROWS / 6 * NX_PACK_GAP)
#define NX_PACK                                                                                    \
  (NX_PACK_FIRST + NX_PACK_COLUMNS * NX_PACK_DEPTH + NX_PACK_COLUMNS / 16 * NX_PACK_GAP)

struct nx_stream {
  int threads; /* of the GEMM library */
  enum nx_precision precision;
  nx_cpu_to_bf16_fn *to_bf16;
  struct nx_cpu_halves {
    uint16_t *data;
    size_t room;
  } a, b;         /* bf16 copies of a product's factors; grow to the largest and stay */
  nx_real *panel; /* [NX_CPU_PANEL]: rows of a frozen matrix as numbers */
  nx_real *pack;  /* [NX_PACK]: blocks of both factors of a product */
};

#define NX_LANES 16
typedef nx_real nx_v16 __attribute__((vector_size(NX_LANES * sizeof(nx_real))));
typedef nx_real nx_v16_unaligned
    __attribute__((vector_size(NX_LANES * sizeof(nx_real)), aligned(sizeof(nx_real)), may_alias));

#define NX_LOAD(pointer) ((nx_v16) * (const nx_v16_unaligned *)(pointer))
#define NX_STORE(pointer, vector) (*(nx_v16_unaligned *)(pointer) = (vector))

NX_INLINE nx_real nx_sum16(const nx_v16 *v) {
  nx_real half[8], s = 0;
  for (int i = 0; i < 8; i++)
    half[i] = (*v)[i] + (*v)[i + 8];
  for (int i = 0; i < 4; i++)
    s += half[i] + half[i + 4];
  return s;
}

NX_INLINE nx_real nx_dot(size_t n, const nx_real *a, const nx_real *b) {
  nx_v16 sum = {0};
  nx_real rest = 0;
  size_t i = 0;
  for (; i + NX_LANES <= n; i += NX_LANES)
    sum += NX_LOAD(a + i) * NX_LOAD(b + i);
  for (; i < n; i++)
    rest += a[i] * b[i];
  return nx_sum16(&sum) + rest;
}

/* y += s x */
NX_INLINE void nx_axpy(size_t n, nx_real s, const nx_real *x, nx_real *y) {
  size_t i = 0;
  for (; i + NX_LANES <= n; i += NX_LANES)
    NX_STORE(y + i, NX_LOAD(y + i) + s * NX_LOAD(x + i));
  for (; i < n; i++)
    y[i] += s * x[i];
}

#ifdef NX_REAL_DOUBLE
NX_INLINE void nx_exp16(nx_v16 *x) {
  for (int i = 0; i < NX_LANES; i++)
    (*x)[i] = exp((*x)[i]);
}
NX_INLINE nx_real nx_exp1(nx_real x) {
  return exp(x);
}
#else
/* What one register holds: gcc takes comparisons of longer vectors apart, lane by lane. */
#ifdef __AVX512F__
#define NX_REGISTER 16
#else
#define NX_REGISTER 8
#endif
typedef float nx_register __attribute__((vector_size(NX_REGISTER * sizeof(float)), may_alias));
typedef int32_t nx_register_bits
    __attribute__((vector_size(NX_REGISTER * sizeof(int32_t)), may_alias));

/* e^x after Cody & Waite and Cephes' expf: 2^n times a polynomial over +-ln(2) / 2; relative
 * error below 2e-7. Outside of +-87 it stays at e^+-87. */
NX_INLINE void nx_exp_register(nx_register *x) {
  const nx_register high = (nx_register){0} + 87.0f, low = -high;
  const nx_register magic = (nx_register){0} + 12582912.0f;
  nx_register_bits above = *x > high, below = *x < low;
  nx_register v = (nx_register)((above & (nx_register_bits)high) | (below & (nx_register_bits)low) |
                                (~(above | below) & (nx_register_bits)*x));
  nx_register shifted = v * 1.44269504f + magic, n = shifted - magic;
  nx_register r = v - n * 0.693359375f - n * -2.12194440e-4f;
  nx_register p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  nx_register_bits exponent = ((nx_register_bits)shifted - (nx_register_bits)magic + 127) << 23;
  *x = p * (nx_register)exponent;
}
NX_INLINE void nx_exp16(nx_v16 *x) {
  for (int i = 0; i < NX_LANES / NX_REGISTER; i++)
    nx_exp_register((nx_register *)x + i);
}
NX_INLINE nx_real nx_exp1(nx_real x) {
  nx_v16 v = (nx_v16){0} + x;
  nx_exp16(&v);
  return v[0];
}
#endif

NX_INLINE void nx_max16(nx_v16 *a, const nx_v16 *b) {
#ifdef NX_REAL_DOUBLE
  for (int i = 0; i < NX_LANES; i++)
    (*a)[i] = (*a)[i] < (*b)[i] ? (*b)[i] : (*a)[i];
#else
  for (int i = 0; i < NX_LANES / NX_REGISTER; i++) {
    nx_register x = ((const nx_register *)a)[i], y = ((const nx_register *)b)[i];
    nx_register_bits smaller = x < y;
    ((nx_register *)a)[i] =
        (nx_register)((smaller & (nx_register_bits)y) | (~smaller & (nx_register_bits)x));
  }
#endif
}

NX_INLINE nx_real nx_largest16(const nx_v16 *v) {
  nx_real largest = (*v)[0];
  for (int i = 1; i < NX_LANES; i++)
    largest = (*v)[i] > largest ? (*v)[i] : largest;
  return largest;
}

/* Rows and vectors of a block whose sums stay in registers: 32 of 64 bytes with AVX-512, else 16
 * of 32 bytes, two to a vector of sixteen. */
#ifdef __AVX512F__
#define NX_BLOCK_ROWS 4
#define NX_BLOCK_VECTORS 2
#else
#define NX_BLOCK_ROWS 6
#define NX_BLOCK_VECTORS 1
#endif

/* Small matrices, where a call of the GEMM library costs more than the work:
 * c[m, n] (+)= a b with a[i, k] at a[i * a_row + k * a_column]. */
NX_INLINE void nx_small_block(size_t rows, size_t vectors, size_t k, const nx_real *a, size_t a_row,
                              size_t a_column, const nx_real *b, size_t ldb, nx_real *c, size_t ldc,
                              int acc) {
  nx_v16 sum[NX_BLOCK_ROWS][NX_BLOCK_VECTORS];
  for (size_t i = 0; i < rows; i++)
    for (size_t v = 0; v < vectors; v++)
      sum[i][v] = acc ? NX_LOAD(c + i * ldc + v * NX_LANES) : (nx_v16){0};
  for (size_t l = 0; l < k; l++) {
    nx_v16 line[NX_BLOCK_VECTORS];
    for (size_t v = 0; v < vectors; v++)
      line[v] = NX_LOAD(b + l * ldb + v * NX_LANES);
    for (size_t i = 0; i < rows; i++)
      for (size_t v = 0; v < vectors; v++)
        sum[i][v] += a[i * a_row + l * a_column] * line[v];
  }
  for (size_t i = 0; i < rows; i++)
    for (size_t v = 0; v < vectors; v++)
      NX_STORE(c + i * ldc + v * NX_LANES, sum[i][v]);
}

/* As many columns as `vectors` hold. */
NX_INLINE void nx_small_columns(size_t vectors, size_t m, size_t k, const nx_real *a, size_t a_row,
                                size_t a_column, const nx_real *b, size_t ldb, nx_real *c,
                                size_t ldc, int acc) {
  size_t i = 0;
  for (; i + NX_BLOCK_ROWS <= m; i += NX_BLOCK_ROWS)
    nx_small_block(NX_BLOCK_ROWS, vectors, k, a + i * a_row, a_row, a_column, b, ldb, c + i * ldc,
                   ldc, acc);
  for (; i + 2 <= m; i += 2)
    nx_small_block(2, vectors, k, a + i * a_row, a_row, a_column, b, ldb, c + i * ldc, ldc, acc);
  for (; i < m; i++)
    nx_small_block(1, vectors, k, a + i * a_row, a_row, a_column, b, ldb, c + i * ldc, ldc, acc);
}

NX_INLINE void nx_small_gemm(size_t m, size_t n, size_t k, const nx_real *a, size_t a_row,
                             size_t a_column, const nx_real *b, size_t ldb, nx_real *c, size_t ldc,
                             int acc) {
  size_t j = 0;
  for (; j + NX_BLOCK_VECTORS * NX_LANES <= n; j += NX_BLOCK_VECTORS * NX_LANES)
    nx_small_columns(NX_BLOCK_VECTORS, m, k, a, a_row, a_column, b + j, ldb, c + j, ldc, acc);
  for (; j + NX_LANES <= n; j += NX_LANES)
    nx_small_columns(1, m, k, a, a_row, a_column, b + j, ldb, c + j, ldc, acc);
  for (; j < n; j++)
    for (size_t i = 0; i < m; i++) {
      nx_real sum = acc ? c[i * ldc + j] : 0;
      for (size_t l = 0; l < k; l++)
        sum += a[i * a_row + l * a_column] * b[l * ldb + j];
      c[i * ldc + j] = sum;
    }
}
