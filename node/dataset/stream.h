/* Stream: reference, zero-phase filters and resampling of a recording of any length, block by
 * block, in bounded memory. The same results as over the whole recording at once
 * (preprocess.h names scipy's functions): a filter's way forward carries its state from block to
 * block; its way back begins so far behind a block that what it began with has died away to
 * 1e-13 (at a high-pass of 0.5 Hz about 25 s), or at the recording's true end.
 *
 * Memory: float64, and for each channel and filter the look-ahead (13 periods of the high-pass's
 * corner, 8 s for a notch at 50 Hz) and up to four times as much again. */
#pragma once

#include "common/cleanup.h"
#include "node/dataset/preprocess.h"

#define NX_STREAM_STAGES 4

struct nx_stream_spec {
  size_t n_channels;
  size_t
      n_samples; /* of the whole recording, so that no more room than that is taken; 0: not known */
  bool average;  /* subtract the mean over channels first */
  size_t n_stages;
  struct nx_sos stages[NX_STREAM_STAGES]; /* one after the other, each forward and backward */
  size_t up, down;                        /* resampling, see nx_resample_ratio(); 1/1: none */
};

struct nx_stream;

/* NX_E_LIMIT: it would take more memory than 2 GiB, NX_E_NOMEM. */
int nx_stream_new(const struct nx_stream_spec *spec, struct nx_stream **stream_out,
                  struct nx_error *err);
/* The next n samples of every channel: channel c's are at x[c * stride]. last: there are no more.
 * What came out: (*y_out)[n_channels][*m_out], *m_out maybe 0, valid until the next call.
 * NX_E_INVALID: the whole recording is shorter than a filter's padding, with the length needed. */
int nx_stream_push(struct nx_stream *stream, const double *x, size_t stride, size_t n, bool last,
                   const double **y_out, size_t *m_out, struct nx_error *err);
void nx_stream_destroy(struct nx_stream *stream);
NX_DEFINE_CLEANUP(struct nx_stream *, nx_stream_destroy)
