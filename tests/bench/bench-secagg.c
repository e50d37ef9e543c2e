/* Secure aggregation: what a node and the coordinator spend on masks, beside the same work
 * with OpenSSL's EVP, the keystream kernel alone and the memory's speed. Every case runs in a
 * process of its own, so that its peak memory is its own. Verified first: masked uploads of
 * survivors, unmasked, give the plain sum. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/pool.h"
#include "common/size.h"
#include "crypto/masked_upload.h"
#include "crypto/shares.h"
#include "crypto/threshold.h"
#include "tests/bench/bench.h"

#define REPEAT_BELOW 0.3 /* seconds: shorter ones are measured again, the best counts */

/* What a plan chooses: rings of 32 bits, or of 16 with half of the keystream; a cipher. */
struct widths {
  struct nx_quantize quantize;
  struct nx_mask_form form;
};
#define N_CHOICES 4
static const struct widths choices[N_CHOICES] = {
    {{32, 24, 0.5, 1e9, false, 0}, {NX_MASK_AES_256_CTR, 32}},
    {{16, 9, 0.5, 1e9, false, 0}, {NX_MASK_AES_256_CTR, 16}},
    {{32, 24, 0.5, 1e9, false, 0}, {NX_MASK_AEGIS_256, 32}},
    {{16, 9, 0.5, 1e9, false, 0}, {NX_MASK_AEGIS_256, 16}},
};

/* The same by AES-256-CTR, which OpenSSL has: what a choice is timed beside. */
static struct widths by_aes(const struct widths *widths) {
  struct widths aes = *widths;
  aes.form.cipher = NX_MASK_AES_256_CTR;
  return aes;
}

struct scenario {
  const struct widths *widths;
  uint32_t n;
  size_t d;
  double drop;
  size_t threads;
};

struct figures {
  double seconds, evp_seconds, limit_seconds, other_seconds, encode_seconds, bytes;
};

static void check(int r, const struct nx_error *err) {
  if (r < 0)
    bench_fail("%s", err->text);
}

/* Zeros, where a page or at least a cache line begins, as the coordinator's mapped sum does. */
static void *allocate(size_t n, size_t size) {
  const size_t bytes = (n * size + 63) / 64 * 64;
  void *memory = aligned_alloc(64, bytes ? bytes : 64);
  if (!memory)
    bench_fail("out of memory for %zu bytes", n * size);
  return memset(memory, 0, bytes);
}

/* Members 1..n with keys of their own; the first n - dropped of them upload. */
struct federation {
  uint32_t n, dropped, t;
  struct nx_secret *s, *b;
  struct nx_point *s_public;
  struct nx_hash t2;
};

static void make_federation(struct federation *f, uint32_t n, double drop) {
  struct nx_error err = {0};
  uint32_t t = nx_threshold_quorum(n), wish = drop > 0 ? (uint32_t)fmax(1, round(drop * n)) : 0;
  *f = (struct federation){.n = n, .t = t, .dropped = NX_MIN(wish, n - t)};
  f->s = nx_secret_alloc(n);
  f->b = nx_secret_alloc(n);
  f->s_public = allocate(n, sizeof *f->s_public);
  for (uint32_t i = 0; i < n; i++) {
    check(nx_agreement_create(&nx_entropy_system, &f->s[i], &f->s_public[i], &err), &err);
    check(nx_secret_random(&nx_entropy_system, &f->b[i], &err), &err);
  }
}

static struct nx_mask *mask_of(const struct federation *f, const struct widths *widths,
                               uint32_t id) {
  struct nx_mask *mask = NULL;
  struct nx_error err = {0};
  check(nx_mask_create(f->n, widths->form, &mask, &err), &err);
  check(nx_mask_add_self(mask, &f->t2, id, &f->b[id - 1], &err), &err);
  for (uint32_t v = 1; v <= f->n; v++)
    if (v != id)
      check(nx_mask_add_pair(mask, &f->t2, id, &f->s[id - 1], v, &f->s_public[v - 1], &err), &err);
  return mask;
}

