/* The design page's vectors, vectors of google dp_accounting and mpmath
 * (tests/oracle/privacy_vectors.py writes them), and what a ledger must refuse. */
#include "crypto/accountant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "common/size.h"
#include "crypto/log_math.h"
#include "tests/unit/cmocka_shim.h"
#include "tests/unit/privacy/vectors_gaussian.h"
#include "tests/unit/privacy/vectors_skellam.h"

#define TOLERANCE 1e-6

static void assert_near(const char *what, double value, double expected, double tolerance) {
  if (fabs(value - expected) <= tolerance * fmax(1, fabs(expected)))
    return;
  fail_msg("%s: %.12g, expected %.12g", what, value, expected);
}

/* "int" orders of the design page: 2..64, 96, 128, 256, 512, 1024. */
static struct nx_accountant *int_orders(void) {
  uint32_t orders[68] = {0};
  for (uint32_t i = 0; i < 63; i++)
    orders[i] = i + 2;
  const uint32_t sparse[] = {96, 128, 256, 512, 1024};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(sparse); i++)
    orders[63 + i] = sparse[i];
  struct nx_accountant *accountant = NULL;
  assert_int_equal(0, nx_accountant_create_with_orders(orders, 68, &accountant, NULL));
  return accountant;
}

/* 2..128 and 256. */
static struct nx_accountant *skellam_orders(void) {
  uint32_t orders[128];
  for (uint32_t i = 0; i < 127; i++)
    orders[i] = i + 2;
  orders[127] = 256;
  struct nx_accountant *accountant = NULL;
  assert_int_equal(0, nx_accountant_create_with_orders(orders, 128, &accountant, NULL));
  return accountant;
}

static struct nx_privacy_step gaussian(double q, double sigma) {
  return (struct nx_privacy_step){.kind = NX_STEP_GAUSSIAN, .q = q, .sigma = sigma};
}

static struct nx_privacy_step skellam(double q, double scale, double z, double d) {
  struct nx_rdp_rounding rounding = {
      .clip_norm = 1, .scale = scale, .dimension = d, .beta = exp(-0.5)};
  struct nx_privacy_step step = {.kind = NX_STEP_SKELLAM, .q = q};
  step.skellam.mu = z * scale * z * scale;
  assert_int_equal(0,
                   nx_rdp_rounded_sensitivity(&rounding, &step.skellam.l1, &step.skellam.l2, NULL));
  return step;
}

static double epsilon_of(struct nx_accountant *accountant, double delta) {
  double epsilon = NAN;
  assert_int_equal(0, nx_accountant_epsilon(accountant, delta, &epsilon, NULL));
  return epsilon;
}

/* The ledger's own least over orders, without the exact curve. */
static double by_orders(struct nx_privacy_step step, uint64_t n_steps, double delta) {
  double least = INFINITY;
  for (uint32_t order = 2; order <= 1024; order = order < 64    ? order + 1
                                                  : order == 64 ? 96
                                                  : order == 96 ? 128
                                                                : 2 * order) {
    double eps, epsilon;
    assert_int_equal(0, nx_rdp_sampled_gaussian(order, step.q, step.sigma, &eps, NULL));
    assert_int_equal(0, nx_rdp_to_epsilon(order, (double)n_steps * eps, delta, &epsilon, NULL));
    least = fmin(least, epsilon);
  }
  return least;
}

static void the_design_pages_integer_orders_come_out(void **state) {
  (void)state;
  static const struct {
    double q, sigma;
    uint64_t n_steps;
    double delta, epsilon;
  } rows[] = {
      {1, 1, 1, 1e-5, 4.752728},
      {1, 10, 200, 1e-6, 7.828375},
      {.01, 1.1, 1000, 1e-5, 1.725291},
      {.01, 1, 10000, 1e-5, 6.719402},
      {256. / 60000, 1.1, 14040, 1e-5, 2.594818},
      {.02, .8, 500, 1e-6, 6.164547},
      {.1, 2, 300, 1e-5, 4.573819},
      {.5, 5, 100, 1e-5, 4.869573},
  };
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rows); i++) {
    struct nx_privacy_step step = gaussian(rows[i].q, rows[i].sigma);
    assert_near("integer orders", by_orders(step, rows[i].n_steps, rows[i].delta), rows[i].epsilon,
                TOLERANCE);
    if (rows[i].q == 1)
      continue; /* the ledger knows better: below */
    _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant = int_orders();
    assert_int_equal(0, nx_accountant_add(accountant, &step, rows[i].n_steps, NULL));
    assert_near("ledger", epsilon_of(accountant, rows[i].delta), rows[i].epsilon, TOLERANCE);
  }
}

