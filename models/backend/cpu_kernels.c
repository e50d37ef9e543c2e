/* Every CPU kernel, for the instruction set this file is compiled for: NX_CPU_TABLE names the
 * table, NX_CPU_TO_BF16 the one function beside it. */
#include "models/backend/gemm_kernels.h"
#include "models/ops/add_rows_kernels.h"
#include "models/ops/attention_kernels.h"
#include "models/ops/choose_kernels.h"
#include "models/ops/dropout_kernels.h"
#include "models/ops/frozen_kernels.h"
#include "models/ops/gather_kernels.h"
#include "models/ops/gelu_kernels.h"
#include "models/ops/inputs_kernels.h"
#include "models/ops/layer_norm_kernels.h"
#include "models/ops/linear_kernels.h"
#include "models/ops/loss_kernels.h"
#include "models/ops/mixture_kernels.h"
#include "models/ops/pool_kernels.h"
#include "models/ops/rms_norm_kernels.h"
#include "models/ops/rope_kernels.h"
#include "models/ops/silu_kernels.h"
#include "models/ops/softmax_kernels.h"
#include "models/ops/unify_kernels.h"
#include "models/ops/unit_norm_kernels.h"
#include "models/optim/adamw_kernels.h"

const struct nx_kernels NX_CPU_TABLE = {
    .stream_destroy = nx_cpu_stream_destroy,
    .synchronize = nx_cpu_synchronize,
    .set_precision = nx_cpu_set_precision,
    .gemm = multiply,
    .gemm_frozen = nx_cpu_gemm_frozen,
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
    .scale = scale,
    .standardise = standardise,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .layer_norm = layer_norm,
    .layer_norm_backward = layer_norm_backward,
    .unit_norm = unit_norm,
    .unit_norm_backward = unit_norm_backward,
    .gather = gather,
    .scatter_add = scatter_add,
    .class_entropy = class_entropy,
    .poisson = poisson,
    .half_dot = half_dot,
    .choose = choose,
    .choose_backward = choose_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .mixture_add = mixture_add,
    .mixture_backward = mixture_backward,
    .square_sum = square_sum,
    .adamw = adamw,
};

static void to_bf16(size_t rows, size_t columns, const nx_real *x, size_t ld, uint16_t *y) {
  for (size_t r = 0; r < rows; r++, x += ld, y += columns)
    for (size_t c = 0; c < columns; c++) {
      float value = (float)x[c];
      uint32_t bits;
      memcpy(&bits, &value, sizeof bits);
      y[c] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

nx_cpu_to_bf16_fn *const NX_CPU_TO_BF16 = to_bf16;
