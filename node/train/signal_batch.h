/* Signal batch: windows of a site's signals as the general network reads them, recording by
 * recording. One belongs to one thread; buffers are reused from call to call. */
#pragma once

#include "common/rng.h"
#include "models/nets/general.h"
#include "node/dataset/signal.h"

struct nx_signal_batch {
  size_t n_groups;
  struct nx_general_input *groups; /* one for each recording that has windows in the batch */
  size_t *recordings;              /* [n_groups]: index into the signals */
  size_t *first_windows;           /* [n_groups]: grid only, number of the first in its recording */
  size_t n_windows;                /* in all groups */
  /* Private. */
  const struct nx_signals *signals;
  uint32_t tokeniser;
  size_t patches, inputs, groups_room;
  float *x;
  size_t x_room;
  uint8_t *labels, *classes;
  size_t labels_room; /* of both */
  size_t n_targets;
  float *targets; /* [n_windows][patches][n_targets] */
  size_t targets_room;
  float *transform; /* cosines and sines of the rFFT, [n / 2 + 1][2][n] */
  size_t *wanted;   /* [signals->n]: windows of each recording */
  size_t *starts;   /* of each window of a recording in turn */
  size_t starts_room;
};

/* tokeniser: the model's index of signals->tokeniser; NX_E_INVALID when the model has none, when
 * there is no signal or one does not fit (nx_signal_check()). signals must outlive the batch. */
int nx_signal_batch_init(struct nx_signal_batch *batch, const struct nx_signals *signals,
                         const struct nx_model_shape *shape, struct nx_error *err);
void nx_signal_batch_finish(struct nx_signal_batch *batch); /* zeroed is fine */

/* n windows from at most `recordings` training recordings (0: any number), each drawn in
 * proportion to its length; starts are random. NX_E_STATE without a training recording. */
int nx_signal_batch_draw(struct nx_signal_batch *batch, size_t n, size_t recordings,
                         struct nx_rng *rng, struct nx_error *err);

/* Non-overlapping windows of one split, recording after recording; those from number first on,
 * at most n. n_windows is 0 at the end. */
int nx_signal_batch_grid(struct nx_signal_batch *batch, enum nx_split split, size_t first, size_t n,
                         struct nx_error *err);

/* Of the same windows those that are of one class (three quarters of their samples), every
 * `stride`-th from the (offset mod stride)-th on: numbers first .. first + n - 1 of these, at most.
 */
struct nx_signal_thinning {
  size_t stride, offset;
};
int nx_signal_batch_classed(struct nx_signal_batch *batch, enum nx_split split,
                            const struct nx_signal_thinning *thinning, size_t first, size_t n,
                            struct nx_error *err);
/* How many there are in all. */
size_t nx_signals_classed(const struct nx_signals *signals, enum nx_split split, size_t patches);

/* How many windows the grid of a split has. */
size_t nx_signals_windows(const struct nx_signals *signals, enum nx_split split, size_t patches);
