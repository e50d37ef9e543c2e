/* The general network on what a site has: sites of unlike modalities train the same model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/plan_aux.h"
#include "common/plan_prototypes.h"
#include "common/plan_regression.h"
#include "common/size.h"
#include "models/optim/server_apply.h"
#include "node/train/prototype_sums.h"
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

/* ---- Prototypes ---- */

static char still_word[] = "still", moving_word[] = "moving", *both[] = {still_word, moving_word};
static struct nx_plan_prototypes prototypes = {both, 2, 0.5, 0.1, 8};

/* Windows of a slow wave and of a fast one in turn, on every channel; the last 2 of 6 are of none.
 */
static uint8_t *take_turns(struct made *m, size_t r) {
  struct nx_signal *s = &m->signals[r];
  size_t window = 16 * m->set.tokeniser->patch_samples;
  bool counts = m->set.tokeniser->loss == NX_TOKEN_LOSS_POISSON;
  uint8_t *classes = malloc(s->n_samples);
  struct nx_rng rng;
  nx_rng_init(&rng, 9, r);
  for (size_t i = 0; i < s->n_samples; i++) {
    size_t w = i / window;
    double turn = (w % 2 ? 25 : 3) * 2 * M_PI * (double)i / (double)window;
    classes[i] = w < 4 ? (uint8_t)(w % 2) : NX_PROTOTYPE_NO_CLASS;
    for (size_t k = 0; k < s->n_channels; k++) {
      double x = sin(turn + (double)k) + 0.3 * nx_rng_normal(&rng);
      m->x[r][k * s->n_samples + i] = (float)(counts ? floor(fmax(2 + 2 * x, 0)) : 1.4 * x);
    }
  }
  s->classes = classes;
  return classes;
}

struct two { /* species with nothing in common but their behaviour */
  struct nx_plan *plan;
  struct made *sites[2];
  uint8_t *classes[2][3];
  struct nx_model *model;
};

static struct two two_species(void) {
  struct two t = {.plan = plan_of(NX_OBJECTIVE_RECONSTRUCTION, 0)};
  t.plan->prototypes = &prototypes;
  t.sites[0] = make(t.plan, NX_MODALITY_MEG, 4);
  t.sites[1] = make(t.plan, NX_MODALITY_SPIKES, 6);
  for (size_t i = 0; i < 6; i++)
    t.classes[i / 3][i % 3] = take_turns(t.sites[i / 3], i % 3);
  t.model = model_of(t.plan);
  return t;
}

static void two_species_end(struct two *t) {
  for (size_t i = 0; i < 6; i++)
    free(t->classes[i / 3][i % 3]);
  unmake(t->sites[0]);
  unmake(t->sites[1]);
  nx_model_destroy(t->model);
  t->plan->prototypes = NULL; /* not the parser's */
  nx_plan_destroy(t->plan);
}

static const float *prototype(const struct nx_model *model, size_t class) {
  return model->params + nx_model_find(model, "prototypes.mean")->offset +
         class * NX_PROTOTYPE_WIDTH;
}

