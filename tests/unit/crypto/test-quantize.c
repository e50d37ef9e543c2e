#include "crypto/quantize.h"

#include <math.h>
#include <stdio.h>

#include "crypto/lane_kernels.h"
#include "tests/unit/crypto/support.h"

static const struct nx_quantize fine = {32, 24, 0.5, 1e9};

static void values_round_to_a_neighbour_and_are_right_on_average(void **state) {
  (void)state;
  enum { N = 20000 };
  static float values[N], back[N];
  static uint32_t lanes[N];
  const struct nx_quantize q = {16, 8, 1.0, 1e9};
  struct nx_rng rng;
  struct nx_quantize_report report;
  const float x = 0.3017f;
  nx_rng_init(&rng, 1, 0);
  for (size_t i = 0; i < N; i++)
    values[i] = x;
  assert_int_equal(nx_quantize_encode(&q, values, N, 1, &rng, lanes, &report, NULL), 0);
  assert_int_equal(nx_quantize_decode(&q, lanes, N, 1, NULL, back, NULL), 0);
  double step = 1 / nx_quantize_scale(&q), mean = 0;
  for (size_t i = 0; i < N; i++) {
    assert_true(fabs((double)back[i] - (double)x) < step);
    mean += (double)back[i] / N;
  }
  assert_true(fabs(mean - (double)x) < 5 * step * 0.5 / sqrt(N));
  assert_int_equal(report.n_clamped, 0);
  assert_true(fabs(report.norm - sqrt(N) * (double)x) < 1e-3);
}

static void vectors_longer_than_the_clip_are_shortened(void **state) {
  (void)state;
  const struct nx_quantize q = {32, 24, 8, 5};
  const float values[2] = {30, 40};
  uint32_t lanes[2];
  float back[2];
  struct nx_rng rng;
  struct nx_quantize_report report;
  nx_rng_init(&rng, 1, 0);
  assert_int_equal(nx_quantize_encode(&q, values, 2, 1, &rng, lanes, &report, NULL), 0);
  assert_int_equal(nx_quantize_decode(&q, lanes, 2, 1, NULL, back, NULL), 0);
  assert_true(fabsf(back[0] - 3) < 1e-5f && fabsf(back[1] - 4) < 1e-5f);
  assert_true(report.norm == 50);
  assert_int_equal(nx_quantize_encode(&q, values, 2, 0.5, &rng, lanes, NULL, NULL), 0);
  assert_int_equal(nx_quantize_decode(&q, lanes, 2, 0.5, NULL, back, NULL), 0);
  assert_true(fabsf(back[0] - 3) < 1e-5f && fabsf(back[1] - 4) < 1e-5f);
}

static void components_beyond_the_range_are_clamped_and_counted(void **state) {
  (void)state;
  const struct nx_quantize q = {12, 4, 1, 1e9};
  const float values[4] = {5, -5, 0, -0.875f};
  uint32_t lanes[4];
  struct nx_rng rng;
  struct nx_quantize_report report;
  nx_rng_init(&rng, 1, 0);
  assert_int_equal(nx_quantize_encode(&q, values, 4, 1, &rng, lanes, &report, NULL), 0);
  assert_int_equal(nx_quantize_signed(lanes[0], 12), 7);
  assert_int_equal(nx_quantize_signed(lanes[1], 12), -7);
  assert_int_equal(lanes[1], 0xff9);
  assert_int_equal(nx_quantize_signed(lanes[2], 12), 0);
  assert_int_equal(nx_quantize_signed(lanes[3], 12), -7);
  assert_int_equal(report.n_clamped, 2);
}

static void nan_and_infinity_leave_the_output_untouched(void **state) {
  (void)state;
  static const float bad[] = {NAN, INFINITY, -INFINITY};
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 0);
  for (size_t k = 0; k < 3; k++)
    for (size_t at = 0; at < 37; at++) {
      float values[37] = {0};
      uint32_t lanes[37];
      struct nx_error err = {0};
      char want[32];
      memset(lanes, 0xa5, sizeof lanes);
      values[at] = bad[k];
      assert_int_equal(nx_quantize_encode(&fine, values, 37, 1, &rng, lanes, NULL, &err),
                       NX_E_INVALID);
      snprintf(want, sizeof want, "component %zu ", at);
      assert_non_null(strstr(err.text, want));
      for (size_t i = 0; i < 37; i++)
        assert_int_equal(lanes[i], 0xa5a5a5a5);
    }
}