static void without_sampling_the_gaussian_is_exact(void **state) {
  (void)state;
  static const struct {
    double sigma;
    uint64_t n_steps;
    double delta, epsilon;
  } rows[] = {{1, 1, 1e-5, 4.377178}, {10, 200, 1e-6, 7.286081}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rows); i++) {
    _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant = NULL;
    struct nx_privacy_step step = gaussian(1, rows[i].sigma);
    assert_int_equal(0, nx_accountant_create(&accountant, NULL));
    assert_int_equal(0, nx_accountant_add(accountant, &step, rows[i].n_steps, NULL));
    double epsilon = epsilon_of(accountant, rows[i].delta), delta;
    assert_near("exact", epsilon, rows[i].epsilon, TOLERANCE);
    assert_int_equal(
        0, nx_gaussian_delta(sqrt((double)rows[i].n_steps) / rows[i].sigma, epsilon, &delta, NULL));
    assert_near("and back, relative", delta / rows[i].delta, 1, 1e-9);
  }
}

static void the_design_pages_skellam_vectors_come_out(void **state) {
  (void)state;
  static const struct {
    double scale, z, d, q;
    uint64_t n_steps;
    double epsilon;
  } rows[] = {
      {0x1p14, 1, 1e6, 1, 1, 4.755214},    {0x1p14, 5, 1e6, 1, 50, 7.091839},
      {0x1p10, 5, 1e6, 1, 50, 8.047350},   {0x1p14, 5, 1e8, 1, 50, 7.460709},
      {0x1p14, 1, 1e6, .1, 100, 9.834811},
  };
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rows); i++) {
    _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant = skellam_orders();
    struct nx_privacy_step step = skellam(rows[i].q, rows[i].scale, rows[i].z, rows[i].d);
    assert_int_equal(0, nx_accountant_add(accountant, &step, rows[i].n_steps, NULL));
    assert_near("Skellam", epsilon_of(accountant, 1e-5), rows[i].epsilon, TOLERANCE);
  }
}

static void every_order_agrees_with_dp_accounting(void **state) {
  (void)state;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(vectors_sampled_gaussian); i++) {
    const struct vector_sampled_gaussian *v = &vectors_sampled_gaussian[i];
    double eps;
    assert_int_equal(0, nx_rdp_sampled_gaussian(v->order, v->q, v->sigma, &eps, NULL));
    assert_near("sampled Gaussian", eps / v->eps, 1, 1e-6);
  }
}

static void the_exact_curve_agrees_with_many_digits(void **state) {
  (void)state;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(vectors_exact_gaussian); i++) {
    const struct vector_exact_gaussian *v = &vectors_exact_gaussian[i];
    double epsilon;
    assert_int_equal(0, nx_gaussian_epsilon(v->m, v->delta, &epsilon, NULL));
    assert_near("exact Gaussian", epsilon, v->epsilon, 1e-9);
  }
}

static void skellam_curves_agree_with_many_digits(void **state) {
  (void)state;
  double curve[257];
  for (size_t i = 0; i < NX_ARRAY_LENGTH(vectors_skellam); i++) {
    const struct vector_skellam *v = &vectors_skellam[i];
    struct nx_privacy_step step = skellam(v->q, v->scale, v->z, v->d);
    for (uint32_t order = 2; order <= v->order; order++)
      assert_int_equal(0, nx_rdp_skellam(order, &step.skellam, &curve[order], NULL));
    double eps;
    assert_int_equal(0, nx_rdp_subsampled(v->order, v->q, curve, &eps, NULL));
    assert_near("Skellam at one order", eps / v->eps, 1, 1e-9);
  }
}

