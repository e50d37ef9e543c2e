#include "node/dataset/batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"

static int allocate(struct nx_batch *batch, size_t capacity, struct nx_error *err) {
  const struct nx_batch_shape *shape = &batch->shape;
  size_t rows, patches, spectra;
  if (!nx_size_mul(capacity, shape->n_channels, &rows) ||
      !nx_size_mul(rows, shape->n_patches * shape->n_patch_samples, &patches) ||
      !nx_size_mul(rows, shape->n_patches * shape->n_bins, &spectra))
    return nx_fail(err, NX_E_LIMIT, "a batch of %zu windows is too large", capacity);
  batch->capacity = capacity;
  batch->patches = reallocarray(NULL, patches, sizeof *batch->patches);
  batch->spectra = reallocarray(NULL, spectra, sizeof *batch->spectra);
  batch->stats = reallocarray(NULL, rows, NX_FEATURE_STATS * sizeof *batch->stats);
  batch->labels = calloc(capacity, sizeof *batch->labels);
  batch->recordings = calloc(capacity, sizeof *batch->recordings);
  batch->windows = calloc(capacity, sizeof *batch->windows);
  if (!batch->patches || !batch->spectra || !batch->stats || !batch->labels || !batch->recordings ||
      !batch->windows)
    return nx_fail(err, NX_E_NOMEM, "a batch of %zu windows: out of memory", capacity);
  return 0;
}

int nx_batch_init(struct nx_batch *batch, const struct nx_dataset *dataset,
                  const struct nx_plan *plan, size_t capacity, struct nx_error *err) {
  double rate = plan->preprocessing.rate_hz;
  memset(batch, 0, sizeof *batch);
  if (plan->modalities)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "a plan of many modalities: its windows are the general network's alone");
  batch->shape.n_channels = nx_dataset_summary(dataset)->n_channels;
  batch->shape.n_patch_samples = (size_t)lround(plan->window.patch_seconds * rate);
  batch->shape.n_patches = (size_t)lround(plan->window.seconds / plan->window.patch_seconds);
  batch->positions = nx_dataset_positions(dataset);
  int r = nx_features_create(batch->shape.n_patch_samples, rate, &batch->features, err);
  if (!r) {
    batch->shape.n_bins = nx_features_bins(batch->features);
    r = allocate(batch, capacity, err);
  }
  if (r < 0)
    nx_batch_finish(batch);
  return r;
}

void nx_batch_finish(struct nx_batch *batch) {
  nx_features_destroy(batch->features);
  free(batch->patches);
  free(batch->spectra);
  free(batch->stats);
  free(batch->labels);
  free(batch->recordings);
  free(batch->windows);
  memset(batch, 0, sizeof *batch);
}

static size_t window_samples(const struct nx_batch *batch) {
  return batch->shape.n_patches * batch->shape.n_patch_samples;
}

/* Appends the window of recording `index` that starts at sample `start`. */
static void put(struct nx_batch *batch, const struct nx_dataset *dataset, size_t index,
                size_t start, size_t number) {
  const struct nx_batch_shape *shape = &batch->shape;
  const struct nx_dataset_recording *recording = nx_dataset_recording(dataset, index);
  size_t w = batch->n_windows++;
  for (size_t c = 0; c < shape->n_channels; c++) {
    size_t row = w * shape->n_channels + c;
    nx_features_channel(batch->features, recording->x + c * recording->n_samples + start,
                        shape->n_patches, recording->scale[c],
                        batch->patches + row * window_samples(batch),
                        batch->spectra + row * shape->n_patches * shape->n_bins,
                        batch->stats + row * NX_FEATURE_STATS);
  }
  batch->labels[w] = recording->label;
  batch->recordings[w] = (uint32_t)index;
  batch->windows[w] = (uint32_t)number;
}

/* Index of the k-th recording of a split. */
static size_t kth(const struct nx_dataset *dataset, enum nx_split split, size_t k) {
  size_t i = 0;
  for (;; i++)
    if (nx_dataset_recording(dataset, i)->split == split && k-- == 0)
      return i;
}