/* The definition of encode and decode, written out once more. */
static void encode_plainly(const struct nx_encode_call *call, uint64_t seed, uint64_t piece) {
  struct nx_rng generators[8];
  uint64_t numbers[8];
  for (uint64_t j = 0; j < 8; j++)
    nx_rng_init(&generators[j], seed, 8 * piece + j);
  for (size_t i = 0; i < call->n; i++) {
    for (size_t j = 0; i % 24 == 0 && j < 8; j++) {
      uint64_t *s = generators[j].s, sum = s[0] + s[3];
      numbers[j] = (sum << 23 | sum >> 41) + s[0];
      nx_rng_u64(&generators[j]);
    }
    uint64_t number = numbers[i % 8], fraction = (1 << 19) - 1;
    uint64_t parts[3] = {number >> 45, number >> 22 & fraction, number & fraction};
    double x = fmax(-call->limit, fmin(call->limit, (double)call->values[i] * call->factor));
    int64_t fixed = llrint(x * 0x1p19) + (int64_t)parts[i % 24 / 8];
    call->lanes[i] = (uint32_t)(int64_t)floor((double)fixed * 0x1p-19) & call->modulo;
  }
}

static void kernels_give_the_bits_of_the_definition(void **state) {
  (void)state;
  enum { N = 1000 };
  const struct nx_lane_kernels *kernels[] = {&nx_lane_kernels_plain, nx_lane_kernels()};
  float values[N], decoded[2][N];
  uint32_t want[N], got[N];
  struct nx_rng rng;
  nx_rng_init(&rng, 11, 0);
  print_message("# lane kernels: %s\n", nx_lane_kernels()->name);
  for (int round = 0; round < 200; round++) {
    size_t n = nx_rng_below(&rng, N);
    uint32_t bits = (uint32_t)nx_rng_below(&rng, 29) + 3;
    for (size_t i = 0; i < n; i++)
      values[i] = (float)nx_rng_normal(&rng);
    struct nx_encode_call call = {values,
                                  want,
                                  n,
                                  ldexp(1, (int)bits - 2),
                                  ldexp(1, (int)bits - 1) - 1,
                                  0xffffffffu >> (32 - bits)};
    uint64_t seed = nx_rng_u64(&rng), block = nx_rng_below(&rng, 1000);
    size_t clamped[2];
    encode_plainly(&call, seed, block);
    call.lanes = got;
    for (size_t k = 0; k < 2; k++) {
      struct nx_rounding rounding;
      nx_rounding_init(&rounding, seed, block);
      clamped[k] = kernels[k]->encode(&call, &rounding);
      assert_memory_equal(want, got, n * sizeof *got);
      kernels[k]->decode(got, n, bits, 3.7, decoded[k]);
    }
    assert_int_equal(clamped[0], clamped[1]);
    assert_memory_equal(decoded[0], decoded[1], n * sizeof **decoded);
    double a = kernels[0]->sum_of_squares(values, n), b = kernels[1]->sum_of_squares(values, n);
    assert_memory_equal(&a, &b, sizeof a);
  }
}

/* A constant far below one step: rounded away or not at random without feedback, while with it
 * the sum over rounds stays within a step or two of the truth for every component. */
static void error_feedback_keeps_what_rounding_takes(void **state) {
  (void)state;
  enum { N = 100, ROUNDS = 400 };
  const struct nx_quantize q = {12, 4, 1, 1e9, .rotate = true, .rotation_seed = 5};
  float values[N], residual[N] = {0}, back[N];
  double said[N] = {0};
  uint32_t lanes[128];
  struct nx_rng rng;
  nx_rng_init(&rng, 4, 0);
  for (size_t i = 0; i < N; i++)
    values[i] = 0.001f * (float)i;
  for (int round = 0; round < ROUNDS; round++) {
    assert_int_equal(
        nx_quantize_encode_feedback(&q, values, residual, N, 0.5, &rng, lanes, NULL, NULL), 0);
    assert_int_equal(nx_quantize_decode(&q, lanes, N, 0.5, NULL, back, NULL), 0);
    for (size_t i = 0; i < N; i++)
      said[i] += (double)back[i];
  }
  for (size_t i = 0; i < N; i++)
    assert_true(fabs(said[i] - ROUNDS * (double)values[i]) < 4 / nx_quantize_scale(&q) / 0.5);
}

