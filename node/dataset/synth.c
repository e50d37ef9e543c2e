#include "node/dataset/synth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/rng.h"
#include "common/size.h"
#include "node/dataset/int16_scale.h"
#include "node/dataset/montage.h"
#include "node/recordings/edf_write.h"

#define CHANNELS 19
#define RATE 200
#define OCTAVES 7 /* of the 1/f background */
#define SOURCES 5 /* background sources that several electrodes share */
#define LINE_HZ 50

static const char *const electrodes[CHANNELS] = {"Fp1", "Fp2", "F3", "F4", "F7", "F8", "T3",
                                                 "T4",  "C3",  "C4", "T5", "T6", "P3", "P4",
                                                 "O1",  "O2",  "Fz", "Cz", "Pz"};

/* A person: everything that stays the same between rest and task. Micro-volts. */
struct person {
  double background, alpha_hz, alpha, alpha_drop, theta_hz, theta, theta_rise, line, blinks_hz;
  double muscle_hz;
};

static double normal(struct nx_rng *rng, double mean, double sd) {
  return mean + sd * nx_rng_normal(rng);
}

static double within(double x, double low, double high) {
  return fmax(low, fmin(high, x));
}

static struct person draw_person(struct nx_rng *rng) {
  return (struct person){
      .background = exp(normal(rng, log(6), 0.2)),
      .alpha_hz = within(normal(rng, 10, 0.8), 8.2, 12.5),
      .alpha = exp(normal(rng, log(5), 0.4)),
      .alpha_drop = within(normal(rng, 0.52, 0.16), -0.15, 0.75),
      .theta_hz = within(normal(rng, 5.8, 0.5), 4.5, 7),
      .theta = exp(normal(rng, log(2.5), 0.3)),
      .theta_rise = within(normal(rng, 0.5, 0.25), -0.25, 1),
      .line = exp(normal(rng, log(0.8), 0.6)),
      .blinks_hz = within(normal(rng, 0.2, 0.08), 0.03, 0.5),
      .muscle_hz = within(normal(rng, 0.08, 0.05), 0.005, 0.25),
  };
}

/* 1/f noise of unit variance: white noise through one-pole filters an octave apart, summed. */
static void pink(struct nx_rng *rng, double *out, size_t n) {
  double state[OCTAVES] = {0}, poles[OCTAVES], gains[OCTAVES], power = 0;
  for (int o = 0; o < OCTAVES; o++) {
    poles[o] = exp(-2 * M_PI * 0.6 * (1 << o) / RATE);
    gains[o] = sqrt(1 - poles[o] * poles[o]);
  }
  for (int a = 0; a < OCTAVES; a++)
    for (int b = 0; b < OCTAVES; b++)
      power += gains[a] * gains[b] / (1 - poles[a] * poles[b]);
  for (size_t i = 0; i < n; i++) {
    double white = nx_rng_normal(rng), sum = 0;
    for (int o = 0; o < OCTAVES; o++) {
      state[o] = poles[o] * state[o] + gains[o] * white;
      sum += state[o];
    }
    out[i] = sum / sqrt(power);
  }
}

/* A rhythm of unit variance: white noise through a resonator, 1.2 Hz wide. */
static void rhythm(struct nx_rng *rng, double hz, double *out, size_t n) {
  double radius = exp(-M_PI * 1.2 / RATE), a1 = 2 * radius * cos(2 * M_PI * hz / RATE);
  double a2 = radius * radius, y1 = 0, y2 = 0, power = 0;
  for (size_t i = 0; i < n + 5 * RATE; i++) { /* five seconds to forget the start */
    double y = a1 * y1 - a2 * y2 + nx_rng_normal(rng);
    y2 = y1;
    y1 = y;
    if (i >= 5 * RATE)
      out[i - 5 * RATE] = y;
  }
  for (size_t i = 0; i < n; i++)
    power += out[i] * out[i] / (double)n;
  for (size_t i = 0; i < n; i++)
    out[i] /= sqrt(power);
}

/* Gain of a source at a place of the unit sphere for every electrode. */
static void topography(double x, double y, double z, double width, double gains[CHANNELS]) {
  for (size_t c = 0; c < CHANNELS; c++) {
    float at[3];
    nx_montage_position(electrodes[c], at);
    double dx = at[0] - x, dy = at[1] - y, dz = at[2] - z;
    gains[c] = exp(-(dx * dx + dy * dy + dz * dz) / (2 * width * width));
  }
}

