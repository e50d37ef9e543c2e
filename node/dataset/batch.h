/* Batch: windows of a data set as a model reads them, and the sums from which a federation
 * computes its common feature means and SDs. One struct nx_batch belongs to one thread; its
 * buffers are reused from call to call. */
#pragma once

#include "common/rng.h"
#include "node/dataset/dataset.h"
#include "node/dataset/window_features.h"

/* Sizes of everything below, fixed by plan and montage. */
struct nx_batch_shape {
  size_t n_channels;      /* C */
  size_t n_patches;       /* S */
  size_t n_patch_samples; /* n */
  size_t n_bins;          /* F */
};

struct nx_batch {
  struct nx_batch_shape shape;
  size_t n_windows, capacity; /* B */
  float *patches;             /* [B][C][S][n] */
  float *spectra;             /* [B][C][S][F], not standardised */
  float *stats;               /* [B][C][NX_FEATURE_STATS], not standardised */
  uint8_t *labels;            /* [B] */
  uint32_t *recordings;       /* [B], index into the data set */
  uint32_t *windows;          /* [B], number of the window in its recording (grid only) */
  const float *positions;     /* [C][3], the data set's */
  struct nx_features *features;
};

/* Room for `capacity` windows. */
int nx_batch_init(struct nx_batch *batch, const struct nx_dataset *dataset,
                  const struct nx_plan *plan, size_t capacity, struct nx_error *err);
void nx_batch_finish(struct nx_batch *batch); /* zeroed is fine */

/* A training batch: with R training recordings and n_windows a multiple of R, each of them
 * n_windows / R times; otherwise recordings are drawn. Window starts are random. Every draw
 * comes from rng. NX_E_STATE when there is no training recording. */
int nx_batch_draw(struct nx_batch *batch, const struct nx_dataset *dataset, size_t n_windows,
                  struct nx_rng *rng, struct nx_error *err);

/* n_windows of these recordings alone, in turn; where one of them starts is drawn from rng.
 * All windows of one subject, for a mechanism whose unit is the subject. */
int nx_batch_draw_from(struct nx_batch *batch, const struct nx_dataset *dataset,
                       const uint32_t *recordings, size_t n_recordings, size_t n_windows,
                       struct nx_rng *rng, struct nx_error *err);

/* The split's non-overlapping windows are numbered recording by recording; fills the batch
 * with windows first .. first + n - 1 (n <= capacity; fewer at the end; n_windows says). */
int nx_batch_grid(struct nx_batch *batch, const struct nx_dataset *dataset, enum nx_split split,
                  size_t first, size_t n, struct nx_error *err);

/* Sums over the training grid: features are the F bins, then the 8 stats. */
struct nx_feature_sums {
  size_t n_bins;
  uint64_t n_spectra; /* observations of each bin: windows * channels * patches */
  uint64_t n_stats;   /* observations of each stat: windows * channels */
  double sum[NX_FEATURE_BINS_MAX + NX_FEATURE_STATS];
  double sum_squares[NX_FEATURE_BINS_MAX + NX_FEATURE_STATS];
};

int nx_feature_sums(const struct nx_dataset *dataset, const struct nx_plan *plan,
                    struct nx_feature_sums *sums_out, struct nx_error *err);
