/* Whole training steps (forward, backward, gradient clip, AdamW) of the network at three
 * sizes, beside the same network in PyTorch (tests/oracle/train_torch.py) in the same minute, and
 * beside the machine's own matrix products.
 *
 *   tokens_per_s    backbone tokens, windows * patches * queries, a second; limit: what the
 *                   GEMM rate alone would allow
 *   gflops          what the network needs as written (no recomputation), forward + backward;
 *                   folding keys into queries is counted as what is done, so it is no gain
 *   percent_of_gemm gflops over the measured rate of oneDNN's GEMM of the same precision at
 *                   the network's own shapes
 *   peak_rss_mb     of a process that does nothing else
 *
 * Peers: Debian's python3-torch as it is here; with NEUROX_BENCH_OPENBLAS, a folder with the
 * libblas.so.3 of libopenblas0-openmp (unpacked anywhere), on that instead of the system's BLAS;
 * with NEUROX_BENCH_TORCH, the python of an environment with a PyTorch wheel, that too. Each is
 * named with its version and BLAS; on the reference BLAS PyTorch is no peer, and left out.
 *
 * First both must say the same loss of the same model and batch. That our gradients are PyTorch's
 * is what tests/unit/models/test-parity.c checks; here the loss must be finite and fall. */
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
#include "models/nets/masking.h"
#include "models/nets/network.h"
#include "models/optim/adamw.h"
#include "tests/bench/bench.h"

#define PLAN "configs/plan-eegmat.yaml"
#define SCRIPT "tests/oracle/train_torch.py"
#define PEERS 2
#define SAME_LOSS 1e-4 /* relative: both compute in float32 */

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
  char name[64]; /* of a peer */
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

