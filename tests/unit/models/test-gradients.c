/* Every op, and the whole network in both objectives, against central differences, all in
 * float64 (built from the same sources as what ships, with NX_REAL_DOUBLE). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "models/nets/masking.h"
#include "models/nets/nano.h"
#include "models/ops/ops.h"
#include "tests/unit/cmocka_shim.h"

#define INPUTS 3
#define STEP 1e-6
#define TOLERANCE 2e-8

struct check;
typedef struct nx_tensor *(*build_fn)(struct nx_tape *tape, struct nx_tensor *const *in);

struct check {
  build_fn build;
  size_t rows[INPUTS], columns[INPUTS]; /* rows 0: no such input */
};

static double random_value(struct nx_rng *rng) {
  return nx_rng_normal(rng) * 0.7 + 0.1;
}

/* loss = sum of y * weights, weights fixed: as cross entropy's seed would be. */
static struct nx_tensor *weighted_sum(struct nx_tape *tape, struct nx_tensor *y) {
  assert_non_null(y);
  struct nx_rng rng;
  nx_rng_init(&rng, 99, y->rows * 1000 + y->columns);
  size_t n = y->rows * y->columns;
  nx_real *w = nx_tape_memory(tape, n, sizeof *w, "test");
  for (size_t i = 0; i < n; i++)
    w[i] = nx_rng_normal(&rng);
  struct nx_tensor *weights = nx_tape_constant(tape, w, 1, n);
  if (y->rows == 1)
    return nx_op_linear(tape, y, weights, NULL);
  /* sum over rows through a chain of ops that are themselves checked */
  nx_real *ones = nx_tape_memory(tape, y->columns, sizeof *ones, "test");
  for (size_t i = 0; i < y->columns; i++)
    ones[i] = 1 + 0.1 * (double)i;
  struct nx_tensor *column =
      nx_op_linear(tape, y, nx_tape_constant(tape, ones, 1, y->columns), NULL);
  nx_real *targets = nx_tape_memory(tape, y->rows, sizeof *targets, "test");
  for (size_t i = 0; i < y->rows; i++)
    targets[i] = w[i] * 3;
  struct nx_tensor *target = nx_tape_constant(tape, targets, y->rows, 1);
  return nx_op_square_error(tape, column, target, NULL, 0.5);
}

static double forward(const struct check *c, struct nx_tape *tape, nx_real *const *values,
                      nx_real *const *gradients) {
  struct nx_tensor *in[INPUTS] = {0};
  struct nx_rng rng; /* the same dropout every time */
  nx_rng_init(&rng, 7, 7);
  nx_tape_begin(tape, gradients != NULL, &rng);
  for (size_t i = 0; i < INPUTS && c->rows[i]; i++)
    in[i] = nx_tape_parameter(tape, values[i], gradients ? gradients[i] : NULL, c->rows[i],
                              c->columns[i]);
  struct nx_tensor *loss = weighted_sum(tape, c->build(tape, in));
  assert_int_equal(nx_tape_check(tape, NULL), 0);
  if (gradients)
    nx_tape_backward(tape, loss, 1);
  assert_int_equal(nx_tape_check(tape, NULL), 0);
  return *loss->value;
}

static void check_op(const struct check *c) {
  struct nx_tape tape;
  struct nx_rng rng;
  nx_real *values[INPUTS] = {0}, *gradients[INPUTS] = {0};
  nx_rng_init(&rng, 42, 1);
  assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), NULL), 0);
  for (size_t i = 0; i < INPUTS && c->rows[i]; i++) {
    size_t n = c->rows[i] * c->columns[i];
    values[i] = calloc(n, sizeof(nx_real));
    gradients[i] = calloc(n, sizeof(nx_real));
    for (size_t j = 0; j < n; j++)
      values[i][j] = random_value(&rng);
  }
  forward(c, &tape, values, gradients);
  for (size_t i = 0; i < INPUTS && c->rows[i]; i++)
    for (size_t j = 0; j < c->rows[i] * c->columns[i]; j++) {
      nx_real keep = values[i][j];
      values[i][j] = keep + STEP;
      double above = forward(c, &tape, values, NULL);
      values[i][j] = keep - STEP;
      double below = forward(c, &tape, values, NULL);
      values[i][j] = keep;
      double expected = (above - below) / (2 * STEP);
      if (!(fabs(gradients[i][j] - expected) <= TOLERANCE * (10 + fabs(expected) + fabs(above))))
        fail_msg("input %zu, value %zu: gradient %.12g, differences say %.12g", i, j,
                 gradients[i][j], expected);
    }
  for (size_t i = 0; i < INPUTS; i++) {
    free(values[i]);
    free(gradients[i]);
  }
  nx_tape_finish(&tape);
}

