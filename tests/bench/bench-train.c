/* Whole training steps (forward, backward, gradient clip, AdamW) of the network at three
 * sizes, beside the same network in PyTorch (tests/oracle/train_torch.py, Debian's
 * python3-torch) in the same minute, and beside the machine's own matrix products.
 *
 *   tokens_per_s    backbone tokens, windows * patches * queries, a second; limit: what the
 *                   GEMM rate alone would allow
 *   gflops          what the network needs as written (no recomputation), forward + backward;
 *                   folding keys into queries is counted as what is done, so it is no gain
 *   percent_of_gemm gflops over the measured rate of oneDNN's GEMM of the same precision at
 *                   the network's own shapes
 *   peak_rss_mb     of a process that does nothing else
 *
 * That our numbers are PyTorch's is what tests/unit/models/test-parity.c checks; here the
 * loss must be finite and fall. */
#include <dnnl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "common/plan.h"
#include "common/rng.h"
#include "models/nets/network.h"
#include "models/optim/adamw.h"
#include "tests/bench/bench.h"

#define PLAN "configs/plan-eegmat.yaml"
#define PEER "/usr/bin/python3 tests/oracle/train_torch.py"

extern void omp_set_num_threads(int n); /* of the GEMM library */
/* Exported by oneDNN without a line in dnnl.h; see models/backend/cpu.c. */
extern dnnl_status_t dnnl_gemm_bf16bf16f32(char op_a, char op_b, dnnl_dim_t m, dnnl_dim_t n,
                                           dnnl_dim_t k, float alpha, const uint16_t *a,
                                           dnnl_dim_t lda, const uint16_t *b, dnnl_dim_t ldb,
                                           float beta, float *c, dnnl_dim_t ldc);

struct size {
  const char *name;
  uint32_t width, blocks, queries, heads, feed_forward;
  uint32_t patches, patch_samples, windows, channels, steps;
  enum nx_plan_objective objective;
};

static const struct size sizes[] = {
    {"nano", 64, 2, 4, 4, 192, 5, 100, 20, 19, 200, NX_OBJECTIVE_CLASSIFICATION},
    {"small", 256, 8, 8, 4, 704, 16, 64, 8, 32, 8, NX_OBJECTIVE_RECONSTRUCTION},
    {"base", 512, 12, 16, 8, 1408, 16, 64, 4, 32, 4, NX_OBJECTIVE_RECONSTRUCTION},
    /* Only when asked for: several GiB, and minutes in PyTorch. */
    {"large", 1024, 24, 16, 16, 2752, 16, 64, 2, 32, 1, NX_OBJECTIVE_RECONSTRUCTION},
};

struct result {
  double seconds, first_loss, last_loss;
  double peak_rss_mb;
};

static struct nx_plan *plan_of(const struct size *s) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  if (nx_file_read(PLAN, NX_BUFFER_CAP, &text, &err) ||
      nx_plan_parse(PLAN, nx_buffer_view(&text), &plan, &err))
    bench_fail("%s (run it from the project's folder)", err.text);
  nx_buffer_finish(&text);
  plan->model.width = s->width;
  plan->model.blocks = s->blocks;
  plan->model.queries = s->queries;
  plan->model.heads = s->heads;
  plan->model.feed_forward = s->feed_forward;
  plan->window.patch_seconds = 1;
  plan->window.seconds = s->patches;
  plan->preprocessing.rate_hz = s->patch_samples;
  plan->training.objective = s->objective;
  return plan;
}

static float *random_floats(struct nx_rng *rng, size_t n) {
  float *x = calloc(n, sizeof *x);
  if (!x)
    bench_fail("out of memory");
  for (size_t i = 0; i < n; i++)
    x[i] = (float)nx_rng_uniform(rng) - 0.5f;
  return x;
}

/* ---- Ours, in a process of its own ---- */