int nx_batch_draw(struct nx_batch *batch, const struct nx_dataset *dataset, size_t n_windows,
                  struct nx_rng *rng, struct nx_error *err) {
  size_t n = nx_dataset_summary(dataset)->n_train_recordings;
  if (n == 0)
    return nx_fail(err, NX_E_STATE, "no recording to train on: every subject is held out");
  if (n_windows > batch->capacity)
    return nx_fail(err, NX_E_INVALID, "a batch of %zu windows in room for %zu", n_windows,
                   batch->capacity);
  batch->n_windows = 0;
  bool each = n_windows % n == 0;
  for (size_t w = 0; w < n_windows; w++) {
    size_t k = each ? w % n : (size_t)nx_rng_below(rng, n);
    size_t index = kth(dataset, NX_SPLIT_TRAIN, k);
    size_t room = nx_dataset_recording(dataset, index)->n_samples - window_samples(batch);
    put(batch, dataset, index, (size_t)nx_rng_below(rng, room + 1), 0);
  }
  return 0;
}

int nx_batch_draw_from(struct nx_batch *batch, const struct nx_dataset *dataset,
                       const uint32_t *recordings, size_t n_recordings, size_t n_windows,
                       struct nx_rng *rng, struct nx_error *err) {
  if (n_recordings == 0)
    return nx_fail(err, NX_E_STATE, "no recording to draw windows from");
  if (n_windows > batch->capacity)
    return nx_fail(err, NX_E_INVALID, "a batch of %zu windows in room for %zu", n_windows,
                   batch->capacity);
  batch->n_windows = 0;
  for (size_t w = 0; w < n_windows; w++) {
    size_t index = recordings[w % n_recordings];
    size_t room = nx_dataset_recording(dataset, index)->n_samples - window_samples(batch);
    put(batch, dataset, index, (size_t)nx_rng_below(rng, room + 1), 0);
  }
  return 0;
}

int nx_batch_grid(struct nx_batch *batch, const struct nx_dataset *dataset, enum nx_split split,
                  size_t first, size_t n, struct nx_error *err) {
  if (n > batch->capacity)
    return nx_fail(err, NX_E_INVALID, "a batch of %zu windows in room for %zu", n, batch->capacity);
  batch->n_windows = 0;
  for (size_t i = 0; i < nx_dataset_summary(dataset)->n_recordings; i++) {
    const struct nx_dataset_recording *recording = nx_dataset_recording(dataset, i);
    size_t here = recording->n_samples / window_samples(batch);
    if (recording->split != split)
      continue;
    for (size_t w = NX_MIN(first, here); w < here && batch->n_windows < n; w++)
      put(batch, dataset, i, w * window_samples(batch), w);
    first -= NX_MIN(first, here);
  }
  return 0;
}

static void add_sums(const struct nx_batch *batch, struct nx_feature_sums *sums) {
  const struct nx_batch_shape *shape = &batch->shape;
  size_t rows = batch->n_windows * shape->n_channels;
  for (size_t i = 0; i < rows * shape->n_patches; i++)
    for (size_t k = 0; k < shape->n_bins; k++) {
      double v = batch->spectra[i * shape->n_bins + k];
      sums->sum[k] += v;
      sums->sum_squares[k] += v * v;
    }
  for (size_t i = 0; i < rows; i++)
    for (size_t k = 0; k < NX_FEATURE_STATS; k++) {
      double v = batch->stats[i * NX_FEATURE_STATS + k];
      sums->sum[shape->n_bins + k] += v;
      sums->sum_squares[shape->n_bins + k] += v * v;
    }
  sums->n_spectra += rows * shape->n_patches;
  sums->n_stats += rows;
}

int nx_feature_sums(const struct nx_dataset *dataset, const struct nx_plan *plan,
                    struct nx_feature_sums *sums_out, struct nx_error *err) {
  _cleanup_(nx_batch_finish) struct nx_batch batch = {0};
  memset(sums_out, 0, sizeof *sums_out);
  int r = nx_batch_init(&batch, dataset, plan, 16, err);
  sums_out->n_bins = batch.shape.n_bins;
  for (size_t first = 0; !r; first += batch.n_windows) {
    r = nx_batch_grid(&batch, dataset, NX_SPLIT_TRAIN, first, batch.capacity, err);
    if (r < 0 || batch.n_windows == 0)
      break;
    add_sums(&batch, sums_out);
  }
  return r;
}