/* b of every survivor, s_sk of every dropped member: dealt to all, as in M3. */
struct dealt {
  uint8_t xs[NX_SHARES_MAX];
  struct nx_secret *shares; /* secret k's share of holder i: k * n + i */
  size_t n_secrets;
};

static void deal(const struct federation *f, struct dealt *dealt) {
  struct nx_error err = {0};
  uint32_t survivors = f->n - f->dropped;
  dealt->n_secrets = f->n;
  dealt->shares = nx_secret_alloc((size_t)f->n * f->n);
  for (uint32_t i = 0; i < f->n; i++)
    dealt->xs[i] = (uint8_t)(i + 1);
  for (uint32_t k = 0; k < f->n; k++)
    check(nx_shares_split(k < survivors ? &f->b[k] : &f->s[k], f->t, dealt->xs, f->n,
                          &nx_entropy_system, &dealt->shares[(size_t)k * f->n], &err),
          &err);
}

/* From released shares to the mask that is taken off the sum. */
static struct nx_mask *recover(const struct federation *f, const struct dealt *dealt,
                               const struct widths *widths, struct nx_pool *pool) {
  struct nx_error err = {0};
  struct nx_share_weights weights;
  struct nx_mask *mask = NULL;
  uint32_t survivors = f->n - f->dropped;
  struct nx_secret *secrets = nx_secret_alloc(f->n);
  check(nx_share_weights_init(&weights, dealt->xs, f->t, &err), &err);
  for (uint32_t k = 0; k < f->n; k++)
    nx_shares_combine_weighted(&weights, &dealt->shares[(size_t)k * f->n], &secrets[k]);
  check(nx_mask_create((size_t)survivors * (f->dropped + 1), widths->form, &mask, &err), &err);
  struct nx_mask_pair *pairs = allocate((size_t)survivors * f->dropped, sizeof *pairs);
  size_t n_pairs = 0;
  for (uint32_t u = 1; u <= survivors; u++) {
    check(nx_mask_remove_self(mask, &f->t2, u, &secrets[u - 1], &err), &err);
    for (uint32_t v = survivors + 1; v <= f->n; v++)
      pairs[n_pairs++] = (struct nx_mask_pair){u, &f->s_public[u - 1], v, &secrets[v - 1]};
  }
  check(nx_mask_remove_pairs(mask, &f->t2, pairs, n_pairs, pool, &err), &err);
  free(pairs);
  nx_secret_free(secrets);
  return mask;
}

static void verify(const char *kernel, const struct widths *widths) {
  enum { N = 5, D = 70001 };
  static float values[D];
  static uint32_t lanes[D], plain[D], sums[D];
  static uint8_t upload[4 * D + 64];
  struct federation f;
  struct dealt dealt;
  struct nx_rng rng;
  struct nx_error err = {0};
  const struct nx_quantize *quantize = &widths->quantize;
  const struct nx_upload_layout layout = nx_masked_upload_layout(quantize, D, 0);
  check(nx_mask_kernel_select(kernel, &err), &err);
  make_federation(&f, N, 0.2);
  deal(&f, &dealt);
  memset(sums, 0, sizeof sums);
  memset(plain, 0, sizeof plain);
  for (uint32_t id = 1; id <= N - f.dropped; id++) {
    struct nx_mask *mask = mask_of(&f, widths, id);
    const struct nx_masked_upload m = {layout, NULL, mask, NULL};
    nx_rng_init(&rng, id, 0);
    for (size_t i = 0; i < D; i++)
      values[i] = (float)nx_rng_normal(&rng) * 0.1f;
    check(nx_quantize_encode(quantize, values, D, 1, &rng, lanes, NULL, &err), &err);
    check(nx_masked_upload_from_lanes(&m, lanes, upload, &err), &err);
    for (size_t i = 0; i < D; i++)
      plain[i] += lanes[i];
    nx_upload_add(&layout, upload, sums, NULL, NULL);
    nx_mask_destroy(mask);
  }
  struct nx_mask *mask = recover(&f, &dealt, widths, NULL);
  check(nx_mask_apply_u32(mask, sums, 0, D, NULL, &err), &err);
  const uint32_t low = UINT32_MAX >> (32 - quantize->ring_bits);
  for (size_t i = 0; i < D; i++)
    if ((sums[i] & low) != (plain[i] & low))
      bench_fail("the unmasked sum is not the plain sum (%s, %u bits)", kernel,
                 quantize->ring_bits);
  nx_mask_destroy(mask);
}

