/* Recordings, one thread, by processor time: decoding files of each format and preprocessing
 * (average reference, notch, band-pass, resampling) beside MNE, scipy and the usual readers in the
 * same run, ours and theirs in turn, medians; and the memory that reading and preprocessing a file
 * of gigabytes take. Verified first: decoded values against those written, the chain against
 * scipy's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/rng.h"
#include "common/size.h"
#include "node/dataset/stream.h"
#include "node/recordings/edf_write.h"
#include "node/recordings/recording.h"
#ifdef NEUROX_HDF5
#include "node/recordings/hdf5_format.h"
#endif
#include "tests/bench/bench.h"

#define CHANNELS 64
#define RATE 512
#define WINDOW_VALUES (CHANNELS * RATE * 10) /* a read */
#define REPEATS_MOST 7

static char folder[] = "/tmp/neurox-bench-data-XXXXXX";

static double cpu_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
  qsort(values, n, sizeof *values, by_size);
  return values[n / 2];
}

/* ---- files --------------------------------------------------------------------------------- */

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

static void write_samples(const int16_t *samples, size_t n) {
  char path[64];
  snprintf(path, sizeof path, "%s/samples", folder);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(samples, sizeof *samples, CHANNELS * n, file) != CHANNELS * n || fclose(file))
    bench_fail("cannot write %s", path);
}

