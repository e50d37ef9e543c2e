#include "models/tensor/tape.h"

#include <stdint.h>
#include <string.h>

#include "common/size.h"

int nx_tape_init(struct nx_tape *tape, const struct nx_backend *backend, struct nx_error *err) {
  *tape = (struct nx_tape){.kernels = backend->kernels};
  int r = backend->hollow ? nx_arena_create_hollow(&tape->arena, err)
                          : nx_arena_create(0, &tape->arena, err);
  if (!r)
    r = backend->stream_create(&tape->stream, err);
  return r;
}

void nx_tape_finish(struct nx_tape *tape) {
  if (tape->kernels)
    tape->kernels->stream_destroy(tape->stream);
  nx_arena_destroy(tape->arena);
  *tape = (struct nx_tape){0};
}

void nx_tape_begin(struct nx_tape *tape, bool recording, struct nx_rng *rng) {
  nx_arena_reset(tape->arena);
  tape->last = NULL;
  tape->spare = NULL;
  tape->rng = rng;
  tape->recording = recording;
  tape->failed = 0;
  tape->failed_op = NULL;
}

int nx_tape_check(const struct nx_tape *tape, struct nx_error *err) {
  switch (tape->failed) {
  case 0:
    return 0;
  case NX_E_NOMEM:
    return nx_fail(err, NX_E_NOMEM, "%s: out of memory: use a smaller batch", tape->failed_op);
  default:
    return nx_fail(err, tape->failed, "%s: tensors whose shapes do not fit", tape->failed_op);
  }
}

struct nx_tensor *nx_tape_fail(struct nx_tape *tape, int code, const char *op) {
  if (!tape->failed) {
    tape->failed = code;
    tape->failed_op = op;
  }
  return NULL;
}

void *nx_tape_memory(struct nx_tape *tape, size_t n, size_t size, const char *op) {
  void *memory = tape->failed ? NULL : nx_arena_take(tape->arena, n, size);
  if (!memory)
    nx_tape_fail(tape, NX_E_NOMEM, op);
  return memory;
}

static struct nx_tensor *tensor_at(struct nx_tape *tape, const nx_real *value, nx_real *gradient,
                                   size_t rows, size_t columns, const char *op) {
  struct nx_tensor *tensor = nx_tape_memory(tape, 1, sizeof *tensor, op);
  if (!tensor)
    return NULL;
  if (!rows || !columns)
    return nx_tape_fail(tape, NX_E_INVALID, op);
  *tensor = (struct nx_tensor){.rows = rows,
                               .columns = columns,
                               .value = (nx_real *)value,
                               .gradient = gradient,
                               .wants_gradient = gradient != NULL,
                               .has_gradient = gradient != NULL};
  return tensor;
}

struct nx_tensor *nx_tape_constant(struct nx_tape *tape, const nx_real *value, size_t rows,
                                   size_t columns) {
  return tensor_at(tape, value, NULL, rows, columns, "constant");
}

struct nx_tensor *nx_tape_parameter(struct nx_tape *tape, const nx_real *value, nx_real *gradient,
                                    size_t rows, size_t columns) {
  return tensor_at(tape, value, tape->recording ? gradient : NULL, rows, columns, "parameter");
}

struct nx_tensor *nx_tape_frozen(struct nx_tape *tape, const struct nx_frozen *frozen, bool trains,
                                 size_t rows, size_t columns) {
  struct nx_tensor *w = tensor_at(tape, NULL, NULL, rows, columns, "frozen");
  if (w) {
    w->frozen = frozen;
    w->wants_gradient = trains && tape->recording;
  }
  return w;
}

struct nx_tensor *nx_tape_tensor(struct nx_tape *tape, size_t rows, size_t columns,
                                 const char *op) {
  size_t n;
  if (!nx_size_mul(rows, columns, &n))
    return nx_tape_fail(tape, NX_E_INVALID, op);
  nx_real *value = nx_tape_memory(tape, n, sizeof *value, op);
  return value ? tensor_at(tape, value, NULL, rows, columns, op) : NULL;
}

struct nx_tensor *nx_tape_take_over(struct nx_tape *tape, struct nx_tensor *x, const char *op) {
  struct nx_tensor *y = tensor_at(tape, x->value, NULL, x->rows, x->columns, op);
  x->value = NULL;
  return y;
}

static void *record(struct nx_tape *tape, const char *op, size_t saved_size,
                    const struct nx_node *fields) {
  struct nx_node *node = nx_tape_memory(tape, 1, sizeof *node, op);
  void *saved = nx_tape_memory(tape, 1, saved_size ? saved_size : 1, op);
  if (!node || !saved)
    return NULL;
  *node = *fields;
  node->previous = tape->last;
  node->saved = saved;
  node->output->wants_gradient = true;
  tape->last = node;
  return memset(saved, 0, saved_size);
}

