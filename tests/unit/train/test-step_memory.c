/* What training takes is said before it begins: against the arena and the resident memory of real
 * rounds of training, each in a process of its own. */
#include "node/train/step_memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "common/memory.h"
#include "common/rng.h"
#include "models/model.h"
#include "node/dataset/signal.h"
#include "node/train/update.h"
#include "tests/unit/cmocka_shim.h"

#define MIB ((double)(1 << 20))
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif
enum { CHANNELS = 19, SAMPLES = 64 * 16 * 4 };

struct size {
  const char *name;
  uint32_t width, blocks, queries, heads, feed_forward;
};
static const struct size sizes[] = {
    {"nano", 64, 4, 4, 4, 192}, {"small", 256, 8, 8, 4, 704}, {"base", 512, 12, 16, 8, 1408}};

static struct nx_plan *plan_of(const struct size *size) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &plan, NULL), 0);
  nx_buffer_finish(&text);
  plan->model.width = size->width;
  plan->model.blocks = size->blocks;
  plan->model.queries = size->queries;
  plan->model.heads = size->heads;
  plan->model.feed_forward = size->feed_forward;
  plan->training.batch = 4;
  return plan;
}

static size_t peak_now(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (size_t)usage.ru_maxrss << 10;
}

/* One round of training as a node does it, and what the process grew by for it, with the model. */
static size_t grow(const struct nx_plan *plan) {
  static float x[CHANNELS * SAMPLES], positions[CHANNELS * 3], stats[CHANNELS * NX_SIGNAL_STATS];
  static uint8_t placed[CHANNELS];
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  for (size_t i = 0; i < CHANNELS * SAMPLES; i++)
    x[i] = (float)nx_rng_normal(&rng);
  const struct nx_signal signal = {.modality = NX_MODALITY_EEG,
                                   .n_channels = CHANNELS,
                                   .n_samples = SAMPLES,
                                   .x = x,
                                   .positions = positions,
                                   .placed = placed,
                                   .stats = stats};
  const struct nx_signals set = {&plan->modalities->tokenisers[0], 1, &signal};
  const struct nx_site_signals site = {1, &set};
  struct nx_model *model = NULL;
  struct nx_update update;
  struct nx_error err = {0};
  size_t before = nx_memory_resident();
  if (nx_model_create(plan, &model, &err) < 0 ||
      nx_update_compute_general(NX_ROUND_TRAIN, model, &site, plan, 0, 1, NULL, NULL, NULL, &update,
                                &err) < 0)
    return 0;
  return peak_now() - before;
}

static size_t measured(const struct nx_plan *plan) {
  size_t grown = 0;
  int ends[2], status;
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    grown = grow(plan);
    _exit(write(ends[1], &grown, sizeof grown) != sizeof grown);
  }
  assert_int_equal(read(ends[0], &grown, sizeof grown), sizeof grown);
  assert_int_equal(waitpid(child, &status, 0), child);
  close(ends[0]);
  close(ends[1]);
  return grown;
}

static void resident_memory_is_foreseen(void **state) {
  (void)state;
  if (SANITIZED) /* their own memory is more than ours */
    skip();
  for (int again = 0; again < 2; again++)
    for (size_t i = 0; i < (again ? 2 : 3); i++) { /* base twice takes long, and says no more */
      _cleanup_(nx_plan_destroyp) struct nx_plan *plan = plan_of(&sizes[i]);
      plan->training.local_steps = i == 2 ? 1 : 3;
      plan->training.checkpoint_activations = again;
      struct nx_step_memory foreseen;
      assert_int_equal(nx_step_memory_of_channels(plan, CHANNELS, 1, &foreseen, NULL), 0);
      size_t real = measured(plan);
      print_message("# %s%s: foreseen %.1f MiB, grown by %.1f (%.1f %%)\n", sizes[i].name,
                    again ? ", checkpoints" : "", (double)foreseen.total / MIB, (double)real / MIB,
                    100 * (double)real / (double)foreseen.total);
      assert_true(real > 0);
      if (real > foreseen.total * 11 / 10 || real < foreseen.total * 8 / 10)
        fail_msg("%s: foreseen %zu bytes, grown by %zu", sizes[i].name, foreseen.total, real);
    }
}