static void different_steps_compose_in_any_order_and_refunds_leave_no_trace(void **state) {
  (void)state;
  _cleanup_(nx_accountant_destroyp) struct nx_accountant *one = NULL, *two = NULL;
  assert_int_equal(0, nx_accountant_create(&one, NULL));
  assert_int_equal(0, nx_accountant_create(&two, NULL));
  struct nx_privacy_step a = gaussian(.01, 1.1), b = gaussian(1, 20), c = skellam(.1, 1024, 2, 1e5);
  assert_int_equal(0, nx_accountant_add(one, &a, 300, NULL));
  assert_int_equal(0, nx_accountant_add(one, &b, 2, NULL));
  assert_int_equal(0, nx_accountant_add(one, &c, 5, NULL));
  double before = epsilon_of(one, 1e-5), preview;
  assert_int_equal(0, nx_accountant_preview(one, &a, 700, 1e-5, &preview, NULL));
  assert_true(preview > before);
  assert_int_equal(0, nx_accountant_add(one, &a, 700, NULL));
  assert_true(preview == epsilon_of(one, 1e-5));
  assert_int_equal(0, nx_accountant_remove(one, &a, 700, NULL));
  assert_true(before == epsilon_of(one, 1e-5));
  assert_int_equal(0, nx_accountant_add(two, &c, 5, NULL));
  for (int i = 0; i < 300; i++)
    assert_int_equal(0, nx_accountant_add(two, &a, 1, NULL));
  assert_int_equal(0, nx_accountant_add(two, &b, 2, NULL));
  assert_near("other order", epsilon_of(two, 1e-5), before, 1e-12);
  assert_int_equal(307, nx_accountant_steps(two));
}

static void gaussians_of_different_noise_compose_exactly(void **state) {
  (void)state;
  /* 3/5^2 + 4/10^2 = 16/100: the same as one step of sigma 2.5. */
  _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant = NULL;
  assert_int_equal(0, nx_accountant_create(&accountant, NULL));
  struct nx_privacy_step a = gaussian(1, 5), b = gaussian(1, 10);
  assert_int_equal(0, nx_accountant_add(accountant, &a, 3, NULL));
  assert_int_equal(0, nx_accountant_add(accountant, &b, 4, NULL));
  double expected;
  assert_int_equal(0, nx_gaussian_epsilon(1 / 2.5, 1e-6, &expected, NULL));
  assert_near("composed", epsilon_of(accountant, 1e-6), expected, 1e-9);
}

static void an_empty_ledger_costs_nothing_and_hopeless_noise_costs_everything(void **state) {
  (void)state;
  _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant = NULL;
  assert_int_equal(0, nx_accountant_create(&accountant, NULL));
  assert_true(epsilon_of(accountant, 1e-5) == 0);
  struct nx_privacy_step never = gaussian(0, 1), hopeless = gaussian(.5, 1e-200);
  assert_int_equal(0, nx_accountant_add(accountant, &never, 1000000, NULL));
  assert_true(epsilon_of(accountant, 1e-5) == 0);
  assert_int_equal(0, nx_accountant_add(accountant, &hopeless, 1, NULL));
  assert_true(epsilon_of(accountant, 1e-5) == INFINITY);
  assert_int_equal(0, nx_accountant_remove(accountant, &hopeless, 1, NULL));
  assert_true(epsilon_of(accountant, 1e-5) == 0);
}

static void extreme_settings_neither_overflow_nor_become_nan(void **state) {
  (void)state;
  static const double sigmas[] = {1e-300, 1e-30, 1e-3, .1, 1, 100, 1e6, 1e30, 1e300};
  static const double rates[] = {0, 1e-300, 1e-12, 1e-3, .5, 1 - 1e-12, 1};
  static const uint32_t orders[] = {2, 3, 64, 1024, 4096};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(sigmas); i++)
    for (size_t j = 0; j < NX_ARRAY_LENGTH(rates); j++)
      for (size_t k = 0; k < NX_ARRAY_LENGTH(orders); k++) {
        double eps, whole;
        assert_int_equal(0, nx_rdp_sampled_gaussian(orders[k], rates[j], sigmas[i], &eps, NULL));
        assert_int_equal(0, nx_rdp_sampled_gaussian(orders[k], 1, sigmas[i], &whole, NULL));
        assert_true(eps >= 0);
        assert_true(eps <= whole * (1 + 1e-9) + 1e-12); /* sampling never costs more */
      }
}

