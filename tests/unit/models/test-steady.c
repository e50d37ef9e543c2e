/* A training step of ours allocates nothing once the first steps of its size are over: every call
 * of the allocator in this process is counted. oneDNN's sgemm (where the processor is not
 * AVX2's) takes room to pack matrices in, by posix_memalign(), which nothing of ours calls, and
 * gives it back before it returns: that is counted apart, and said. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/rng.h"
#include "models/nets/general_network.h"
#include "models/nets/network.h"
#include "models/optim/adamw.h"
#include "tests/unit/models/fixture.h"

#ifdef __has_feature /* clang's way to say it */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
#define COUNTS 1
#endif

static atomic_size_t calls, packs;

#ifdef COUNTS
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
  calls++;
  return __libc_malloc(size);
}
void *calloc(size_t n, size_t size) {
  calls++;
  return __libc_calloc(n, size);
}
void *realloc(void *old, size_t size) {
  calls++;
  return __libc_realloc(old, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
  calls++;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void **out, size_t alignment, size_t size) {
  packs++;
  *out = __libc_memalign(alignment, size);
  return *out ? 0 : 12; /* ENOMEM */
}
#endif

static size_t calls_of_steps(enum nx_plan_objective objective, bool again, size_t warm, size_t n) {
  enum { B = 24, C = 6, TOKENS = B * C * 5 };
  static float patches[TOKENS * 100], spectra[TOKENS * 45], stats[B * C * 8], positions[C * 3];
  static uint8_t labels[B];
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  plan->training.objective = objective;
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  const struct nx_adamw_options options = {0.9, 0.99, 0.05, 1};
  struct nx_network_input input = {B, C, patches, spectra, stats, positions, labels};
  struct nx_rng rng;
  double loss, norm;
  nx_rng_init(&rng, 1, 1);
  for (size_t i = 0; i < TOKENS * 100; i++)
    patches[i] = (float)nx_rng_normal(&rng);
  for (size_t i = 0; i < B; i++)
    labels[i] = i % 2;
  assert_int_equal(nx_network_create(model, &network, NULL), 0);
  nx_network_use_checkpoints(network, again);
  assert_int_equal(nx_adamw_create(model, &options, &adamw, NULL), 0);
  size_t before = 0;
  for (size_t i = 0; i < warm + n; i++) {
    if (i == warm)
      before = calls;
    assert_int_equal(nx_network_train_step(network, model, &input, 0.1, &rng, &loss, NULL), 0);
    assert_int_equal(nx_adamw_step(adamw, model, nx_network_gradients(network), 1e-3, &norm, NULL),
                     0);
  }
  return calls - before;
}

/* Two recordings of one step, of unlike channels. */
static size_t calls_of_general(enum nx_plan_objective objective, bool again, uint32_t width,
                               size_t experts, size_t warm, size_t n) {
  enum { B = 4, C = 6, N = B * C * 16 * 97 };
  static float x[N], stats[C * 8], positions[C * 3];
  static const uint8_t placed[C] = {1, 1, 1, 0, 1, 1}, labels[B] = {0, 1, 1, 0};
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &plan, NULL), 0);
  nx_buffer_finish(&text);
  plan->training.objective = objective;
  plan->model.width = width;
  plan->model.blocks = 2;
  plan->modalities->experts = (uint32_t)experts;
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  nx_plan_destroy(plan);
  _cleanup_(nx_general_network_destroyp) struct nx_general_network *network = NULL;
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  const struct nx_adamw_options options = {0.9, 0.99, 0.05, 1};
  const struct nx_general_input groups[] = {
      {0, NX_MODALITY_EEG, NX_SPECIES_HUMAN, NX_SIGNAL_AVERAGE, B, C, x, stats, positions, placed,
       labels},
      {0, NX_MODALITY_MEG, NX_SPECIES_HUMAN, NX_SIGNAL_ABSOLUTE, B / 2, C - 2, x, stats, positions,
       placed, labels}};
  struct nx_rng rng;
  double loss, norm;
  nx_rng_init(&rng, 1, 1);
  for (size_t i = 0; i < N; i++)
    x[i] = (float)nx_rng_normal(&rng);
  assert_int_equal(nx_general_network_create(model, &network, NULL), 0);
  nx_general_network_use_checkpoints(network, again);
  assert_int_equal(nx_adamw_create(model, &options, &adamw, NULL), 0);
  size_t before = 0;
  for (size_t i = 0; i < warm + n; i++) {
    if (i == warm)
      before = calls;
    assert_int_equal(
        nx_general_network_train_step(network, model, groups, 2, 0.1, &rng, &loss, NULL), 0);
    assert_int_equal(
        nx_adamw_step(adamw, model, nx_general_network_gradients(network), 1e-3, &norm, NULL), 0);
  }
  return calls - before;
}

static void a_step_of_the_general_network_never_allocates(void **state) {
  (void)state;
#ifndef COUNTS
  skip();
#endif
  /* Masks differ from step to step, and with them how much is asked: room grows to the largest. */
  for (int again = 0; again < 2; again++) {
    assert_int_equal(calls_of_general(NX_OBJECTIVE_RECONSTRUCTION, again, 64, 0, 12, 4), 0);
    assert_int_equal(calls_of_general(NX_OBJECTIVE_RECONSTRUCTION, again, 64, 4, 12, 4), 0);
    assert_int_equal(calls_of_general(NX_OBJECTIVE_NEXT_PATCH, again, 64, 0, 3, 4), 0);
    assert_int_equal(calls_of_general(NX_OBJECTIVE_CLASSIFICATION, again, 256, 0, 3, 4), 0);
  }
}

static void a_step_of_nano_never_allocates(void **state) {
  (void)state;
#ifndef COUNTS
  skip();
#endif
  size_t at = calls;
  void *volatile kept = malloc(1); /* volatile: or the pair is optimised away */
  free(kept);
  assert_true(calls > at); /* the counter counts */
  for (int again = 0; again < 2; again++) {
    assert_int_equal(calls_of_steps(NX_OBJECTIVE_CLASSIFICATION, again, 3, 4), 0);
    assert_int_equal(calls_of_steps(NX_OBJECTIVE_RECONSTRUCTION, again, 3, 4), 0);
  }
  print_message("# room that oneDNN took and gave back in all: %zu times\n", (size_t)packs);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_step_of_nano_never_allocates),
      cmocka_unit_test(a_step_of_the_general_network_never_allocates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