/* ---- Ops. Ops that take their input over get one of their own through dropout(0). ---- */

static struct nx_tensor *own(struct nx_tape *tape, struct nx_tensor *x) {
  nx_real *zeros = nx_tape_memory(tape, x->rows * x->columns, sizeof *zeros, "test");
  memset(zeros, 0, x->rows * x->columns * sizeof *zeros);
  return nx_op_residual(tape, nx_tape_constant(tape, zeros, x->rows, x->columns), x, 0);
}

static struct nx_tensor *build_linear(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_linear(tape, in[0], in[1], in[2]);
}
static struct nx_tensor *build_linear_plain(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_linear(tape, in[0], in[1], NULL);
}
static struct nx_tensor *build_add_rows(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_add_rows(tape, own(tape, in[0]), in[1], 3);
}
static struct nx_tensor *build_rms_norm(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_rms_norm(tape, in[0], in[1]);
}
static struct nx_tensor *build_rms_norm_plain(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_rms_norm(tape, in[0], NULL);
}
static struct nx_tensor *build_silu(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_silu(tape, in[0]);
}
static struct nx_tensor *build_swiglu(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_swiglu(tape, in[0]);
}
static struct nx_tensor *build_dropout(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_dropout(tape, in[0], 0.3);
}
static struct nx_tensor *build_residual(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_residual(tape, in[0], nx_op_silu(tape, in[0]), 0.3);
}
static struct nx_tensor *build_rope(struct nx_tape *tape, struct nx_tensor *const *in) {
  static nx_real cosines[3 * 2], sines[3 * 2];
  for (int i = 0; i < 6; i++) {
    cosines[i] = cos(i * 0.7);
    sines[i] = sin(i * 0.7);
  }
  return nx_op_rope(tape, own(tape, in[0]), 2, 4, 3, cosines, sines);
}
static struct nx_tensor *build_self_attention(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_self_attention(tape, in[0], 2, 2);
}
static struct nx_tensor *build_cross_attention(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_cross_attention(tape, in[0], in[1], in[2], 2, 2);
}
static struct nx_tensor *build_fold(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_fold(tape, in[0], in[1], 3);
}
static const uint8_t some_visible[2 * 5 * 3] = {1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 1,
                                                0, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0};
