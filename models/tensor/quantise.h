/* Quantise: matrices in few bits, for weights that do not train. Codes are packed row by row;
 * w[i, j] = level(code[i, j]) * scale.
 *
 *   int8  codes -127 .. 127, level(c) = c; one scale a row (an output channel): max |w| / 127
 *   nf4   4 bits, sixteen levels at quantiles of the normal distribution (QLoRA: Dettmers et al.
 *         2023, appendix E); one scale for 64 columns of a row: their max |w|. Of two columns the
 *         first is in the high half of the byte.
 *
 * Where a row's columns are a multiple of 64 the NF4 codes are those of bitsandbytes, whose
 * blocks run on over rows. Scales stay float32 (no double quantisation).
 *
 * The nearest level is taken, of two equally near the lower one for nf4 and the even one for
 * int8. IEEE arithmetic in one order: the same codes on every machine. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/plan_adapters.h"

#define NX_NF4_BLOCK 64

extern const float nx_nf4_levels[16]; /* ascending, -1 .. 1 */

/* "float32", "int8", "nf4" */
const char *nx_storage_name(enum nx_storage storage);

/* Bytes of a row's codes, and how many scales a row has. columns: even for nf4. */
static inline size_t nx_quantised_row_bytes(enum nx_storage storage, size_t columns) {
  return storage == NX_STORAGE_INT8 ? columns : columns / 2;
}
static inline size_t nx_quantised_row_scales(enum nx_storage storage, size_t columns) {
  return storage == NX_STORAGE_INT8 ? 1 : (columns + NX_NF4_BLOCK - 1) / NX_NF4_BLOCK;
}

/* codes_out[rows * row_bytes], scales_out[rows * row_scales]; w is finite. */
void nx_quantise(enum nx_storage storage, size_t rows, size_t columns, const float *w,
                 uint8_t *codes_out, float *scales_out);
/* And back: the reference that the backends' own are tested against. */
void nx_dequantise(enum nx_storage storage, size_t rows, size_t columns, const uint8_t *codes,
                   const float *scales, float *w_out);
