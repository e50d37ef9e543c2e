#include "models/tensor/quantise.h"

#include <math.h>

#include "common/size.h"

/* create_normal_map() of bitsandbytes: quantiles of the normal distribution, eight at or above
 * zero and eight below it, divided by the largest (test-quantise recomputes them with scipy). */
const float nx_nf4_levels[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

const char *nx_storage_name(enum nx_storage storage) {
  return storage == NX_STORAGE_INT8 ? "int8" : storage == NX_STORAGE_NF4 ? "nf4" : "float32";
}

static float largest(const float *w, size_t n) {
  float most = 0;
  for (size_t i = 0; i < n; i++)
    most = fmaxf(most, fabsf(w[i]));
  return most;
}

static void row_to_int8(size_t columns, const float *w, uint8_t *codes, float *scale) {
  *scale = largest(w, columns) / 127;
  for (size_t j = 0; j < columns; j++) {
    float level = *scale > 0 ? rintf(w[j] / *scale) : 0;
    codes[j] = (uint8_t)(int8_t)fmaxf(-127, fminf(127, level)); /* a tiny scale may round down */
  }
}

/* The number of midpoints between levels that lie below x. */
static uint8_t nf4_code(float x) {
  uint8_t code = 0;
  while (code < 15 && (double)x > 0.5 * ((double)nx_nf4_levels[code] + nx_nf4_levels[code + 1]))
    code++;
  return code;
}

static void row_to_nf4(size_t columns, const float *w, uint8_t *codes, float *scales) {
  for (size_t first = 0; first < columns; first += NX_NF4_BLOCK, scales++) {
    size_t n = NX_MIN(NX_NF4_BLOCK, columns - first);
    *scales = largest(w + first, n);
    for (size_t j = first; j < first + n; j++) {
      uint8_t code = nf4_code(*scales > 0 ? w[j] / *scales : 0);
      codes[j / 2] = (uint8_t)(j % 2 ? codes[j / 2] | code : code << 4);
    }
  }
}

void nx_quantise(enum nx_storage storage, size_t rows, size_t columns, const float *w,
                 uint8_t *codes_out, float *scales_out) {
  for (size_t i = 0; i < rows; i++) {
    uint8_t *codes = codes_out + i * nx_quantised_row_bytes(storage, columns);
    float *scales = scales_out + i * nx_quantised_row_scales(storage, columns);
    if (storage == NX_STORAGE_INT8)
      row_to_int8(columns, w + i * columns, codes, scales);
    else
      row_to_nf4(columns, w + i * columns, codes, scales);
  }
}

void nx_dequantise(enum nx_storage storage, size_t rows, size_t columns, const uint8_t *codes,
                   const float *scales, float *w_out) {
  for (size_t i = 0; i < rows; i++, w_out += columns) {
    for (size_t j = 0; j < columns; j++)
      w_out[j] = storage == NX_STORAGE_INT8
                     ? (float)(int8_t)codes[j] * *scales
                     : nx_nf4_levels[j % 2 ? codes[j / 2] & 15 : codes[j / 2] >> 4] *
                           scales[j / NX_NF4_BLOCK];
    codes += nx_quantised_row_bytes(storage, columns);
    scales += nx_quantised_row_scales(storage, columns);
  }
}
