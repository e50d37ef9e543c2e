/* Load: one recording from its file to robust units, as the plan's preprocessing says. */
#pragma once

#include "common/plan_pipelines.h"
#include "common/plan_requires.h"
#include "node/dataset/beside.h"
#include "node/dataset/dataset.h"
#include "node/recordings/recording.h"

#define NX_MONTAGE_CHANNELS 128

struct nx_loaded {
  size_t n_channels, n_samples;
  char names[NX_MONTAGE_CHANNELS][16]; /* cleaned, in the file's order, each electrode once */
  float *x;                            /* [n_channels][n_samples] */
  float *scale;                        /* [n_channels] micro-volts */
  size_t n_windows, n_bad_windows;     /* the plan's, from the first sample on, … */
  bool *bad_window; /* … [n_windows] artefacts; NULL: not looked for */
  bool synthetic;
  struct nx_beside beside; /* files that belong to it */
};

struct nx_electrodes;

struct nx_load_options {
  const char *reader;   /* of the sandbox, or NULL */
  const char *channels; /* a BIDS channels.tsv that says which of the channels are EEG, or NULL */
  const struct nx_electrodes *electrodes; /* where they were (many modalities), or NULL */
  bool allow_identity;  /* read on although the header may say who it is */
};

/* NX_E_DENIED: a header field looks like a name, a birth date or a hospital number. */
int nx_load_recording(const char *path, const struct nx_load_options *options,
                      const struct nx_plan *plan, struct nx_loaded *loaded_out,
                      struct nx_error *err);
/* NX_E_DENIED, with the mend: the header may say who it is. */
int nx_load_check_identity(const struct nx_recording_info *info, struct nx_error *err);
/* What a recording's header alone says of it, for this plan (fit.h). */
struct nx_look {
  enum nx_requirement unmet; /* when it does not fit: which demand is not met, and err says why */
  double rate_hz;
  size_t n_channels;
  char (*names)[NX_CHANNEL_NAME_SIZE]; /* [n_channels] that would be used */
  bool has_behaviour;                  /* position or velocity are recorded with it */
};
/* Errors as nx_load_recording(), by what the header shows. */
int nx_load_look(const char *path, const struct nx_load_options *options,
                 const struct nx_plan *plan, struct nx_look *look_out, struct nx_error *err);
/* The pipeline's filters (NULL: none) work at this rate, and it is what the plan requires; else
 * NX_E_DENIED. */
int nx_look_rate(const struct nx_plan *plan, const struct nx_pipeline *pipeline, struct nx_look *look,
                 struct nx_error *err);
void nx_look_finish(struct nx_look *look);
void nx_loaded_finish(struct nx_loaded *loaded);
