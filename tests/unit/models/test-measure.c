/* What a step needs is known before one is taken: measured over nothing, against what real steps
 * took. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/plan_adapters.h"
#include "common/rng.h"
#include "models/nets/general_network.h"
#include "models/nets/network.h"
#include "models/outline.h"
#include "tests/unit/models/fixture.h"

#define MIB ((double)(1 << 20))

static float *random_floats(size_t n, uint64_t stream) {
  float *x = calloc(n, sizeof *x);
  struct nx_rng rng;
  assert_non_null(x);
  nx_rng_init(&rng, 5, stream);
  for (size_t i = 0; i < n; i++)
    x[i] = (float)nx_rng_normal(&rng);
  return x;
}

static struct nx_outline *outline_of(const struct nx_plan *plan) {
  struct nx_outline *outline = NULL;
  struct nx_error err = {0};
  if (nx_outline_create(plan, &outline, &err) < 0)
    fail_msg("%s", err.text);
  return outline;
}

/* Every kernel of the real table is there: one that is forgotten would compute on nothing. */
static void the_hollow_backend_has_every_kernel(void **state) {
  (void)state;
  const struct nx_kernels *kernels = nx_backend_hollow()->kernels;
  void *all[sizeof *kernels / sizeof(void *)];
  memcpy(all, kernels, sizeof all);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    assert_non_null(all[i]);
}

static void outlines_are_the_models_tables(void **state) {
  (void)state;
  for (int base = -1; base <= NX_STORAGE_NF4; base++) {
    _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
    if (base >= 0) {
      plan->adapters = calloc(1, sizeof *plan->adapters);
      *plan->adapters = (struct nx_plan_adapters){4, 8, true, true, true, (enum nx_storage)base};
    }
    _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
    _cleanup_(nx_outline_destroyp) struct nx_outline *outline = outline_of(plan);
    for (const struct nx_model *a = model, *b = nx_outline_model(outline); a || b;
         a = a->base, b = b->base) {
      assert_true(a && b);
      assert_int_equal(a->n_params, b->n_params);
      assert_int_equal(a->n_features, b->n_features);
      assert_int_equal(a->n_tensors, b->n_tensors);
      assert_memory_equal(a->tensors, b->tensors, a->n_tensors * sizeof *a->tensors);
    }
  }
}

/* At most what was said, and not much less. */
static void assert_foreseen(const char *what, size_t real, size_t foreseen) {
  print_message("# %s: foreseen %.2f MiB, taken %.2f (%.1f %%)\n", what, (double)foreseen / MIB,
                (double)real / MIB, 100 * (double)real / (double)foreseen);
  if (real > foreseen || (double)real < 0.8 * (double)foreseen)
    fail_msg("%s: foreseen %zu bytes, taken %zu", what, foreseen, real);
}

struct size {
  const char *name;
  uint32_t width, blocks, queries, heads, feed_forward;
};
static const struct size sizes[] = {
    {"nano", 64, 4, 4, 4, 192}, {"small", 256, 8, 8, 4, 704}, {"base", 512, 12, 16, 8, 1408}};

static struct nx_plan *general_plan(const struct size *size, enum nx_plan_objective objective,
                                    uint32_t experts) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &plan, NULL), 0);
  nx_buffer_finish(&text);
  plan->training.objective = objective;
  plan->model.width = size->width;
  plan->model.blocks = size->blocks;
  plan->model.queries = size->queries;
  plan->model.heads = size->heads;
  plan->model.feed_forward = size->feed_forward;
  plan->modalities->experts = experts;
  return plan;
}

/* What the network holds beside its gradients after steps of one group, in alike masks or unlike.
 */
