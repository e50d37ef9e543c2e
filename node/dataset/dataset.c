#include "node/dataset/dataset.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "crypto/merkle.h"
#include "node/dataset/load.h"
#include "node/dataset/montage.h"
#include "node/dataset/subjects.h"

struct nx_dataset {
  struct nx_dataset_summary summary;
  struct nx_dataset_recording *recordings;
  float **owned_x, **owned_scale; /* what the recordings point at */
  char (*names)[16];
  float *positions;
};

/* What the workers fill, one slot a file. */
struct job {
  const struct nx_dataset_options *options;
  const struct nx_plan *plan;
  const struct nx_subject_files *files;
  struct nx_loaded *loaded;
  struct nx_hash *hashes;
  struct nx_error *errors; /* code 0: fine */
};

static int hash_file(const char *path, struct nx_hash *out, struct nx_error *err) {
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return nx_fail_errno(err, errno, "open %s", path);
  struct nx_sha256 sha;
  nx_sha256_init(&sha);
  for (;;) {
    uint8_t chunk[65536];
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "read %s", path);
    if (n == 0)
      break;
    nx_sha256_update(&sha, chunk, (size_t)n);
  }
  *out = nx_sha256_final(&sha);
  return 0;
}

static void load_one(void *context, size_t index, size_t worker) {
  struct job *job = context;
  struct nx_error *err = &job->errors[index];
  char path[NX_PATH_SIZE];
  (void)worker;
  int r = nx_path_join(path, job->options->folder, job->files->files[index].file, err);
  if (!r)
    r = hash_file(path, &job->hashes[index], err);
  if (!r)
    r = nx_load_recording(path, job->options->reader, job->plan, &job->loaded[index], err);
  err->code = r;
}

static int by_hash(const void *a, const void *b) {
  return nx_hash_compare(a, b);
}

static void put_double(struct nx_sha256 *sha, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  nx_sha256_u64(sha, bits);
}

static struct nx_hash hash_pipeline(const struct nx_plan *plan) {
  const struct nx_plan_preprocessing *p = &plan->preprocessing;
  const double values[] = {(double)p->reference,
                           p->high_pass_hz,
                           p->low_pass_hz,
                           p->notch_hz,
                           p->rate_hz,
                           (double)p->scale,
                           p->clamp,
                           plan->window.seconds,
                           plan->window.patch_seconds};
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "neurox pipeline v1");
  for (size_t i = 0; i < NX_ARRAY_LENGTH(values); i++)
    put_double(&sha, values[i]);
  return nx_sha256_final(&sha);
}

/* Hashes are sorted, so that neither names nor the order of files show. */
static struct nx_hash manifest_of(struct nx_hash *hashes, size_t n, const struct nx_plan *plan,
                                  size_t n_subjects) {
  qsort(hashes, n, sizeof *hashes, by_hash);
  struct nx_merkle tree = {0};
  for (size_t i = 0; i < n; i++) {
    struct nx_hash leaf = nx_merkle_leaf(nx_bytes(hashes[i].bytes, sizeof hashes[i].bytes));
    nx_merkle_add(&tree, &leaf);
  }
  struct nx_hash root = nx_merkle_root_of(&tree), pipeline = hash_pipeline(plan);
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "neurox dataset v1");
  nx_sha256_hash(&sha, &root);
  nx_sha256_hash(&sha, &pipeline);
  nx_sha256_u64(&sha, n_subjects);
  return nx_sha256_final(&sha);
}

static int find_channel(const struct nx_loaded *loaded, const char *name) {
  for (size_t c = 0; c < loaded->n_channels; c++)
    if (nx_montage_same(loaded->names[c], name))
      return (int)c;
  return -1;
}

/* The first recording's electrodes that every other has too, in its order. */
static int common_channels(struct nx_dataset *dataset, const struct nx_loaded *loaded, size_t n,
                           struct nx_error *err) {
  size_t most = loaded[0].n_channels;
  dataset->names = calloc(most, sizeof *dataset->names);
  dataset->positions = calloc(3 * most, sizeof *dataset->positions);
  if (!dataset->names || !dataset->positions)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  for (size_t c = 0; c < most; c++) {
    bool everywhere = true;
    for (size_t i = 1; i < n; i++)
      everywhere &= find_channel(&loaded[i], loaded[0].names[c]) >= 0;
    if (!everywhere)
      continue;
    size_t at = dataset->summary.n_channels++;
    memcpy(dataset->names[at], loaded[0].names[c], sizeof *dataset->names);
    nx_montage_position(dataset->names[at], dataset->positions + 3 * at);
  }
  if (!dataset->summary.n_channels)
    return nx_fail(err, NX_E_FORMAT, "no electrode is in every recording: use one montage");
  return 0;
}

/* Moves the common channels of a loaded recording to the front, in the set's order. */
static int take_recording(struct nx_dataset *dataset, size_t index, struct nx_loaded *loaded,
                          struct nx_error *err) {
  size_t n = loaded->n_samples, n_channels = dataset->summary.n_channels;
  float *x = reallocarray(NULL, n_channels * n, sizeof *x);
  float *scale = reallocarray(NULL, n_channels, sizeof *scale);
  dataset->owned_x[index] = x;
  dataset->owned_scale[index] = scale;
  if (!x || !scale)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  for (size_t c = 0; c < n_channels; c++) {
    size_t from = (size_t)find_channel(loaded, dataset->names[c]);
    memcpy(x + c * n, loaded->x + from * n, n * sizeof *x);
    scale[c] = loaded->scale[from];
  }
  struct nx_dataset_recording *recording = &dataset->recordings[index];
  recording->n_samples = n;
  recording->x = x;
  recording->scale = scale;
  dataset->summary.synthetic |= loaded->synthetic;
  nx_loaded_finish(loaded);
  return 0;
}

