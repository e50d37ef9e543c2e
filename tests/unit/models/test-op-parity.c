/* Every op against PyTorch (tests/oracle/ops_torch.py, in float64, run once for all): its value and
 * the gradient of every input, at sizes that networks have. test-gradients has the same ops against
 * central differences. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "common/rng.h"
#include "common/size.h"
#include "models/ops/ops.h"
#include "tests/unit/cmocka_shim.h"

#define LARGEST_ERROR 1e-5 /* relative, in the L2 norm */
#define NO_TORCH 77
#define INPUTS 4

typedef struct nx_tensor *(*build_fn)(struct nx_tape *tape, struct nx_tensor *const *in);

struct op {
  const char *name;
  build_fn build;
  size_t size[INPUTS][2]; /* rows, columns; rows 0: no such input */
  int without_gradient;   /* how many of the last inputs have none */
  float *in[INPUTS], *gradient[INPUTS], *dy, *y;
  size_t n_y;
};

static char folder[] = "/tmp/nx-op-parity-XXXXXX";
static int oracle; /* exit code */

/* ---- What ops are told besides; the oracle has the same rules. ---- */

static void *told(struct nx_tape *tape, size_t n, size_t size) {
  return nx_tape_memory(tape, n, size, "test");
}
/* 1 for rows 1, 4, 7 … */
static uint8_t *third(struct nx_tape *tape, size_t n, bool inverted) {
  uint8_t *x = told(tape, n, 1);
  for (size_t i = 0; i < n; i++)
    x[i] = (i % 3 == 1) != inverted;
  return x;
}
static uint32_t *turning(struct nx_tape *tape, size_t n, size_t times, size_t of) {
  uint32_t *x = told(tape, n, sizeof *x);
  for (size_t i = 0; i < n; i++)
    x[i] = (uint32_t)(i * times % of);
  return x;
}
/* Ops that take their input over get one of their own. */
static struct nx_tensor *own(struct nx_tape *tape, struct nx_tensor *x) {
  return nx_op_residual(tape, nx_op_zeros(tape, x->rows, x->columns), x, 0);
}

/* ---- The ops ---- */

#define BUILD(op) static struct nx_tensor *op(struct nx_tape *tape, struct nx_tensor *const *in)

