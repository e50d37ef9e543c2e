/* The kernels for each instruction set of this machine against the plainest ones, through the
 * whole network in both objectives, at sizes that are no multiples of a vector. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "models/backend/cpu.h"
#include "models/nets/masking.h"
#include "models/nets/nano.h"
#include "models/ops/ops.h"
#include "tests/unit/cmocka_shim.h"

#define WINDOWS 3
#define CHANNELS 11
#define PATCHES 4

struct case_of_network {
  struct nx_model_shape shape;
  struct nx_layout *layout;
  float *params, *patches, *spectra, *stats, *positions;
  uint8_t visible[WINDOWS * CHANNELS * PATCHES];
};

static float *random_floats(struct nx_rng *rng, size_t n, double sd) {
  float *x = calloc(n, sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++)
    x[i] = (float)(sd * nx_rng_normal(rng));
  return x;
}

static struct case_of_network case_create(enum nx_plan_objective objective, uint32_t width) {
  struct case_of_network c = {.shape = {.objective = objective,
                                        .width = width,
                                        .blocks = 2,
                                        .queries = 3,
                                        .heads = 2,
                                        .feed_forward = 45,
                                        .patches = PATCHES,
                                        .patch_samples = 21,
                                        .bins = 9,
                                        .stats = NX_MODEL_STATS,
                                        .patch_seconds = 1,
                                        .dropout = 0.2}};
  struct nx_rng rng;
  nx_rng_init(&rng, width, objective);
  c.layout = calloc(1, sizeof *c.layout);
  assert_non_null(c.layout);
  assert_int_equal(nx_nano_layout(&c.shape, c.layout, NULL), 0);
  c.params = random_floats(&rng, c.layout->n_params, 0.2);
  c.patches = random_floats(&rng, WINDOWS * CHANNELS * PATCHES * 21, 1);
  c.spectra = random_floats(&rng, WINDOWS * CHANNELS * PATCHES * 9, 1);
  c.stats = random_floats(&rng, WINDOWS * CHANNELS * NX_MODEL_STATS, 1);
  c.positions = random_floats(&rng, CHANNELS * 3, 0.6);
  for (size_t i = 0; i < WINDOWS; i++)
    nx_masking_draw(c.positions, CHANNELS, PATCHES, &rng, c.visible + i * CHANNELS * PATCHES);
  return c;
}

static void case_destroy(struct case_of_network *c) {
  free(c->layout);
  free(c->params);
  free(c->patches);
  free(c->spectra);
  free(c->stats);
  free(c->positions);
}

/* Gradients by these kernels, and the loss behind the last of them; the caller frees. */
static float *gradients_by(const struct nx_kernels *kernels, const struct case_of_network *c) {
  static const float mean[9 + NX_MODEL_STATS], targets[WINDOWS] = {0.05f, 0.95f, 0.95f};
  float sd[9 + NX_MODEL_STATS], *gradients = calloc(c->layout->n_params + 1, sizeof *gradients);
  struct nx_backend backend = *nx_backend_cpu();
  struct nx_nano *nano = NULL;
  struct nx_tape tape;
  struct nx_rng rng;
  for (size_t i = 0; i < sizeof sd / sizeof *sd; i++)
    sd[i] = 2;
  struct nx_network_input input = {.n_windows = WINDOWS,
                                   .n_channels = CHANNELS,
                                   .patches = c->patches,
                                   .spectra = c->spectra,
                                   .stats = c->stats,
                                   .positions = c->positions};
  struct nx_nano_pass pass = {{c->params, gradients, NULL}, mean, sd, &input, c->visible};
  backend.kernels = kernels;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_nano_create(&c->shape, c->layout->tensors, c->layout->n_tensors, &nano, NULL),
                   0);
  assert_int_equal(nx_tape_init(&tape, &backend, NULL), 0);
  nx_tape_begin(&tape, true, &rng);
  struct nx_tensor *loss =
      c->shape.objective == NX_OBJECTIVE_RECONSTRUCTION
          ? nx_nano_reconstruct(nano, &tape, &pass, 0.01f)
          : nx_op_cross_entropy(&tape, nx_nano_classify(nano, &tape, &pass), targets);
  nx_tape_backward(&tape, loss, 1);
  assert_int_equal(nx_tape_check(&tape, NULL), 0);
  gradients[c->layout->n_params] = *loss->value;
  nx_tape_finish(&tape);
  nx_nano_destroy(nano);
  return gradients;
}