static void count(struct nx_dataset *dataset, const struct nx_plan *plan) {
  struct nx_dataset_summary *s = &dataset->summary;
  size_t window = (size_t)lround(plan->window.seconds * s->rate_hz);
  const char *last = "";
  for (size_t i = 0; i < s->n_recordings; i++) {
    const struct nx_dataset_recording *recording = &dataset->recordings[i];
    bool held_out = recording->split == NX_SPLIT_HELD_OUT;
    bool new_subject = strcmp(recording->subject, last) != 0;
    last = recording->subject;
    s->n_subjects += new_subject;
    s->n_held_out_subjects += new_subject && held_out;
    s->n_train_recordings += !held_out;
    s->n_held_out_recordings += held_out;
    *(held_out ? &s->n_held_out_windows : &s->n_train_windows) += recording->n_samples / window;
  }
}

static int assemble(struct job *job, struct nx_dataset *dataset, struct nx_error *err) {
  const struct nx_dataset_options *options = job->options;
  size_t n = job->files->n;
  for (size_t i = 0; i < n; i++)
    if (job->errors[i].code) {
      if (err)
        *err = job->errors[i];
      return job->errors[i].code;
    }
  dataset->recordings = calloc(n, sizeof *dataset->recordings);
  dataset->owned_x = calloc(n, sizeof *dataset->owned_x);
  dataset->owned_scale = calloc(n, sizeof *dataset->owned_scale);
  if (!dataset->recordings || !dataset->owned_x || !dataset->owned_scale)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  dataset->summary.n_recordings = n;
  dataset->summary.rate_hz = job->plan->preprocessing.rate_hz;
  dataset->summary.synthetic = job->files->synthetic;
  int r = common_channels(dataset, job->loaded, n, err);
  for (size_t i = 0; !r && i < n; i++) {
    const struct nx_subject_file *file = &job->files->files[i];
    struct nx_dataset_recording *recording = &dataset->recordings[i];
    memcpy(recording->subject, file->subject, sizeof recording->subject);
    memcpy(recording->file, file->file, sizeof recording->file);
    recording->label = file->label;
    recording->split = nx_subject_in(file->subject, options->held_out, options->n_held_out)
                           ? NX_SPLIT_HELD_OUT
                           : NX_SPLIT_TRAIN;
    r = take_recording(dataset, i, &job->loaded[i], err);
  }
  if (r < 0)
    return r;
  count(dataset, job->plan);
  if (dataset->summary.n_subjects < job->plan->data.minimum_subjects)
    return nx_fail(err, NX_E_DENIED, "%s has %zu subjects, the plan asks for %u", options->folder,
                   dataset->summary.n_subjects, job->plan->data.minimum_subjects);
  dataset->summary.manifest = manifest_of(job->hashes, n, job->plan, dataset->summary.n_subjects);
  return 0;
}

static int load_all(struct job *job, struct nx_dataset *dataset, struct nx_error *err) {
  size_t n = job->files->n;
  job->loaded = calloc(n, sizeof *job->loaded);
  job->hashes = calloc(n, sizeof *job->hashes);
  job->errors = calloc(n, sizeof *job->errors);
  int r = job->loaded && job->hashes && job->errors
              ? 0
              : nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  if (!r && job->options->pool)
    nx_pool_run(job->options->pool, n, load_one, job);
  else if (!r)
    for (size_t i = 0; i < n; i++)
      load_one(job, i, 0);
  if (!r)
    r = assemble(job, dataset, err);
  for (size_t i = 0; job->loaded && i < n; i++)
    nx_loaded_finish(&job->loaded[i]);
  free(job->loaded);
  free(job->hashes);
  free(job->errors);
  return r;
}

int nx_dataset_open(const struct nx_dataset_options *options, const struct nx_plan *plan,
                    struct nx_dataset **dataset_out, struct nx_error *err) {
  _cleanup_(nx_dataset_destroyp) struct nx_dataset *dataset = calloc(1, sizeof *dataset);
  _cleanup_(nx_subjects_finish) struct nx_subject_files files = {0};
  if (!dataset)
    return nx_fail(err, NX_E_NOMEM, "data set: out of memory");
  int r = nx_subjects_list(options, plan, &files, err);
  if (r < 0)
    return r;
  struct job job = {.options = options, .plan = plan, .files = &files};
  r = load_all(&job, dataset, err);
  if (r < 0)
    return r;
  *dataset_out = nx_steal(&dataset);
  return 0;
}

const struct nx_dataset_summary *nx_dataset_summary(const struct nx_dataset *dataset) {
  return &dataset->summary;
}

const struct nx_dataset_recording *nx_dataset_recording(const struct nx_dataset *dataset,
                                                        size_t index) {
  return index < dataset->summary.n_recordings ? &dataset->recordings[index] : NULL;
}

const float *nx_dataset_positions(const struct nx_dataset *dataset) {
  return dataset->positions;
}

const char *nx_dataset_channel(const struct nx_dataset *dataset, size_t index) {
  return index < dataset->summary.n_channels ? dataset->names[index] : NULL;
}

void nx_dataset_destroy(struct nx_dataset *dataset) {
  if (!dataset)
    return;
  for (size_t i = 0; i < dataset->summary.n_recordings; i++) {
    if (dataset->owned_x)
      free(dataset->owned_x[i]);
    if (dataset->owned_scale)
      free(dataset->owned_scale[i]);
  }
  free(dataset->owned_x);
  free(dataset->owned_scale);
  free(dataset->recordings);
  free(dataset->names);
  free(dataset->positions);
  free(dataset);
}
