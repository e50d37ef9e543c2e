/* Tape: reverse-mode automatic differentiation. A network is written once, as its forward
 * pass over tensors; every op computes its value at once and leaves a node; backward walks
 * the nodes from the last to the first.
 *
 *     begin ─► parameters, constants ─► ops … ─► loss ─► backward ─► gradients of parameters
 *
 * Tensors are row-major matrices [rows, columns]; what rows stand for, (window, patch,
 * query) say, is an argument of the ops that care. Everything of a step lives in one arena
 * that the next nx_tape_begin() forgets: after a few steps of equal size none of this
 * allocates. Backward gives the values and gradients it is done with to the gradients still
 * to come, so a step needs little more memory than its forward pass.
 *
 * Errors stick: an op on NULL tensors, of shapes that do not fit or without memory returns
 * NULL and marks the tape, so that a forward pass reads as mathematics and is checked once,
 * by nx_tape_check(). A tape belongs to one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"
#include "common/rng.h"
#include "models/backend/backend.h"
#include "models/tensor/real.h"

struct nx_frozen; /* models/ops/frozen.h */

struct nx_tensor {
  size_t rows, columns;
  nx_real *value;
  nx_real *gradient; /* NULL until backward first needs it; parameters bring their own */
  bool wants_gradient;
  bool has_gradient; /* something has been written to it */
  const struct nx_frozen
      *frozen; /* a weight in few bits: value is NULL, only nx_op_linear() reads it */
};

#define NX_NODE_INPUTS 4

struct nx_node {
  struct nx_node *previous;
  void (*backward)(struct nx_tape *tape, const struct nx_node *node);
  struct nx_tensor *output;
  struct nx_tensor *inputs[NX_NODE_INPUTS]; /* NULL where the op has fewer */
  void *saved;                              /* of the op's own type, in the arena */
};

/* Memory that backward is done with, ready for the next gradient of its size or smaller. */
struct nx_spare {
  struct nx_spare *next;
  size_t bytes;
};

struct nx_tape {
  const struct nx_kernels *kernels;
  struct nx_stream *stream;
  struct nx_arena *arena;
  struct nx_node *last;
  struct nx_spare *spare;
  struct nx_rng *rng; /* NULL: no dropout */
  bool recording;     /* false: forward only, no nodes, no gradients */
  int failed;         /* NX_E_* of the first op that failed */
  const char *failed_op;
};

/* rng: dropout is drawn from it; NULL switches dropout off. */
int nx_tape_init(struct nx_tape *tape, const struct nx_backend *backend, struct nx_error *err);
void nx_tape_finish(struct nx_tape *tape); /* zeroed is fine */
/* Forgets the last step. */
void nx_tape_begin(struct nx_tape *tape, bool recording, struct nx_rng *rng);
/* 0, or the sticky error in words. */
int nx_tape_check(const struct nx_tape *tape, struct nx_error *err);

/* A value that outlives the step and has no gradient. */
struct nx_tensor *nx_tape_constant(struct nx_tape *tape, const nx_real *value, size_t rows,
                                   size_t columns);
/* A value whose gradient is added to gradient[rows * columns], which the caller zeroed. */
struct nx_tensor *nx_tape_parameter(struct nx_tape *tape, const nx_real *value, nx_real *gradient,
                                    size_t rows, size_t columns);

/* A weight in few bits, for nx_op_linear() alone; trains: its adapters have gradients to add to. */
struct nx_tensor *nx_tape_frozen(struct nx_tape *tape, const struct nx_frozen *frozen, bool trains,
                                 size_t rows, size_t columns);

/* Part of a forward pass, which gives a tensor of x's size and leaves x as it is. It reads nothing
 * but x, parameters, the tape's rng and what `context` points to, and that must be there in
 * backward, too: the context itself is copied. */
typedef struct nx_tensor *nx_tape_part_fn(struct nx_tape *tape, const void *context,
                                          struct nx_tensor *x);
/* Activation checkpointing (Chen et al. 2016): runs the part, forgets everything but x and the
 * result, and runs it again when backward comes to it, with the same draws. Gradients are the same
 * bits. */
struct nx_tensor *nx_tape_again(struct nx_tape *tape, nx_tape_part_fn *part, const void *context,
                                size_t context_size, struct nx_tensor *x);

/* Afterwards only the loss's value is still there. Sets the gradient of loss [1, 1] to seed and
 * runs the nodes backwards. */
void nx_tape_backward(struct nx_tape *tape, struct nx_tensor *loss, nx_real seed);

/* ---- For ops ---- */

/* Marks the tape and returns NULL. */
struct nx_tensor *nx_tape_fail(struct nx_tape *tape, int code, const char *op);
/* Memory of the step, not zeroed; NULL marks the tape. */
void *nx_tape_memory(struct nx_tape *tape, size_t n, size_t size, const char *op);
/* A new tensor with memory for its value. */
struct nx_tensor *nx_tape_tensor(struct nx_tape *tape, size_t rows, size_t columns, const char *op);
/* A new tensor in the memory of x, for ops that work in place: x's value is gone. */
struct nx_tensor *nx_tape_take_over(struct nx_tape *tape, struct nx_tensor *x, const char *op);

/* Records output = op(inputs …, NULL) with saved_size bytes of saved state, returned zeroed,
 * for the op to fill; NULL when there is nothing to record (then the op is done), or on
 * failure. Marks the output as wanting a gradient when an input does. */
void *nx_tape_record(struct nx_tape *tape, const char *op, size_t saved_size,
                     void (*backward)(struct nx_tape *, const struct nx_node *),
                     struct nx_tensor *output, struct nx_tensor *a, struct nx_tensor *b,
                     struct nx_tensor *c);

/* The same for one input, and whether or not that wants a gradient: something inside may. */
void *nx_tape_record_always(struct nx_tape *tape, const char *op, size_t saved_size,
                            void (*backward)(struct nx_tape *, const struct nx_node *),
                            struct nx_tensor *output, struct nx_tensor *x);
/* Runs the nodes backwards, from the tape's last one. */
void nx_tape_walk(struct nx_tape *tape);

/* Where to write the gradient of x, or NULL when none is wanted. *accumulate says whether to
 * add to what is there (1) or to overwrite it (0). */
nx_real *nx_tensor_gradient(struct nx_tape *tape, struct nx_tensor *x, int *accumulate);
/* The same for ops that can only add: cleared first where nothing is there yet. */
nx_real *nx_tensor_gradient_to_add(struct nx_tape *tape, struct nx_tensor *x);
/* The gradient of y, no longer needed, becomes part of that of x, which has y's size. */
void nx_tensor_pass_gradient(struct nx_tape *tape, struct nx_tensor *y, struct nx_tensor *x);
