/* Chain: the steps that every continuous signal goes through, as a plan's preprocessing says. */
#pragma once

#include "common/plan.h"
#include "node/dataset/stream.h"

/* Most values of one recording held at once. */
#define NX_CHAIN_SAMPLES_CAP ((size_t)1 << 28)

/* Notch (quality 30), then Butterworth of order 4, as p says, into spec->stages. NX_E_INVALID: an
 * edge does not fit the rate. */
int nx_chain_stages(const struct nx_plan_preprocessing *p, double rate_hz,
                    struct nx_stream_spec *spec, struct nx_error *err);
/* The same, zero-phase, in place: x[n_channels][n]. */
int nx_chain_filter(const struct nx_plan_preprocessing *p, double rate_hz, double *x,
                    size_t n_channels, size_t n, struct nx_error *err);
/* [n_channels][n] at rate_hz → *x_out [n_channels][*n_out] at to_hz; the caller frees. */
int nx_chain_resample(double rate_hz, double to_hz, const double *x, size_t n_channels, size_t n,
                      double **x_out, size_t *n_out, struct nx_error *err);
