#include "node/train/private_update.h"

#include <math.h>

#include "crypto/plan_numbers.h"
#include "node/session/next_model.h"
#include "node/train/subject_sums.h"
#include "tests/support/dataset_support.h"
#include "tests/unit/privacy/seeded_entropy.h"

struct bench {
  char folder[32];
  struct nx_plan *plan;
  struct nx_dataset *dataset, *one; /* five people train; one of them alone */
  struct nx_model *model;
};

static struct bench bench = {.folder = "/tmp/nx-private-XXXXXX"};

static struct nx_plan *private_plan(void) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_file_read("configs/plan-eegmat-dp.yaml", 1 << 20, &text, NULL), 0);
  if (nx_plan_parse("plan", nx_buffer_view(&text), &plan, &err) < 0)
    fail_msg("%s", err.text);
  nx_buffer_finish(&text);
  plan->training.batch = 2;
  return plan;
}

static int set_up(void **state) {
  (void)state;
  const char *held_out[] = {"Subject05"}, *only[] = {"Subject02"};
  make_folder(bench.folder);
  make_cohort(bench.folder, 6, 20);
  bench.plan = private_plan();
  const struct nx_dataset_options all = {
      .folder = bench.folder, .held_out = held_out, .n_held_out = 1};
  const struct nx_dataset_options one = {.folder = bench.folder, .only = only, .n_only = 1};
  return nx_dataset_open(&all, bench.plan, &bench.dataset, NULL) ||
         nx_dataset_open(&one, bench.plan, &bench.one, NULL) ||
         nx_model_create(bench.plan, &bench.model, NULL);
}

static int tear_down(void **state) {
  (void)state;
  nx_model_destroy(bench.model);
  nx_dataset_destroy(bench.dataset);
  nx_dataset_destroy(bench.one);
  nx_plan_destroy(bench.plan);
  remove_folder(bench.folder);
  return 0;
}

static struct nx_dp_rounding rounding_of(const struct nx_plan *plan) {
  struct nx_privacy_mechanism mechanism;
  struct nx_dp_rounding rounding;
  assert_int_equal(nx_plan_mechanism(plan, bench.model->n_params, &mechanism, NULL), 0);
  assert_int_equal(nx_privacy_mechanism_scale(&mechanism, &rounding.scale, NULL), 0);
  assert_int_equal(nx_privacy_mechanism_bound(&mechanism, &rounding.bound, NULL), 0);
  rounding.clip_norm = mechanism.clip_norm;
  return rounding;
}

static double norm(const int64_t *x, size_t n) {
  double squares = 0;
  for (size_t i = 0; i < n; i++)
    squares += (double)x[i] * (double)x[i];
  return sqrt(squares);
}

/* What one person can add to a step's sum is what the accountant was told, and not less than
 * the clip where the gradient is long: the clip is at work, and only the clip. */
static void one_persons_vector_is_within_the_bound(void **state) {
  (void)state;
  size_t n = bench.model->n_params;
  struct nx_plan plan = *bench.plan;
  struct nx_plan_differential_privacy dp = *plan.differential_privacy;
  struct nx_subject_sums *sums = NULL;
  struct nx_rng rng;
  struct nx_entropy entropy = seeded_entropy(&rng, 1);
  int64_t *out = calloc(n, sizeof *out);
  double loss;
  plan.differential_privacy = &dp;
  dp.clip_norm = 0.01; /* far below any gradient */
  struct nx_dp_rounding rounding = rounding_of(&plan);
  assert_int_equal(
      nx_subject_sums_create(bench.model, bench.one, &plan, &rounding, &entropy, &sums, NULL), 0);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(nx_subject_sums_step(sums, bench.model, NULL, NULL, out, &loss, NULL), 0);
    assert_true(norm(out, n) <= rounding.bound);
    assert_true(norm(out, n) >= rounding.scale * dp.clip_norm - sqrt((double)n));
    assert_true(loss > 0);
  }
  nx_subject_sums_destroy(sums);
  free(out);
}

static void people_are_drawn_with_the_plans_probability(void **state) {
  (void)state;
  size_t n = bench.model->n_params, drawn = 0, trials = 120;
  struct nx_plan plan = *bench.plan;
  struct nx_plan_differential_privacy dp = *plan.differential_privacy;
  struct nx_subject_sums *sums = NULL;
  struct nx_rng rng;
  struct nx_entropy entropy = seeded_entropy(&rng, 2);
  int64_t *out = calloc(n, sizeof *out);
  plan.differential_privacy = &dp;
  dp.sampling_rate = 0.25;
  struct nx_dp_rounding rounding = rounding_of(&plan);
  assert_int_equal(
      nx_subject_sums_create(bench.model, bench.one, &plan, &rounding, &entropy, &sums, NULL), 0);
  for (size_t i = 0; i < trials; i++) {
    double loss;
    assert_int_equal(nx_subject_sums_step(sums, bench.model, NULL, NULL, out, &loss, NULL), 0);
    drawn += !isnan(loss);
    assert_true(isnan(loss) == (norm(out, n) == 0));
  }
  double sd = sqrt((double)trials * 0.25 * 0.75);
  assert_true(fabs((double)drawn - (double)trials * 0.25) < 4 * sd);
  nx_subject_sums_destroy(sums);
  free(out);
}