static struct nx_tensor *build_unify(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_unify(tape, in[0], in[1], NULL, 2, 5, 3, 2);
}
static struct nx_tensor *build_unify_masked(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_unify(tape, in[0], in[1], some_visible, 2, 5, 3, 2);
}
static struct nx_tensor *build_values(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_values(tape, in[0], in[1], 2);
}
static struct nx_tensor *build_pool(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_pool(tape, in[0], in[1], 4);
}
static struct nx_tensor *build_cross_entropy(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const nx_real targets[] = {0.05, 0.95, 1, 0, 0.5};
  return nx_op_cross_entropy(tape, in[0], targets);
}
static struct nx_tensor *build_square_error(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const uint8_t skip[] = {0, 1, 0, 0, 1};
  return nx_op_square_error(tape, in[0], nx_op_zeros(tape, 5, 3), skip, 0.2);
}
static struct nx_tensor *build_gelu(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_gelu(tape, in[0]);
}
static struct nx_tensor *build_layer_norm(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_layer_norm(tape, in[0], in[1], in[2]);
}
static struct nx_tensor *build_unit_norm(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_unit_norm(tape, in[0]);
}
static struct nx_tensor *build_gather(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const uint32_t rows[] = {3, 0, 3, 1, 3};
  return nx_op_gather(tape, in[0], rows, 5);
}
static struct nx_tensor *build_class_entropy(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const uint32_t labels[] = {2, 0, 3};
  return nx_op_class_entropy(tape, in[0], labels);
}
static struct nx_tensor *build_poisson(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const nx_real counts[] = {0, 2, 1, 5, 0, 1};
  static const uint8_t skip[] = {0, 1, 0};
  return nx_op_poisson(tape, in[0], nx_tape_constant(tape, counts, 3, 2), skip, 0.3);
}
static struct nx_tensor *build_quadratic(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const nx_real m[] = {2, 0.5, -1, 0.5, 3, 0.25, -1, 0.25, 4};
  static const uint8_t skip[] = {0, 1, 0, 0};
  return nx_op_quadratic(tape, in[0], nx_op_zeros(tape, 4, 3), nx_tape_constant(tape, m, 3, 3),
                         skip, 0.3);
}
/* One tensor read twice: gradients add up. */
static struct nx_tensor *build_shared(struct nx_tape *tape, struct nx_tensor *const *in) {
  struct nx_tensor *a = nx_op_silu(tape, in[0]);
  struct nx_tensor *b = nx_op_rms_norm(tape, a, in[1]), *c = nx_op_swiglu(tape, a);
  struct nx_tensor *d = nx_op_residual(tape, b, nx_op_linear(tape, c, in[2], NULL), 0.2);
  return nx_op_residual(tape, d, a, 0);
}

