/* Every op, and the whole network in both objectives, against central differences, all in
 * float64 (built from the same sources as what ships, with NX_REAL_DOUBLE). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "models/nets/general.h"
#include "models/nets/masking.h"
#include "models/nets/nano.h"
#include "models/ops/frozen.h"
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
/* Two matrices in few bits as one, the second with an adapter, whose gradients go to a flat vector
 * in training and are checked here through tensors of the tape: A and B are inputs 1 and 2. */
static struct nx_tensor *build_frozen(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const uint8_t int8[2 * 6] = {1, 255, 127, 129, 7, 0, 3, 200, 99, 4, 5, 250};
  static const uint8_t nf4[3 * 3] = {0x0f, 0x73, 0xa9, 0x12, 0xfe, 0x45, 0x80, 0x6c, 0x3b};
  static const float scales[3] = {0.01f, 0.02f, 0.5f}, wide[3] = {1, 2, 0.25f};
  struct nx_frozen *frozen = nx_tape_memory(tape, 1, sizeof *frozen, "test");
  struct nx_frozen_part *parts = nx_tape_memory(tape, 2, sizeof *parts, "test");
  parts[0] = (struct nx_frozen_part){.w = {NX_STORAGE_INT8, 2, 6, int8, scales}};
  parts[1] = (struct nx_frozen_part){.w = {NX_STORAGE_NF4, 3, 6, nf4, wide},
                                     .rank = 2,
                                     .scale = 1.5,
                                     .a = in[1]->value,
                                     .b = in[2]->value,
                                     .da = in[1]->gradient,
                                     .db = in[2]->gradient};
  *frozen = (struct nx_frozen){2, parts};
  return nx_op_linear(tape, in[0], nx_tape_frozen(tape, frozen, true, 5, 6), NULL);
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
  return nx_op_self_attention(tape, in[0], 2, 2, NULL);
}
static struct nx_tensor *build_cross_attention(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_cross_attention(tape, in[0], in[1], in[2], 2, 2, NULL);
}
static struct nx_tensor *build_causal_attention(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const uint32_t limits[] = {2, 2, 4, 4, 5};
  return nx_op_self_attention(tape, in[0], 2, 2, limits);
}
static struct nx_tensor *build_causal_cross(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const uint32_t limits[] = {1, 17, 3};
  return nx_op_cross_attention(tape, in[0], in[1], in[2], 2, 2, limits);
}
static struct nx_tensor *build_choose(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const uint8_t keep[] = {1, 0, 1, 0};
  return nx_op_choose(tape, in[0], in[1], keep);
}
static struct nx_tensor *build_softmax(struct nx_tape *tape, struct nx_tensor *const *in) {
  return nx_op_softmax(tape, in[0]);
}
static struct nx_tensor *build_mixture(struct nx_tape *tape, struct nx_tensor *const *in) {
  static const uint32_t rows[] = {4, 1, 2};
  struct nx_tensor *p = nx_op_softmax(tape, in[2]);
  return nx_op_mixture(tape, own(tape, in[0]), in[1], rows, p, 1);
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
OP_TEST(frozen, {7, 2, 3}, {6, 6, 2})
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
OP_TEST(causal_attention, {10}, {3 * 8})
OP_TEST(causal_cross, {6, 34, 34}, {8, 8, 8})
OP_TEST(choose, {4, 1}, {21, 21})
OP_TEST(softmax, {3}, {19})
OP_TEST(mixture, {5, 3, 5}, {18, 18, 4})
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
  struct nx_nano_pass pass = {.weights.params = w->params,
                              .weights.gradients = backward ? w->gradients : NULL,
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

/* ---- The general network: two tokenisers, experts, channels with and without positions ---- */

struct general {
  struct nx_layout *layout;
  struct nx_general *net;
  struct nx_tape tape;
  nx_real *params, *gradients;
  struct nx_general_input input;
  uint8_t visible[2 * 5 * 4];
  bool classify, regress;
};

static struct nx_model_shape general_shape(enum nx_plan_objective objective) {
  return (struct nx_model_shape){
      .network = NX_NETWORK_GENERAL,
      .objective = objective,
      .width = 16,
      .blocks = 2,
      .queries = 2,
      .heads = 4,
      .feed_forward = 24,
      .patches = 4,
      .dropout = 0.1,
      .experts = 3,
      .n_tokenisers = 2,
      .tokenisers = {{NX_TOKENISER_EEG, NX_TOKEN_LOSS_QUADRATIC, 8, 13, 0.5, 0.7, 1},
                     {NX_TOKENISER_SPIKES, NX_TOKEN_LOSS_POISSON, 4, 7, 0.2, 0, 0}},
      .mask_fraction = 0.5,
      .mask_correlation = 0.8,
      .n_targets = objective == NX_OBJECTIVE_REGRESSION ? 3 : 0,
      .n_classes = objective == NX_OBJECTIVE_RECONSTRUCTION ? 3 : 0,
      .contrast_weight = 0.7,
      .temperature = 0.4};
}

static void general_create(struct general *w, enum nx_plan_objective objective,
                           uint32_t tokeniser) {
  static const uint8_t placed[5] = {1, 0, 1, 1, 0}, classes[2] = {1, 2};
  struct nx_model_shape shape = general_shape(objective);
  struct nx_rng rng;
  nx_rng_init(&rng, 12, tokeniser);
  *w = (struct general){.layout = calloc(1, sizeof *w->layout),
                        .classify = objective == NX_OBJECTIVE_CLASSIFICATION,
                        .regress = objective == NX_OBJECTIVE_REGRESSION};
  assert_int_equal(nx_general_layout(&shape, w->layout, NULL), 0);
  size_t n = w->layout->n_params, n_in = shape.tokenisers[tokeniser].inputs;
  w->params = calloc(n, sizeof(nx_real));
  w->gradients = calloc(n, sizeof(nx_real));
  for (size_t i = 0; i < n; i++)
    w->params[i] = nx_rng_normal(&rng) * 0.3;
  if (shape.n_classes) /* one class has no prototype yet */
    memset(w->params + n - NX_PROTOTYPE_WIDTH, 0, NX_PROTOTYPE_WIDTH * sizeof(nx_real));
  assert_int_equal(
      nx_general_create(&shape, w->layout->tensors, w->layout->n_tensors, &w->net, NULL), 0);
  assert_int_equal(nx_tape_init(&w->tape, nx_backend_cpu(), NULL), 0);
  float *x = random_floats(&rng, 2 * 5 * 4 * n_in);
  for (size_t i = 0; tokeniser == 1 && i < 2 * 5 * 4 * n_in; i++)
    x[i] = fabsf(roundf(2 * x[i])); /* counts */
  w->input = (struct nx_general_input){
      .tokeniser = tokeniser,
      .modality = tokeniser ? NX_MODALITY_SPIKES : NX_MODALITY_EEG,
      .species = NX_SPECIES_MONKEY,
      .reference = NX_SIGNAL_AVERAGE,
      .n_windows = 2,
      .n_channels = 5,
      .x = x,
      .stats = random_floats(&rng, 5 * NX_MODEL_STATS),
      .positions = random_floats(&rng, 5 * 3),
      .placed = placed,
      .classes = shape.n_classes ? classes : NULL,
  };
  for (size_t i = 0; i < sizeof w->visible; i++)
    w->visible[i] = i % 3 != 1 && i != 22 && i != 38; /* unlike numbers in the two windows */
}

static void general_destroy(struct general *w) {
  free((float *)w->input.x);
  free((float *)w->input.stats);
  free((float *)w->input.positions);
  free(w->layout);
  free(w->params);
  free(w->gradients);
  nx_general_destroy(w->net);
  nx_tape_finish(&w->tape);
}

static double general_loss(struct general *w, int backward) {
  static const nx_real targets[] = {0.05, 0.95};
  struct nx_general_decoded d;
  struct nx_tensor *loss;
  struct nx_rng rng;
  nx_rng_init(&rng, 5, 5);
  struct nx_general_pass pass = {.weights.params = w->params,
                                 .weights.gradients = backward ? w->gradients : NULL,
                                 .input = &w->input,
                                 .visible = w->visible};
  nx_tape_begin(&w->tape, backward, &rng);
  if (w->classify) {
    pass.visible = NULL;
    loss = nx_op_cross_entropy(&w->tape, nx_general_classify(w->net, &w->tape, &pass), targets);
  } else if (w->regress) {
    static const uint8_t unknown[8] = {0, 0, 1, 0, 0, 0, 0, 1};
    pass.visible = NULL;
    struct nx_tensor *wanted = nx_op_zeros(&w->tape, 8, 3);
    for (size_t i = 0; i < 24; i++)
      wanted->value[i] = (nx_real)(i % 5) - 2;
    loss = nx_op_square_error(&w->tape, nx_general_regress(w->net, &w->tape, &pass), wanted,
                              unknown, 0.05);
  } else {
    assert_true(nx_general_decode(w->net, &w->tape, &pass, &d));
    loss = nx_general_loss(w->net, &w->tape, &pass, &d, 0.01);
    if (w->input.classes)
      loss = nx_op_residual(&w->tape, loss,
                            nx_general_contrast(w->net, &w->tape, &pass, d.latent, 0.7), 0);
  }
  nx_tape_backward(&w->tape, loss, 1);
  assert_int_equal(nx_tape_check(&w->tape, NULL), 0);
  return *loss->value;
}

/* Also: what nx_general_touches() calls untouched has no gradient at all. */
static void check_general(enum nx_plan_objective objective, uint32_t tokeniser) {
  struct nx_model_shape shape = general_shape(objective);
  struct general w;
  size_t moved = 0, untouched = 0;
  general_create(&w, objective, tokeniser);
  general_loss(&w, 1);
  for (size_t t = 0; t < w.layout->n_tensors; t++) {
    const struct nx_model_tensor *tensor = &w.layout->tensors[t];
    bool touched = nx_general_touches(&shape, tensor->name, &w.input);
    untouched += !touched;
    if (!strcmp(tensor->name, "prototypes.mean")) { /* the loss depends on it, nobody trains it */
      for (size_t i = 0; i < tensor->size; i++)
        assert_true(w.gradients[tensor->offset + i] == 0);
      continue;
    }
    for (size_t i = tensor->offset; i < tensor->offset + tensor->size; i += 5 + i % 4) {
      nx_real keep = w.params[i];
      w.params[i] = keep + STEP;
      double above = general_loss(&w, 0);
      w.params[i] = keep - STEP;
      double below = general_loss(&w, 0);
      w.params[i] = keep;
      double expected = (above - below) / (2 * STEP);
      if (!(fabs(w.gradients[i] - expected) <= TOLERANCE * (1 + fabs(expected))))
        fail_msg("%s %zu: gradient %.12g, differences say %.12g", tensor->name, i - tensor->offset,
                 w.gradients[i], expected);
      if (!touched && w.gradients[i] != 0)
        fail_msg("%s of another modality has a gradient", tensor->name);
      moved += w.gradients[i] != 0;
    }
  }
  assert_true(moved > w.layout->n_params / 30);
  assert_true(untouched >= 6 + 3 + 3 + 2);
  general_destroy(&w);
}

static void gradients_of_the_general_network_masked(void **state) {
  (void)state;
  check_general(NX_OBJECTIVE_RECONSTRUCTION, 0);
}
static void gradients_of_the_general_network_counts(void **state) {
  (void)state;
  check_general(NX_OBJECTIVE_RECONSTRUCTION, 1);
}
static void gradients_of_the_general_network_next_patch(void **state) {
  (void)state;
  check_general(NX_OBJECTIVE_NEXT_PATCH, 0);
}
static void gradients_of_the_general_classifier(void **state) {
  (void)state;
  check_general(NX_OBJECTIVE_CLASSIFICATION, 1);
}
static void gradients_of_the_general_regression(void **state) {
  (void)state;
  check_general(NX_OBJECTIVE_REGRESSION, 1);
}

/* What a next-patch network says about patch p does not change with what patches p, p + 1 … hold.
 */
static void the_next_patch_is_not_seen(void **state) {
  (void)state;
  struct general w;
  struct nx_general_decoded d;
  general_create(&w, NX_OBJECTIVE_NEXT_PATCH, 0);
  struct nx_general_pass pass = {.weights.params = w.params, .input = &w.input};
  float *x = (float *)w.input.x;
  nx_real before[2][5 * 3][8]; /* of the first window */
  for (int changed = 0; changed < 2; changed++) {
    for (size_t row = 0; changed && row < 2 * 5 * 4; row++)
      for (size_t i = 0; row % 4 >= 2 && i < 13; i++)
        x[row * 13 + i] += 3;
    nx_tape_begin(&w.tape, false, NULL);
    assert_true(nx_general_decode(w.net, &w.tape, &pass, &d));
    assert_int_equal(d.n_questions, 5 * 3);
    for (size_t i = 0; i < 15; i++)
      for (size_t j = 0; j < 8; j++) {
        nx_real y = d.prediction->value[i * 8 + j];
        if (changed && d.tokens[i] % 4 <= 2)
          assert_true(before[0][i][j] == y);
        if (changed && d.tokens[i] % 4 == 3 && j == 0)
          assert_true(before[0][i][j] != y);
        before[changed][i][j] = y;
      }
  }
  general_destroy(&w);
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
  assert_null(nx_op_self_attention(&tape, nx_tape_constant(&tape, x, 3, 4), 1, 1, NULL));
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
      cmocka_unit_test(gradient_of_frozen),
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
      cmocka_unit_test(gradient_of_causal_attention),
      cmocka_unit_test(gradient_of_causal_cross),
      cmocka_unit_test(gradient_of_choose),
      cmocka_unit_test(gradient_of_softmax),
      cmocka_unit_test(gradient_of_mixture),
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
      cmocka_unit_test(gradients_of_the_general_network_masked),
      cmocka_unit_test(gradients_of_the_general_network_counts),
      cmocka_unit_test(gradients_of_the_general_network_next_patch),
      cmocka_unit_test(gradients_of_the_general_classifier),
      cmocka_unit_test(gradients_of_the_general_regression),
      cmocka_unit_test(the_next_patch_is_not_seen),
      cmocka_unit_test(gradients_of_the_reconstruction),
      cmocka_unit_test(shapes_that_do_not_fit_stick_to_the_tape),
      cmocka_unit_test(dropout_keeps_the_mean_and_needs_an_rng),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