static void update_of(const struct nx_plan *plan, const struct nx_dataset *dataset,
                      enum nx_round_kind kind, uint32_t n_members, struct nx_update *out) {
  struct nx_rng rng;
  struct nx_entropy entropy = seeded_entropy(&rng, 3);
  struct nx_private_options options = {.n_members = n_members, .entropy = &entropy};
  struct nx_error err = {0};
  if (nx_private_update_compute(kind, bench.model, dataset, plan, &options, out, &err) < 0)
    fail_msg("%s", err.text);
}

/* With nobody drawn the lanes are noise alone: each site's share is (z s C)^2 / (t - n_C) of its
 * cohort, whoever survives. */
static void a_share_of_the_noise_is_the_cohorts_worst_case(void **state) {
  (void)state;
  static const struct {
    uint32_t n, honest; /* t - n_C */
  } cohorts[] = {{3, 3}, {4, 2}, {6, 3}, {10, 4}, {20, 8}};
  struct nx_plan plan = *bench.plan;
  struct nx_plan_differential_privacy dp = *plan.differential_privacy;
  plan.differential_privacy = &dp;
  dp.sampling_rate = 1e-9;
  for (size_t k = 0; k < NX_ARRAY_LENGTH(cohorts); k++) {
    struct nx_update update;
    double squares = 0, share = pow(5 * 16384.0, 2) / cohorts[k].honest;
    update_of(&plan, bench.dataset, NX_ROUND_TRAIN, cohorts[k].n, &update);
    for (size_t i = 0; i < update.n_values; i++)
      squares += pow(nx_quantize_signed(update.lanes[i], plan.aggregation.ring_bits), 2);
    double n = (double)update.n_values, found = squares / n;
    assert_true(fabs(found / share - 1) < 5 * sqrt(2 / n));
    nx_update_finish(&update);
  }
}

static const enum nx_plan_privacy ways[] = {NX_PRIVACY_SITE_LOCAL, NX_PRIVACY_DISTRIBUTED,
                                            NX_PRIVACY_NODE_LEVEL};

/* The rule on aux lanes: one person or five, they say the same. */
static void aux_lanes_tell_nothing(void **state) {
  (void)state;
  for (size_t w = 0; w < NX_ARRAY_LENGTH(ways); w++)
    for (uint32_t kind = NX_ROUND_STATISTICS; kind <= NX_ROUND_EVALUATE; kind++) {
      struct nx_plan plan = *bench.plan;
      struct nx_update five, one;
      plan.privacy = ways[w];
      update_of(&plan, bench.dataset, kind, 6, &five);
      update_of(&plan, bench.one, kind, 6, &one);
      assert_int_equal(five.n_aux, nx_aux_lanes(kind, bench.model->n_features));
      assert_int_equal(five.n_values, kind == NX_ROUND_TRAIN ? bench.model->n_params : 0);
      assert_memory_equal(five.aux, one.aux, five.n_aux * sizeof *five.aux);
      assert_int_equal(five.aux[NX_AUX_CONTRIBUTORS], 1);
      assert_int_equal(five.aux[NX_AUX_WEIGHT], 65536);
      for (size_t i = NX_AUX_TRAIN_WINDOWS; i < five.n_aux; i++)
        assert_int_equal(five.aux[i], 0);
      nx_update_finish(&five);
      nx_update_finish(&one);
    }
}

/* Two updates of one site differ everywhere: noise and draws are never those of a seed. */
static void the_plans_seed_does_not_make_the_noise(void **state) {
  (void)state;
  for (size_t w = 0; w < NX_ARRAY_LENGTH(ways); w++) {
    struct nx_plan plan = *bench.plan;
    struct nx_private_options options = {.n_members = 6, .entropy = &nx_entropy_system};
    struct nx_update a, b;
    size_t same = 0;
    plan.privacy = ways[w];
    assert_int_equal(nx_private_update_compute(NX_ROUND_TRAIN, bench.model, bench.dataset, &plan,
                                               &options, &a, NULL),
                     0);
    assert_int_equal(nx_private_update_compute(NX_ROUND_TRAIN, bench.model, bench.dataset, &plan,
                                               &options, &b, NULL),
                     0);
    for (size_t i = 0; i < a.n_values; i++)
      same += a.lanes ? a.lanes[i] == b.lanes[i] : a.delta[i] == b.delta[i];
    assert_true(same < a.n_values * 6 / 10); /* a first step of AdamW is little more than a sign */
    nx_update_finish(&a);
    nx_update_finish(&b);
  }
}