/* Best of a few runs of what `work` does. */
static double best_of(void (*work)(void *), void *context) {
  double best = INFINITY, spent = 0;
  for (int i = 0; i < 5 && (i == 0 || spent < REPEAT_BELOW); i++) {
    double start = bench_seconds();
    work(context);
    double took = bench_seconds() - start;
    best = took < best ? took : best;
    spent += took;
  }
  return best;
}

struct node_work {
  const struct nx_quantize *quantize;
  const struct nx_masked_upload *upload;
  const float *values;
  size_t d;
  uint32_t *lanes;
  uint8_t *out;
};

/* When training ends: norm, clip, rounding. */
static void node_encodes(void *context) {
  const struct node_work *w = context;
  struct nx_error err = {0};
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  check(nx_quantize_encode(w->quantize, w->values, w->d, 1, &rng, w->lanes, NULL, &err), &err);
}

/* When the members are known: all keys, into the upload's bytes. */
static void node_masks(void *context) {
  const struct node_work *w = context;
  struct nx_error err = {0};
  check(nx_masked_upload_from_lanes(w->upload, w->lanes, w->out, &err), &err);
}

#define TILE ((size_t)16384) /* as in crypto/mask.c */

struct tile_work {
  const struct nx_mask *mask;
  uint32_t (*tiles)[TILE]; /* one a thread */
  size_t n_tiles;
};

static void tile_again(void *context, size_t index, size_t worker) {
  const struct tile_work *w = context;
  nx_mask_apply_u32(w->mask, w->tiles[worker], TILE * index, TILE, NULL, NULL);
}

/* The keystream of all keys added to tiles that never leave the cache. */
static double kernel_alone(const struct nx_mask *mask, size_t d, struct nx_pool *pool) {
  struct tile_work w = {mask, aligned_alloc(64, sizeof *w.tiles * nx_pool_threads(pool)),
                        (d + TILE - 1) / TILE};
  double best = INFINITY;
  for (int i = 0; i < 3; i++) {
    double start = bench_seconds();
    nx_pool_run(pool, w.n_tiles, tile_again, &w);
    best = fmin(best, bench_seconds() - start);
  }
  free(w.tiles);
  return best;
}

static void run_node(const struct scenario *s, struct figures *out) {
  struct federation f;
  struct nx_pool *pool = NULL;
  struct nx_error err = {0};
  struct nx_rng rng;
  check(nx_pool_create(s->threads, &pool, &err), &err);
  make_federation(&f, s->n, 0);
  float *values = allocate(s->d, sizeof *values);
  nx_rng_init(&rng, 2, 2);
  for (size_t i = 0; i < s->d; i++)
    values[i] = (float)(nx_rng_uniform(&rng) - 0.5) * 0.1f;
  struct nx_masked_upload upload = {nx_masked_upload_layout(&s->widths->quantize, s->d, 0), NULL,
                                    NULL, pool};
  out->bytes = (double)nx_upload_bytes(&upload.layout);
  struct node_work w = {
      .quantize = &s->widths->quantize,
      .upload = &upload,
      .values = values,
      .d = s->d,
      .lanes = allocate(s->d, sizeof *w.lanes),
      .out = allocate((size_t)out->bytes, 1),
  };
  static const char *const kernels[] = {"auto", "evp"};
  const struct widths aes = by_aes(s->widths);
  out->encode_seconds = best_of(node_encodes, &w);
  for (int k = 0; k < 2; k++) {
    check(nx_mask_kernel_select(kernels[k], &err), &err);
    double start = bench_seconds();
    struct nx_mask *mask = mask_of(&f, k ? &aes : s->widths, 1);
    if (k == 0)
      out->other_seconds = bench_seconds() - start;
    upload.mask = mask;
    double seconds = best_of(node_masks, &w);
    *(k ? &out->evp_seconds : &out->seconds) = seconds;
    if (k == 0)
      out->limit_seconds = kernel_alone(mask, s->d, pool);
    nx_mask_destroy(mask);
  }
}