static void less_noise_more_steps_or_more_sampling_cost_more(void **state) {
  (void)state;
  struct nx_rng rng;
  nx_rng_init(&rng, 7, 1);
  for (int i = 0; i < 200; i++) {
    uint32_t order = 2 + (uint32_t)nx_rng_below(&rng, 200);
    double q = nx_rng_uniform(&rng), sigma = .3 + 10 * nx_rng_uniform(&rng);
    double eps, quieter, rarer, higher;
    assert_int_equal(0, nx_rdp_sampled_gaussian(order, q, sigma, &eps, NULL));
    assert_int_equal(0, nx_rdp_sampled_gaussian(order, q, sigma * 1.1, &quieter, NULL));
    assert_int_equal(0, nx_rdp_sampled_gaussian(order, q * .9, sigma, &rarer, NULL));
    assert_int_equal(0, nx_rdp_sampled_gaussian(order + 1, q, sigma, &higher, NULL));
    assert_true(quieter <= eps && rarer <= eps && eps <= higher + 1e-12);
  }
}

static void what_is_not_a_number_is_refused_by_name(void **state) {
  (void)state;
  struct nx_error err;
  double out;
  static const double bad_q[] = {NAN, -1e-9, 1.0000001, INFINITY, -INFINITY};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(bad_q); i++) {
    assert_int_equal(NX_E_INVALID, nx_rdp_sampled_gaussian(2, bad_q[i], 1, &out, &err));
    assert_non_null(strstr(err.text, "sampling rate"));
  }
  static const double bad[] = {NAN, 0, -1, INFINITY, -INFINITY};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(bad); i++) {
    assert_int_equal(NX_E_INVALID, nx_rdp_sampled_gaussian(2, .5, bad[i], &out, &err));
    assert_non_null(strstr(err.text, "noise multiplier"));
    struct nx_rdp_skellam s = {bad[i], 1, 1};
    assert_int_equal(NX_E_INVALID, nx_rdp_skellam(2, &s, &out, &err));
    assert_int_equal(NX_E_INVALID, nx_rdp_to_epsilon(2, 1, bad[i], &out, &err));
    assert_int_equal(NX_E_INVALID, nx_gaussian_epsilon(1, bad[i], &out, &err));
    struct nx_rdp_rounding rounding = {1, bad[i], 10, .5};
    double l1;
    assert_int_equal(NX_E_INVALID, nx_rdp_rounded_sensitivity(&rounding, &l1, &out, &err));
    assert_non_null(strstr(err.text, "scale"));
  }
  assert_int_equal(NX_E_INVALID, nx_rdp_sampled_gaussian(1, .5, 1, &out, &err));
  assert_int_equal(NX_E_INVALID, nx_rdp_sampled_gaussian(4097, .5, 1, &out, &err));
  assert_int_equal(NX_E_INVALID, nx_gaussian_epsilon(-1, 1e-5, &out, &err));
  assert_int_equal(NX_E_INVALID, nx_rdp_to_epsilon(2, NAN, 1e-5, &out, &err));
  assert_int_equal(NX_E_INVALID, nx_rdp_to_epsilon(2, 1, 1, &out, &err));
  double curve[4] = {0, 0, .1, NAN};
  assert_int_equal(NX_E_INVALID, nx_rdp_subsampled(3, .5, curve, &out, &err));
}

static void a_refused_step_leaves_the_ledger_as_it_was(void **state) {
  (void)state;
  struct nx_error err;
  _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant = NULL;
  assert_int_equal(0, nx_accountant_create(&accountant, NULL));
  struct nx_privacy_step good = gaussian(.01, 1), bad = gaussian(.01, -1);
  assert_int_equal(0, nx_accountant_add(accountant, &good, 10, NULL));
  double before = epsilon_of(accountant, 1e-5), out;
  assert_int_equal(NX_E_INVALID, nx_accountant_add(accountant, &bad, 1, &err));
  assert_int_equal(NX_E_INVALID, nx_accountant_preview(accountant, &bad, 1, 1e-5, &out, &err));
  struct nx_privacy_step odd = {.kind = 9, .q = 1, .sigma = 1};
  assert_int_equal(NX_E_INVALID, nx_accountant_add(accountant, &odd, 1, &err));
  assert_int_equal(NX_E_LIMIT, nx_accountant_add(accountant, &good, UINT64_MAX, &err));
  assert_int_equal(NX_E_STATE, nx_accountant_remove(accountant, &good, 11, &err));
  assert_int_equal(NX_E_STATE, nx_accountant_remove(accountant, &bad, 1, &err));
  assert_int_equal(NX_E_INVALID, nx_accountant_epsilon(accountant, NAN, &out, &err));
  assert_true(before == epsilon_of(accountant, 1e-5));
}