/* Almost without noise, what a site uploads is a step down the mean clipped gradient: the
 * loss falls as plain SGD's does. */
static void an_opened_sum_is_a_step_downhill(void **state) {
  (void)state;
  struct nx_plan plan = *bench.plan;
  struct nx_plan_differential_privacy dp = *plan.differential_privacy;
  struct nx_model *model = NULL;
  struct nx_rng rng;
  struct nx_entropy entropy = seeded_entropy(&rng, 4);
  struct nx_private_options options = {.n_members = 3, .entropy = &entropy};
  double first = 0, last = 0;
  plan.differential_privacy = &dp;
  plan.training.learning_rate = 0.1; /* the features are not standardised here */
  dp.noise_multiplier = 0.01;
  assert_int_equal(nx_model_clone(bench.model, &model, NULL), 0);
  for (int step = 0; step < 12; step++) {
    struct nx_buffer sum = {0};
    struct nx_model *next = NULL;
    struct nx_update update;
    assert_int_equal(nx_private_update_compute(NX_ROUND_TRAIN, model, bench.dataset, &plan,
                                               &options, &update, NULL),
                     0);
    for (size_t i = 0; i < update.n_values; i++)
      nx_buffer_append_u32(&sum, update.lanes[i], NULL);
    for (size_t i = 0; i < update.n_aux; i++)
      nx_buffer_append_u64(&sum, update.aux[i], NULL);
    assert_int_equal(nx_next_model(model, &(struct nx_hash){0}, &plan, NX_ROUND_TRAIN,
                                   nx_buffer_view(&sum), &next, NULL),
                     0);
    *(step ? &last : &first) = update.train_loss;
    nx_model_destroy(model);
    model = next;
    nx_update_finish(&update);
    nx_buffer_finish(&sum);
  }
  nx_model_destroy(model);
  if (!(last < first - 0.003))
    fail_msg("loss %g, then %g", first, last);
}

static void a_noisy_sum_that_could_overflow_is_refused(void **state) {
  (void)state;
  struct nx_plan plan = *bench.plan;
  struct nx_plan_differential_privacy dp = *plan.differential_privacy;
  struct nx_error err = {0};
  plan.differential_privacy = &dp;
  assert_int_equal(nx_plan_check_ring(&plan, 6, &err), 0);
  dp.noise_multiplier = 45; /* 8 sigma of all shares do not fit beside the values any more */
  assert_int_equal(nx_plan_check_ring(&plan, 6, &err), NX_E_LIMIT);
  plan.aggregation.ring_bits = 32;
  assert_int_equal(nx_plan_check_ring(&plan, 6, &err), 0);
  dp.noise_multiplier = 1e4;
  assert_int_equal(nx_plan_check_ring(&plan, 6, &err), NX_E_LIMIT);
}

static void feature_constants_come_from_the_plan(void **state) {
  (void)state;
  double means[128], sds[128];
  struct nx_plan plan = *bench.plan;
  struct nx_plan_differential_privacy dp = *plan.differential_privacy;
  struct nx_buffer sum = {0};
  struct nx_model *next = NULL;
  size_t n = bench.model->n_features;
  plan.differential_privacy = &dp;
  for (size_t i = 0; i < n; i++)
    means[i] = (double)i, sds[i] = 2;
  dp.feature_mean = means, dp.feature_sd = sds;
  dp.n_feature_mean = dp.n_feature_sd = (uint32_t)n;
  for (size_t i = 0; i < nx_aux_lanes(NX_ROUND_STATISTICS, n); i++)
    nx_buffer_append_u64(&sum, 0, NULL);
  assert_int_equal(nx_next_model(bench.model, &(struct nx_hash){0}, &plan, NX_ROUND_STATISTICS,
                                 nx_buffer_view(&sum), &next, NULL),
                   0);
  assert_true(next->feature_mean[3] == 3 && next->feature_sd[n - 1] == 2);
  nx_model_destroy(nx_steal(&next));
  dp.n_feature_mean = dp.n_feature_sd = (uint32_t)n - 1;
  assert_int_equal(nx_next_model(bench.model, &(struct nx_hash){0}, &plan, NX_ROUND_STATISTICS,
                                 nx_buffer_view(&sum), &next, NULL),
                   NX_E_INVALID);
  nx_buffer_finish(&sum);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_persons_vector_is_within_the_bound),
      cmocka_unit_test(people_are_drawn_with_the_plans_probability),
      cmocka_unit_test(a_share_of_the_noise_is_the_cohorts_worst_case),
      cmocka_unit_test(aux_lanes_tell_nothing),
      cmocka_unit_test(the_plans_seed_does_not_make_the_noise),
      cmocka_unit_test(an_opened_sum_is_a_step_downhill),
      cmocka_unit_test(a_noisy_sum_that_could_overflow_is_refused),
      cmocka_unit_test(feature_constants_come_from_the_plan),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