BUILD(linear) {
  return nx_op_linear(tape, in[0], in[1], in[2]);
}
BUILD(linear_plain) {
  return nx_op_linear(tape, in[0], in[1], NULL);
}
BUILD(add_rows) {
  return nx_op_add_rows(tape, own(tape, in[0]), in[1], 3);
}
BUILD(rms_norm) {
  return nx_op_rms_norm(tape, in[0], in[1]);
}
BUILD(layer_norm) {
  return nx_op_layer_norm(tape, in[0], in[1], in[2]);
}
BUILD(silu) {
  return nx_op_silu(tape, in[0]);
}
BUILD(gelu) {
  return nx_op_gelu(tape, in[0]);
}
BUILD(swiglu) {
  return nx_op_swiglu(tape, in[0]);
}
BUILD(softmax) {
  return nx_op_softmax(tape, in[0]);
}
BUILD(unit_norm) {
  return nx_op_unit_norm(tape, in[0]);
}
BUILD(embedding) {
  return nx_op_gather(tape, in[0], turning(tape, 90, 7, in[0]->rows), 90);
}
BUILD(choose) {
  return nx_op_choose(tape, in[0], in[1], third(tape, in[0]->rows, true));
}
BUILD(residual) {
  return nx_op_residual(tape, in[0], in[1], 0);
}
BUILD(dropout) { /* in[1], the mask, is for the oracle */
  return nx_op_dropout(tape, in[0], 0.3);
}
BUILD(rope) {
  nx_real *cosines = told(tape, 12 * 8, sizeof *cosines),
          *sines = told(tape, 12 * 8, sizeof *sines);
  for (size_t i = 0; i < 12 * 8; i++) {
    double period = 0.02 * exp(log(300 / 0.02) * (double)(i % 8) / 7);
    double angle = 2 * M_PI * (double)(i / 8) * 0.35 / period;
    cosines[i] = (nx_real)cos(angle);
    sines[i] = (nx_real)sin(angle);
  }
  return nx_op_rope(tape, own(tape, in[0]), 3, 16, 12, cosines, sines);
}
BUILD(self_attention) {
  return nx_op_self_attention(tape, in[0], 3, 4, NULL);
}
BUILD(block_causal_attention) {
  uint32_t *limits = told(tape, 20, sizeof *limits);
  for (uint32_t i = 0; i < 20; i++)
    limits[i] = (i / 4 + 1) * 4;
  return nx_op_self_attention(tape, in[0], 3, 4, limits);
}
BUILD(cross_attention) {
  return nx_op_cross_attention(tape, in[0], in[1], in[2], 3, 4, NULL);
}
BUILD(mixture) {
  struct nx_tensor *gates = nx_op_softmax(tape, nx_op_linear(tape, in[2], in[3], NULL));
  uint32_t *rows = told(tape, gates->rows, sizeof *rows);
  size_t n = 0;
  for (uint32_t r = 0; r < gates->rows; r++) {
    const nx_real *g = gates->value + r * 4;
    if (g[2] > g[0] && g[2] > g[1] && g[2] > g[3])
      rows[n++] = r;
  }
  assert_true(n > 1);
  struct nx_tensor *x = nx_op_gather(tape, in[1], turning(tape, n, 1, n), n);
  return nx_op_mixture(tape, own(tape, in[0]), x, rows, gates, 2);
}
BUILD(fold) {
  return nx_op_fold(tape, in[0], in[1], 4);
}
BUILD(unify) {
  return nx_op_unify(tape, in[0], in[1], NULL, 3, 7, 5, 2);
}
BUILD(unify_ragged) {
  uint8_t *visible = told(tape, 3 * 7 * 5, 1);
  for (size_t i = 0; i < 3 * 7 * 5; i++)
    visible[i] = i * 7 % 5 < 3 && !(i < 35 && i % 5 == 2); /* a patch without a channel */
  return nx_op_unify(tape, in[0], in[1], visible, 3, 7, 5, 2);
}
BUILD(values) {
  return nx_op_values(tape, in[0], in[1], 4);
}
BUILD(pool) {
  return nx_op_pool(tape, in[0], in[1], 20);
}
BUILD(cross_entropy) {
  nx_real *targets = told(tape, in[0]->rows, sizeof *targets);
  for (size_t i = 0; i < in[0]->rows; i++)
    targets[i] = (nx_real)0.25 * (nx_real)(i % 5);
  return nx_op_cross_entropy(tape, in[0], targets);
}
BUILD(class_entropy) {
  return nx_op_class_entropy(tape, in[0], turning(tape, in[0]->rows, 1, in[0]->columns));
}
/* Unit vectors against global prototypes at temperature 0.1 */
BUILD(prototype_contrast) {
  static const nx_real tenfold[64 * 64];
  nx_real *scale = told(tape, 64 * 64, sizeof *scale);
  memcpy(scale, tenfold, sizeof tenfold);
  for (size_t i = 0; i < 64; i++)
    scale[i * 65] = 10;
  struct nx_tensor *u = nx_op_unit_norm(tape, in[0]), *mu = nx_op_unit_norm(tape, in[1]);
  u = nx_op_linear(tape, u, nx_tape_constant(tape, scale, 64, 64), NULL);
  return nx_op_class_entropy(tape, nx_op_linear(tape, u, mu, NULL),
                             turning(tape, in[0]->rows, 1, in[1]->rows));
}
BUILD(square_error) {
  return nx_op_square_error(tape, in[0], in[1], third(tape, in[0]->rows, false), 0.01f);
}
BUILD(poisson) {
  for (size_t i = 0; i < in[1]->rows * in[1]->columns; i++) /* a constant of this test */
    in[1]->value[i] = fabsf(rintf(in[1]->value[i]));
  return nx_op_poisson(tape, in[0], in[1], third(tape, in[0]->rows, false), 0.01f);
}
BUILD(quadratic) {
  size_t n = in[2]->rows;
  nx_real *m = told(tape, n * n, sizeof *m);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++) {
      double sum = 0;
      for (size_t k = 0; k < in[2]->columns; k++)
        sum += (double)in[2]->value[i * in[2]->columns + k] *
               (double)in[2]->value[j * in[2]->columns + k];
      m[i * n + j] = (nx_real)(sum / 8);
    }
  return nx_op_quadratic(tape, in[0], in[1], nx_tape_constant(tape, m, n, n),
                         third(tape, in[0]->rows, false), 0.01f);
}
BUILD(fourier) {
  double frequencies[16];
  for (int i = 0; i < 16; i++)
    frequencies[i] = M_PI / 2 * exp2(4.0 * i / 15);
  return nx_op_fourier(tape, in[0]->rows, 3, in[0]->value, 16, frequencies);
}

