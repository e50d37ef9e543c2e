#include "models/ops/ops.h"

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0], *gain = node->inputs[1], *bias = node->inputs[2];
  nx_real *const *moments = node->saved;
  int acc = 0;
  nx_real *dgain = nx_tensor_gradient_to_add(tape, gain);
  nx_real *dbias = nx_tensor_gradient_to_add(tape, bias);
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  if (!tape->failed)
    tape->kernels->layer_norm_backward(tape->stream, x->rows, x->columns, x->value, gain->value,
                                       *moments, node->output->gradient, dx, acc, dgain, dbias);
}

struct nx_tensor *nx_op_layer_norm(struct nx_tape *tape, struct nx_tensor *x,
                                   struct nx_tensor *gain, struct nx_tensor *bias) {
  if (!x || !gain || !bias || tape->failed || gain->columns != x->columns ||
      bias->columns != x->columns)
    return nx_tape_fail(tape, NX_E_INVALID, "layer norm");
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, x->columns, "layer norm");
  nx_real *moments = nx_tape_memory(tape, 2 * x->rows, sizeof *moments, "layer norm");
  if (!y || !moments)
    return NULL;
  tape->kernels->layer_norm(tape->stream, x->rows, x->columns, x->value, gain->value, bias->value,
                            y->value, moments);
  nx_real **saved = nx_tape_record(tape, "layer norm", sizeof *saved, backward, y, x, gain, bias);
  if (saved)
    *saved = moments;
  return y;
}