static void add(double *x, const double gains[CHANNELS], const double *source, double scale,
                size_t n) {
  for (size_t c = 0; c < CHANNELS; c++)
    for (size_t i = 0; i < n; i++)
      x[c * n + i] += scale * gains[c] * source[i];
}

static void add_background(struct nx_rng *rng, const struct person *p, double *x, double *scratch,
                           size_t n) {
  double gains[CHANNELS];
  for (int s = 0; s < SOURCES; s++) {
    double azimuth = 2 * M_PI * nx_rng_uniform(rng), z = nx_rng_uniform(rng);
    double r = sqrt(1 - z * z);
    topography(r * cos(azimuth), r * sin(azimuth), z, 0.8, gains);
    pink(rng, scratch, n);
    add(x, gains, scratch, p->background, n);
  }
  for (size_t c = 0; c < CHANNELS; c++) {
    pink(rng, scratch, n);
    for (size_t i = 0; i < n; i++)
      x[c * n + i] += 0.5 * p->background * scratch[i];
  }
}

static void add_rhythms(struct nx_rng *rng, const struct person *p, int task, double *x,
                        double *scratch, size_t n) {
  double gains[CHANNELS];
  double alpha = p->alpha * (task ? 1 - p->alpha_drop : 1) * exp(normal(rng, 0, 0.12));
  double theta = p->theta * (task ? 1 + p->theta_rise : 1) * exp(normal(rng, 0, 0.12));
  for (int side = -1; side <= 1; side += 2) {
    topography(0.35 * side, -0.85, 0.4, 0.7, gains);
    rhythm(rng, p->alpha_hz, scratch, n);
    add(x, gains, scratch, alpha, n);
  }
  topography(0, 0.6, 0.8, 0.6, gains);
  rhythm(rng, p->theta_hz, scratch, n);
  add(x, gains, scratch, theta, n);
}

static void add_line(struct nx_rng *rng, const struct person *p, double *x, size_t n) {
  for (size_t c = 0; c < CHANNELS; c++) {
    double size = p->line * exp(normal(rng, 0, 0.4)), phase = 2 * M_PI * nx_rng_uniform(rng);
    for (size_t i = 0; i < n; i++)
      x[c * n + i] += size * sin(2 * M_PI * LINE_HZ * (double)i / RATE + phase);
  }
}

/* Blinks over the forehead, a quarter of a second wide. */
static void add_blinks(struct nx_rng *rng, const struct person *p, double *x, size_t n) {
  double gains[CHANNELS], seconds = (double)n / RATE;
  topography(0, 1, 0, 0.55, gains);
  for (double t = 0; (t += -log(1 - nx_rng_uniform(rng)) / p->blinks_hz) < seconds;) {
    double size = normal(rng, 70, 15);
    for (size_t i = 0; i < n; i++) {
      double dt = ((double)i / RATE - t) / 0.1;
      if (fabs(dt) < 4)
        for (size_t c = 0; c < CHANNELS; c++)
          x[c * n + i] += size * gains[c] * exp(-dt * dt / 2);
    }
  }
}

/* Bursts of muscle noise over one temple, a second long. */
static void add_muscle(struct nx_rng *rng, const struct person *p, double *x, size_t n) {
  double gains[CHANNELS], seconds = (double)n / RATE;
  for (double t = 0; (t += -log(1 - nx_rng_uniform(rng)) / p->muscle_hz) < seconds;) {
    topography(nx_rng_below(rng, 2) ? 1 : -1, 0.3, 0, 0.5, gains);
    double size = fabs(normal(rng, 8, 4)), last = 0;
    for (size_t i = (size_t)(t * RATE); i < n && (double)i < (t + 1) * RATE; i++) {
      double white = nx_rng_normal(rng), high = white - last;
      last = white;
      for (size_t c = 0; c < CHANNELS; c++)
        x[c * n + i] += size * gains[c] * high;
    }
  }
}