static void more_threads_and_checkpoints_count(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = plan_of(&sizes[1]);
  struct nx_step_memory one, three, again;
  assert_int_equal(nx_step_memory_of_channels(plan, CHANNELS, 1, &one, NULL), 0);
  assert_int_equal(nx_step_memory_of_channels(plan, CHANNELS, 3, &three, NULL), 0);
  plan->training.checkpoint_activations = true;
  assert_int_equal(nx_step_memory_of_channels(plan, CHANNELS, 1, &again, NULL), 0);
  assert_int_equal(three.activations, 3 * one.activations);
  assert_int_equal(three.gradients, 2 * one.gradients);
  assert_true(again.activations < one.activations * 6 / 10);
  assert_int_equal(again.model, one.model);
}

static void what_does_not_fit_is_refused_with_what_to_do(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = plan_of(&sizes[1]);
  struct nx_step_memory memory;
  struct nx_error err = {0};
  assert_int_equal(nx_step_memory_of_channels(plan, CHANNELS, 3, &memory, NULL), 0);
  struct nx_step_site site = {.plan = plan, .limit = (size_t)100 << 20};
  assert_int_equal(nx_step_memory_check(&site, &memory, &err), NX_E_DENIED);
  print_message("# %s\n", err.text);
  assert_non_null(strstr(err.text, "there are 100 (memory_mb in node.yaml)"));
  assert_non_null(strstr(err.text, "threads: 1 "));
  assert_non_null(strstr(err.text, "training.checkpoint_activations: true"));
  assert_null(strstr(err.text, "training.batch")); /* two windows less are nothing here */
  site.limit = (size_t)100 << 30;
  assert_int_equal(nx_step_memory_check(&site, &memory, &err), 0);
}

/* A model far larger than any machine is still measured, in little memory. */
static void a_giant_is_measured_without_having_it(void **state) {
  (void)state;
  const struct size giant = {"giant", 3072, 24, 64, 32, 8192};
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = plan_of(&giant);
  struct nx_step_memory memory;
  struct nx_error err = {0};
  if (nx_step_memory_of_channels(plan, 4096, 64, &memory, &err) < 0 && err.code != NX_E_LIMIT)
    fail_msg("%s", err.text);
  assert_true(err.code == NX_E_LIMIT || memory.total > (size_t)100 << 30);
}

/* ---- what there is ---- */

static void put(const char *root, const char *path, const char *text) {
  char full[512];
  snprintf(full, sizeof full, "%s%s", root, path);
  for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')); at++) {
    *at = 0;
    assert_true(nx_folder_create(full, 0700, NULL) == 0);
    *at = '/';
  }
  assert_int_equal(nx_file_replace(full, nx_bytes(text, strlen(text)), 0600, NULL), 0);
}

static void assert_room(const char *root, size_t mib) {
  double found = (double)(nx_memory_room(root) - nx_memory_resident()) / MIB;
  assert_true(found > (double)mib - 2 && found < (double)mib + 2);
}

static void the_tightest_group_counts(void **state) {
  (void)state;
  char root[] = "/tmp/nx-memory-XXXXXX";
  assert_non_null(mkdtemp(root));
  assert_int_equal(nx_memory_room(root), 0);
  put(root, "/proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable:    4194304 kB\n");
  assert_room(root, 4096);
  put(root, "/proc/self/cgroup", "0::/a/b\n");
  put(root, "/sys/fs/cgroup/a/memory.max", "1073741824\n");
  put(root, "/sys/fs/cgroup/a/memory.current", "536870912\n");
  put(root, "/sys/fs/cgroup/a/b/memory.max", "max\n");
  put(root, "/sys/fs/cgroup/a/b/memory.current", "5\n");
  assert_room(root, 512);
  put(root, "/sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 268435456\n");
  assert_room(root, 768);
  put(root, "/proc/self/cgroup", "5:cpu:/x\n4:memory:/c\n");
  put(root, "/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "209715200\n");
  put(root, "/sys/fs/cgroup/memory/c/memory.usage_in_bytes", "104857600\n");
  assert_room(root, 100);
  put(root, "/proc/self/cgroup", "0::/\n");
  assert_room(root, 4096);
  assert_true(nx_memory_room("") > nx_memory_resident() && nx_memory_resident() > 0);
  char command[64];
  snprintf(command, sizeof command, "rm -r %s", root);
  assert_int_equal(system(command), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(more_threads_and_checkpoints_count),
      cmocka_unit_test(what_does_not_fit_is_refused_with_what_to_do),
      cmocka_unit_test(a_giant_is_measured_without_having_it),
      cmocka_unit_test(the_tightest_group_counts),
      cmocka_unit_test(resident_memory_is_foreseen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
