#include "models/ops/ops.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0], *gain = node->inputs[1];
  nx_real *const *inverse = node->saved;
  int acc = 0;
  nx_real *dgain = nx_tensor_gradient_to_add(tape, gain);
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (!tape->failed)
    tape->kernels->rms_norm_backward(tape->stream, x->rows, x->columns, x->value,
                                     gain ? gain->value : NULL, *inverse, node->output->gradient,
                                     dx, acc, dgain);
}

struct nx_tensor *nx_op_rms_norm(struct nx_tape *tape, struct nx_tensor *x,
                                 struct nx_tensor *gain) {
  if (!x || tape->failed || (gain && gain->columns != x->columns))
    return nx_tape_fail(tape, NX_E_INVALID, "rms norm");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns, "rms norm");
  nx_real *inverse = nx_tape_memory(tape, x->rows, sizeof *inverse, "rms norm");
  if (!y || !inverse)
    return NULL;
  tape->kernels->rms_norm(tape->stream, x->rows, x->columns, x->value, gain ? gain->value : NULL,
                          y->value, inverse);
  nx_real **saved = nx_tape_record(tape, "rms norm", sizeof *saved, backward, y, x, gain, NULL);
  if (saved)
    *saved = inverse;
  return y;
}
