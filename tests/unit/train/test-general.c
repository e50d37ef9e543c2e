/* The general network on what a site has: sites of unlike modalities train the same model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/plan_regression.h"
#include "models/optim/server_apply.h"
#include "node/train/update.h"
#include "tests/unit/cmocka_shim.h"

/* A small plan of the example's kind. */
static struct nx_plan *plan_of(enum nx_plan_objective objective, uint32_t experts) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan.yaml", nx_buffer_view(&text), &plan, NULL), 0);
  plan->model.width = 32;
  plan->model.blocks = 2;
  plan->model.feed_forward = 48;
  plan->modalities->experts = experts;
  plan->training.objective = objective;
  plan->training.batch = 16;
  plan->training.local_steps = 4;
  plan->training.rounds = 50;
  plan->training.learning_rate = 0.002;
  return plan;
}

/* Synthetic recordings of one modality: a slow sine on every channel, at a phase of its own in each
 * recording; counts for spikes. */
struct made {
  struct nx_signals set;
  struct nx_signal signals[3];
  float *x[3], stats[3][16][NX_SIGNAL_STATS], positions[16 * 3];
  uint8_t placed[16];
};

static struct made *make(const struct nx_plan *plan, enum nx_modality modality, size_t channels) {
  struct made *m = calloc(1, sizeof *m);
  const struct nx_plan_tokeniser *found[2];
  struct nx_rng rng;
  nx_rng_init(&rng, 3, modality);
  assert_true(nx_plan_tokenisers_of(plan, modality, found) >= 1);
  bool counts = found[0]->loss == NX_TOKEN_LOSS_POISSON;
  for (size_t i = 0; i < 16; i++) {
    m->placed[i] = modality != NX_MODALITY_SPIKES && i % 3 != 2;
    for (size_t j = 0; j < 3; j++)
      m->positions[i * 3 + j] = (float)nx_rng_normal(&rng);
  }
  for (size_t r = 0; r < 3; r++) {
    size_t n = 16 * found[0]->patch_samples * 6 + 5, c = channels + r;
    m->x[r] = calloc(n * c, sizeof(float));
    for (size_t k = 0; k < c; k++) {
      for (size_t i = 0; i < n; i++) {
        double wave = sin(0.4 * (double)i / found[0]->patch_samples + (double)r);
        m->x[r][k * n + i] =
            (float)(counts ? floor(1.5 + wave + nx_rng_uniform(&rng)) : 1.4 * wave);
      }
      nx_signal_stats(m->x[r] + k * n, n, 1, 1, m->stats[r][k]);
    }
    m->signals[r] = (struct nx_signal){.modality = modality,
                                       .species = counts ? NX_SPECIES_MONKEY : NX_SPECIES_HUMAN,
                                       .reference = NX_SIGNAL_AVERAGE,
                                       .n_channels = c,
                                       .n_samples = n,
                                       .x = m->x[r],
                                       .positions = m->positions,
                                       .placed = m->placed,
                                       .stats = m->stats[r][0],
                                       .split = r == 2 ? NX_SPLIT_HELD_OUT : NX_SPLIT_TRAIN,
                                       .label = r % 2};
  }
  m->set = (struct nx_signals){found[0], 3, m->signals};
  return m;
}

static void unmake(struct made *m) {
  for (size_t r = 0; r < 3; r++)
    free(m->x[r]);
  free(m);
}

static struct nx_model *model_of(const struct nx_plan *plan) {
  struct nx_model *model = NULL;
  struct nx_error err = {0};
  if (nx_model_create(plan, &model, &err) < 0)
    fail_msg("%s", err.text);
  return model;
}

static void train(struct nx_model *model, const struct made *m, const struct nx_plan *plan,
                  size_t steps, struct nx_pool *pool) {
  const struct nx_site_signals site = {1, &m->set};
  const struct nx_train_options options = {
      .seed = 1, .n_steps = steps, .total_steps = steps, .batch = plan->training.batch};
  struct nx_train_result result;
  struct nx_error err = {0};
  if (nx_general_train(model, &site, plan, &options, pool, &result, &err) < 0)
    fail_msg("%s", err.text);
}

