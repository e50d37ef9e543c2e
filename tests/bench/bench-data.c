/* Recordings: decoding a file and preprocessing it (average reference, notch, band-pass,
 * resampling), one thread, beside MNE and scipy on the same file in the same run; and the
 * memory that reading a file of gigabytes takes. Verified first: decoded values against those
 * written, the chain against scipy's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/rng.h"
#include "common/size.h"
#include "node/dataset/preprocess.h"
#include "node/recordings/edf_write.h"
#include "node/recordings/recording.h"
#include "tests/bench/bench.h"

#define CHANNELS 64
#define RATE 512
#define WINDOW 10 /* seconds a read */

static char folder[] = "/tmp/neurox-bench-data-XXXXXX";

/* Integers that look like a walk, so that nothing compresses or repeats. */
static int16_t *make_samples(size_t n) {
  int16_t *samples = calloc(CHANNELS * n, sizeof *samples);
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  for (size_t c = 0; samples && c < CHANNELS; c++) {
    double level = 0;
    for (size_t i = 0; i < n; i++) {
      level = 0.98 * level + 400 * (nx_rng_uniform(&rng) - 0.5);
      samples[c * n + i] = (int16_t)level;
    }
  }
  return samples;
}

static void write_file(const char *path, const int16_t *samples, uint32_t seconds) {
  struct nx_edf_signal signals[CHANNELS];
  char labels[CHANNELS][8];
  struct nx_error err = {0};
  for (size_t c = 0; c < CHANNELS; c++) {
    snprintf(labels[c], sizeof labels[c], "E%zu", c + 1);
    signals[c] = (struct nx_edf_signal){
        .label = labels[c],
        .transducer = "",
        .unit = "uV",
        .prefilter = "",
        .physical_min = -3276.8,
        .physical_max = 3276.7,
        .samples = samples + c * seconds * RATE,
    };
  }
  const struct nx_edf_file file = {.subject_code = "X",
                                   .recording = "SYNTHETIC",
                                   .rate_hz = RATE,
                                   .n_records = seconds,
                                   .n_signals = CHANNELS,
                                   .signals = signals};
  if (nx_edf_write(path, &file, &err) < 0)
    bench_fail("%s", err.text);
}

/* All of a file, window by window; out: [CHANNELS][n] or NULL. Returns the seconds. */
static double decode(const char *path, float *out, size_t n) {
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  uint32_t picks[CHANNELS];
  float *window = malloc(sizeof(float) * CHANNELS * WINDOW * RATE);
  double start = bench_seconds();
  if (!window || nx_recording_open(path, &recording, &err) < 0)
    bench_fail("%s", err.text);
  uint64_t total = nx_recording_info(recording)->channels[0].n_samples;
  for (uint32_t c = 0; c < CHANNELS; c++)
    picks[c] = c;
  for (uint64_t first = 0; first < total; first += WINDOW * RATE) {
    size_t now = (size_t)NX_MIN(total - first, (uint64_t)WINDOW * RATE);
    if (nx_recording_read(recording, picks, CHANNELS, first, now, window, &err) < 0)
      bench_fail("%s", err.text);
    for (size_t c = 0; out && c < CHANNELS; c++)
      memcpy(out + c * n + first, window + c * now, now * sizeof(float));
  }
  nx_recording_close(recording);
  free(window);
  return bench_seconds() - start;
}

/* In place; y gets [CHANNELS][n / 4]. Returns the seconds. */
static double run_chain(double *x, size_t n, double *y) {
  struct nx_error err = {0};
  struct nx_sos stages[2];
  double start = bench_seconds();
  nx_reference_average(x, CHANNELS, n);
  if (nx_filter_notch(50, 30, RATE, &stages[0], &err) < 0 ||
      nx_filter_butterworth4(NX_FILTER_BAND_PASS, 0.5, 40, RATE, &stages[1], &err) < 0 ||
      nx_filter_zero_phase_all(stages, 2, x, CHANNELS, n, &err) < 0)
    bench_fail("%s", err.text);
  for (size_t c = 0; c < CHANNELS; c++)
    if (nx_resample(x + c * n, n, 1, 4, y + c * (n / 4), &err) < 0)
      bench_fail("%s", err.text);
  return bench_seconds() - start;
}

struct peer {
  double decode, mne, scipy; /* seconds; 0: not there */
};

static struct peer run_peer(const char *path, const char *result) {
  char command[1024], word[16];
  struct peer peer = {0, 0, 0};
  double seconds;
  snprintf(command, sizeof command, "/usr/bin/python3 %s/tests/bench/data_peer.py %s %s 2>&1",
           NEUROX_SOURCE, path, result);
  FILE *pipe = popen(command, "r");
  while (pipe && fscanf(pipe, "%15s %lf", word, &seconds) == 2)
    *(!strcmp(word, "decode") ? &peer.decode
      : !strcmp(word, "mne")  ? &peer.mne
                              : &peer.scipy) = seconds;
  if (pipe)
    pclose(pipe);
  return peer;
}

static void verify_chain(const char *result, const double *y, size_t n) {
  double *want = calloc(n, sizeof *want), power = 0, worst = 0;
  FILE *file = fopen(result, "rb");
  if (!file || fread(want, sizeof *want, n, file) != n)
    bench_fail("the peer left no result in %s", result);
  fclose(file);
  for (size_t i = 0; i < n; i++) {
    power += want[i] * want[i] / (double)n;
    worst = fmax(worst, fabs(want[i] - y[i]));
  }
  if (!(worst < 1e-8 * sqrt(power)))
    bench_fail("the chain differs from scipy's by %g of its RMS", worst / sqrt(power));
  free(want);
}