#define OP_TEST(op, ...)                                                                           \
  static void gradient_of_##op(void **state) {                                                     \
    (void)state;                                                                                   \
    check_op(&(struct check){build_##op, __VA_ARGS__});                                            \
  }

OP_TEST(linear, {7, 5, 1}, {6, 6, 5})
OP_TEST(linear_plain, {3, 20}, {17, 17})
OP_TEST(add_rows, {12, 2}, {5, 5})
OP_TEST(rms_norm, {4, 1}, {19, 19})
OP_TEST(rms_norm_plain, {4}, {32})
OP_TEST(silu, {3}, {37})
OP_TEST(swiglu, {3}, {38})
OP_TEST(dropout, {3}, {21})
OP_TEST(residual, {3}, {21})
OP_TEST(rope, {6}, {12})
OP_TEST(self_attention, {10}, {3 * 8})
OP_TEST(cross_attention, {6, 34, 34}, {8, 8, 8})
OP_TEST(fold, {2, 12}, {12, 12})
OP_TEST(unify, {30, 6}, {5, 5})
OP_TEST(unify_masked, {30, 18}, {5, 5})
OP_TEST(values, {4, 6}, {12, 6})
OP_TEST(pool, {12, 1}, {18, 18})
OP_TEST(cross_entropy, {5}, {1})
OP_TEST(square_error, {5}, {3})
OP_TEST(gelu, {3}, {37})
OP_TEST(layer_norm, {4, 1, 1}, {19, 19, 19})
OP_TEST(unit_norm, {4}, {21})
OP_TEST(gather, {4}, {6})
OP_TEST(class_entropy, {3}, {4})
OP_TEST(poisson, {3}, {2})
OP_TEST(quadratic, {4}, {3})
OP_TEST(shared, {4, 1, 20}, {20, 20, 10})

/* ---- Whole networks ---- */

struct whole {
  struct nx_layout *layout;
  struct nx_nano *nano;
  struct nx_tape tape;
  nx_real *params, *gradients;
  struct nx_network_input input;
  uint8_t visible[2 * 6 * 3];
  int reconstruct;
};

static const float mean[16] = {0.5f, -1, 2, 0, 1, 0.25f, 3, -2, 1, 1, 0, 0, 1, 2, 3, 4};
static const float sd[16] = {1, 2, 0.5f, 1, 3, 1, 2, 1, 1, 0.7f, 1, 1, 1, 2, 1, 1};

static float *random_floats(struct nx_rng *rng, size_t n) {
  float *x = calloc(n, sizeof *x);
  for (size_t i = 0; i < n; i++)
    x[i] = (float)nx_rng_normal(rng);
  return x;
}

static void whole_create(struct whole *w, enum nx_plan_objective objective) {
  struct nx_model_shape shape = {.objective = objective,
                                 .width = 16,
                                 .blocks = 2,
                                 .queries = 2,
                                 .heads = 4,
                                 .feed_forward = 24,
                                 .patches = 3,
                                 .patch_samples = 10,
                                 .bins = 4,
                                 .stats = NX_MODEL_STATS,
                                 .patch_seconds = 0.5,
                                 .dropout = 0.2};
  struct nx_rng rng;
  nx_rng_init(&rng, 11, 0);
  *w = (struct whole){.layout = calloc(1, sizeof *w->layout),
                      .reconstruct = objective == NX_OBJECTIVE_RECONSTRUCTION};
  assert_int_equal(nx_nano_layout(&shape, w->layout, NULL), 0);
  size_t n = w->layout->n_params;
  w->params = calloc(n, sizeof(nx_real));
  w->gradients = calloc(n, sizeof(nx_real));
  for (size_t i = 0; i < n; i++)
    w->params[i] = nx_rng_normal(&rng) * 0.3;
  assert_int_equal(nx_nano_create(&shape, w->layout->tensors, w->layout->n_tensors, &w->nano, NULL),
                   0);
  assert_int_equal(nx_tape_init(&w->tape, nx_backend_cpu(), NULL), 0);
  w->input = (struct nx_network_input){.n_windows = 2,
                                       .n_channels = 6,
                                       .patches = random_floats(&rng, 2 * 6 * 3 * 10),
                                       .spectra = random_floats(&rng, 2 * 6 * 3 * 4),
                                       .stats = random_floats(&rng, 2 * 6 * NX_MODEL_STATS),
                                       .positions = random_floats(&rng, 6 * 3)};
  for (size_t i = 0; i < 2; i++)
    nx_masking_draw(w->input.positions, 6, 3, &rng, w->visible + i * 18);
}

static void whole_destroy(struct whole *w) {
  free((float *)w->input.patches);
  free((float *)w->input.spectra);
  free((float *)w->input.stats);
  free((float *)w->input.positions);
  free(w->layout);
  free(w->params);
  free(w->gradients);
  nx_nano_destroy(w->nano);
  nx_tape_finish(&w->tape);
}

static double whole_loss(struct whole *w, int backward) {
  static const nx_real targets[] = {0.05, 0.95};
  struct nx_rng rng;
  nx_rng_init(&rng, 5, 5);
  struct nx_nano_pass pass = {.params = w->params,
                              .gradients = backward ? w->gradients : NULL,
                              .feature_mean = mean,
                              .feature_sd = sd,
                              .input = &w->input,
                              .visible = w->reconstruct ? w->visible : NULL};
  nx_tape_begin(&w->tape, backward, &rng);
  struct nx_tensor *loss =
      w->reconstruct
          ? nx_nano_reconstruct(w->nano, &w->tape, &pass, 0.01)
          : nx_op_cross_entropy(&w->tape, nx_nano_classify(w->nano, &w->tape, &pass), targets);
  nx_tape_backward(&w->tape, loss, 1);
  assert_int_equal(nx_tape_check(&w->tape, NULL), 0);
  return *loss->value;
}

static void check_whole(enum nx_plan_objective objective) {
  struct whole w;
  whole_create(&w, objective);
  whole_loss(&w, 1);
  for (size_t i = 0; i < w.layout->n_params; i += 1 + i % 3) {
    nx_real keep = w.params[i];
    w.params[i] = keep + STEP;
    double above = whole_loss(&w, 0);
    w.params[i] = keep - STEP;
    double below = whole_loss(&w, 0);
    w.params[i] = keep;
    double expected = (above - below) / (2 * STEP);
    if (!(fabs(w.gradients[i] - expected) <= TOLERANCE * (1 + fabs(expected))))
      fail_msg("parameter %zu: gradient %.12g, differences say %.12g", i, w.gradients[i], expected);
  }
  whole_destroy(&w);
}

static void gradients_of_the_classifier(void **state) {
  (void)state;
  check_whole(NX_OBJECTIVE_CLASSIFICATION);
}

static void gradients_of_the_reconstruction(void **state) {
  (void)state;
  check_whole(NX_OBJECTIVE_RECONSTRUCTION);
}

/* ---- Tape ---- */

static void shapes_that_do_not_fit_stick_to_the_tape(void **state) {
  (void)state;
  struct nx_tape tape;
  struct nx_error err = {0};
  const nx_real x[12] = {0};
  assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), NULL), 0);
  nx_tape_begin(&tape, true, NULL);
  struct nx_tensor *a = nx_tape_constant(&tape, x, 3, 4), *b = nx_tape_constant(&tape, x, 2, 5);
  assert_null(nx_op_silu(&tape, nx_op_linear(&tape, a, b, NULL)));
  assert_int_equal(nx_tape_check(&tape, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "linear"));
  nx_tape_begin(&tape, true, NULL);
  assert_int_equal(nx_tape_check(&tape, &err), 0);
  assert_null(nx_op_self_attention(&tape, nx_tape_constant(&tape, x, 3, 4), 1, 1));
  nx_tape_begin(&tape, true, NULL);
  assert_null(nx_op_pool(&tape, nx_tape_constant(&tape, x, 3, 4), NULL, 3));
  nx_tape_finish(&tape);
}

