/* Load: one recording from its file to robust units, as the plan's preprocessing says. */
#pragma once

#include "node/dataset/dataset.h"

#define NX_MONTAGE_CHANNELS 128

struct nx_loaded {
  size_t n_channels, n_samples;
  char names[NX_MONTAGE_CHANNELS][16]; /* cleaned, in the file's order, each electrode once */
  float *x;                            /* [n_channels][n_samples] */
  float *scale;                        /* [n_channels] micro-volts */
  bool synthetic;
};

/* reader: of the sandbox, or NULL. channels: a BIDS channels.tsv that says which of the channels
 * are EEG, or NULL. */
int nx_load_recording(const char *path, const char *reader, const char *channels,
                      const struct nx_plan *plan, struct nx_loaded *loaded_out,
                      struct nx_error *err);
void nx_loaded_finish(struct nx_loaded *loaded);