static void check_general(const char *name, const struct nx_plan *plan, size_t windows,
                          size_t channels, bool again) {
  struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_outline_destroyp) struct nx_outline *outline = outline_of(plan);
  struct nx_general_network *network = NULL;
  struct nx_slice_memory foreseen = {0};
  struct nx_error err = {0};
  uint8_t *placed = calloc(channels, 1), *labels = calloc(windows, 1);
  float *x = random_floats(windows * channels * 16 * 97, 1);
  float *stats = random_floats(channels * 8, 2), *positions = random_floats(channels * 3, 3);
  for (size_t i = 0; i < channels; i++)
    positions[3 * i + 2] *= 0.1f, placed[i] = 1;
  const struct nx_general_input group = {0,
                                         NX_MODALITY_EEG,
                                         NX_SPECIES_HUMAN,
                                         NX_SIGNAL_AVERAGE,
                                         windows,
                                         channels,
                                         x,
                                         stats,
                                         positions,
                                         placed,
                                         labels,
                                         NULL};
  struct nx_rng rng;
  double loss;
  nx_rng_init(&rng, 1, 1);
  if (nx_general_network_measure(nx_outline_runs(outline), &group, again, &foreseen, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(nx_general_network_create(model, &network, NULL), 0);
  nx_general_network_use_checkpoints(network, again);
  for (int i = 0; i < 3; i++)
    if (nx_general_network_train_step(network, model, &group, 1, 0, &rng, &loss, &err) < 0)
      fail_msg("%s", err.text);
  assert_foreseen(name, nx_general_network_activations(network), foreseen.bytes);
  nx_general_network_destroy(network);
  nx_model_destroy(model);
  free(x);
  free(stats);
  free(positions);
  free(placed);
  free(labels);
}

static void what_general_takes_is_foreseen(void **state) {
  (void)state;
  for (int again = 0; again < 2; again++)
    for (size_t i = 0; i < 3; i++)
      for (uint32_t experts = 0; experts <= 4; experts += 4) {
        if ((i == 2 && (again || experts)) || (i && test_times(10) < 10))
          continue; /* takes long, and says no more */
        _cleanup_(nx_plan_destroyp) struct nx_plan *plan =
            general_plan(&sizes[i], NX_OBJECTIVE_RECONSTRUCTION, experts);
        char name[64];
        snprintf(name, sizeof name, "general %s, %u experts%s", sizes[i].name, experts,
                 again ? ", checkpoints" : "");
        check_general(name, plan, 4, 19, again);
      }
}

static void check_nano(const char *name, const struct nx_plan *plan, bool again) {
  enum { B = 45, C = 19, TOKENS = B * C * 5 };
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_outline_destroyp) struct nx_outline *outline = outline_of(plan);
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  struct nx_slice_memory foreseen = {0};
  float *patches = random_floats(TOKENS * 100, 1), *spectra = random_floats(TOKENS * 45, 2);
  float *stats = random_floats(B * C * 8, 3), *positions = random_floats(C * 3, 4);
  uint8_t labels[B] = {0, 1, 1, 0, 1};
  struct nx_network_input input = {B, C, patches, spectra, stats, positions, labels};
  struct nx_rng rng;
  double loss;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_network_measure(nx_outline_runs(outline), B, C, again, &foreseen, NULL), 0);
  assert_int_equal(foreseen.n_slices, 5);
  assert_int_equal(nx_network_create(model, &network, NULL), 0);
  nx_network_use_checkpoints(network, again);
  assert_int_equal(nx_network_train_step(network, model, &input, 0.1, &rng, &loss, NULL), 0);
  assert_foreseen(name, nx_network_activations(network), foreseen.bytes);
  free(patches);
  free(spectra);
  free(stats);
  free(positions);
}

static void what_nano_takes_is_foreseen(void **state) {
  (void)state;
  for (int again = 0; again < 2; again++)
    for (int objective = 0; objective < 2; objective++)
      for (int base = -1; base <= NX_STORAGE_NF4; base += base < 0 ? 2 : 1) {
        _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
        plan->training.objective = (enum nx_plan_objective)objective;
        if (base >= 0) {
          plan->adapters = calloc(1, sizeof *plan->adapters);
          *plan->adapters =
              (struct nx_plan_adapters){4, 8, true, true, true, (enum nx_storage)base};
        }
        check_nano(base < 0 ? "nano" : "nano, adapters over codes", plan, again);
      }
}

static void what_the_other_objectives_take_is_foreseen(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *next =
      general_plan(&sizes[0], NX_OBJECTIVE_NEXT_PATCH, 0);
  _cleanup_(nx_plan_destroyp) struct nx_plan *classes =
      general_plan(&sizes[0], NX_OBJECTIVE_CLASSIFICATION, 0);
  check_general("next patch", next, 4, 7, false);
  check_general("classification", classes, 4, 40, true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_hollow_backend_has_every_kernel),
      cmocka_unit_test(outlines_are_the_models_tables),
      cmocka_unit_test(what_general_takes_is_foreseen),
      cmocka_unit_test(what_nano_takes_is_foreseen),
      cmocka_unit_test(what_the_other_objectives_take_is_foreseen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