static void a_residual_survives_a_refused_update(void **state) {
  (void)state;
  const float values[2] = {1, NAN};
  float residual[2] = {3, 4};
  uint32_t lanes[2];
  struct nx_rng rng;
  nx_rng_init(&rng, 4, 0);
  assert_int_equal(
      nx_quantize_encode_feedback(&fine, values, residual, 2, 1, &rng, lanes, NULL, NULL),
      NX_E_INVALID);
  assert_int_equal(
      nx_quantize_encode_feedback(&fine, values, residual, 2, 0, &rng, lanes, NULL, NULL),
      NX_E_INVALID);
  assert_true(residual[0] == 3 && residual[1] == 4);
}

static void hadamard_kernels_agree_with_the_definition(void **state) {
  (void)state;
  static float a[8192], b[8192];
  struct nx_rng rng;
  nx_rng_init(&rng, 12, 0);
  for (size_t n = 1; n <= 8192; n *= 2) {
    for (size_t i = 0; i < n; i++)
      a[i] = b[i] = (float)(int64_t)nx_rng_below(&rng, 100) - 50;
    float before[64];
    memcpy(before, a, sizeof before);
    nx_lane_kernels_plain.hadamard(a, n);
    nx_lane_kernels()->hadamard(b, n);
    assert_memory_equal(a, b, n * sizeof *a);
    for (size_t row = 0; n <= 64 && row < n; row++) {
      float sum = 0;
      for (size_t i = 0; i < n; i++)
        sum += __builtin_parityll(row & i) ? -before[i] : before[i];
      assert_true(sum == a[row]);
    }
  }
}

static void plans_that_can_overflow_are_refused(void **state) {
  (void)state;
  struct nx_quantize q = {32, 24, 0.5, 1};
  struct nx_error err = {0};
  assert_int_equal(nx_quantize_limit(&q), 8388607);
  assert_int_equal(nx_quantize_check(&q, 255, 0, &err), 0);
  assert_int_equal(nx_quantize_check(&q, 256, 256, &err), NX_E_LIMIT);
  assert_non_null(strstr(err.text, "wider ring"));
  assert_int_equal(nx_quantize_check(&q, 200, 1e9, &err), NX_E_LIMIT);
  q = (struct nx_quantize){12, 4, 1, 1};
  assert_int_equal(nx_quantize_check(&q, 255, 0, &err), 0);
  assert_int_equal(nx_quantize_check(&q, 293, 0, &err), NX_E_LIMIT);
  q.value_bits = 12;
  assert_int_equal(nx_quantize_check(&q, 3, 0, &err), NX_E_INVALID);
  q = (struct nx_quantize){20, 4, 1, 1};
  assert_int_equal(nx_quantize_check(&q, 3, 0, &err), NX_E_INVALID);
  q = (struct nx_quantize){32, 24, NAN, 1};
  assert_int_equal(nx_quantize_check(&q, 3, 0, &err), NX_E_INVALID);
  q = (struct nx_quantize){32, 24, 1, 0};
  assert_int_equal(nx_quantize_check(&q, 3, 0, &err), NX_E_INVALID);
}

static void scale_is_the_largest_power_of_two_that_fits(void **state) {
  (void)state;
  struct nx_quantize q = {32, 24, 0.5, 1};
  assert_true(nx_quantize_scale(&q) == 0x1p24);
  q.value_range = 0.51;
  assert_true(nx_quantize_scale(&q) == 0x1p23);
  q.value_range = 1;
  assert_true(nx_quantize_scale(&q) == 0x1p23);
  q.value_range = 3;
  assert_true(nx_quantize_scale(&q) == 0x1p21);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_round_to_a_neighbour_and_are_right_on_average),
      cmocka_unit_test(vectors_longer_than_the_clip_are_shortened),
      cmocka_unit_test(components_beyond_the_range_are_clamped_and_counted),
      cmocka_unit_test(nan_and_infinity_leave_the_output_untouched),
      cmocka_unit_test(kernels_give_the_bits_of_the_definition),
      cmocka_unit_test(error_feedback_keeps_what_rounding_takes),
      cmocka_unit_test(a_residual_survives_a_refused_update),
      cmocka_unit_test(hadamard_kernels_agree_with_the_definition),
      cmocka_unit_test(plans_that_can_overflow_are_refused),
      cmocka_unit_test(scale_is_the_largest_power_of_two_that_fits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
