#include "models/backend/cpu.h"
#include "models/ops/ops.h"

/* ---- Kernel ---- */

NX_FAST void nx_cpu_rotate(struct nx_stream *stream, size_t rows, size_t stride, size_t heads,
                           size_t head_width, size_t positions, const nx_real *cosines,
                           const nx_real *sines, int direction, nx_real *x) {
  (void)stream;
  size_t half = head_width / 2;
  nx_real sign = direction < 0 ? -1 : 1;
  for (size_t r = 0; r < rows; r++) {
    const nx_real *restrict c = cosines + r % positions * half;
    const nx_real *restrict s = sines + r % positions * half;
    for (size_t h = 0; h < heads; h++) {
      nx_real *restrict a = x + r * stride + h * head_width, *restrict b = a + half;
      for (size_t i = 0; i < half; i++) {
        nx_real u = a[i], v = b[i];
        a[i] = u * c[i] - sign * v * s[i];
        b[i] = sign * u * s[i] + v * c[i];
      }
    }
  }
}

/* ---- Op ---- */

struct saved {
  size_t heads, head_width, positions;
  const nx_real *cosines, *sines;
};

static void rotate(struct nx_tape *tape, const struct nx_tensor *x, const struct saved *s,
                   int direction, nx_real *values) {
  tape->kernels->rotate(tape->stream, x->rows, x->columns, s->heads, s->head_width, s->positions,
                        s->cosines, s->sines, direction, values);
}

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *y = node->output;
  rotate(tape, y, node->saved, -1, y->gradient);
  nx_tensor_pass_gradient(tape, y, node->inputs[0]);
}

struct nx_tensor *nx_op_rope(struct nx_tape *tape, struct nx_tensor *x, size_t heads,
                             size_t head_width, size_t positions, const nx_real *cosines,
                             const nx_real *sines) {
  struct saved s = {heads, head_width, positions, cosines, sines};
  if (!x || tape->failed || heads * head_width > x->columns || !positions || head_width % 2)
    return nx_tape_fail(tape, NX_E_INVALID, "rope");
  struct nx_tensor *y = nx_tape_take_over(tape, x, "rope");
  if (!y)
    return NULL;
  rotate(tape, y, &s, 1, y->value);
  struct saved *saved = nx_tape_record(tape, "rope", sizeof s, backward, y, x, NULL, NULL);
  if (saved)
    *saved = s;
  return y;
}