/* Peak resident memory, MB, of a process that reads a sparse EDF of so many bytes. */
static double peak_memory(const char *path, const char *small, double bytes) {
  struct rusage usage;
  char records[16];
  double record = 2.0 * CHANNELS * RATE, header = 256.0 * (1 + CHANNELS);
  FILE *from = fopen(small, "rb"), *to = fopen(path, "wb");
  uint8_t *bytes_of = malloc((size_t)header);
  if (!from || !to || fread(bytes_of, 1, (size_t)header, from) != (size_t)header)
    bench_fail("cannot copy a header");
  snprintf(records, sizeof records, "%-8.0f", floor((bytes - header) / record));
  memcpy(bytes_of + 236, records, 8);
  fwrite(bytes_of, 1, (size_t)header, to);
  fclose(from);
  fclose(to);
  free(bytes_of);
  if (truncate(path, (off_t)(header + floor((bytes - header) / record) * record)))
    bench_fail("cannot make a sparse file of %g bytes", bytes);
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    decode(path, NULL, 0);
    _exit(0);
  }
  int status;
  if (child < 0 || wait4(child, &status, 0, &usage) != child || status)
    bench_fail("reading the large file failed");
  unlink(path);
  return (double)usage.ru_maxrss / 1024;
}

static void verify_decode(const float *x, const int16_t *samples, size_t n) {
  for (size_t i = 0; i < CHANNELS * n; i++)
    if (fabs(x[i] - 0.1 * samples[i]) > 1e-6 * fabs(x[i]) + 1e-6)
      bench_fail("value %zu decodes to %g, not %g", i, (double)x[i], 0.1 * samples[i]);
}

int main(int argc, char **argv) {
  struct bench *bench = bench_begin("data", "", &argc, argv);
  bool quick = bench_is_quick(bench);
  uint32_t seconds = quick ? 60 : 600;
  size_t n = (size_t)seconds * RATE;
  char path[64], large[64], result[64];
  if (!mkdtemp(folder))
    bench_fail("cannot make a folder in /tmp");
  snprintf(path, sizeof path, "%s/a.edf", folder);
  snprintf(large, sizeof large, "%s/large.edf", folder);
  snprintf(result, sizeof result, "%s/result", folder);
  int16_t *samples = make_samples(n);
  float *x = malloc(sizeof *x * CHANNELS * n);
  double *wide = malloc(sizeof *wide * CHANNELS * n), *y = malloc(sizeof *y * CHANNELS * n / 4);
  if (!samples || !x || !wide || !y)
    bench_fail("out of memory");
  write_file(path, samples, seconds);
  double rss = 0;
  pid_t child = fork(); /* the large file before this process touches its own buffers */
  if (child == 0) {
    FILE *file = fopen(result, "w");
    fprintf(file, "%.17g", peak_memory(large, path, quick ? 4e8 : 4e9));
    fclose(file);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  FILE *figure = fopen(result, "r");
  if (!figure || fscanf(figure, "%lf", &rss) != 1)
    bench_fail("reading the large file failed");
  fclose(figure);

  double decoding = INFINITY, chain = INFINITY;
  for (int i = 0; i < 3; i++)
    decoding = fmin(decoding, decode(path, i ? NULL : x, n));
  verify_decode(x, samples, n);
  for (int i = 0; i < 2; i++) {
    for (size_t k = 0; k < CHANNELS * n; k++)
      wide[k] = 0.1 * samples[k];
    chain = fmin(chain, run_chain(wide, n, y));
  }
  struct peer peer = run_peer(path, result);
  if (peer.scipy > 0)
    verify_chain(result, y, n / 4);
  double mb = 2e-6 * CHANNELS * (double)n, work = CHANNELS * (double)seconds;
  bench_add(bench, &(struct bench_row){.keys = {{"format", 0, "edf"}, {"threads", 1, NULL}},
                                       .metric = "decode_mb_per_s",
                                       .value = mb / decoding,
                                       .unit = "MB/s",
                                       .peer = peer.decode > 0 ? "mne" : NULL,
                                       .peer_value = peer.decode > 0 ? mb / peer.decode : 0});
  const struct {
    const char *name;
    double seconds;
  } peers[] = {{"mne", peer.mne}, {"scipy", peer.scipy}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(peers); i++)
    if (i == 0 || peers[i].seconds > 0)
      bench_add(bench,
                &(struct bench_row){
                    .keys = {{"chain", 0, "car+notch+bandpass+resample"}, {"threads", 1, NULL}},
                    .metric = "preprocess_channel_seconds_per_s",
                    .value = work / chain,
                    .unit = "1",
                    .peer = peers[i].seconds > 0 ? peers[i].name : NULL,
                    .peer_value = peers[i].seconds > 0 ? work / peers[i].seconds : 0});
  bench_add(bench,
            &(struct bench_row){.keys = {{"format", 0, "edf"}, {"file_gb", quick ? 0.4 : 4, NULL}},
                                .metric = "peak_rss_mb",
                                .value = rss,
                                .unit = "MB"});
  unlink(path);
  unlink(result);
  rmdir(folder);
  free(samples);
  free(x);
  free(wide);
  free(y);
  return bench_end(bench);
}