struct add_work {
  struct nx_upload_layout layout;
  const uint8_t *upload;
  uint32_t *sums;
  struct nx_pool *pool;
  size_t d;
};

static void coordinator_adds(void *context) {
  struct add_work *w = context;
  nx_upload_add(&w->layout, w->upload, w->sums, NULL, w->pool);
}

#define PLAIN_BLOCK ((size_t)1 << 18)

static void add_plain_block(void *context, size_t index, size_t worker) {
  struct add_work *w = context;
  size_t begin = index * PLAIN_BLOCK, end = NX_MIN(w->d, begin + PLAIN_BLOCK);
  const uint32_t *from = (const uint32_t *)(const void *)w->upload;
  uint32_t *to = w->sums;
  (void)worker;
  for (size_t i = begin; i < end; i++)
    to[i] += from[i];
}

static void adds_plainly(void *context) {
  struct add_work *w = context;
  nx_pool_run(w->pool, (w->d + PLAIN_BLOCK - 1) / PLAIN_BLOCK, add_plain_block, w);
}

static void run_add(const struct scenario *s, struct figures *out) {
  struct add_work w = {
      .layout = nx_masked_upload_layout(&s->widths->quantize, s->d, 0),
      .d = s->d,
  };
  struct nx_error err = {0};
  check(nx_pool_create(s->threads, &w.pool, &err), &err);
  const size_t size = NX_MAX(nx_upload_bytes(&w.layout), s->d * sizeof *w.sums);
  uint8_t *upload = allocate(size, 1); /* as long as what is added plainly, too */
  memset(upload, 7, size);
  w.upload = upload;
  w.sums = allocate(s->d, sizeof *w.sums);
  memset(w.sums, 1, s->d * sizeof *w.sums);
  out->seconds = best_of(coordinator_adds, &w);
  out->limit_seconds = best_of(adds_plainly, &w);
}

struct unmask_work {
  const struct widths *widths;
  const struct federation *f;
  const struct dealt *dealt;
  uint32_t *sums;
  size_t d;
  struct nx_pool *pool;
};

static void coordinator_unmasks(void *context) {
  const struct unmask_work *w = context;
  struct nx_error err = {0};
  struct nx_mask *mask = recover(w->f, w->dealt, w->widths, w->pool);
  check(nx_mask_apply_u32(mask, w->sums, 0, w->d, w->pool, &err), &err);
  nx_mask_destroy(mask);
}

static void run_unmask(const struct scenario *s, struct figures *out) {
  struct federation f;
  struct dealt dealt;
  struct nx_error err = {0};
  struct unmask_work w = {
      s->widths, &f, &dealt, allocate(s->d, sizeof(uint32_t)), s->d, NULL,
  };
  check(nx_pool_create(s->threads, &w.pool, &err), &err);
  make_federation(&f, s->n, s->drop);
  deal(&f, &dealt);
  out->other_seconds = f.dropped;
  out->seconds = best_of(coordinator_unmasks, &w);
  struct nx_mask *mask = recover(&f, &dealt, w.widths, w.pool);
  out->limit_seconds = kernel_alone(mask, s->d, w.pool);
  nx_mask_destroy(mask);
  const struct widths aes = by_aes(s->widths);
  w.widths = &aes;
  check(nx_mask_kernel_select("evp", &err), &err);
  out->evp_seconds = best_of(coordinator_unmasks, &w);
}