static double held_out(const struct nx_model *model, const struct made *m) {
  const struct nx_site_signals site = {1, &m->set};
  size_t n;
  double loss;
  struct nx_error err = {0};
  if (nx_general_loss_of(model, &site, NX_SPLIT_HELD_OUT, 7, &n, &loss, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(n, 6);
  return loss;
}

static void learns(enum nx_plan_objective objective, enum nx_modality modality, uint32_t experts,
                   size_t steps, double to) {
  struct nx_plan *plan = plan_of(objective, experts);
  struct made *m = make(plan, modality, 5);
  struct nx_model *model = model_of(plan);
  double before = held_out(model, m), after;
  train(model, m, plan, test_times(steps), NULL);
  after = held_out(model, m);
  if (!(after < before - (test_times(steps) == steps ? to : -1)))
    fail_msg("%s: held-out loss went from %g to %g", nx_modality_name(modality), before, after);
  nx_model_destroy(model);
  unmake(m);
  nx_plan_destroy(plan);
}

static void masked_objective_learns(void **state) {
  (void)state;
  learns(NX_OBJECTIVE_RECONSTRUCTION, NX_MODALITY_FMRI, 0, 120, 0.2);
}
static void next_patch_objective_learns(void **state) {
  (void)state;
  learns(NX_OBJECTIVE_NEXT_PATCH, NX_MODALITY_CALCIUM, 2, 60, 0.15);
}
static void counts_learn(void **state) {
  (void)state;
  learns(NX_OBJECTIVE_RECONSTRUCTION, NX_MODALITY_SPIKES, 0, 150, 0.02);
}

/* Behaviour that the samples show: the wave itself, one patch in nine not known. */
static float *behave(struct made *m, size_t r, double scale) {
  size_t n = m->signals[r].n_samples, patch = m->set.tokeniser->patch_samples;
  float *y = calloc(2 * n, sizeof *y);
  for (size_t i = 0; i < n; i++) {
    double wave = sin(0.4 * (double)i / (double)patch + (double)r);
    y[i] = i / patch % 9 == 4 ? NAN : (float)(scale * wave + 40);
    y[n + i] = (float)(3 * wave * wave);
  }
  return y;
}

static void a_regression_learns_and_its_sums_say_how_well(void **state) {
  (void)state;
  static char place[] = "place", square[] = "square", *targets[] = {place, square};
  static char unit[] = "cm";
  struct nx_plan_regression regression = {targets, 2, unit, NX_STANDARDISE_FEDERATION};
  struct nx_plan *plan = plan_of(NX_OBJECTIVE_REGRESSION, 0);
  plan->regression = &regression;
  struct made *m = make(plan, NX_MODALITY_FMRI, 5);
  struct nx_model *model = model_of(plan);
  const struct nx_site_signals site = {1, &m->set};
  struct nx_update update;
  struct nx_score_result score;
  struct nx_target_moments moments;
  struct nx_error err = {0};
  float *y[3];
  for (size_t r = 0; r < 3; r++)
    m->signals[r].targets = y[r] = behave(m, r, 20);
  /* what a site says of its targets sets mean and SD of the model */
  if (nx_update_compute_general(NX_ROUND_STATISTICS, model, &site, plan, 0, 1, NULL, NULL, NULL,
                                &update, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(nx_server_apply_statistics(model, update.aux, update.n_aux, NULL), 0);
  nx_update_finish(&update);
  assert_true(fabsf(model->feature_mean[0] - 40) < 5 && fabsf(model->feature_sd[0] - 14) < 3);
  assert_true(fabsf(model->feature_mean[1] - 1.5f) < 0.3f);
  train(model, m, plan, test_times(80), NULL);
  if (nx_general_regression_score(model, &site, NX_SPLIT_HELD_OUT, &score, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(score.n_windows, 6);
  assert_true(score.moments.of[0].n == 6 * 16 - 11); /* every ninth is not known */
  for (size_t k = 0; k < 2 && test_times(80) == 80; k++)
    if (!(nx_moments_r_squared(&score.moments.of[k]) > 0.5))
      fail_msg("target %zu: R squared %g", k, nx_moments_r_squared(&score.moments.of[k]));
  if (nx_update_compute_general(NX_ROUND_EVALUATE, model, &site, plan, 0, 1, NULL, NULL, NULL,
                                &update, &err) < 0)
    fail_msg("%s", err.text);
  nx_moments_from_lanes(update.aux, &moments);
  assert_int_equal(moments.n_targets, 2);
  assert_float_equal(nx_moments_mean_r_squared(&moments), nx_moments_mean_r_squared(&score.moments),
                     1e-4);
  nx_update_finish(&update);
  for (size_t r = 0; r < 3; r++)
    free(y[r]);
  nx_model_destroy(model);
  unmake(m);
  plan->regression = NULL; /* not the parser's */
  nx_plan_destroy(plan);
}

/* A site moves its own modality's tensors and the shared ones; others keep every bit. */
static void other_modalities_keep_their_bits(void **state) {
  (void)state;
  struct nx_plan *plan = plan_of(NX_OBJECTIVE_RECONSTRUCTION, 2);
  struct made *m = make(plan, NX_MODALITY_MEG, 4);
  struct nx_model *model = model_of(plan);
  const struct nx_site_signals site = {1, &m->set};
  struct nx_update update;
  struct nx_error err = {0};
  if (nx_update_compute_general(NX_ROUND_TRAIN, model, &site, plan, 0, 1, NULL, NULL, NULL, &update,
                                &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(update.n_values, model->n_params);
  assert_int_equal(update.aux[NX_AUX_TRAIN_WINDOWS], 64);
  assert_int_equal(update.aux[NX_AUX_HELD_OUT_WINDOWS], 6);
  static const char *const still[] = {
      "tokens.ieeg.weight", "tokens.fmri.bias",  "samples.spikes.weight",   "modality.eeg",
      "species.mouse",      "reference.bipolar", "block.1.experts.bias.eeg"};
  static const char *const moves[] = {
      "tokens.eeg.weight", "samples.eeg.weight", "modality.meg",    "species.human",
      "reference.average", "samples.norm",       "unifier.queries", "block.1.experts.bias.meg"};
  for (int which = 0; which < 2; which++)
    for (size_t i = 0; i < (which ? 8 : 7); i++) {
      const struct nx_model_tensor *t = nx_model_find(model, which ? moves[i] : still[i]);
      double largest = 0;
      assert_non_null(t);
      for (size_t j = 0; j < t->size; j++)
        largest = fmax(largest, fabs((double)update.delta[t->offset + j]));
      if ((largest > 0) != which)
        fail_msg("%s moved by %g", t->name, largest);
    }
  nx_update_finish(&update);
  nx_model_destroy(model);
  unmake(m);
  nx_plan_destroy(plan);
}

static void same_bits_on_one_thread_or_three(void **state) {
  (void)state;
  struct nx_plan *plan = plan_of(NX_OBJECTIVE_RECONSTRUCTION, 3);
  plan->training.batch = 40;
  plan->model.dropout = 0.1;
  struct made *m = make(plan, NX_MODALITY_CALCIUM, 9);
  struct nx_model *one = model_of(plan), *three = model_of(plan);
  struct nx_pool *pool = NULL;
  assert_int_equal(nx_pool_create(3, &pool, NULL), 0);
  train(one, m, plan, 2, NULL);
  train(three, m, plan, 2, pool);
  assert_memory_equal(one->params, three->params, one->n_params * sizeof(float));
  plan->training.checkpoint_activations = true;
  struct nx_model *again = model_of(plan);
  train(again, m, plan, 2, pool);
  assert_memory_equal(one->params, again->params, one->n_params * sizeof(float));
  nx_model_destroy(again);
  nx_pool_destroy(pool);
  nx_model_destroy(one);
  nx_model_destroy(three);
  unmake(m);
  nx_plan_destroy(plan);
}

static void files_round_trip(void **state) {
  (void)state;
  struct nx_plan *plan = plan_of(NX_OBJECTIVE_NEXT_PATCH, 2);
  struct nx_model *model = model_of(plan), *loaded = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0}, again = {0};
  struct nx_error err = {0};
  assert_int_equal(nx_model_save(model, &bytes, &err), 0);
  if (nx_model_load(plan, nx_buffer_view(&bytes), &loaded, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(nx_model_save(loaded, &again, &err), 0);
  assert_int_equal(bytes.size, again.size);
  assert_memory_equal(bytes.data, again.data, bytes.size);
  plan->modalities->tokenisers[0].frequency_power = 0.5; /* another loss is another model */
  nx_model_destroy(loaded);
  loaded = NULL;
  assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &loaded, &err), NX_E_FORMAT);
  nx_model_destroy(model);
  nx_plan_destroy(plan);
}

static void what_does_not_fit_is_refused_before_training(void **state) {
  (void)state;
  struct nx_plan *plan = plan_of(NX_OBJECTIVE_RECONSTRUCTION, 0);
  struct made *m = make(plan, NX_MODALITY_EEG, 4);
  struct nx_model *model = model_of(plan);
  const struct nx_site_signals site = {1, &m->set}, none = {0, NULL};
  struct nx_plan_tokeniser missing = plan->modalities->tokenisers[0];
  struct nx_signal keep = m->signals[1];
  struct nx_error err = {0};
  assert_int_equal(nx_site_signals_check(&site, &model->shape, &err), 0);
  assert_int_equal(nx_site_signals_check(&none, &model->shape, &err), NX_E_INVALID);
  m->signals[1].n_channels = 0;
  assert_int_equal(nx_site_signals_check(&site, &model->shape, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "recording 2: no channels"));
  m->signals[1] = keep;
  m->signals[1].n_samples = 1;
  assert_int_equal(nx_site_signals_check(&site, &model->shape, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "1 samples"));
  m->signals[1] = keep;
  m->signals[1].modality = NX_MODALITY_LFP;
  assert_int_equal(nx_site_signals_check(&site, &model->shape, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "does not read lfp"));
  m->signals[1] = keep;
  m->x[1][100] = NAN;
  assert_int_equal(nx_site_signals_check(&site, &model->shape, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "channel 1 holds NaN"));
  m->x[1][100] = -1;
  assert_int_equal(nx_site_signals_check(&site, &model->shape, &err), 0);
  missing.kind = NX_TOKENISER_EEG;
  missing.patch_samples = 32;
  m->set.tokeniser = &missing;
  assert_int_equal(nx_site_signals_check(&site, &model->shape, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "no tokeniser eeg with patches of 32"));
  m->set.tokeniser = &plan->modalities->tokenisers[0];
  m->set.n = 0;
  assert_int_equal(nx_site_signals_check(&site, &model->shape, &err), NX_E_INVALID);
  nx_model_destroy(model);
  unmake(m);
  nx_plan_destroy(plan);
}

static void negative_counts_are_refused(void **state) {
  (void)state;
  struct nx_plan *plan = plan_of(NX_OBJECTIVE_RECONSTRUCTION, 0);
  struct made *m = make(plan, NX_MODALITY_SPIKES, 2);
  struct nx_error err = {0};
  m->x[0][3] = -1;
  assert_int_equal(nx_signal_check(&m->signals[0], m->set.tokeniser, 16, "a file", &err),
                   NX_E_INVALID);
  assert_non_null(strstr(err.text, "a file: channel 1 is negative at sample 3"));
  unmake(m);
  nx_plan_destroy(plan);
}

/* An argument picks tests by name, as `same_bits*`: under ThreadSanitizer the others take long. */
int main(int argc, char **argv) {
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(masked_objective_learns),
      cmocka_unit_test(next_patch_objective_learns),
      cmocka_unit_test(counts_learn),
      cmocka_unit_test(a_regression_learns_and_its_sums_say_how_well),
      cmocka_unit_test(other_modalities_keep_their_bits),
      cmocka_unit_test(same_bits_on_one_thread_or_three),
      cmocka_unit_test(files_round_trip),
      cmocka_unit_test(what_does_not_fit_is_refused_before_training),
      cmocka_unit_test(negative_counts_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
