#include "node/dataset/physionet.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"
#include "node/dataset/int16_scale.h"
#include "node/dataset/montage.h"
#include "node/dataset/preprocess.h"
#include "node/recordings/edf.h"
#include "node/recordings/edf_write.h"

#define CHANNELS 19
#define IN_RATE 500
#define OUT_RATE 100
#define SECONDS 60
#define N_IN ((size_t)SECONDS * IN_RATE)
#define N_OUT ((size_t)SECONDS * OUT_RATE)
#define FILES_CAP 10000

/* The 19 electrodes, in the file's order; "EEG A2-A1" and the ECG fall out. */
static int pick(const struct nx_recording_info *info, uint32_t picks[CHANNELS],
                char labels[CHANNELS][24], struct nx_error *err) {
  size_t n = 0;
  for (size_t i = 0; i < info->n_channels; i++) {
    char name[16];
    if (!nx_montage_clean(info->channels[i].name, name) || info->channels[i].rate_hz != IN_RATE)
      continue;
    if (n < CHANNELS) {
      picks[n] = (uint32_t)i;
      snprintf(labels[n], sizeof labels[n], "EEG %s", name);
    }
    n++;
  }
  if (n != CHANNELS)
    return nx_fail(err, NX_E_FORMAT,
                   "%zu electrodes at %d Hz where EEGMAT has %d: is this an EEGMAT original?", n,
                   IN_RATE, CHANNELS);
  return 0;
}

/* x[c][0 .. N_OUT) from the originals' integers, in float64 all the way. */
static int cut_channels(struct nx_recording *recording, const uint32_t *picks, uint64_t first,
                        double *x, struct nx_error *err) {
  _cleanup_free_ int32_t *digital = calloc(N_IN, sizeof *digital);
  _cleanup_free_ double *physical = calloc(N_IN, sizeof *physical);
  if (!digital || !physical)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t c = 0; c < CHANNELS; c++) {
    double gain, shift;
    int r = nx_edf_calibration(recording, picks[c], &gain, &shift, err);
    if (!r)
      r = nx_edf_read_digital(recording, picks[c], first, N_IN, digital, err);
    if (r < 0)
      return r;
    for (size_t i = 0; i < N_IN; i++)
      physical[i] = gain * digital[i] + shift;
    r = nx_resample(physical, N_IN, OUT_RATE, IN_RATE, x + c * N_OUT, err);
    if (r < 0)
      return r;
  }
  return 0;
}

static int write_cut(const char *path, const char *code, char labels[CHANNELS][24], const double *x,
                     struct nx_error *err) {
  struct nx_edf_signal signals[CHANNELS];
  _cleanup_free_ int16_t *samples = calloc(CHANNELS * N_OUT, sizeof *samples);
  if (!samples)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  double limit = nx_int16_limit(x, CHANNELS * N_OUT);
  nx_int16_encode(x, CHANNELS * N_OUT, limit, samples);
  for (size_t c = 0; c < CHANNELS; c++)
    signals[c] = (struct nx_edf_signal){
        .label = labels[c],
        .transducer = "AgAgCl electrode",
        .unit = "uV",
        .prefilter = "resample_poly(1,5) of 500 Hz original",
        .physical_min = -limit,
        .physical_max = limit,
        .samples = samples + c * N_OUT,
    };
  const struct nx_edf_file file = {
      .subject_code = code,
      .recording = "EEGMAT-crop-60s",
      .rate_hz = OUT_RATE,
      .n_records = SECONDS,
      .n_signals = CHANNELS,
      .signals = signals,
  };
  return nx_edf_write(path, &file, err);
}

/* "SubjectNN" of a path that ends in SubjectNN_…; false when it does not. */
static bool code_of(const char *path, char code[24]) {
  const char *name = strrchr(path, '/');
  name = name ? name + 1 : path;
  size_t n = strcspn(name, "_");
  if (strncmp(name, "Subject", 7) || n < 8 || n > 20 || strspn(name + 7, "0123456789") != n - 7)
    return false;
  memcpy(code, name, n);
  code[n] = 0;
  return true;
}