static void write_edf(const char *path, const int16_t *samples, uint32_t seconds) {
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

/* ---- the peer, a process that waits for commands -------------------------------------------- */

struct peer {
  FILE *to, *from;
  pid_t pid;
};

static struct peer peer_start(void) {
  int to[2], from[2];
  char script[512], rate[16];
  snprintf(script, sizeof script, "%s/tests/bench/data_peer.py", NEUROX_SOURCE);
  snprintf(rate, sizeof rate, "%d", RATE);
  if (pipe(to) || pipe(from))
    bench_fail("no pipe");
  pid_t pid = fork();
  if (pid == 0) {
    dup2(to[0], 0);
    dup2(from[1], 1);
    close(to[0]), close(to[1]), close(from[0]), close(from[1]);
    execl("/usr/bin/python3", "python3", script, folder, rate, (char *)NULL);
    _exit(127);
  }
  close(to[0]), close(from[1]);
  return (struct peer){fdopen(to[1], "w"), fdopen(from[0], "r"), pid};
}

/* False: there is no peer (any more). */
static bool ask(struct peer *peer, char answer[256], const char *command, const char *word,
                const char *path) {
  fprintf(peer->to, "%s %s %s\n", command, word, path);
  fflush(peer->to);
  if (!fgets(answer, 256, peer->from))
    return false;
  answer[strcspn(answer, "\n")] = 0;
  return strcmp(answer, "-") != 0;
}

static void peer_end(struct peer *peer) {
  fclose(peer->to);
  fclose(peer->from);
  waitpid(peer->pid, NULL, 0);
}

/* ---- decoding ------------------------------------------------------------------------------ */

/* All of a file, window by window; check: values as written, or NULL. Processor seconds. */
static double decode(const char *path, const int16_t *check, double unit) {
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  double start = cpu_seconds();
  if (nx_recording_open(path, &recording, &err) < 0)
    bench_fail("%s", err.text);
  const struct nx_recording_info *info = nx_recording_info(recording);
  size_t n_channels = info->n_channels, total = (size_t)info->channels[0].n_samples;
  size_t window = WINDOW_VALUES / n_channels;
  uint32_t *picks = malloc(n_channels * sizeof *picks);
  float *x = malloc(sizeof(float) * n_channels * window);
  if (!picks || !x)
    bench_fail("out of memory");
  for (uint32_t c = 0; c < n_channels; c++)
    picks[c] = c;
  for (size_t first = 0; first < total; first += window) {
    size_t now = NX_MIN(total - first, window);
    if (nx_recording_read(recording, picks, n_channels, first, now, x, &err) < 0)
      bench_fail("%s", err.text);
    for (size_t c = 0; check && c < n_channels; c++)
      for (size_t i = 0; i < now; i++) {
        /* A voxel is a channel, and volumes follow each other; else channels do. */
        size_t at = n_channels == CHANNELS ? c * total + first + i : (first + i) * n_channels + c;
        double volt = nx_unit_microvolts(info->channels[c].unit);
        double got = (double)x[c * now + i] * (volt > 0 ? volt : 1), want = unit * check[at];
        if (!(fabs(got - want) <= 1e-6 * fabs(want) + 1e-6))
          bench_fail("%s: channel %zu, sample %zu is %g, not %g", path, c, first + i, got, want);
      }
  }
  double seconds = cpu_seconds() - start;
  nx_recording_close(recording);
  free(picks);
  free(x);
  return seconds;
}

static double file_mb(const char *path, const char *beside) {
  char other[300];
  struct stat status;
  double bytes = stat(path, &status) ? 0 : (double)status.st_size;
  snprintf(other, sizeof other, "%.*s%s", (int)(strrchr(path, '.') - path), path, beside);
  return 1e-6 * (bytes + (*beside && !stat(other, &status) ? (double)status.st_size : 0));
}

static void bench_decode(struct bench *bench, struct peer *peer, const char *format,
                         const char *edf, const int16_t *samples, size_t repeats) {
  char path[256], answer[256], reader[32] = "";
  double ours[REPEATS_MOST], theirs[REPEATS_MOST];
  bool made = !strcmp(format, "edf");
  snprintf(path, sizeof path, "%s", edf);
  if (!made && !ask(peer, path, "make", format, "")) {
    fprintf(stderr, "bench: no %s: its writer for Python is not installed\n", format);
    return;
  }
  bool whole = !strncmp(format, "nifti", 5) || !strcmp(format, "bdf");
  decode(path, samples, whole ? 1 : 0.1);
  for (size_t i = 0; i < repeats; i++) {
    ours[i] = decode(path, NULL, 0);
    if (!ask(peer, answer, "decode", format, path) ||
        sscanf(answer, "%31s %lf", reader, &theirs[i]) != 2)
      reader[0] = 0;
  }
  double mb = file_mb(path, strcmp(format, "brainvision") ? "" : ".eeg");
  bench_add(bench, &(struct bench_row){.keys = {{"format", 0, format}, {"threads", 1, NULL}},
                                       .metric = "decode_mb_per_s",
                                       .value = mb / median(ours, repeats),
                                       .unit = "MB/s",
                                       .peer = reader[0] ? reader : NULL,
                                       .peer_value = reader[0] ? mb / median(theirs, repeats) : 0});
  if (!made)
    unlink(path);
}

/* ---- the chain ----------------------------------------------------------------------------- */

static struct nx_stream *chain_begin(size_t n) {
  struct nx_error err = {0};
  struct nx_stream *stream = NULL;
  struct nx_stream_spec spec = {
      .n_channels = CHANNELS, .n_samples = n, .average = true, .n_stages = 2, .up = 1, .down = 4};
  if (nx_filter_notch(50, 30, RATE, &spec.stages[0], &err) < 0 ||
      nx_filter_butterworth4(NX_FILTER_BAND_PASS, 0.5, 40, RATE, &spec.stages[1], &err) < 0 ||
      nx_stream_new(&spec, &stream, &err) < 0)
    bench_fail("%s", err.text);
  return stream;
}

/* x[CHANNELS][n] → y[CHANNELS][n / 4]. Processor seconds. */
static double run_chain(const double *x, size_t n, double *y) {
  struct nx_error err = {0};
  double start = cpu_seconds();
  struct nx_stream *stream = chain_begin(n);
  size_t done = 0, m, now;
  for (size_t first = 0; first < n; first += now) {
    const double *out;
    now = NX_MIN(n - first, (size_t)RATE * 20);
    if (nx_stream_push(stream, x + first, n, now, first + now == n, &out, &m, &err) < 0)
      bench_fail("%s", err.text);
    for (size_t c = 0; m && c < CHANNELS; c++)
      memcpy(y + c * (n / 4) + done, out + c * m, m * sizeof *y);
    done += m;
  }
  nx_stream_destroy(stream);
  return cpu_seconds() - start;
}

static void verify_chain(const double *y, size_t n) {
  char path[64];
  double *want = calloc(n, sizeof *want), power = 0, worst = 0;
  snprintf(path, sizeof path, "%s/result", folder);
  FILE *file = fopen(path, "rb");
  if (!want || !file || fread(want, sizeof *want, n, file) != n)
    bench_fail("the peer left no result in %s", path);
  fclose(file);
  for (size_t i = 0; i < n; i++) {
    power += want[i] * want[i] / (double)n;
    worst = fmax(worst, fabs(want[i] - y[i]));
  }
  if (!(worst < 1e-8 * sqrt(power)))
    bench_fail("the chain differs from scipy's by %g of its RMS", worst / sqrt(power));
  free(want);
}

static void bench_chain(struct bench *bench, struct peer *peer, const int16_t *samples, size_t n,
                        size_t repeats) {
  static const char *const names[] = {"mne", "scipy"};
  double ours[REPEATS_MOST], theirs[2][REPEATS_MOST], work = CHANNELS * (double)n / RATE;
  bool there[2] = {true, true};
  char answer[256];
  double *x = malloc(sizeof *x * CHANNELS * n), *y = malloc(sizeof *y * CHANNELS * n / 4);
  if (!x || !y)
    bench_fail("out of memory");
  for (size_t k = 0; k < CHANNELS * n; k++)
    x[k] = 0.1 * samples[k];
  memset(y, 0, sizeof *y * CHANNELS * n / 4);
  for (size_t i = 0; i < repeats; i++) {
    ours[i] = run_chain(x, n, y);
    for (size_t k = 0; k < 2; k++)
      there[k] = there[k] && ask(peer, answer, "chain", names[k], "") &&
                 sscanf(answer, "%lf", &theirs[k][i]) == 1;
    if (i == 0 && there[1])
      verify_chain(y, n / 4);
  }
  double middle = median(ours, repeats);
  for (size_t k = 0; k < 2; k++)
    bench_add(bench,
              &(struct bench_row){
                  .keys = {{"chain", 0, "car+notch+bandpass+resample"}, {"threads", 1, NULL}},
                  .metric = "preprocess_channel_seconds_per_s",
                  .value = work / middle,
                  .unit = "1",
                  .peer = there[k] ? names[k] : NULL,
                  .peer_value = there[k] ? work / median(theirs[k], repeats) : 0});
  free(x);
  free(y);
}

/* ---- memory -------------------------------------------------------------------------------- */

/* A sparse EDF of about so many bytes, with the header of another. */
static void make_large(const char *path, const char *small, double bytes) {
  char records[16];
  double record = 2.0 * CHANNELS * RATE, header = 256.0 * (1 + CHANNELS);
  FILE *from = fopen(small, "rb"), *to = fopen(path, "wb");
  uint8_t *head = malloc((size_t)header);
  if (!from || !to || !head || fread(head, 1, (size_t)header, from) != (size_t)header)
    bench_fail("cannot copy a header");
  snprintf(records, sizeof records, "%-8.0f", floor((bytes - header) / record));
  memcpy(head + 236, records, 8);
  fwrite(head, 1, (size_t)header, to);
  fclose(from);
  fclose(to);
  free(head);
  if (truncate(path, (off_t)(header + floor((bytes - header) / record) * record)))
    bench_fail("cannot make a sparse file of %g bytes", bytes);
}

/* Through the whole chain, window by window; what comes out is let go. */
static void chain_of_file(const char *path) {
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  uint32_t picks[CHANNELS];
  size_t window = RATE * 10, m;
  const double *out;
  if (nx_recording_open(path, &recording, &err) < 0)
    bench_fail("%s", err.text);
  size_t total = (size_t)nx_recording_info(recording)->channels[0].n_samples;
  float *x = malloc(sizeof *x * CHANNELS * window);
  double *wide = malloc(sizeof *wide * CHANNELS * window);
  struct nx_stream *stream = chain_begin(total);
  for (uint32_t c = 0; c < CHANNELS; c++)
    picks[c] = c;
  for (size_t first = 0, now; first < total; first += now) {
    now = NX_MIN(total - first, window);
    if (!x || !wide || nx_recording_read(recording, picks, CHANNELS, first, now, x, &err) < 0)
      bench_fail("%s", err.text);
    for (size_t i = 0; i < CHANNELS * now; i++)
      wide[i] = (double)x[i];
    if (nx_stream_push(stream, wide, now, now, first + now == total, &out, &m, &err) < 0)
      bench_fail("%s", err.text);
  }
  nx_stream_destroy(stream);
  nx_recording_close(recording);
  free(x);
  free(wide);
}

struct reading {
  const char *path;
  bool chain;
};

static void read_all(const void *context, void *result) {
  const struct reading *reading = context;
  (void)result;
  if (reading->chain)
    chain_of_file(reading->path);
  else
    decode(reading->path, NULL, 0);
}

/* Peak resident memory, MiB, of a process that does that. */
static double peak_memory(const char *path, bool chain) {
  const struct reading reading = {path, chain};
  return bench_apart("reading the large file", read_all, &reading, NULL, 0);
}

static void bench_memory(struct bench *bench, const char *edf, double gigabytes) {
  static const char *const works[] = {"decode", "car+notch+bandpass+resample"};
  char large[64];
  snprintf(large, sizeof large, "%s/large.edf", folder);
  make_large(large, edf, 1e9 * gigabytes);
  for (size_t k = 0; k < 2; k++)
    bench_add(bench, &(struct bench_row){.keys = {{"format", 0, "edf"},
                                                  {"work", 0, works[k]},
                                                  {"file_gb", gigabytes, NULL}},
                                         .metric = "peak_rss_mb",
                                         .value = peak_memory(large, k),
                                         .unit = "MB"});
  unlink(large);
}

static void clear_folder(void) {
  static const char *const names[] = {"a.edf", "a.eeg", "a.vmrk", "samples", "result"};
  char path[64];
  for (size_t i = 0; i < NX_ARRAY_LENGTH(names); i++) {
    snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    unlink(path);
  }
  rmdir(folder);
}

/* Named, or nothing is. */
static bool wanted(int argc, char **argv, const char *part) {
  bool named = argc < 2;
  for (int i = 1; i < argc; i++)
    named |= !strcmp(argv[i], part);
  return named;
}

int main(int argc, char **argv) {
  static const char *const formats[] = {"edf",   "bdf",      "brainvision", "fif", "nwb",
                                        "nifti", "nifti-gz", "mat5",        "npy"};
  struct bench *bench = bench_begin("data", "[memory] [chain] [decode]", &argc, argv);
  bool quick = bench_is_quick(bench);
  uint32_t seconds = quick ? 60 : 600;
  size_t n = (size_t)seconds * RATE, repeats = quick ? 3 : 5;
  char edf[64];
  if (!mkdtemp(folder))
    bench_fail("cannot make a folder in /tmp");
  snprintf(edf, sizeof edf, "%s/a.edf", folder);
#ifdef NEUROX_HDF5
  nx_recording_add_hdf5();
#endif
  int16_t *samples = make_samples(n);
  if (!samples)
    bench_fail("out of memory");
  write_edf(edf, samples, seconds);
  write_samples(samples, n);
  free(samples); /* the memory of a child counts from here */
  if (wanted(argc, argv, "memory"))
    bench_memory(bench, edf, quick ? 0.4 : 4);
  if (!(samples = make_samples(n)))
    bench_fail("out of memory");
  struct peer peer = peer_start();
  if (wanted(argc, argv, "chain"))
    bench_chain(bench, &peer, samples, n, repeats);
  for (size_t i = 0; wanted(argc, argv, "decode") && i < NX_ARRAY_LENGTH(formats); i++)
    bench_decode(bench, &peer, formats[i], edf, samples, repeats);
  peer_end(&peer);
  clear_folder();
  free(samples);
  return bench_end(bench);
}