static void assert_same(const struct case_of_network *c, const struct nx_kernels *kernels) {
  float *base = gradients_by(&nx_cpu_kernels_base, c), *fast = gradients_by(kernels, c);
  double square = 0, error = 0;
  for (size_t i = 0; i <= c->layout->n_params; i++) {
    square += (double)base[i] * base[i];
    error += ((double)fast[i] - base[i]) * ((double)fast[i] - base[i]);
  }
  assert_true(square > 0);
  if (!(sqrt(error / square) < 1e-5))
    fail_msg("width %u: relative error %g", c->shape.width, sqrt(error / square));
  free(base);
  free(fast);
}

static void check(const struct nx_kernels *kernels) {
  static const uint32_t widths[] = {36, 64};
  for (size_t i = 0; i < 2; i++)
    for (int objective = 0; objective < 2; objective++) {
      struct case_of_network c = case_create((enum nx_plan_objective)objective, widths[i]);
      assert_same(&c, kernels);
      case_destroy(&c);
    }
}

static void avx2_kernels_agree_with_plain_ones(void **state) {
  (void)state;
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    check(&nx_cpu_kernels_v3);
    return;
  }
#endif
  skip();
}

static void avx512_kernels_agree_with_plain_ones(void **state) {
  (void)state;
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    check(&nx_cpu_kernels_v4);
    return;
  }
#endif
  skip();
}

/* One product of random matrices whose rows are farther apart than they are long, against sums in
 * double; nothing but c[m, n] is written. */
static void check_product(struct nx_stream *stream, char op_a, char op_b, size_t m, size_t n,
                          size_t k, float beta) {
  size_t lda = (op_a == 'N' ? k : m) + 3, ldb = (op_b == 'N' ? n : k) + 5, ldc = n + 2;
  struct nx_rng rng;
  nx_rng_init(&rng, m * 1000 + n, k);
  _cleanup_free_ float *a = random_floats(&rng, (op_a == 'N' ? m : k) * lda, 1);
  _cleanup_free_ float *b = random_floats(&rng, (op_b == 'N' ? k : n) * ldb, 1);
  _cleanup_free_ float *c = random_floats(&rng, m * ldc, 1), *was = calloc(m * ldc, sizeof *was);
  assert_non_null(was);
  memcpy(was, c, m * ldc * sizeof *c);
  nx_backend_cpu()->kernels->gemm(stream, op_a, op_b, m, n, k, 0.5f, a, lda, b, ldb, beta, c, ldc);
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < ldc; j++) {
      double sum = 0, size = 1e-3;
      for (size_t l = 0; j < n && l < k; l++) {
        double term = (double)(op_a == 'N' ? a[i * lda + l] : a[l * lda + i]) *
                      (double)(op_b == 'N' ? b[l * ldb + j] : b[j * ldb + l]);
        sum += term;
        size += fabs(term);
      }
      double expected = j < n ? 0.5 * sum + (double)(beta * was[i * ldc + j]) : was[i * ldc + j];
      if (!(fabs(c[i * ldc + j] - expected) <= (j < n ? 3e-7 * (size + 1) : 0)))
        fail_msg("%c%c %zu %zu %zu: [%zu, %zu] is %g, not %g", op_a, op_b, m, n, k, i, j,
                 (double)c[i * ldc + j], expected);
    }
}