#define OP(op, ...)                                                                                \
  { #op, op, {__VA_ARGS__ }, 0, {0 }, {0 }, NULL, NULL, 0 }
#define OP_BUT(n, op, ...)                                                                         \
  { #op, op, {__VA_ARGS__ }, n, {0 }, {0 }, NULL, NULL, 0 }

static struct op ops[] = {
    OP(linear, {200, 97}, {64, 97}, {1, 64}),
    OP(linear_plain, {60, 64}, {192, 64}),
    OP(add_rows, {60, 64}, {5, 64}),
    OP(rms_norm, {60, 64}, {1, 64}),
    OP(layer_norm, {60, 64}, {1, 64}, {1, 64}),
    OP(silu, {60, 64}),
    OP(gelu, {60, 64}),
    OP(swiglu, {60, 384}),
    OP(softmax, {60, 67}),
    OP(unit_norm, {60, 128}),
    OP(embedding, {13, 64}),
    OP(choose, {60, 64}, {1, 64}),
    OP(residual, {60, 64}, {60, 64}),
    OP_BUT(1, dropout, {60, 64}, {60, 64}),
    OP(rope, {24, 64}),
    OP(self_attention, {60, 192}),
    OP(block_causal_attention, {60, 192}),
    OP(cross_attention, {60, 64}, {93, 64}, {93, 64}),
    OP(mixture, {24, 64}, {24, 64}, {24, 64}, {4, 64}),
    OP(fold, {5, 64}, {64, 64}),
    OP(unify, {105, 32}, {6, 32}),
    OP(unify_ragged, {105, 32}, {6, 32}),
    OP(values, {45, 256}, {64, 64}),
    OP(pool, {60, 64}, {1, 64}),
    OP(cross_entropy, {60, 1}),
    OP(class_entropy, {60, 8}),
    OP(prototype_contrast, {60, 64}, {12, 64}),
    OP_BUT(1, square_error, {60, 97}, {60, 97}),
    OP_BUT(1, poisson, {60, 10}, {60, 10}),
    OP_BUT(2, quadratic, {60, 64}, {60, 64}, {64, 64}),
    OP_BUT(1, fourier, {60, 3}),
};

/* ---- Running them ---- */

static void seed_backward(struct nx_tape *tape, const struct nx_node *node) {
  const float *const *dy = node->saved;
  int acc;
  struct nx_tensor *y = node->inputs[0];
  nx_real *gradient = nx_tensor_gradient(tape, y, &acc);
  for (size_t i = 0; i < y->rows * y->columns; i++)
    gradient[i] = (*dy)[i] + (acc ? gradient[i] : 0);
}

/* A loss whose gradient by y is dy. */
static struct nx_tensor *seeded(struct nx_tape *tape, struct nx_tensor *y, const float *dy) {
  struct nx_tensor *loss = nx_op_zeros(tape, 1, 1);
  const float **saved =
      nx_tape_record(tape, "seed", sizeof *saved, seed_backward, loss, y, NULL, NULL);
  if (saved)
    *saved = dy;
  return loss;
}

static float *random_floats(struct nx_rng *rng, size_t n) {
  float *x = calloc(n, sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++)
    x[i] = (float)nx_rng_normal(rng);
  return x;
}

static size_t size_of(const struct op *op, size_t i) {
  return op->size[i][0] * op->size[i][1];
}

static size_t n_inputs(const struct op *op) {
  size_t n = 0;
  while (n < INPUTS && op->size[n][0])
    n++;
  return n;
}

/* Forward and backward, from copies: an op's input stays what the oracle reads. */
static void run_op(struct op *op, struct nx_tape *tape) {
  struct nx_tensor *in[INPUTS] = {0};
  struct nx_rng rng;
  nx_rng_init(&rng, 3, 3); /* of dropout */
  nx_tape_begin(tape, true, &rng);
  for (size_t i = 0; i < n_inputs(op); i++) {
    nx_real *copy = nx_tape_memory(tape, size_of(op, i), sizeof *copy, "test");
    memcpy(copy, op->in[i], size_of(op, i) * sizeof *copy);
    bool wants = i + (size_t)op->without_gradient < n_inputs(op);
    in[i] = nx_tape_parameter(tape, copy, wants ? op->gradient[i] : NULL, op->size[i][0],
                              op->size[i][1]);
  }
  struct nx_tensor *y = op->build(tape, in);
  assert_non_null(y);
  op->n_y = y->rows * y->columns;
  op->y = calloc(op->n_y, sizeof *op->y);
  memcpy(op->y, y->value, op->n_y * sizeof *op->y);
  struct nx_rng seeds;
  nx_rng_init(&seeds, 5, op->n_y);
  op->dy = random_floats(&seeds, op->n_y);
  nx_tape_backward(tape, seeded(tape, y, op->dy), 1);
  assert_int_equal(nx_tape_check(tape, NULL), 0);
}

static void put(const struct op *op, const char *ending, const float *x, size_t n) {
  char name[64], path[NX_PATH_SIZE];
  snprintf(name, sizeof name, "%s.%s", op->name, ending);
  assert_int_equal(nx_path_join(path, folder, name, NULL), 0);
  assert_int_equal(nx_file_replace(path, nx_bytes(x, n * sizeof *x), 0600, NULL), 0);
}

/* What dropout will draw: ones through the op. */
static void draw_mask(struct op *op, struct nx_tape *tape) {
  for (size_t i = 0; i < size_of(op, 1); i++)
    op->in[1][i] = 1;
  struct nx_rng rng;
  nx_rng_init(&rng, 3, 3);
  nx_tape_begin(tape, false, &rng);
  struct nx_tensor *ones = nx_tape_constant(tape, op->in[1], op->size[1][0], op->size[1][1]);
  struct nx_tensor *mask = nx_op_dropout(tape, ones, 0.3);
  memcpy(op->in[1], mask->value, size_of(op, 1) * sizeof *op->in[1]);
}

static void prepare(struct op *op, struct nx_tape *tape, FILE *cases) {
  static const char *const endings[] = {"in0", "in1", "in2", "in3"};
  struct nx_rng rng;
  nx_rng_init(&rng, 42, (uint64_t)(op - ops));
  fprintf(cases, "%s", op->name);
  for (size_t i = 0; i < n_inputs(op); i++) {
    op->in[i] = random_floats(&rng, size_of(op, i));
    op->gradient[i] = calloc(size_of(op, i), sizeof(float));
    fprintf(cases, " %zu %zu", op->size[i][0], op->size[i][1]);
  }
  fprintf(cases, "\n");
  if (!strcmp(op->name, "dropout"))
    draw_mask(op, tape);
  for (size_t i = 0; i < n_inputs(op); i++)
    put(op, endings[i], op->in[i], size_of(op, i));
  run_op(op, tape);
  put(op, "dy", op->dy, op->n_y);
}

static int run_all(void **state) {
  (void)state;
  struct nx_tape tape;
  char path[NX_PATH_SIZE];
  assert_non_null(mkdtemp(folder));
  assert_int_equal(nx_path_join(path, folder, "cases", NULL), 0);
  FILE *cases = fopen(path, "w");
  assert_non_null(cases);
  assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), NULL), 0);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ops); i++)
    prepare(&ops[i], &tape, cases);
  assert_int_equal(fclose(cases), 0);
  nx_tape_finish(&tape);
  pid_t child = fork();
  if (child == 0) {
    execl("/usr/bin/python3", "python3", "tests/oracle/ops_torch.py", folder, (char *)NULL);
    _exit(NO_TORCH);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  oracle = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  return 0;
}