static double step(struct nx_network *network, struct nx_adamw *adamw, struct nx_model *model,
                   const struct nx_network_input *input, struct nx_rng *rng) {
  struct nx_error err = {0};
  double loss;
  if (nx_network_train_step(network, model, input, 0.1, rng, &loss, &err) ||
      nx_adamw_step(adamw, model, nx_network_gradients(network), 1e-4, NULL, &err))
    bench_fail("%s", err.text);
  return loss;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static struct result train(const struct size *s, size_t steps, int threads, int bf16) {
  struct nx_plan *plan = plan_of(s);
  struct nx_model *model;
  struct nx_network *network;
  struct nx_adamw *adamw;
  struct nx_rng rng;
  const struct nx_adamw_options options = {0.9, 0.99, 0.05, 1};
  struct result result = {0};
  nx_rng_init(&rng, 1, 1);
  if (nx_model_create(plan, &model, NULL) || nx_network_create(model, &network, NULL) ||
      nx_adamw_create(model, &options, &adamw, NULL))
    bench_fail("out of memory");
  if (bf16 && nx_network_use_bf16(network, NULL))
    return result;
  struct nx_pool *pool;
  if (threads > 1 &&
      (nx_pool_create((size_t)threads, &pool, NULL) || nx_network_use_pool(network, pool, NULL)))
    bench_fail("out of memory");
  const struct nx_model_shape *shape = &model->shape;
  size_t rows = (size_t)s->windows * s->channels, tokens = rows * s->patches;
  uint8_t *labels = calloc(s->windows, 1);
  for (size_t i = 0; i < s->windows; i++)
    labels[i] = i % 2;
  struct nx_network_input input = {s->windows,
                                   s->channels,
                                   random_floats(&rng, tokens * shape->patch_samples),
                                   random_floats(&rng, tokens * shape->bins),
                                   random_floats(&rng, rows * shape->stats),
                                   random_floats(&rng, 3 * (size_t)s->channels),
                                   labels};
  double *seconds = calloc(steps, sizeof *seconds);
  result.first_loss = step(network, adamw, model, &input, &rng);
  step(network, adamw, model, &input, &rng);
  for (size_t i = 0; i < steps; i++) {
    double start = bench_seconds();
    result.last_loss = step(network, adamw, model, &input, &rng);
    seconds[i] = bench_seconds() - start;
  }
  qsort(seconds, steps, sizeof *seconds, by_value);
  result.seconds = seconds[steps / 2];
  return result; /* the process ends here: nothing is freed */
}

/* seconds is 0 when the processor has no such precision. */
static struct result train_apart(const struct size *s, size_t steps, int threads, int bf16) {
  struct result result = {0};
  struct rusage usage;
  int ends[2], status;
  fflush(NULL);
  if (pipe(ends))
    bench_fail("cannot make a pipe");
  pid_t child = fork();
  if (child == 0) {
    result = train(s, steps, threads, bf16);
    _exit(write(ends[1], &result, sizeof result) == sizeof result ? 0 : 1);
  }
  close(ends[1]);
  if (child < 0 || read(ends[0], &result, sizeof result) != sizeof result ||
      wait4(child, &status, 0, &usage) != child || status)
    bench_fail("%s: the training process failed", s->name);
  close(ends[0]);
  result.peak_rss_mb = (double)usage.ru_maxrss / 1024;
  return result;
}

/* ---- The peer ---- */

static const char *between(const char *text, const char *key) {
  const char *at = strstr(text, key);
  return at ? at + strlen(key) : NULL;
}

/* seconds is 0 when there is no PyTorch. */
static struct result train_peer(const struct size *s, size_t steps, int threads, int bf16) {
  struct nx_model_shape shape;
  struct nx_plan *plan = plan_of(s);
  char command[1024], answer[256] = "";
  struct result result = {0};
  if (nx_model_shape_from_plan(plan, &shape, NULL))
    bench_fail("%s: a shape that does not fit", s->name);
  nx_plan_destroy(plan);
  snprintf(command, sizeof command,
           PEER " '{\"width\":%u,\"blocks\":%u,\"queries\":%u,\"heads\":%u,\"feed_forward\":%u,"
                "\"patches\":%u,\"patch_samples\":%u,\"bins\":%u,\"stats\":%u,\"windows\":%u,"
                "\"channels\":%u,\"objective\":\"%s\",\"threads\":%d,\"bf16\":%d,\"steps\":%zu}'",
           s->width, s->blocks, s->queries, s->heads, s->feed_forward, s->patches,
           shape.patch_samples, shape.bins, shape.stats, s->windows, s->channels,
           s->objective == NX_OBJECTIVE_RECONSTRUCTION ? "reconstruction" : "classification",
           threads, bf16, steps);
  FILE *peer = popen(command, "r");
  size_t n = peer ? fread(answer, 1, sizeof answer - 1, peer) : 0;
  answer[n] = 0;
  if (!peer || pclose(peer))
    return result;
  const char *seconds = between(answer, "\"seconds\": "), *rss = between(answer, "_rss_mb\": ");
  if (seconds && rss) {
    result.seconds = strtod(seconds, NULL);
    result.peak_rss_mb = strtod(rss, NULL);
  }
  return result;
}

/* ---- What there is to do, and how fast it could be done ---- */

/* Multiply-adds times two of a whole step. */
static double flop_of(const struct size *s, const struct nx_model_shape *m) {
  double d = s->width, f = s->feed_forward, T = (double)s->patches * s->queries;
  double tokens = (double)s->channels * s->patches, n_in = m->patch_samples + m->bins;
  double input = 2 * tokens * n_in * d; /* no gradient of the input */
  double unify = 2 * tokens * s->queries * s->heads * d * 2 + 2 * T * d * d * 2;
  double block = 2 * T * (4 * d * d + 3 * d * f) + 4 * T * T * d;
  double decoder = 2 * tokens * (d * d + d * n_in) + 2 * T * 2 * d * d + 4 * tokens * T * d;
  double rest = unify + s->blocks * block;
  if (s->objective == NX_OBJECTIVE_RECONSTRUCTION)
    rest += decoder;
  return s->windows * (2 * input + 3 * rest);
}

/* One product of either precision. */
static void product(int bf16, char a, char b, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k,
                    const float *x, dnnl_dim_t ldx, const float *y, dnnl_dim_t ldy, float *z) {
  if (bf16)
    dnnl_gemm_bf16bf16f32(a, b, m, n, k, 1, (const uint16_t *)x, ldx, (const uint16_t *)y, ldy, 0,
                          z, n);
  else
    dnnl_sgemm(a, b, m, n, k, 1, x, ldx, y, ldy, 0, z, n);
}

/* FLOP/s of oneDNN at the feed-forward shapes, forward and both gradients; best of several.
 * Zeros: speed does not depend on values, and these do not grow. */
static double gemm_rate(const struct size *s, int threads, int bf16) {
  dnnl_dim_t rows = 2048, d = s->width, f = 2 * (dnnl_dim_t)s->feed_forward;
  float *x = calloc((size_t)(rows * d), sizeof *x), *w = calloc((size_t)(d * f), sizeof *w);
  float *y = calloc((size_t)(rows * f), sizeof *y), *z = calloc((size_t)(rows * f), sizeof *z);
  double best = INFINITY;
  if (!x || !w || !y || !z)
    bench_fail("out of memory");
  omp_set_num_threads(threads);
  for (int i = 0; i < 12; i++) {
    double start = bench_seconds();
    product(bf16, 'N', 'T', rows, f, d, x, d, w, d, z);
    product(bf16, 'N', 'N', rows, d, f, y, f, w, d, z);
    product(bf16, 'T', 'N', f, d, rows, y, f, x, d, z);
    best = fmin(best, bench_seconds() - start);
  }
  free(x);
  free(w);
  free(y);
  free(z);
  return 6.0 * (double)rows * (double)d * (double)f / best;
}

static void measure(struct bench *bench, const struct size *s, int threads, int bf16) {
  size_t steps = bench_is_quick(bench) ? 2 : s->steps;
  struct nx_plan *plan = plan_of(s);
  struct nx_model_shape shape;
  if (nx_model_shape_from_plan(plan, &shape, NULL))
    bench_fail("%s: a shape that does not fit", s->name);
  nx_plan_destroy(plan);
  struct result ours = train_apart(s, steps, threads, bf16);
  if (ours.seconds == 0) {
    printf("%s: no bf16 on this processor\n", s->name);
    return;
  }
  struct result peer = train_peer(s, steps, threads, bf16);
  double rate = gemm_rate(s, threads, bf16), flop = flop_of(s, &shape);
  double tokens = (double)s->windows * s->patches * s->queries;
  if (!isfinite(ours.last_loss) || ours.last_loss > ours.first_loss * 1.05)
    bench_fail("%s: the loss went from %g to %g", s->name, ours.first_loss, ours.last_loss);
  const char *torch = peer.seconds > 0 ? "torch" : NULL;
  struct bench_row row = {.keys = {{"size", 0, s->name},
                                   {"threads", threads, NULL},
                                   {"precision", 0, bf16 ? "bf16" : "float32"}},
                          .peer = torch};
  row.metric = "tokens_per_s";
  row.unit = "1/s";
  row.value = tokens / ours.seconds;
  row.peer_value = torch ? tokens / peer.seconds : 0;
  row.limit = "GEMM alone";
  row.limit_value = tokens / (flop / rate);
  bench_add(bench, &row);
  row.metric = "gflops";
  row.unit = "GFLOP/s";
  row.value = flop / ours.seconds * 1e-9;
  row.peer_value = torch ? flop / peer.seconds * 1e-9 : 0;
  row.limit = "oneDNN GEMM";
  row.limit_value = rate * 1e-9;
  bench_add(bench, &row);
  row.metric = "percent_of_gemm";
  row.unit = "%";
  row.value = 100 * flop / ours.seconds / rate;
  row.peer_value = torch ? 100 * flop / peer.seconds / rate : 0;
  row.limit = NULL;
  bench_add(bench, &row);
  row.metric = "peak_rss_mb";
  row.unit = "MiB";
  row.value = ours.peak_rss_mb;
  row.peer_value = peer.peak_rss_mb;
  bench_add(bench, &row);
}

int main(int argc, char **argv) {
  struct bench *bench = bench_begin("train", "[nano|small|base|large …]", &argc, argv);
  int most_threads = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    int wanted = argc == 1 && strcmp(sizes[i].name, "large");
    for (int a = 1; a < argc; a++)
      wanted |= !strcmp(argv[a], sizes[i].name);
    for (int threads = 1; wanted && threads <= most_threads; threads++)
      for (int bf16 = 0; bf16 < 2; bf16++)
        measure(bench, &sizes[i], threads, bf16);
  }
  return bench_end(bench);
}