static void products_are_right_at_every_shape(void **state) {
  (void)state;
  static const size_t shapes[][3] = {
      {1, 1, 1},    {1, 40, 9},    {5, 15, 8},   {6, 16, 7},     {7, 17, 1},    {37, 33, 31},
      {12, 48, 64}, {193, 16, 40}, {64, 97, 96}, {13, 2835, 11}, {23, 19, 353}, {3, 50, 1000},
  };
  struct nx_stream *stream;
  assert_int_equal(nx_backend_cpu()->stream_create(&stream, NULL), 0);
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (int form = 0; form < 8; form++)
      check_product(stream, form & 1 ? 'T' : 'N', form & 2 ? 'T' : 'N', shapes[s][0], shapes[s][1],
                    shapes[s][2], form & 4 ? 0.25f : 0);
  nx_cpu_stream_destroy(stream);
}

/* e^x as the kernels compute it, through silu(x) = x / (1 + e^-x). */
static void exponentials_are_accurate_over_their_range(void **state) {
  (void)state;
  const struct nx_kernels *kernels = nx_backend_cpu()->kernels;
  for (float x = -80; x < 80; x += 0.037f) {
    float in[16], out[16];
    for (int i = 0; i < 16; i++)
      in[i] = x + (float)i * 0.01f;
    kernels->silu(NULL, 16, in, out);
    for (int i = 0; i < 16; i++) {
      double expected = in[i] / (1 + exp(-(double)in[i]));
      assert_true(fabs(out[i] - expected) <= 4e-7 * fabs(expected) + 1e-37);
    }
  }
}

/* PyTorch 1.13: F.gelu, F.layer_norm, F.normalize, F.cross_entropy, F.poisson_nll_loss(full =
 * False, log_input = True, reduction = "sum") */
static void ops_give_pytorchs_values(void **state) {
  (void)state;
  static const float x[] = {-3, -1, -0.5f, 0, 0.25f, 2}, ones[] = {1, 1, 1},
                     half[] = {0.5f, 0.5f, 0.5f};
  static const float counts[] = {0, 1, 2, 3, 1, 0};
  static const uint32_t labels[] = {2, 0};
  static const double gelu[] = {-0.004049694095, -0.1586552539, -0.1542687694, 0,
                                0.1496765814,    1.954499736};
  static const double layer[] = {-0.888724198,  0.962908066,    1.425816132,
                                 -0.3429219067, -0.06194793782, 1.904869845};
  static const double unit[] = {-0.9370425713, -0.3123475238, -0.1561737619, 0,
                                0.1240347346,  0.9922778767};
  struct nx_tape tape;
  assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), NULL), 0);
  nx_tape_begin(&tape, false, NULL);
  struct nx_tensor *in = nx_tape_constant(&tape, x, 2, 3);
  struct nx_tensor *gain = nx_tape_constant(&tape, ones, 1, 3);
  struct nx_tensor *y = nx_op_gelu(&tape, in);
  struct nx_tensor *l = nx_op_layer_norm(&tape, in, gain, nx_tape_constant(&tape, half, 1, 3));
  struct nx_tensor *u = nx_op_unit_norm(&tape, in);
  for (int i = 0; i < 6; i++) {
    assert_float_equal(y->value[i], gelu[i], 3e-7);
    assert_float_equal(l->value[i], layer[i], 2e-6);
    assert_float_equal(u->value[i], unit[i], 2e-7);
  }
  assert_float_equal(*nx_op_class_entropy(&tape, in, labels)->value, 1.396627991, 1e-6);
  assert_float_equal(
      *nx_op_poisson(&tape, in, nx_tape_constant(&tape, counts, 2, 3), NULL, 1)->value, 12.44727868,
      1e-5);
  nx_tape_finish(&tape);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(avx2_kernels_agree_with_plain_ones),
      cmocka_unit_test(avx512_kernels_agree_with_plain_ones),
      cmocka_unit_test(products_are_right_at_every_shape),
      cmocka_unit_test(ops_give_pytorchs_values),
      cmocka_unit_test(exponentials_are_accurate_over_their_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
