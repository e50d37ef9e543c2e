/* Signal: one recording as the general network reads it, whatever it was: channels of samples at
 * a tokeniser's rate. Preprocessing fills these; node/train/signal_batch.h cuts windows from
 * them. Recordings of a site may have different channels each (cells of a session, electrodes of
 * a person).
 *
 *   tokeniser        samples                                                positions
 *   eeg, ieeg(-fast) robust z of each channel, clamped                      electrodes, sensors
 *   spikes           counts a bin, not scaled                               none, as a rule
 *   calcium          robust z of a trace (quadratic) or events (poisson)    none, as a rule
 *   fmri             robust z of each voxel or parcel                       voxel centres
 *
 * Plain data: arrays belong to whoever made them; read-only for any number of threads. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/modality.h"
#include "common/plan.h"
#include "common/plan_prototypes.h"
#include "node/dataset/dataset.h"

#define NX_SIGNAL_STATS 8 /* = NX_MODEL_STATS of the models */

struct nx_signal {
  enum nx_modality modality;
  enum nx_species species;
  enum nx_signal_reference reference;
  size_t n_channels;
  size_t n_samples;       /* of each channel, at the tokeniser's rate */
  const float *x;         /* [n_channels][n_samples] */
  const float *positions; /* [n_channels][3], in units of 100 mm from the head's centre */
  const uint8_t *placed;  /* [n_channels]: 0 where there is no position */
  const float *stats;     /* [n_channels][NX_SIGNAL_STATS], by nx_signal_stats() */
  const float *targets;   /* [K][n_samples] of a regression; NaN: not known. NULL: none is */
  /* [n_samples]: which of the plan's prototypes.classes a sample is of, or NX_PROTOTYPE_NO_CLASS;
   * NULL: none is */
  const uint8_t *classes;
  enum nx_split split;
  uint8_t label;    /* 0 or 1; read by classification only */
  bool unlabelled;  /* there is none: label says nothing */
  size_t recording; /* which of the data set's, nx_signal_set_recording() */
  double from_s;    /* of the first sample in it: not 0 for a stretch that was cut out */
};

/* What a site has for one tokeniser. */
struct nx_signals {
  const struct nx_plan_tokeniser *tokeniser; /* the plan's */
  size_t n;
  const struct nx_signal *signals;
};

/* Statistics of one channel's samples x[n], of training samples only:
 *   0 log(variance + 1e-3)               4 log(kurtosis + 1), of variance 1
 *   1 log(max(mean, 0) + 1e-3)           5 skewness, within +-5
 *   2 correlation with the sample before 6 share of samples that are exactly 0
 *   3 log(variance of differences /      7 log(scale / the recording's median scale), within
 *     variance + 1e-3)                     +-5; 0 when scale is not positive
 * scale: what one unit of x was before scaling, in the recording's units. */
void nx_signal_stats(const float *x, size_t n, double scale, double median_scale,
                     float stats_out[NX_SIGNAL_STATS]);

/* NX_E_INVALID names what does not fit: no channels, fewer samples than a window of `patches`,
 * a modality that the tokeniser does not read, NaN, or negative or broken counts where the
 * tokeniser's loss is poisson. `where` names the recording in the error. */
int nx_signal_check(const struct nx_signal *signal, const struct nx_plan_tokeniser *tokeniser,
                    size_t patches, const char *where, struct nx_error *err);