static void dropout_keeps_the_mean_and_needs_an_rng(void **state) {
  (void)state;
  enum { N = 40000 };
  static nx_real ones[N];
  struct nx_tape tape;
  struct nx_rng rng;
  double sum = 0, zeros = 0;
  for (size_t i = 0; i < N; i++)
    ones[i] = 1;
  nx_rng_init(&rng, 1, 2);
  assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), NULL), 0);
  nx_tape_begin(&tape, false, &rng);
  struct nx_tensor *y = nx_op_dropout(&tape, nx_tape_constant(&tape, ones, 1, N), 0.2);
  for (size_t i = 0; i < N; i++) {
    sum += y->value[i];
    zeros += y->value[i] == 0;
  }
  assert_float_equal(sum / N, 1, 0.01);
  assert_float_equal(zeros / N, 0.2, 0.01);
  nx_tape_begin(&tape, false, NULL);
  struct nx_tensor *x = nx_tape_constant(&tape, ones, 1, N);
  assert_ptr_equal(nx_op_dropout(&tape, x, 0.2), x);
  nx_tape_finish(&tape);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradient_of_linear),
      cmocka_unit_test(gradient_of_linear_plain),
      cmocka_unit_test(gradient_of_add_rows),
      cmocka_unit_test(gradient_of_rms_norm),
      cmocka_unit_test(gradient_of_rms_norm_plain),
      cmocka_unit_test(gradient_of_silu),
      cmocka_unit_test(gradient_of_swiglu),
      cmocka_unit_test(gradient_of_dropout),
      cmocka_unit_test(gradient_of_residual),
      cmocka_unit_test(gradient_of_rope),
      cmocka_unit_test(gradient_of_self_attention),
      cmocka_unit_test(gradient_of_cross_attention),
      cmocka_unit_test(gradient_of_fold),
      cmocka_unit_test(gradient_of_unify),
      cmocka_unit_test(gradient_of_unify_masked),
      cmocka_unit_test(gradient_of_values),
      cmocka_unit_test(gradient_of_pool),
      cmocka_unit_test(gradient_of_cross_entropy),
      cmocka_unit_test(gradient_of_square_error),
      cmocka_unit_test(gradient_of_gelu),
      cmocka_unit_test(gradient_of_layer_norm),
      cmocka_unit_test(gradient_of_unit_norm),
      cmocka_unit_test(gradient_of_gather),
      cmocka_unit_test(gradient_of_class_entropy),
      cmocka_unit_test(gradient_of_poisson),
      cmocka_unit_test(gradient_of_quadratic),
      cmocka_unit_test(gradient_of_shared),
      cmocka_unit_test(gradients_of_the_classifier),
      cmocka_unit_test(gradients_of_the_reconstruction),
      cmocka_unit_test(shapes_that_do_not_fit_stick_to_the_tape),
      cmocka_unit_test(dropout_keeps_the_mean_and_needs_an_rng),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
