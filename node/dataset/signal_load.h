/* Signal load: one recording as the general network's tokenisers read it (node/dataset/signal.h),
 * at each tokeniser's rate. What is done, by modality:
 *
 *   EEG, iEEG, LFP   micro-volts, the plan's pipeline for it (reference, notch and filters, float64,
 *   MEG              zero phase), polyphase resampling, robust z of every channel, clamped. MEG in
 *                    units of its own: its channels differ in kind
 *   spikes           counts in the tokeniser's bins, exact sums of the recorded ones; a rate in Hz
 *                    is made a count first. As they are for a Poisson loss, else / SD
 *   calcium          events: sums as for spikes, / SD; traces (unit dF/F or none): bin means, z
 *   fMRI             filtered when the plan has a pipeline for it, resampled when the repetition time
 *                    differs, robust z of every voxel
 *
 * Channels: those of the modality's type; in files that do not know it (EDF, MAT without a
 * sidecar) all that are no ECG, EOG, EMG, trigger or behaviour. Channels that never change or hold
 * what is no number are left out and counted.
 */
#pragma once

#include "node/dataset/load.h"
#include "node/dataset/signal.h"
#include "node/recordings/recording.h"

#define NX_SIGNAL_BEHAVIOUR 16 /* most channels of behaviour that are read */

/* At one tokeniser's rate. */
struct nx_loaded_stream {
  uint32_t tokeniser; /* index into the plan's */
  double rate_hz;
  size_t n_samples;
  float *x;     /* [n_channels][n_samples] */
  float *stats; /* [n_channels][NX_SIGNAL_STATS], of nx_signal_stats() */
  size_t n_windows; /* from the first sample on … */
  bool *bad_window; /* … [n_windows] artefacts; NULL: not looked for */
};

struct nx_loaded_signal {
  size_t n_channels, n_left_out;
  size_t n_streams; /* 1, or 2 for iEEG and LFP */
  struct nx_loaded_stream streams[2];
  float *positions; /* [n_channels][3], 100 mm, from the head's centre or the recording's */
  uint8_t *placed;  /* [n_channels] 0: no position */
  double origin_s;  /* nx_recording_info */
  size_t n_behaviour;
  double behaviour_hz;
  char behaviour_unit[NX_CHANNEL_UNIT_SIZE];
  char behaviour_names[NX_SIGNAL_BEHAVIOUR][NX_CHANNEL_NAME_SIZE];
  size_t n_behaviour_samples;
  float *behaviour; /* [n_behaviour][n_behaviour_samples], as recorded */
  bool synthetic;
  struct nx_beside beside; /* files that belong to it */
};

/* path may name a part ("sessions.mat#3"). options: load.h; channels.tsv decides what a channel is and
 * leaves out those that are bad, electrodes say where they were. NX_E_DENIED: the header may say who
 * it is. NX_E_UNSUPPORTED: the plan has no
 * tokeniser for the modality; NX_E_FORMAT names the file, what is wrong and the mend.
 */
int nx_signal_load(const char *path, const struct nx_load_options *options,
                   const struct nx_plan *plan, enum nx_modality modality,
                   struct nx_loaded_signal *signal_out, struct nx_error *err);
/* What its header alone says (load.h). Errors as nx_signal_load(), by what the header shows. */
int nx_signal_look(const char *path, const struct nx_load_options *options,
                   const struct nx_plan *plan, enum nx_modality modality, struct nx_look *look_out,
                   struct nx_error *err);
/* Only the channels of behaviour of any recording, such as a camera's tracking. */
int nx_signal_load_behaviour(const char *path, const char *reader,
                             struct nx_loaded_signal *signal_out, struct nx_error *err);
void nx_loaded_signal_finish(struct nx_loaded_signal *signal); /* zeroed is fine */