/* One round: both sites' lanes added up, as masks would; their updates averaged. */
static void round_of_two(struct two *t, uint64_t number) {
  size_t n_aux = nx_plan_aux_lanes(t->plan, NX_ROUND_TRAIN, 0), n = t->model->n_params;
  uint64_t *aux = calloc(n_aux, sizeof *aux);
  float *mean = calloc(n, sizeof *mean);
  struct nx_error err = {0};
  for (uint32_t i = 0; i < 2; i++) {
    const struct nx_site_signals site = {1, &t->sites[i]->set};
    struct nx_update update;
    if (nx_update_compute_general(NX_ROUND_TRAIN, t->model, &site, t->plan, number, i, NULL, NULL,
                                  NULL, &update, &err) < 0)
      fail_msg("%s", err.text);
    assert_int_equal(update.n_aux, n_aux);
    for (size_t k = 0; k < n_aux; k++)
      aux[k] += update.aux[k];
    for (size_t k = 0; k < n; k++)
      mean[k] += update.delta[k] / (float)(2 * update.weight);
    const float *still_there = update.delta + (prototype(t->model, 0) - t->model->params);
    for (size_t k = 0; k < 2 * NX_PROTOTYPE_WIDTH; k++)
      assert_true(still_there[k] == 0); /* nobody trains them */
    nx_update_finish(&update);
  }
  if (nx_server_apply_sums(t->model, t->plan->prototypes->minimum_count, aux, n_aux, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(nx_server_apply_values(t->model, mean, n, NULL), 0);
  free(aux);
  free(mean);
}

static void prototypes_of_a_federation_are_those_of_pooled_windows(void **state) {
  (void)state;
  struct two t = two_species();
  struct nx_model *pooled = NULL;
  size_t n_aux = nx_plan_aux_lanes(t.plan, NX_ROUND_TRAIN, 0);
  uint64_t *aux = calloc(2 * n_aux, sizeof *aux), *threads = aux + n_aux;
  const struct nx_signals sets[2] = {t.sites[0]->set, t.sites[1]->set};
  const struct nx_site_signals everything = {2, sets};
  struct nx_pool *pool = NULL;
  /* 8 windows of each class, one of the moving ones not known: below what the plan asks for */
  size_t window = 16 * sets[0].tokeniser->patch_samples;
  memset(t.classes[0][0] + window + window / 2, NX_PROTOTYPE_NO_CLASS, window / 4 + 1);
  assert_int_equal(nx_pool_create(3, &pool, NULL), 0);
  assert_int_equal(nx_model_clone(t.model, &pooled, NULL), 0);
  assert_int_equal(nx_prototype_sums(pooled, &everything, 1000, 0, NULL, aux, NULL), 0);
  assert_int_equal(nx_prototype_sums(pooled, &everything, 1000, 0, pool, threads, NULL), 0);
  assert_memory_equal(aux, threads, n_aux * sizeof *aux);
  assert_int_equal(aux[NX_AUX_PROTOTYPES], 8);
  assert_int_equal(aux[NX_AUX_PROTOTYPES + 1 + NX_PROTOTYPE_WIDTH], 7);
  assert_int_equal(nx_server_apply_sums(pooled, 8, aux, n_aux, NULL), 0);
  round_of_two(&t, 0);
  double length = 0;
  for (size_t i = 0; i < NX_PROTOTYPE_WIDTH; i++) {
    length += (double)prototype(t.model, 0)[i] * (double)prototype(t.model, 0)[i];
    assert_float_equal(prototype(t.model, 0)[i], prototype(pooled, 0)[i], 1e-6);
    assert_true(prototype(t.model, 1)[i] == 0); /* too few: as it was */
  }
  assert_float_equal(length, 1, 1e-6);
  /* a site's windows are thinned out to at most what the plan lets it weigh, in turns */
  memset(aux, 0, n_aux * sizeof *aux);
  assert_int_equal(nx_prototype_sums(pooled, &everything, 6, 3, NULL, aux, NULL), 0);
  assert_true(aux[NX_AUX_PROTOTYPES] + aux[NX_AUX_PROTOTYPES + 1 + NX_PROTOTYPE_WIDTH] <= 6);
  assert_true(aux[NX_AUX_PROTOTYPES] + aux[NX_AUX_PROTOTYPES + 1 + NX_PROTOTYPE_WIDTH] >= 4);
  nx_pool_destroy(pool);
  nx_model_destroy(pooled);
  free(aux);
  two_species_end(&t);
}

/* Mean cosine of held-out windows of one species with those of the other: of the same class, minus
 * of the other class. */
static double alignment(const struct two *t) {
  double sums[2][2][NX_PROTOTYPE_WIDTH] = {0}, gap = 0;
  for (size_t s = 0; s < 2; s++) {
    const struct nx_signal_thinning all = {1, 0};
    float u[4 * NX_PROTOTYPE_WIDTH];
    _cleanup_(nx_general_network_destroyp) struct nx_general_network *network = NULL;
    struct nx_signal_batch batch;
    assert_int_equal(nx_general_network_create(t->model, &network, NULL), 0);
    assert_int_equal(nx_signal_batch_init(&batch, &t->sites[s]->set, &t->model->shape, NULL), 0);
    assert_int_equal(nx_signal_batch_classed(&batch, NX_SPLIT_HELD_OUT, &all, 0, 8, NULL), 0);
    assert_int_equal(batch.n_windows, 4);
    assert_int_equal(
        nx_general_network_directions(network, t->model, batch.groups, batch.n_groups, u, NULL), 0);
    for (size_t w = 0; w < 4; w++)
      for (size_t i = 0; i < NX_PROTOTYPE_WIDTH; i++)
        sums[s][batch.groups[0].classes[w]][i] += (double)u[w * NX_PROTOTYPE_WIDTH + i] / 2;
    nx_signal_batch_finish(&batch);
  }
  for (size_t a = 0; a < 2; a++)
    for (size_t b = 0; b < 2; b++)
      for (size_t i = 0; i < NX_PROTOTYPE_WIDTH; i++)
        gap += (a == b ? 0.5 : -0.5) * sums[0][a][i] * sums[1][b][i];
  return gap;
}

static void species_that_share_behaviour_come_to_share_directions(void **state) {
  (void)state;
  struct two t = two_species();
  t.plan->training.learning_rate = 0.006;
  size_t rounds = test_times(8);
  double before = alignment(&t), after;
  for (size_t i = 0; i < rounds; i++)
    round_of_two(&t, i);
  after = alignment(&t);
  print_message("alignment %.3f before, %.3f after\n", before, after);
  if (rounds == 8 && !(before < 0.3 && after > 0.7))
    fail_msg("same behaviour of two species lies %.3f nearer than other, before %.3f", after,
             before);
  two_species_end(&t);
}

/* Windows without a class, or whose class has no prototype yet, train as if there were none. */
static void what_has_no_prototype_learns_nothing_of_them(void **state) {
  (void)state;
  struct two t = two_species();
  struct nx_model *models[4] = {0};
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(nx_model_clone(t.model, &models[i], NULL), 0);
  size_t at = (size_t)(prototype(t.model, 0) - t.model->params);
  for (size_t k = 0; k < 4; k++)
    for (size_t i = 0; k != 1 && i < 2 * NX_PROTOTYPE_WIDTH; i++)
      models[k]->params[at + i] = (i + i / NX_PROTOTYPE_WIDTH) % 2 ? 0.125f : 0;
  train(models[0], t.sites[1], t.plan, 2, NULL); /* labelled */
  train(models[1], t.sites[1], t.plan, 2, NULL); /* labelled, no prototype */
  for (size_t r = 0; r < 3; r++)
    memset(t.classes[1][r], NX_PROTOTYPE_NO_CLASS, t.sites[1]->signals[r].n_samples);
  train(models[2], t.sites[1], t.plan, 2, NULL);
  for (size_t r = 0; r < 3; r++)
    t.sites[1]->signals[r].classes = NULL;
  train(models[3], t.sites[1], t.plan, 2, NULL);
  size_t trained = (size_t)(nx_model_find(t.model, "prototypes.weight")->offset) * sizeof(float);
  assert_memory_equal(models[3]->params, models[2]->params, trained);
  assert_memory_equal(models[3]->params, models[1]->params, trained);
  assert_memory_not_equal(models[3]->params, models[0]->params, trained);
  for (size_t i = 0; i < 4; i++)
    nx_model_destroy(models[i]);
  two_species_end(&t);
}

/* ---- Balance of experts ---- */

/* Of the busiest expert, after `rounds` rounds of one site whose gate begins with all rows at one.
 */
static double busiest_after(size_t rounds, double balance, bool again) {
  struct nx_plan *plan = plan_of(NX_OBJECTIVE_RECONSTRUCTION, 4);
  plan->modalities->expert_balance = balance;
  plan->training.learning_rate = 0.002;
  plan->training.batch = 8;
  plan->training.checkpoint_activations = again;
  struct made *m = make(plan, NX_MODALITY_FMRI, 4);
  struct nx_model *model = model_of(plan);
  const struct nx_site_signals site = {1, &m->set};
  size_t n_aux = nx_plan_aux_lanes(plan, NX_ROUND_TRAIN, 0);
  uint64_t rows[4] = {0}, all = 0, most = 0;
  struct nx_rng rng;
  nx_rng_init(&rng, 4, 4);
  model->params[nx_model_find(model, "block.1.experts.bias.fmri")->offset + 2] = 4;
  for (size_t i = 0; i < rounds; i++) {
    struct nx_update update;
    struct nx_error err = {0};
    if (nx_update_compute_general(NX_ROUND_TRAIN, model, &site, plan, i, 1, NULL, NULL, NULL,
                                  &update, &err) < 0)
      fail_msg("%s", err.text);
    assert_int_equal(update.n_aux, n_aux);
    for (size_t k = 0; k < update.n_values; k++)
      update.delta[k] /= (float)update.weight;
    assert_int_equal(nx_server_apply_sums(model, 0, update.aux, n_aux, NULL), 0);
    assert_int_equal(nx_server_apply_values(model, update.delta, update.n_values, NULL), 0);
    if (balance > 0) { /* 32 windows of 16 patches and 4 queries */
      const uint64_t *lanes = update.aux + n_aux - 4;
      const float *load = model->params + nx_model_find(model, "block.1.experts.load")->offset;
      assert_int_equal(lanes[0] + lanes[1] + lanes[2] + lanes[3], 32 * 16 * 4);
      assert_true(i || lanes[2] == 32 * 16 * 4);
      assert_float_equal(load[2], (double)lanes[2] / (32 * 16 * 4), 1e-6);
    }
    nx_update_finish(&update);
  }
  assert_int_equal(nx_expert_sums(model, &site, 32, &rng, NULL, rows, NULL), 0);
  for (size_t e = 0; e < 4; e++) {
    all += rows[e];
    most = NX_MAX(most, rows[e]);
  }
  nx_model_destroy(model);
  unmake(m);
  nx_plan_destroy(plan);
  return (double)most / (double)all;
}

static void a_gate_that_sends_all_to_one_expert_opens_up(void **state) {
  (void)state;
  size_t rounds = test_times(16);
  double without = busiest_after(rounds, 0, false), with = busiest_after(rounds, 0.2, false);
  print_message("the busiest of 4 experts has %.3f without, %.3f with balance\n", without, with);
  if (rounds == 16 && !(without > 0.95 && with < 0.7))
    fail_msg("the busiest of 4 experts has %g of the rows without balance, %g with", without, with);
  assert_float_equal(busiest_after(2, 0.2, false), busiest_after(2, 0.2, true), 0); /* recomputed */
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
      cmocka_unit_test(prototypes_of_a_federation_are_those_of_pooled_windows),
      cmocka_unit_test(species_that_share_behaviour_come_to_share_directions),
      cmocka_unit_test(what_has_no_prototype_learns_nothing_of_them),
      cmocka_unit_test(a_gate_that_sends_all_to_one_expert_opens_up),
      cmocka_unit_test(other_modalities_keep_their_bits),
      cmocka_unit_test(same_bits_on_one_thread_or_three),
      cmocka_unit_test(files_round_trip),
      cmocka_unit_test(what_does_not_fit_is_refused_before_training),
      cmocka_unit_test(negative_counts_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
