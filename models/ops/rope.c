#include "models/ops/ops.h"

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