void *nx_tape_record(struct nx_tape *tape, const char *op, size_t saved_size,
                     void (*backward)(struct nx_tape *, const struct nx_node *),
                     struct nx_tensor *output, struct nx_tensor *a, struct nx_tensor *b,
                     struct nx_tensor *c) {
  bool wanted = (a && a->wants_gradient) || (b && b->wants_gradient) || (c && c->wants_gradient);
  if (!tape->recording || !wanted || tape->failed)
    return NULL;
  const struct nx_node fields = {.backward = backward, .output = output, .inputs = {a, b, c}};
  return record(tape, op, saved_size, &fields);
}

void *nx_tape_record_always(struct nx_tape *tape, const char *op, size_t saved_size,
                            void (*backward)(struct nx_tape *, const struct nx_node *),
                            struct nx_tensor *output, struct nx_tensor *x) {
  const struct nx_node fields = {.backward = backward, .output = output, .inputs = {x}};
  return tape->recording && !tape->failed ? record(tape, op, saved_size, &fields) : NULL;
}

/* Smaller pieces are not worth a search; it also keeps the loss's value. */
#define SPARE_LEAST 1024

static void put_spare(struct nx_tape *tape, void *memory, size_t bytes) {
  struct nx_spare *spare = memory;
  if (!memory || bytes < SPARE_LEAST)
    return;
  *spare = (struct nx_spare){tape->spare, bytes};
  tape->spare = spare;
}

static void give_away(struct nx_tape *tape, nx_real *memory, size_t n) {
  put_spare(tape, memory, n * sizeof *memory);
}

/* Of the same size, or else the smallest that is larger: NULL when there is none. */
static struct nx_spare **find_spare(struct nx_tape *tape, size_t bytes) {
  struct nx_spare **best = NULL;
  for (struct nx_spare **at = &tape->spare; *at; at = &(*at)->next)
    if ((*at)->bytes == bytes)
      return at;
    else if ((*at)->bytes > bytes && (!best || (*at)->bytes < (*best)->bytes))
      best = at;
  return best;
}

/* What is left of a larger spare stays one. */
static nx_real *gradient_memory(struct nx_tape *tape, size_t n) {
  size_t bytes = n * sizeof(nx_real), whole = (bytes + 63) & ~(size_t)63;
  struct nx_spare **at = find_spare(tape, bytes);
  if (!at)
    return nx_tape_memory(tape, n, sizeof(nx_real), "gradient");
  struct nx_spare *found = *at;
  *at = found->next;
  if (found->bytes > whole)
    put_spare(tape, (uint8_t *)found + whole, found->bytes - whole);
  return (nx_real *)found;
}

nx_real *nx_tensor_gradient(struct nx_tape *tape, struct nx_tensor *x, int *accumulate) {
  if (!x || !x->wants_gradient)
    return NULL;
  if (!x->gradient)
    x->gradient = gradient_memory(tape, x->rows * x->columns);
  *accumulate = x->has_gradient;
  x->has_gradient = true;
  return x->gradient;
}

nx_real *nx_tensor_gradient_to_add(struct nx_tape *tape, struct nx_tensor *x) {
  int accumulate;
  nx_real *gradient = nx_tensor_gradient(tape, x, &accumulate);
  if (gradient && !accumulate)
    tape->kernels->clear(tape->stream, x->rows * x->columns, gradient);
  return gradient;
}

void nx_tensor_pass_gradient(struct nx_tape *tape, struct nx_tensor *y, struct nx_tensor *x) {
  if (!x->wants_gradient)
    return;
  if (!x->has_gradient) {
    x->gradient = y->gradient;
    x->has_gradient = true;
    y->gradient = NULL;
    return;
  }
  tape->kernels->add(tape->stream, x->rows * x->columns, y->gradient, x->gradient);
}

void nx_tape_walk(struct nx_tape *tape) {
  for (const struct nx_node *node = tape->last; node && !tape->failed; node = node->previous) {
    struct nx_tensor *y = node->output;
    if (y->has_gradient)
      node->backward(tape, node);
    give_away(tape, y->value, y->rows * y->columns);
    give_away(tape, y->gradient, y->rows * y->columns);
    y->gradient = NULL;
  }
}

void nx_tape_backward(struct nx_tape *tape, struct nx_tensor *loss, nx_real seed) {
  if (tape->failed || !loss)
    return;
  int accumulate;
  nx_real *gradient = nx_tensor_gradient(tape, loss, &accumulate);
  if (gradient)
    *gradient = seed;
  nx_tape_walk(tape);
}
