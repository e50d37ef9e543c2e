/* nx_op_linear() for weights that are kept in few bits, each with a low-rank adapter or without:
 * y = x W^T + s (x A^T) B^T. W itself has no gradient. */
#include "models/ops/frozen.h"

static size_t rank_of(const struct nx_frozen_part *part) {
  return part->a ? part->rank : 0;
}

static void low_backward(struct nx_tape *tape, const struct nx_frozen_part *part,
                         const struct nx_tensor *x, const nx_real *low, const nx_real *dy,
                         size_t ldy, nx_real *dx) {
  const struct nx_kernels *k = tape->kernels;
  size_t rows = x->rows, in = x->columns, rank = part->rank;
  nx_real s = part->scale;
  nx_real *dlow = nx_tape_memory(tape, rows * rank, sizeof *dlow, "adapters");
  if (!dlow)
    return;
  k->gemm(tape->stream, 'N', 'N', rows, rank, part->w.rows, s, dy, ldy, part->b, rank, 0, dlow,
          rank);
  if (dx)
    k->gemm(tape->stream, 'N', 'N', rows, in, rank, 1, dlow, rank, part->a, in, 1, dx, in);
  if (part->da)
    k->gemm(tape->stream, 'T', 'N', rank, in, rows, 1, dlow, rank, x->value, in, 1, part->da, in);
  if (part->db)
    k->gemm(tape->stream, 'T', 'N', part->w.rows, rank, rows, s, dy, ldy, low, rank, 1, part->db,
            rank);
}

static void backward(struct nx_tape *tape, const struct nx_node *node) {
  struct nx_tensor *x = node->inputs[0], *w = node->inputs[1];
  nx_real *const *low = node->saved; /* [R, rank] = x A^T of each part */
  const nx_real *dy = node->output->gradient;
  size_t out = w->rows;
  int acc = 0;
  nx_real *dx = nx_tensor_gradient(tape, x, &acc);
  for (size_t i = 0, first = 0; i < w->frozen->n; first += w->frozen->parts[i++].w.rows) {
    const struct nx_frozen_part *part = &w->frozen->parts[i];
    if (dx)
      tape->kernels->gemm_frozen(tape->stream, 'N', x->rows, &part->w, dy + first, out,
                                 acc || i ? 1 : 0, dx, x->columns);
    if (rank_of(part))
      low_backward(tape, part, x, low[i], dy + first, out, dx);
  }
}

static nx_real *low_forward(struct nx_tape *tape, const struct nx_frozen_part *part,
                            const struct nx_tensor *x, nx_real *y, size_t ldy) {
  const struct nx_kernels *k = tape->kernels;
  size_t rows = x->rows, rank = part->rank;
  nx_real *low = nx_tape_memory(tape, rows * rank, sizeof *low, "adapters");
  if (!low)
    return NULL;
  k->gemm(tape->stream, 'N', 'T', rows, rank, x->columns, 1, x->value, x->columns, part->a,
          x->columns, 0, low, rank);
  k->gemm(tape->stream, 'N', 'T', rows, part->w.rows, rank, part->scale, low, rank, part->b, rank,
          1, y, ldy);
  return low;
}

struct nx_tensor *nx_op_frozen_linear(struct nx_tape *tape, struct nx_tensor *x,
                                      struct nx_tensor *w) {
  const struct nx_frozen *frozen = w->frozen;
  struct nx_tensor *y = nx_tape_tensor(tape, x->rows, w->rows, "frozen linear");
  if (!y)
    return NULL;
  nx_real **saved =
      nx_tape_record(tape, "frozen linear", frozen->n * sizeof *saved, backward, y, x, w, NULL);
  for (size_t i = 0, first = 0; i < frozen->n; first += frozen->parts[i++].w.rows) {
    const struct nx_frozen_part *part = &frozen->parts[i];
    tape->kernels->gemm_frozen(tape->stream, 'T', x->rows, &part->w, x->value, x->columns, 0,
                               y->value + first, y->columns);
    nx_real *low = rank_of(part) ? low_forward(tape, part, x, y->value + first, y->columns) : NULL;
    if (saved)
      saved[i] = low;
  }
  return tape->failed ? NULL : y;
}
