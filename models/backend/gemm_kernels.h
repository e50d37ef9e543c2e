/* Matrix products for AVX2: what oneDNN does, without its allocations, with factors that are read
 * transposed at full speed (weights' gradients), and no slower at any shape of a training step
 * (docs/models.md). AVX-512 and plain x86-64 keep oneDNN's. Compiled by backend/cpu_kernels.c.
 *
 * After Goto & van de Geijn (2008) and BLIS: blocks of both factors are packed to be read in
 * order, the second into panels of sixteen columns that stay in the third cache and, one at a
 * time, in the first; the first into panels of six rows that stay in the second. Six times
 * sixteen sums stay in registers. */
#pragma once

#include <assert.h>

#include "models/backend/cpu.h"

#if defined(__AVX2__) && !defined(__AVX512F__) && !defined(NX_REAL_DOUBLE)

#define GEMM_ROWS 6 /* of a tile */
#define GEMM_COLUMNS 16
_Static_assert(NX_PACK_ROWS % GEMM_ROWS == 0 && NX_PACK_COLUMNS % GEMM_COLUMNS == 0, "whole tiles");

typedef float v8 __attribute__((vector_size(32)));
typedef float v8_unaligned __attribute__((vector_size(32), aligned(4), may_alias));

#define LOAD8(pointer) ((v8) * (const v8_unaligned *)(pointer))
#define STORE8(pointer, vector) (*(v8_unaligned *)(pointer) = (vector))

