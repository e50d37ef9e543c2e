/* Quality: which channels of a recording are bad, and why, by the criteria of PREP
 * (Bigdely-Shamlo et al. 2015) without its random-sample one. Pure functions over float64
 * samples x[n_channels][n] that are already high-passed. */
#pragma once

#include <stddef.h>

#include "common/error.h"
#include "node/recordings/recording.h"

enum nx_bad_reason {
  NX_BAD_FLAT = 1 << 0,        /* no variation at all */
  NX_BAD_CLIPPED = 1 << 1,     /* more than 1 % of samples at one extreme value */
  NX_BAD_DEVIATION = 1 << 2,   /* robust z of its amplitude beyond 5 */
  NX_BAD_CORRELATION = 1 << 3, /* unlike every other channel in more than 1 % of seconds */
  NX_BAD_NOISE = 1 << 4,       /* robust z of its share above 50 Hz beyond 5 */
  NX_BAD_NOT_A_NUMBER = 1 << 5
};

struct nx_channel_quality {
  double amplitude;    /* 0.7413 * interquartile range */
  double deviation_z;  /* of the amplitude among channels */
  double correlation;  /* 98 % quantile of |r| with the others, whole recording */
  double uncorrelated; /* share of 1-s windows in which that quantile is below 0.4 */
  double noise_z;      /* of MAD above 50 Hz / MAD below; 0 when the rate is too low */
  double clipped;      /* share of samples at the extremes */
  unsigned reasons;    /* enum nx_bad_reason; 0: good */
};

/* numpy's linear quantile, 0 <= q <= 1; scratch holds n values and is overwritten. */
double nx_quantile(const double *x, size_t n, double q, double *scratch);

int nx_quality(const double *x, size_t n_channels, size_t n, double rate_hz,
               struct nx_channel_quality *quality_out, struct nx_error *err);
/* The same for an open recording: of its channels of the first brain signal's type and rate, up
 * to ten minutes from the start, high-passed at 0.5 Hz. picks_out and quality_out hold
 * NX_RECORDING_CHANNELS entries; *n_out: how many were judged, 0 when there are none. */
int nx_quality_of_recording(struct nx_recording *recording, uint32_t *picks_out,
                            struct nx_channel_quality *quality_out, size_t *n_out,
                            struct nx_error *err);
/* "flat", "clipped", …: one word for one bit. */
const char *nx_bad_reason_name(enum nx_bad_reason reason);
