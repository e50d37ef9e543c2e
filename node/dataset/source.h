/* Source: the channels of a recording that are used, read piece by piece in one unit, bad ones left
 * out or made of the others, through the plan's chain (chain.h), in memory that does not depend on
 * the recording's length. */
#pragma once

#include "common/plan.h"
#include "common/plan_pipelines.h"
#include "node/recordings/recording.h"

struct nx_source {
  struct nx_recording *recording;
  size_t n, n_samples; /* channels, and samples of each */
  double rate_hz;
  uint32_t *picks; /* [n] which channels of the recording, */
  double *unit;    /* [n] and what their samples are multiplied by */
  size_t n_from, n_to;
  size_t *from, *to; /* rows that bad ones are made from, and these */
  double *weights;   /* [n_to][n_from] */
  float *kept;       /* [n][n_samples] as recorded, of a short recording; or NULL */
};

/* Room for so many channels. */
int nx_source_init(struct nx_source *source, struct nx_recording *recording, size_t channels,
                   struct nx_error *err);
void nx_source_finish(struct nx_source *source); /* zeroed is fine */
/* Leaves row c out; the others keep their order. */
void nx_source_drop(struct nx_source *source, size_t c);

/* Bad channels leave, or, when the plan says interpolate and place(context, row, out) knows where
 * the row was on the unit sphere, are made of the good ones that have a place; bad ones without a
 * place leave. place NULL: none has one. n_left_out (may be NULL) counts those that left.
 * cleaning may be NULL. NX_E_FORMAT: too many are bad. */
int nx_source_clean(struct nx_source *source, const struct nx_plan_cleaning *cleaning,
                    bool (*place)(const void *context, size_t row, float out[3]),
                    const void *context, size_t *n_left_out, struct nx_error *err);
/* Leaves out channels that never change or hold what is no number (those that are made of others
 * aside); returns how many, or an error. */
int nx_source_drop_flat(struct nx_source *source, struct nx_error *err);
/* Samples at to_hz: *y_out [n][*n_out], the caller frees. NX_E_FORMAT: a value that is no number,
 * with its place; NX_E_LIMIT: too long. */
int nx_source_stream(const struct nx_source *source, const struct nx_pipeline *pipeline,
                     double to_hz, double **y_out, size_t *n_out, struct nx_error *err);