static void a_ledger_of_too_many_kinds_or_bad_orders_is_refused(void **state) {
  (void)state;
  struct nx_error err;
  _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant = NULL;
  const uint32_t one[] = {2}, falling[] = {3, 2}, low[] = {1}, high[] = {4097};
  assert_int_equal(NX_E_INVALID, nx_accountant_create_with_orders(one, 0, &accountant, &err));
  assert_int_equal(NX_E_INVALID, nx_accountant_create_with_orders(falling, 2, &accountant, &err));
  assert_int_equal(NX_E_INVALID, nx_accountant_create_with_orders(low, 1, &accountant, &err));
  assert_int_equal(NX_E_INVALID, nx_accountant_create_with_orders(high, 1, &accountant, &err));
  assert_null(accountant);
  assert_int_equal(0, nx_accountant_create_with_orders(one, 1, &accountant, NULL));
  for (uint32_t i = 0; i < NX_ACCOUNTANT_KINDS_MAX; i++) {
    struct nx_privacy_step step = gaussian(.5, 1 + i);
    assert_int_equal(0, nx_accountant_add(accountant, &step, 1, NULL));
  }
  struct nx_privacy_step step = gaussian(.5, .5);
  assert_int_equal(NX_E_LIMIT, nx_accountant_add(accountant, &step, 1, &err));
  assert_int_equal(NX_ACCOUNTANT_KINDS_MAX, nx_accountant_steps(accountant));
}

static void logarithms_of_tails_continue_where_numbers_end(void **state) {
  (void)state;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(vectors_log_normal_cdf); i++)
    assert_near("ln Phi",
                nx_log_normal_cdf(vectors_log_normal_cdf[i].x) / vectors_log_normal_cdf[i].value, 1,
                1e-12);
  assert_true(nx_log_add(-INFINITY, -INFINITY) == -INFINITY);
  assert_true(nx_log_add(INFINITY, INFINITY) == INFINITY);
  assert_true(nx_log_sub(3, 3) == -INFINITY);
  assert_near("ln(e^1000 + e^1000)", nx_log_add(1000, 1000), 1000 + M_LN2, 1e-15);
  assert_near("ln C(1024, 512)", nx_log_binomial(1024, 512), 706.0909414974, 1e-12);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_design_pages_integer_orders_come_out),
      cmocka_unit_test(without_sampling_the_gaussian_is_exact),
      cmocka_unit_test(the_design_pages_skellam_vectors_come_out),
      cmocka_unit_test(every_order_agrees_with_dp_accounting),
      cmocka_unit_test(the_exact_curve_agrees_with_many_digits),
      cmocka_unit_test(skellam_curves_agree_with_many_digits),
      cmocka_unit_test(different_steps_compose_in_any_order_and_refunds_leave_no_trace),
      cmocka_unit_test(gaussians_of_different_noise_compose_exactly),
      cmocka_unit_test(an_empty_ledger_costs_nothing_and_hopeless_noise_costs_everything),
      cmocka_unit_test(extreme_settings_neither_overflow_nor_become_nan),
      cmocka_unit_test(less_noise_more_steps_or_more_sampling_cost_more),
      cmocka_unit_test(what_is_not_a_number_is_refused_by_name),
      cmocka_unit_test(a_refused_step_leaves_the_ledger_as_it_was),
      cmocka_unit_test(a_ledger_of_too_many_kinds_or_bad_orders_is_refused),
      cmocka_unit_test(logarithms_of_tails_continue_where_numbers_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
