/* One training step (forward, backward, clip, AdamW) of the general network at size large, 334
 * million parameters, on one thread, each way in a process of its own:
 *
 *   whole    every parameter trains, float32
 *   int8     rank-8 adapters over a base in int8
 *   nf4      rank-8 adapters over a base in NF4
 *   small    every parameter of size small, 8.5 million
 *
 * each as it is and with -again behind it: activations of blocks are computed again, not kept.
 *
 *   seconds       of the second step (the first one allocates); cpu_seconds: of processor time
 *   network_mb    of it the network's: gradients and activations
 *   peak_rss_mb   of the process, with the making of the model
 *
 * A way may be named: bench-large nf4. It takes 7 GiB and a minute or two. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/file.h"
#include "common/plan.h"
#include "common/plan_adapters.h"
#include "common/size.h"
#include "models/nets/general_network.h"
#include "models/optim/adamw.h"
#include "models/quantised.h"
#include "tests/bench/bench.h"

#define PLAN "configs/plan-general.yaml"
#define WINDOWS 2
#define CHANNELS 19

static const struct way {
  const char *name;
  enum nx_storage base; /* float32: everything trains */
  bool again, small;
} ways[] = {
    {"whole", NX_STORAGE_FLOAT32, false, false}, {"whole-again", NX_STORAGE_FLOAT32, true, false},
    {"int8", NX_STORAGE_INT8, false, false},     {"int8-again", NX_STORAGE_INT8, true, false},
    {"nf4", NX_STORAGE_NF4, false, false},       {"nf4-again", NX_STORAGE_NF4, true, false},
    {"small", NX_STORAGE_FLOAT32, false, true},  {"small-again", NX_STORAGE_FLOAT32, true, true},
};

struct result {
  double seconds, cpu_seconds, first_loss, last_loss, values, network_mb;
};

static struct nx_plan *plan_of(const struct way *way) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  bench_must(nx_file_read(PLAN, NX_BUFFER_CAP, &text, &err), &err);
  bench_must(nx_plan_parse(PLAN, nx_buffer_view(&text), &plan, &err), &err);
  nx_buffer_finish(&text);
  plan->model.width = way->small ? 256 : 1024;
  plan->model.blocks = way->small ? 8 : 24;
  plan->model.queries = way->small ? 8 : 16;
  plan->model.heads = way->small ? 4 : 16;
  plan->model.feed_forward = way->small ? 704 : 2752;
  plan->training.checkpoint_activations = way->again;
  if (way->base == NX_STORAGE_FLOAT32)
    return plan;
  plan->adapters = calloc(1, sizeof *plan->adapters);
  if (!plan->adapters)
    bench_fail("out of memory");
  *plan->adapters = (struct nx_plan_adapters){8, 16, true, true, false, way->base};
  return plan;
}

static struct nx_general_input recording(const struct nx_model_shape *shape, struct nx_rng *rng) {
  size_t n = (size_t)WINDOWS * CHANNELS * shape->patches * shape->tokenisers[0].inputs;
  static float stats[CHANNELS * NX_MODEL_STATS], positions[CHANNELS * 3];
  static uint8_t placed[CHANNELS];
  float *x = calloc(n, sizeof *x);
  if (!x)
    bench_fail("out of memory");
  for (size_t i = 0; i < n; i++)
    x[i] = (float)nx_rng_normal(rng);
  for (size_t i = 0; i < CHANNELS * 3; i++)
    positions[i] = (float)(0.5 * nx_rng_normal(rng));
  memset(placed, 1, sizeof placed);
  return (struct nx_general_input){0,
                                   NX_MODALITY_EEG,
                                   NX_SPECIES_HUMAN,
                                   NX_SIGNAL_AVERAGE,
                                   WINDOWS,
                                   CHANNELS,
                                   x,
                                   stats,
                                   positions,
                                   placed,
                                   NULL};
}

static void train(const void *context, void *out) {
  const struct way *way = context;
  struct result *result = out;
  struct nx_plan *plan = plan_of(way);
  struct nx_model *model = NULL;
  struct nx_general_network *network = NULL;
  struct nx_adamw *adamw = NULL;
  const struct nx_adamw_options options = {0.9, 0.99, 0.05, 1};
  struct nx_error err = {0};
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  bench_must(nx_model_create(plan, &model, &err), &err);
  bench_must(nx_general_network_create(model, &network, &err), &err);
  nx_general_network_use_checkpoints(network, way->again);
  bench_must(nx_adamw_create(model, &options, &adamw, &err), &err);
  struct nx_general_input input = recording(&model->shape, &rng);
  for (int step = 0; step < 2; step++) {
    double start = bench_seconds(), *loss = step ? &result->last_loss : &result->first_loss;
    clock_t cpu = clock();
    bench_must(nx_general_network_train_step(network, model, &input, 1, 0, &rng, loss, &err), &err);
    bench_must(nx_adamw_step(adamw, model, nx_general_network_gradients(network), 1e-4, NULL, &err),
               &err);
    result->seconds = bench_seconds() - start;
    result->cpu_seconds = (double)(clock() - cpu) / CLOCKS_PER_SEC;
  }
  result->values = (double)model->n_params;
  result->network_mb = (double)nx_general_network_memory(network) / (1 << 20);
  /* the process ends here: nothing is freed */
}

static void measure(struct bench *bench, const struct way *way) {
  struct result result = {0};
  double peak_mb = bench_apart(way->name, train, way, &result, sizeof result);
  if (!isfinite(result.first_loss) || !isfinite(result.last_loss))
    bench_fail("%s: the loss went from %g to %g", way->name, result.first_loss, result.last_loss);
  struct bench_row row = {.keys = {{"train", 0, way->name}}};
  row.metric = "trained_values";
  row.unit = "1";
  row.value = result.values;
  bench_add(bench, &row);
  row.metric = "seconds";
  row.unit = "s";
  row.value = result.seconds;
  bench_add(bench, &row);
  row.metric = "cpu_seconds";
  row.value = result.cpu_seconds;
  bench_add(bench, &row);
  row.unit = "MiB";
  row.value = result.network_mb;
  row.metric = "network_mb"; /* gradients and activations */
  bench_add(bench, &row);
  row.metric = "peak_rss_mb";
  row.value = peak_mb;
  row.limit = "of the issue";
  row.limit_value = 16 * 1024;
  bench_add(bench, &row);
}

int main(int argc, char **argv) {
  struct bench *bench = bench_begin("large", "[WAY …]", &argc, argv);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ways); i++) {
    int wanted = argc == 1;
    for (int a = 1; a < argc; a++)
      wanted |= !strcmp(argv[a], ways[i].name);
    if (wanted)
      measure(bench, &ways[i]);
  }
  return bench_end(bench);
}
