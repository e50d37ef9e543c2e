/* Noise: whole-number Skellam and Gaussian samples a second, drawn from the system's entropy,
 * one thread. Peer: rounded Box-Muller from a seeded generator, which is what one would write
 * without thinking and which promises nothing. Limit: the system's random bits alone. Then
 * what it takes a node to know its epsilon. */
#include <math.h>
#include <stdlib.h>

#include "common/size.h"
#include "crypto/dp_noise.h"
#include "crypto/gaussian_cdt.h"
#include "crypto/privacy_mechanism.h"
#include "tests/bench/bench.h"

#define CHUNK ((size_t)1 << 16)
#define BYTES_A_SAMPLE 16.125 /* 128 bits and a sign */

static int32_t samples[CHUNK];

/* Mean, variance and fourth moment of a chunk must be those that were asked for, within six
 * standard errors; figures of a broken sampler are worth nothing. */
static void verify(const struct nx_noise *noise) {
  struct nx_noise_info info = nx_noise_info(noise);
  double sum = 0, square = 0, fourth = 0, n = CHUNK;
  for (size_t i = 0; i < CHUNK; i++) {
    double x = samples[i];
    sum += x;
    square += x * x;
    fourth += x * x * x * x;
  }
  double v = info.variance;
  if (fabs(sum / n) > 6 * sqrt(v / n) || fabs(square / n / v - 1) > 6 * sqrt(2 / n) ||
      fabs(fourth / n / (v * v) - 3) > 6 * sqrt(96 / n) + 1 / v)
    bench_fail("samples of variance %g have the wrong moments", v);
}

static double draw_rate(const struct nx_noise *noise, double seconds) {
  struct nx_error err = {0};
  size_t n = 0;
  double start = bench_seconds(), now;
  do {
    if (nx_noise_draw(noise, &nx_entropy_system, samples, CHUNK, &err))
      bench_fail("%s", err.text);
    n += CHUNK;
    now = bench_seconds();
  } while (now - start < seconds);
  return (double)n / (now - start);
}

static double entropy_rate(double seconds) {
  static uint8_t bytes[16512]; /* as much as the sampler asks for at once */
  struct nx_error err = {0};
  double n = 0, start = bench_seconds(), now;
  do {
    if (nx_entropy_system.fill(nx_entropy_system.context, bytes, sizeof bytes, &err))
      bench_fail("%s", err.text);
    n += sizeof bytes / BYTES_A_SAMPLE;
    now = bench_seconds();
  } while (now - start < seconds);
  return n / (now - start);
}

static double box_muller_rate(double deviation, double seconds) {
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  size_t n = 0;
  double start = bench_seconds(), now;
  do {
    for (size_t i = 0; i < CHUNK; i++)
      samples[i] = (int32_t)lrint(deviation * nx_rng_normal(&rng));
    n += CHUNK;
    now = bench_seconds();
  } while (now - start < seconds);
  return (double)n / (now - start);
}

static void bench_noise(struct bench *bench, const char *kind, double mu, double seconds) {
  struct nx_error err = {0};
  _cleanup_(nx_noise_destroyp) struct nx_noise *noise = NULL;
  double start = bench_seconds();
  int r =
      mu > 0 ? nx_noise_create_skellam(mu, &noise, &err) : nx_noise_create_gaussian(&noise, &err);
  if (r)
    bench_fail("%s", err.text);
  double build = bench_seconds() - start, rate = draw_rate(noise, seconds);
  verify(noise);
  struct nx_noise_info info = nx_noise_info(noise);
  double deviation = sqrt(info.variance);
  const struct bench_key kind_key = {"noise", 0, kind}, size_key = {"deviation", deviation, NULL};
  bench_add(bench, &(struct bench_row){.keys = {kind_key, size_key},
                                       .metric = "noise_samples_per_second",
                                       .value = rate,
                                       .unit = "1/s",
                                       .peer = "rounded Box-Muller, seeded",
                                       .peer_value = box_muller_rate(deviation, seconds),
                                       .limit = "getrandom, 16 bytes a sample",
                                       .limit_value = entropy_rate(seconds)});
  bench_add(bench, &(struct bench_row){.keys = {kind_key, size_key},
                                       .metric = "noise_table_mb",
                                       .value = (double)info.table_bytes / 1e6,
                                       .unit = "MB",
                                       .limit = "design",
                                       .limit_value = 67.1});
  bench_add(bench, &(struct bench_row){.keys = {kind_key, size_key},
                                       .metric = "noise_table_build_ms",
                                       .value = build * 1e3,
                                       .unit = "ms"});
}

static void bench_accountant(struct bench *bench, const char *name,
                             struct nx_privacy_mechanism mechanism, uint64_t n_steps) {
  struct nx_error err = {0};
  double epsilon, start = bench_seconds();
  if (nx_privacy_mechanism_epsilon(&mechanism, n_steps, &epsilon, &err))
    bench_fail("%s", err.text);
  double seconds = bench_seconds() - start;
  const struct bench_key key = {"mechanism", 0, name}, steps = {"steps", (double)n_steps, NULL};
  bench_add(bench, &(struct bench_row){
                       .keys = {key, steps}, .metric = "epsilon", .value = epsilon, .unit = "nat"});
  bench_add(bench, &(struct bench_row){.keys = {key, steps},
                                       .metric = "epsilon_ms",
                                       .value = seconds * 1e3,
                                       .unit = "ms"});
}

int main(int argc, char **argv) {
  struct bench *bench = bench_begin("noise", "", &argc, argv);
  double seconds = bench_is_quick(bench) ? .05 : 1;
  /* A share of s = 2^14, z = 5 at N = 7 (three honest at least) has deviation 47,298. */
  static const double deviations[] = {100, 1000, 47298, 290000};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(deviations) - bench_is_quick(bench); i++)
    bench_noise(bench, "skellam", deviations[i] * deviations[i], seconds);
  bench_noise(bench, "gaussian", 0, seconds);
  struct nx_privacy_mechanism local = {.kind = NX_MECHANISM_GAUSSIAN,
                                       .unit = NX_UNIT_SUBJECT,
                                       .noise_multiplier = 1.1,
                                       .sampling_rate = .01,
                                       .clip_norm = 1,
                                       .dimension = 1000000,
                                       .rounding_beta = exp(-.5),
                                       .delta = 1e-5};
  struct nx_privacy_mechanism shared = local;
  shared.kind = NX_MECHANISM_SKELLAM;
  shared.scale = 0x1p14;
  shared.noise_multiplier = 5;
  shared.sampling_rate = .1;
  bench_accountant(bench, "gaussian", local, 1000);
  bench_accountant(bench, "skellam", shared, 100);
  return bench_end(bench);
}