NX_INLINE void transpose8(v8 r[8]) {
  v8 pairs[8], fours[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; j++) {
      v8 a = pairs[i + j], b = pairs[i + 2 + j];
      fours[i + 2 * j] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
      fours[i + 2 * j + 1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; i++) {
    r[i] = __builtin_shufflevector(fours[i], fours[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = __builtin_shufflevector(fours[i], fours[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

/* From one panel to the next: not a multiple of what the first cache repeats after. */
NX_INLINE size_t panel_size(size_t k, size_t width) {
  return k * width + NX_PACK_GAP;
}

/* to[panel][k][width]: panels of n columns of x[k][ldx]; zeros behind the last. */
NX_INLINE void pack_as_is(size_t k, size_t n, size_t width, const float *x, size_t ldx, float *to) {
  size_t step = panel_size(k, width), whole = n / width * width;
  for (size_t l = 0; l < k; l++, x += ldx, to += width) {
    float *line = to;
    for (size_t first = 0; first < whole; first += width, line += step) {
      __builtin_prefetch(x + 4 * ldx + first);
      memcpy(line, x + first, width * sizeof *line);
    }
    for (size_t i = 0; whole < n && i < width; i++)
      line[i] = whole + i < n ? x[whole + i] : 0;
  }
}

/* One of the same panels from `here` rows of x[..][ldx]. Writes up to eight floats behind it. */
NX_INLINE void pack_transposed(size_t k, size_t here, size_t width, const float *x, size_t ldx,
                               float *to) {
  size_t l = 0;
  if (here == width)
    for (; l + 8 <= k; l += 8)
      for (size_t first = 0; first < width; first += 8) {
        v8 r[8];
        for (size_t i = 0; i < 8; i++) {
          r[i] = first + i < width ? LOAD8(x + (first + i) * ldx + l) : (v8){0};
          __builtin_prefetch(x + (first + i + width) * ldx + l);
        }
        transpose8(r);
        for (size_t i = 0; i < 8; i++)
          STORE8(to + (l + i) * width + first, r[i]);
      }
  for (; l < k; l++)
    for (size_t i = 0; i < width; i++)
      to[l * width + i] = i < here ? x[i * ldx + l] : 0;
}

/* All panels of a block whose n rows or columns they divide. */
NX_INLINE void pack(int as_is, size_t k, size_t n, size_t width, const float *x, size_t ldx,
                    float *to) {
  if (as_is)
    pack_as_is(k, n, width, x, ldx, to);
  else
    for (size_t first = 0; first < n; first += width, to += panel_size(k, width))
      pack_transposed(k, n - first < width ? n - first : width, width, x + first * ldx, ldx, to);
}

struct gemm_out {
  float alpha, beta;
  int adds; /* beta is not 0 */
  size_t ldc;
};

/* sum[rows] = a b of two panels, k >= 1. Thirteen to fifteen of sixteen registers: nothing else,
 * no constant either, may live across the loop, or gcc keeps a sum in memory. */
NX_INLINE void gemm_sums(size_t rows, size_t k, const float *restrict a, const float *restrict b,
                         v8 sum[GEMM_ROWS][2]) {
  v8 left = LOAD8(b), right = LOAD8(b + 8);
  for (size_t i = 0; i < rows; i++) {
    sum[i][0] = a[i] * left;
    sum[i][1] = a[i] * right;
  }
#pragma GCC unroll 4
  for (size_t l = 1; l < k; l++) {
    left = LOAD8(b + l * GEMM_COLUMNS);
    right = LOAD8(b + l * GEMM_COLUMNS + 8);
    for (size_t i = 0; i < rows; i++) {
      float each = a[l * GEMM_ROWS + i];
      sum[i][0] += each * left;
      sum[i][1] += each * right;
    }
  }
  __asm__ volatile("" ::: "memory"); /* alpha and beta are read after it */
}

/* c[rows, 16] = alpha a b + beta c of two panels. */
NX_INLINE void gemm_rows(size_t rows, size_t k, const float *a, const float *b,
                         const struct gemm_out *to, float *c) {
  v8 sum[GEMM_ROWS][2];
  for (size_t i = 0; i < rows; i++) {
    __builtin_prefetch(c + i * to->ldc, 1);
    __builtin_prefetch(c + i * to->ldc + GEMM_COLUMNS - 1, 1);
  }
  gemm_sums(rows, k, a, b, sum);
#pragma GCC unroll 6
  for (size_t i = 0; i < rows; i++, c += to->ldc) {
    v8 left = to->alpha * sum[i][0], right = to->alpha * sum[i][1];
    STORE8(c, to->adds ? left + to->beta * LOAD8(c) : left);
    STORE8(c + 8, to->adds ? right + to->beta * LOAD8(c + 8) : right);
  }
}

static void gemm_tile(size_t rows, size_t k, const float *a, const float *b,
                      const struct gemm_out *to, float *c) {
  switch (rows) {
  case 1:
    gemm_rows(1, k, a, b, to, c);
    break;
  case 2:
    gemm_rows(2, k, a, b, to, c);
    break;
  case 3:
    gemm_rows(3, k, a, b, to, c);
    break;
  case 4:
    gemm_rows(4, k, a, b, to, c);
    break;
  case 5:
    gemm_rows(5, k, a, b, to, c);
    break;
  default:
    gemm_rows(GEMM_ROWS, k, a, b, to, c);
  }
}

/* The last columns of c, fewer than a panel has. */
static void gemm_edge(size_t rows, size_t columns, size_t k, const float *a, const float *b,
                      const struct gemm_out *to, float *c) {
  float tile[GEMM_ROWS * GEMM_COLUMNS];
  const struct gemm_out aside = {to->alpha, 0, 0, GEMM_COLUMNS};
  gemm_tile(rows, k, a, b, &aside, tile);
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j++) {
      float *to_here = c + i * to->ldc + j, value = tile[i * GEMM_COLUMNS + j];
      *to_here = to->adds ? value + to->beta * *to_here : value;
    }
}

/* One panel of columns against all rows of a block. */
static void gemm_panel(size_t m, size_t columns, size_t k, const float *a, const float *b,
                       const struct gemm_out *to, float *c) {
  size_t step = panel_size(k, GEMM_ROWS);
  for (size_t i = 0; i < m; i += GEMM_ROWS, a += step, c += GEMM_ROWS * to->ldc) {
    size_t rows = m - i < GEMM_ROWS ? m - i : GEMM_ROWS;
    if (columns == GEMM_COLUMNS)
      gemm_tile(rows, k, a, b, to, c);
    else
      gemm_edge(rows, columns, k, a, b, to, c);
  }
}

/* Blocks of a sum as even as they can be: a short last one would cost a pass over c. */
NX_INLINE size_t gemm_depth(size_t k) {
  size_t parts = (k + NX_PACK_DEPTH - 1) / NX_PACK_DEPTH, each = (k + parts - 1) / parts;
  return (each + 7) / 8 * 8;
}

static void multiply(struct nx_stream *stream, char op_a, char op_b, size_t m, size_t n, size_t k,
                     float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                     float beta, float *c, size_t ldc) {
  assert(k > 0);
  size_t depth = gemm_depth(k), mm, nn, kk;
  float *rows = stream->pack, *columns = rows + NX_PACK_FIRST;
  for (size_t j = 0; j < n; j += nn) {
    nn = n - j < NX_PACK_COLUMNS ? n - j : NX_PACK_COLUMNS;
    for (size_t l = 0; l < k; l += kk) {
      kk = k - l < depth ? k - l : depth;
      struct gemm_out to = {alpha, l ? 1 : beta, l || beta != 0, ldc};
      pack(op_b == 'N', kk, nn, GEMM_COLUMNS, op_b == 'N' ? b + l * ldb + j : b + j * ldb + l, ldb,
           columns);
      for (size_t i = 0; i < m; i += mm) {
        mm = m - i < NX_PACK_ROWS ? m - i : NX_PACK_ROWS;
        pack(op_a == 'T', kk, mm, GEMM_ROWS, op_a == 'T' ? a + l * lda + i : a + i * lda + l, lda,
             rows);
        for (size_t p = 0; p < nn; p += GEMM_COLUMNS)
          gemm_panel(mm, nn - p < GEMM_COLUMNS ? nn - p : GEMM_COLUMNS, kk, rows,
                     columns + p / GEMM_COLUMNS * panel_size(kk, GEMM_COLUMNS), &to,
                     c + i * ldc + j + p);
      }
    }
  }
}

#else
#define multiply nx_cpu_gemm
#endif