int nx_physionet_cut_file(const char *in_path, int task, const char *out_path,
                          struct nx_error *err) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  uint32_t picks[CHANNELS];
  char labels[CHANNELS][24], code[24];
  if (!code_of(in_path, code))
    return nx_fail(err, NX_E_INVALID, "%s: the originals are named SubjectNN_1.edf", in_path);
  int r = nx_recording_open(in_path, &recording, err);
  if (!r)
    r = pick(nx_recording_info(recording), picks, labels, err);
  if (r < 0)
    return nx_error_prefix(err, r, "cut %s", in_path);
  uint64_t n = nx_recording_info(recording)->channels[picks[0]].n_samples;
  uint64_t margin = task ? 0 : IN_RATE;
  if (n < N_IN + margin)
    return nx_fail(err, NX_E_FORMAT, "cut %s: shorter than %d s: download it again", in_path,
                   SECONDS + !task);
  _cleanup_free_ double *x = calloc(CHANNELS * N_OUT, sizeof *x);
  if (!x)
    return nx_fail(err, NX_E_NOMEM, "cut %s: out of memory", in_path);
  r = cut_channels(recording, picks, task ? 0 : n - margin - N_IN, x, err);
  if (!r)
    r = write_cut(out_path, code, labels, x, err);
  return r < 0 ? nx_error_prefix(err, r, "cut %s", in_path) : 0;
}

struct job {
  const char *in_folder, *out_folder;
  size_t n;
  char (*codes)[24]; /* [n] */
  uint8_t *tasks;    /* [n] */
  struct nx_error *errors;
};

static void cut_one(void *context, size_t index, size_t worker) {
  struct job *job = context;
  struct nx_error *err = &job->errors[index];
  char in[NX_PATH_SIZE], out[NX_PATH_SIZE], name[64];
  (void)worker;
  int task = job->tasks[index];
  snprintf(name, sizeof name, "%s_%d.edf", job->codes[index], task + 1);
  int r = nx_path_join(in, job->in_folder, name, err);
  snprintf(name, sizeof name, "%s_%s.edf", job->codes[index], task ? "arith" : "rest");
  if (!r)
    r = nx_path_join(out, job->out_folder, name, err);
  if (!r && !nx_path_exists(out))
    r = nx_physionet_cut_file(in, task, out, err);
  err->code = r;
}

static int list(struct job *job, struct nx_error *err) {
  DIR *folder = opendir(job->in_folder);
  if (!folder)
    return nx_fail_errno(err, errno, "open the folder %s", job->in_folder);
  for (struct dirent *entry; (entry = readdir(folder)) && job->n < FILES_CAP;) {
    char code[24];
    size_t n = strcspn(entry->d_name, "_");
    const char *rest = entry->d_name + n;
    if (!code_of(entry->d_name, code) || (strcmp(rest, "_1.edf") && strcmp(rest, "_2.edf")))
      continue;
    memcpy(job->codes[job->n], code, sizeof code);
    job->tasks[job->n++] = rest[1] == '2';
  }
  closedir(folder);
  if (!job->n)
    return nx_fail(err, NX_E_NOT_FOUND, "no SubjectNN_1.edf or SubjectNN_2.edf in %s",
                   job->in_folder);
  return 0;
}

static void finish_job(struct job *job) {
  free(job->codes);
  free(job->tasks);
  free(job->errors);
}

int nx_physionet_cut(const char *in_folder, const char *out_folder, struct nx_pool *pool,
                     size_t *n_files_out, struct nx_error *err) {
  _cleanup_(finish_job) struct job job = {.in_folder = in_folder, .out_folder = out_folder};
  job.codes = calloc(FILES_CAP, sizeof *job.codes);
  job.tasks = calloc(FILES_CAP, 1);
  if (!job.codes || !job.tasks)
    return nx_fail(err, NX_E_NOMEM, "cut: out of memory");
  int r = list(&job, err);
  if (!r)
    r = nx_folder_create(out_folder, 0755, err);
  if (r < 0)
    return r;
  job.errors = calloc(job.n, sizeof *job.errors);
  if (!job.errors)
    return nx_fail(err, NX_E_NOMEM, "cut: out of memory");
  if (pool)
    nx_pool_run(pool, job.n, cut_one, &job);
  else
    for (size_t i = 0; i < job.n; i++)
      cut_one(&job, i, 0);
  for (size_t i = 0; i < job.n; i++)
    if (job.errors[i].code) {
      if (err)
        *err = job.errors[i];
      return job.errors[i].code;
    }
  *n_files_out = job.n;
  return 0;
}