static int clean_up(void **state) {
  (void)state;
  char command[64];
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ops); i++) {
    for (size_t k = 0; k < INPUTS; k++) {
      free(ops[i].in[k]);
      free(ops[i].gradient[k]);
    }
    free(ops[i].dy);
    free(ops[i].y);
  }
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command);
}

static void compare(const struct op *op, const char *ending, const float *found, size_t n) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  char name[64], path[NX_PATH_SIZE];
  double square = 0, error = 0;
  snprintf(name, sizeof name, "%s.%s", op->name, ending);
  assert_int_equal(nx_path_join(path, folder, name, NULL), 0);
  assert_int_equal(nx_file_read(path, 1 << 24, &bytes, NULL), 0);
  assert_int_equal(bytes.size, n * sizeof(double));
  const double *right = (const double *)bytes.data;
  for (size_t i = 0; i < n; i++) {
    square += right[i] * right[i];
    error += (found[i] - right[i]) * (found[i] - right[i]);
  }
  assert_true(square > 0);
  if (!(sqrt(error / square) <= LARGEST_ERROR))
    fail_msg("%s: relative error %g", name, sqrt(error / square));
}

static void op_is_pytorchs(void **state) {
  static const char *const endings[] = {"grad0", "grad1", "grad2", "grad3"};
  const struct op *op = *state;
  if (oracle == NO_TORCH) {
    print_message("# no PyTorch for /usr/bin/python3 (python3-torch)\n");
    skip();
  }
  assert_int_equal(oracle, 0);
  compare(op, "y", op->y, op->n_y);
  for (size_t i = 0; i + (size_t)op->without_gradient < n_inputs(op); i++)
    compare(op, endings[i], op->gradient[i], size_of(op, i));
}

int main(void) {
  struct CMUnitTest tests[NX_ARRAY_LENGTH(ops)];
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ops); i++)
    tests[i] = (struct CMUnitTest){ops[i].name, op_is_pytorchs, NULL, NULL, &ops[i]};
  return cmocka_run_group_tests(tests, run_all, clean_up);
}