/* Runs a scenario in a child; its peak resident memory in MB. */
static double in_a_child(void (*run)(const struct scenario *, struct figures *),
                         const struct scenario *s, struct figures *out) {
  int ends[2], status;
  struct rusage usage;
  fflush(stdout);
  pid_t child = pipe(ends) ? -1 : fork();
  if (child < 0)
    bench_fail("cannot start a process");
  if (child == 0) {
    struct figures figures = {0};
    run(s, &figures);
    _exit(write(ends[1], &figures, sizeof figures) == sizeof figures ? 0 : 1);
  }
  close(ends[1]);
  ssize_t got = read(ends[0], out, sizeof *out);
  close(ends[0]);
  if (wait4(child, &status, 0, &usage) != child || got != sizeof *out || status)
    bench_fail("a case failed (n = %u, d = %zu)", s->n, s->d);
  return (double)usage.ru_maxrss / 1024;
}

#define KEYS(s, role_name)                                                                         \
  {                                                                                                \
    {"n", (s)->n, NULL}, {"d", (double)(s)->d, NULL}, {"drop", (s)->drop, NULL},                   \
        {"threads", (double)(s)->threads, NULL},                                                   \
        {"ring_bits", (s)->widths->quantize.ring_bits, NULL},                                      \
        {"cipher", 0, (s)->widths->form.cipher ? "aegis-256" : "aes-256-ctr"}, {                   \
      (role_name) ? "role" : NULL, 0, (role_name)                                                  \
    }                                                                                              \
  }

/* What Flower's SecAgg+ takes for the same, when it is installed. */
struct flower {
  struct flower_row {
    uint32_t n;
    double drop, node_ms, unmask_ms;
  } rows[32];
  size_t n_rows;
  char name[64];
};

#define FLOWER_D 1000000

static void run_flower(struct flower *flower) {
  const char *python = getenv("NEUROX_PYTHON");
  char command[512], version[40] = "";
  snprintf(command, sizeof command, "'%s' '%s/tests/bench/flower_secagg.py' %d 5,10,20",
           python ? python : "python3", NEUROX_SOURCE, FLOWER_D);
  printf("timing Flower's SecAgg+ primitives …\n");
  fflush(stdout);
  FILE *pipe = popen(command, "r");
  if (pipe && fscanf(pipe, "%39s", version) == 1)
    for (struct flower_row row;
         flower->n_rows < 32 &&
         fscanf(pipe, "%u %lf %lf %lf", &row.n, &row.drop, &row.node_ms, &row.unmask_ms) == 4;)
      flower->rows[flower->n_rows++] = row;
  if (pipe)
    pclose(pipe);
  snprintf(flower->name, sizeof flower->name, "Flower %s SecAgg+", version);
  if (flower->n_rows == 0)
    printf("SKIPPED Flower: pip install flwr in a virtual environment, and name its python in "
           "NEUROX_PYTHON\n");
}

static void add_flower(struct bench *bench, const struct scenario *s, const char *metric,
                       double value, const struct flower *flower) {
  for (size_t i = 0; i < flower->n_rows; i++) {
    const struct flower_row *f = &flower->rows[i];
    if (f->n != s->n || s->d != FLOWER_D || s->threads != 1 || f->drop != s->drop)
      continue;
    const struct bench_row row = {KEYS(s, (const char *)NULL),
                                  metric,
                                  value,
                                  "ms",
                                  flower->name,
                                  !strcmp(metric, "coordinator_unmask_ms") ? f->unmask_ms
                                                                           : f->node_ms,
                                  NULL,
                                  0};
    bench_add(bench, &row);
  }
}

static void add_row(struct bench *bench, const struct scenario *s, const char *role,
                    const char *metric, double value, const char *unit, double evp,
                    const char *limit, double limit_value) {
  const struct bench_row row = {KEYS(s, role),          metric, value, unit,
                                evp > 0 ? "evp" : NULL, evp,    limit, limit_value};
  bench_add(bench, &row);
}

