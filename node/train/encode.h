/* Encode: what a model says of every window of a data set, for the site's own eyes: embeddings,
 * or
 * what its head predicts. Nothing of it is for sending. Used by one thread. */
#pragma once

#include "common/pool.h"
#include "models/model.h"
#include "node/dataset/dataset.h"

enum nx_encode_what {
  NX_ENCODE_EMBEDDING,
  NX_ENCODE_PREDICTION /* a classifier's logit, or a regression's values */
};

/* One window, in the order of the values. */
struct nx_encoded_window {
  size_t recording;      /* nx_dataset_recording() */
  const char *tokeniser; /* that read it; "" for nano */
  size_t window;         /* its number in the recording (in the labelled stretch of it) */
  double start_s, seconds;
  bool held_out, unlabelled;
  uint8_t label;
};

struct nx_encoding {
  size_t n, columns;
  float *values; /* [n][columns]: columns is the model's width, 1, or patches * targets */
  float *targets; /* [n][columns] of a regression: what was recorded, standardised as values are; NaN
                   * where that is not known; else NULL */
  struct nx_encoded_window *windows;
};

/* Non-overlapping windows: first those of recordings that may train, then those held out; of iEEG
 * and LFP once with each tokeniser. progress(context, done, total) after every few windows; it and
 * pool may be NULL. NX_E_UNSUPPORTED: predictions of a model that has no head. */
int nx_encode_windows(const struct nx_model *model, const struct nx_dataset *dataset,
                      const struct nx_plan *plan, enum nx_encode_what what, struct nx_pool *pool,
                      void (*progress)(void *context, size_t done, size_t total), void *context,
                      struct nx_encoding *out, struct nx_error *err);
void nx_encoding_finish(struct nx_encoding *encoding); /* zeroed is fine */