static int write_file(const char *path, const char *code, const double *x, uint32_t seconds,
                      struct nx_error *err) {
  size_t n = (size_t)seconds * RATE;
  struct nx_edf_signal signals[CHANNELS];
  char labels[CHANNELS][17];
  _cleanup_free_ int16_t *samples = calloc(CHANNELS * n, sizeof *samples);
  if (!samples)
    return nx_fail(err, NX_E_NOMEM, "synthesise: out of memory");
  double limit = nx_int16_limit(x, CHANNELS * n);
  nx_int16_encode(x, CHANNELS * n, limit, samples);
  for (size_t c = 0; c < CHANNELS; c++) {
    snprintf(labels[c], sizeof labels[c], "EEG %s", electrodes[c]);
    signals[c] = (struct nx_edf_signal){
        .label = labels[c],
        .transducer = "none: synthetic",
        .unit = "uV",
        .prefilter = "",
        .physical_min = -limit,
        .physical_max = limit,
        .samples = samples + c * n,
    };
  }
  const struct nx_edf_file file = {
      .subject_code = code,
      .recording = "SYNTHETIC generated by neurox-node synth",
      .rate_hz = RATE,
      .n_records = seconds,
      .n_signals = CHANNELS,
      .signals = signals,
  };
  return nx_edf_write(path, &file, err);
}

static int path_of(const struct nx_synth_options *options, uint32_t subject, int task, char *code,
                   char path[NX_PATH_SIZE], struct nx_error *err) {
  char name[40];
  snprintf(code, 24, "Subject%02u", subject);
  snprintf(name, sizeof name, "%s_%s.edf", code, task ? "arith" : "rest");
  return nx_path_join(path, options->folder, name, err);
}

static int make_subject(const struct nx_synth_options *options, uint32_t subject, double *x,
                        double *scratch, struct nx_error *err) {
  size_t n = (size_t)options->seconds * RATE;
  struct nx_rng rng;
  nx_rng_init(&rng, options->seed, subject);
  struct person person = draw_person(&rng);
  for (int task = 0; task < 2; task++) {
    char path[NX_PATH_SIZE], code[24];
    memset(x, 0, CHANNELS * n * sizeof *x);
    add_background(&rng, &person, x, scratch, n);
    add_rhythms(&rng, &person, task, x, scratch, n);
    add_line(&rng, &person, x, n);
    add_blinks(&rng, &person, x, n);
    add_muscle(&rng, &person, x, n);
    int r = path_of(options, subject, task, code, path, err);
    if (!r)
      r = write_file(path, code, x, options->seconds, err);
    if (r < 0)
      return r;
  }
  return 0;
}

static int check(const struct nx_synth_options *options, struct nx_error *err) {
  char path[NX_PATH_SIZE], code[24];
  if (options->n_subjects < 1 || options->n_subjects > 1000 || options->first_subject > 100000)
    return nx_fail(err, NX_E_INVALID, "synthesise 1 to 1000 subjects");
  if (options->seconds < 10 || options->seconds > 3600)
    return nx_fail(err, NX_E_INVALID, "synthesise 10 to 3600 seconds");
  int r = nx_folder_create(options->folder, 0755, err);
  for (uint32_t s = 0; !r && s < options->n_subjects; s++)
    for (int task = 0; !r && task < 2; task++) {
      r = path_of(options, options->first_subject + s, task, code, path, err);
      if (!r && nx_path_exists(path))
        r = nx_fail(err, NX_E_EXISTS, "%s is already there: choose an empty folder", path);
    }
  return r;
}

int nx_synth(const struct nx_synth_options *options, struct nx_error *err) {
  static const char note[] = "The recordings in this folder are SYNTHETIC: made by neurox-node "
                             "synth, of no person.\n";
  char path[NX_PATH_SIZE];
  int r = check(options, err);
  if (!r)
    r = nx_path_join(path, options->folder, "SYNTHETIC", err);
  if (!r)
    r = nx_file_replace(path, nx_bytes(note, sizeof note - 1), 0644, err);
  if (r < 0)
    return r;
  size_t n = (size_t)options->seconds * RATE;
  _cleanup_free_ double *x = calloc(CHANNELS * n, sizeof *x);
  _cleanup_free_ double *scratch = calloc(n, sizeof *scratch);
  if (!x || !scratch)
    return nx_fail(err, NX_E_NOMEM, "synthesise: out of memory");
  for (uint32_t s = 0; !r && s < options->n_subjects; s++)
    r = make_subject(options, options->first_subject + s, x, scratch, err);
  return r;
}