static struct nx_network_input batch_of(const struct size *s, const struct nx_model_shape *shape,
                                        struct nx_rng *rng) {
  size_t rows = (size_t)s->windows * s->channels, tokens = rows * s->patches;
  uint8_t *labels = calloc(s->windows, 1);
  if (!labels)
    bench_fail("out of memory");
  for (size_t i = 0; i < s->windows; i++)
    labels[i] = i % 2;
  return (struct nx_network_input){s->windows,
                                   s->channels,
                                   random_floats(rng, tokens * shape->patch_samples),
                                   random_floats(rng, tokens * shape->bins),
                                   random_floats(rng, rows * shape->stats),
                                   random_floats(rng, 3 * (size_t)s->channels),
                                   labels};
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
  struct nx_network_input input = batch_of(s, &model->shape, &rng);
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

/* ---- Peers ---- */

/* The start of a command that runs Python with PyTorch; NULL: there is no such peer here. */
static const char *peer_command(size_t peer) {
  static char commands[PEERS][768];
  const char *blas = getenv("NEUROX_BENCH_OPENBLAS"), *wheel = getenv("NEUROX_BENCH_TORCH");
  if (peer == 0 && blas && *blas)
    snprintf(commands[0], sizeof commands[0], "LD_LIBRARY_PATH='%.512s' /usr/bin/python3", blas);
  else if (peer == 0)
    snprintf(commands[0], sizeof commands[0], "/usr/bin/python3");
  else if (wheel && *wheel)
    snprintf(commands[1], sizeof commands[1], "'%.512s'", wheel);
  else
    return NULL;
  return commands[peer];
}

static double number_of(const char *text, const char *key) {
  const char *at = strstr(text, key);
  return at ? strtod(at + strlen(key), NULL) : 0;
}

/* The string behind key, "" without. */
static void word_of(const char *text, const char *key, char out[32]) {
  const char *at = strstr(text, key);
  snprintf(out, 32, "%.*s", at ? (int)strcspn(at + strlen(key), "\"") : 0,
           at ? at + strlen(key) : "");
}

/* Runs the script on a case; steps 0: the loss of what lies in folder. False: no PyTorch there. */
static bool ask_peer(size_t peer, const struct size *s, size_t steps, int threads, int bf16,
                     const char *folder, char answer[512]) {
  struct nx_model_shape shape;
  struct nx_plan *plan = plan_of(s);
  char command[2048];
  if (nx_model_shape_from_plan(plan, &shape, NULL))
    bench_fail("%s: a shape that does not fit", s->name);
  nx_plan_destroy(plan);
  if (!peer_command(peer))
    return false;
  snprintf(command, sizeof command,
           "%s " SCRIPT " '{\"width\":%u,\"blocks\":%u,\"queries\":%u,\"heads\":%u,"
           "\"feed_forward\":%u,\"patches\":%u,\"patch_seconds\":1,\"patch_samples\":%u,"
           "\"bins\":%u,\"stats\":%u,\"windows\":%u,\"channels\":%u,\"objective\":\"%s\","
           "\"threads\":%d,\"bf16\":%d,\"steps\":%zu,\"folder\":\"%s\"}' 2>/dev/null",
           peer_command(peer), s->width, s->blocks, s->queries, s->heads, s->feed_forward,
           s->patches, shape.patch_samples, shape.bins, shape.stats, s->windows, s->channels,
           s->objective == NX_OBJECTIVE_RECONSTRUCTION ? "reconstruction" : "classification",
           threads, bf16, steps, folder);
  FILE *pipe = popen(command, "r");
  size_t n = pipe ? fread(answer, 1, 511, pipe) : 0;
  answer[n] = 0;
  return pipe && !pclose(pipe);
}

/* seconds is 0 when there is no PyTorch. */
static struct result train_peer(size_t peer, const struct size *s, size_t steps, int threads,
                                int bf16) {
  char answer[512], version[32], blas[32];
  struct result result = {0};
  if (!ask_peer(peer, s, steps, threads, bf16, "", answer))
    return result;
  result.seconds = number_of(answer, "\"seconds\": ");
  result.peak_rss_mb = number_of(answer, "_rss_mb\": ");
  word_of(answer, "\"version\": \"", version);
  word_of(answer, "\"blas\": \"", blas);
  snprintf(result.name, sizeof result.name, "torch %s (%s)", version, blas);
  if (!(result.seconds > 0))
    printf("%s: no peer; install libopenblas0-openmp, or set NEUROX_BENCH_OPENBLAS\n", result.name);
  return result;
}

/* ---- The same loss ---- */

static void put(const char *folder, const char *name, const void *bytes, size_t size) {
  char path[NX_PATH_SIZE];
  struct nx_error err = {0};
  if (nx_path_join(path, folder, name, &err) ||
      nx_file_replace(path, nx_bytes(bytes, size), 0600, &err))
    bench_fail("%s", err.text);
}

/* Writes model and batch to folder; returns our loss, without dropout. */
static double loss_of(const struct size *s, const char *folder) {
  struct nx_plan *plan = plan_of(s);
  struct nx_model *model;
  struct nx_network *network;
  struct nx_buffer bytes = {.cap = (size_t)4 << 30};
  struct nx_rng rng, masks;
  struct nx_error err = {0};
  double loss = 0;
  size_t rows = (size_t)s->windows * s->channels, tokens = rows * s->patches;
  _cleanup_free_ uint8_t *visible = calloc(tokens, 1);
  _cleanup_free_ float *logits = calloc(s->windows, sizeof *logits);
  nx_rng_init(&rng, 2, 1);
  if (!visible || !logits || nx_model_create(plan, &model, &err) ||
      nx_network_create(model, &network, &err))
    bench_fail("out of memory");
  for (size_t i = 0; i < model->n_params; i++) /* a new head says 0 to everything */
    model->params[i] += (float)(0.02 * nx_rng_normal(&rng));
  struct nx_network_input input = batch_of(s, &model->shape, &rng);
  masks = rng;
  for (size_t i = 0; i < s->windows; i++)
    nx_masking_draw(input.positions, s->channels, s->patches, &masks,
                    visible + i * s->channels * s->patches);
  if (nx_model_save(model, &bytes, &err))
    bench_fail("%s", err.text);
  put(folder, "model.safetensors", bytes.data, bytes.size);
  put(folder, "patches", input.patches, tokens * model->shape.patch_samples * sizeof(float));
  put(folder, "spectra", input.spectra, tokens * model->shape.bins * sizeof(float));
  put(folder, "stats", input.stats, rows * model->shape.stats * sizeof(float));
  put(folder, "positions", input.positions, 3 * (size_t)s->channels * sizeof(float));
  put(folder, "labels", input.labels, s->windows);
  put(folder, "visible", visible, tokens);
  int r = s->objective == NX_OBJECTIVE_RECONSTRUCTION
              ? nx_network_reconstruct(network, model, &input, &rng, &loss, &err)
              : nx_network_forward(network, model, &input, logits, &err);
  if (r)
    bench_fail("%s", err.text);
  for (size_t i = 0; s->objective != NX_OBJECTIVE_RECONSTRUCTION && i < s->windows; i++)
    loss += log1p(exp(input.labels[i] ? -(double)logits[i] : (double)logits[i])) / s->windows;
  free((float *)input.patches);
  free((float *)input.spectra);
  free((float *)input.stats);
  free((float *)input.positions);
  free((uint8_t *)input.labels);
  nx_buffer_finish(&bytes);
  nx_network_destroy(network);
  nx_model_destroy(model);
  nx_plan_destroy(plan);
  return loss;
}

static void check_same_loss(const struct size *s) {
  static const char *const files[] = {"model.safetensors", "patches", "spectra", "stats",
                                      "positions",         "labels",  "visible"};
  char folder[] = "/tmp/nx-train-XXXXXX", answer[PEERS][512], path[NX_PATH_SIZE];
  bool answered[PEERS];
  if (!mkdtemp(folder))
    bench_fail("cannot make %s", folder);
  double ours = loss_of(s, folder);
  for (size_t peer = 0; peer < PEERS; peer++)
    answered[peer] = ask_peer(peer, s, 0, 1, 0, folder, answer[peer]);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    if (!nx_path_join(path, folder, files[i], NULL))
      unlink(path);
  rmdir(folder);
  for (size_t peer = 0; peer < PEERS; peer++) {
    double theirs = number_of(answer[peer], "\"loss\": ");
    if (answered[peer] && !(fabs(theirs - ours) <= SAME_LOSS * fabs(ours)))
      bench_fail("%s: our loss is %.8g, PyTorch's of the same batch %.8g", s->name, ours, theirs);
    if (answered[peer])
      printf("%s: the same loss as PyTorch: %.7g, %.7g\n", s->name, ours, theirs);
  }
  if (!answered[0] && !answered[1])
    printf("%s: no PyTorch here to compare with\n", s->name);
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

/* Rows of one peer; NULL: ours alone. */
static void add_rows(struct bench *bench, const struct bench_row *form, const struct result *ours,
                     const struct result *peer, double tokens, double flop, double rate) {
  struct bench_row row = *form;
  row.peer = peer ? peer->name : NULL;
  row.metric = "tokens_per_s";
  row.unit = "1/s";
  row.value = tokens / ours->seconds;
  row.peer_value = peer ? tokens / peer->seconds : 0;
  row.limit = "GEMM alone";
  row.limit_value = tokens / (flop / rate);
  bench_add(bench, &row);
  row.metric = "gflops";
  row.unit = "GFLOP/s";
  row.value = flop / ours->seconds * 1e-9;
  row.peer_value = peer ? flop / peer->seconds * 1e-9 : 0;
  row.limit = "oneDNN GEMM";
  row.limit_value = rate * 1e-9;
  bench_add(bench, &row);
  row.metric = "percent_of_gemm";
  row.unit = "%";
  row.value = 100 * flop / ours->seconds / rate;
  row.peer_value = peer ? 100 * flop / peer->seconds / rate : 0;
  row.limit = NULL;
  bench_add(bench, &row);
  row.metric = "peak_rss_mb";
  row.unit = "MiB";
  row.value = ours->peak_rss_mb;
  row.peer_value = peer ? peer->peak_rss_mb : 0;
  bench_add(bench, &row);
}

static void measure(struct bench *bench, const struct size *s, int threads, int bf16) {
  size_t steps = bench_is_quick(bench) ? 2 : s->steps, peers = 0;
  struct nx_plan *plan = plan_of(s);
  struct nx_model_shape shape;
  if (nx_model_shape_from_plan(plan, &shape, NULL))
    bench_fail("%s: a shape that does not fit", s->name);
  nx_plan_destroy(plan);
  struct result ours = train_apart(s, steps, threads, bf16);
  if (ours.seconds == 0) {
    printf("%s: no bf16 on this processor (AVX512-BF16): skipped\n", s->name);
    return;
  }
  if (!isfinite(ours.last_loss) || ours.last_loss > ours.first_loss * 1.05)
    bench_fail("%s: the loss went from %g to %g", s->name, ours.first_loss, ours.last_loss);
  double rate = gemm_rate(s, threads, bf16), flop = flop_of(s, &shape);
  double tokens = (double)s->windows * s->patches * s->queries;
  const struct bench_row form = {.keys = {{"size", 0, s->name},
                                          {"threads", threads, NULL},
                                          {"precision", 0, bf16 ? "bf16" : "float32"}}};
  for (size_t p = 0; p < PEERS; p++) {
    struct result peer = train_peer(p, s, steps, threads, bf16);
    if (peer.seconds <= 0)
      continue;
    add_rows(bench, &form, &ours, &peer, tokens, flop, rate);
    peers++;
  }
  if (!peers)
    add_rows(bench, &form, &ours, NULL, tokens, flop, rate);
}

int main(int argc, char **argv) {
  struct bench *bench = bench_begin("train", "[nano|small|base|large …]", &argc, argv);
  int most_threads = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    int wanted = argc == 1 && strcmp(sizes[i].name, "large");
    for (int a = 1; a < argc; a++)
      wanted |= !strcmp(argv[a], sizes[i].name);
    if (wanted)
      check_same_loss(&sizes[i]);
    for (int threads = 1; wanted && threads <= most_threads; threads++)
      for (int bf16 = 0; bf16 < 2; bf16++)
        measure(bench, &sizes[i], threads, bf16);
  }
  return bench_end(bench);
}