static void bench_case(struct bench *bench, struct scenario s, const struct flower *flower) {
  static const double drops[] = {0, 0.1, 0.3};
  struct figures f;
  s.drop = 0;
  double rss = in_a_child(run_node, &s, &f);
  add_row(bench, &s, NULL, "node_mask_ms", f.seconds * 1e3, "ms", f.evp_seconds * 1e3,
          "keystream kernel alone", f.limit_seconds * 1e3);
  add_row(bench, &s, NULL, "node_encode_ms", f.encode_seconds * 1e3, "ms", 0, NULL, 0);
  /* Flower's includes its quantisation. */
  add_flower(bench, &s, "node_encode_and_mask_ms", (f.encode_seconds + f.seconds) * 1e3, flower);
  add_row(bench, &s, NULL, "node_keys_ms", f.other_seconds * 1e3, "ms", 0, NULL, 0);
  add_row(bench, &s, NULL, "keystream_gb_per_s",
          s.widths->form.keystream_bits / 8e9 * (double)s.d * s.n / f.limit_seconds, "GB/s", 0,
          NULL, 0);
  add_row(bench, &s, NULL, "upload_bytes_per_parameter", f.bytes / (double)s.d, "bytes", 0, NULL,
          0);
  add_row(bench, &s, "node", "peak_rss_mb", rss, "MB", 0, "values, lanes and upload",
          8e-6 * (double)s.d + 1e-6 * f.bytes);
  rss = in_a_child(run_add, &s, &f);
  add_row(bench, &s, NULL, "coordinator_add_ms", f.seconds * 1e3, "ms", 0, "u32 += from memory",
          f.limit_seconds * 1e3);
  for (size_t i = 0; i < 3; i++) {
    s.drop = drops[i];
    double unmask_rss = in_a_child(run_unmask, &s, &f);
    rss = fmax(rss, unmask_rss);
    add_row(bench, &s, NULL, "coordinator_unmask_ms", f.seconds * 1e3, "ms", f.evp_seconds * 1e3,
            "keystream kernel alone", f.limit_seconds * 1e3);
    add_flower(bench, &s, "coordinator_unmask_ms", f.seconds * 1e3, flower);
  }
  s.drop = 0;
  add_row(bench, &s, "coordinator", "peak_rss_mb", rss, "MB", 0, "sum and upload",
          8e-6 * (double)s.d);
}

/* All cases, or those named N:D on the command line. */
static bool wanted(int argc, char **argv, uint32_t n, size_t d) {
  char name[64];
  snprintf(name, sizeof name, "%u:%zu", n, d);
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], name))
      return true;
  return argc < 2;
}

static void check_arguments(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (strspn(argv[i], "0123456789:") != strlen(argv[i]) || !strchr(argv[i], ':'))
      bench_fail("unknown option %s: a case is NODES:PARAMETERS, as 5:10000000", argv[i]);
}

int main(int argc, char **argv) {
  static const uint32_t sizes[] = {5, 10, 20, 50, 100};
  static const size_t lengths[] = {1000000, 10000000, 100000000};
  static struct flower flower;
  struct bench *bench = bench_begin("secagg", "[NODES:PARAMETERS…]", &argc, argv);
  check_arguments(argc, argv);
  for (size_t c = 0; c < N_CHOICES; c++) {
    if (choices[c].form.cipher == NX_MASK_AES_256_CTR)
      verify("evp", &choices[c]);
    verify("auto", &choices[c]);
  }
  printf("masks by %s and %s; verified: unmasked sums equal plain sums\n",
         nx_mask_kernel(NX_MASK_AES_256_CTR), nx_mask_kernel(NX_MASK_AEGIS_256));
  if (!bench_is_quick(bench))
    run_flower(&flower);
  for (size_t threads = 1; threads <= 2; threads++)
    for (size_t k = 0; k < 3; k++)
      for (size_t i = 0; i < 5; i++) {
        if ((k == 2 && sizes[i] != 10) || (bench_is_quick(bench) && (k > 0 || sizes[i] > 20)))
          continue;
        if (!wanted(argc, argv, sizes[i], lengths[k]))
          continue;
        for (size_t c = 0; c < (k < 2 ? N_CHOICES : 1); c++)
          bench_case(bench, (struct scenario){&choices[c], sizes[i], lengths[k], 0, threads},
                     &flower);
      }
  return bench_end(bench);
}
