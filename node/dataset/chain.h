/* Chain: the steps that every continuous signal goes through, as a plan says. */
#pragma once

#include "common/plan_pipelines.h"
#include "node/dataset/stream.h"

/* Most values of one recording held at once. */
#define NX_CHAIN_SAMPLES_CAP ((size_t)1 << 28)

/* Notch (quality 30), then Butterworth of order 4, as p says, into spec->stages. NX_E_INVALID: an
 * edge does not fit the rate. */
int nx_chain_stages(const struct nx_pipeline *p, double rate_hz, struct nx_stream_spec *spec,
                    struct nx_error *err);
