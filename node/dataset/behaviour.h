/* Behaviour: one vocabulary of states for every species (configs/behaviour.yaml), so that a rat
 * that runs, a hand that reaches and a person who taps are the same class to a federation, and a
 * rat that sits, a hand at rest and a person at rest another.
 *
 *   words of a task ("rest", "finger-tapping") ─────────────► state
 *   position or velocity ─► smoothed speed ─► thresholds ───► runs of one state
 *
 * Read once, then const, for any number of threads. */
#pragma once

#include <stddef.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "crypto/hash.h"

#define NX_BEHAVIOUR_NONE (-1)

struct nx_behaviour;

/* NX_E_FORMAT names the file, the line and the key. */
int nx_behaviour_load(const char *path, struct nx_behaviour **behaviour_out, struct nx_error *err);
void nx_behaviour_destroy(struct nx_behaviour *behaviour); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_behaviour *, nx_behaviour_destroy)

/* Index of the state that this word (or state's name) is of, any case; NX_BEHAVIOUR_NONE. */
int nx_behaviour_state(const struct nx_behaviour *behaviour, const char *word);
const char *nx_behaviour_name(const struct nx_behaviour *behaviour, int state); /* "?" for none */
/* SHA-256 of the file: sites of one plan should have one vocabulary. */
struct nx_hash nx_behaviour_hash(const struct nx_behaviour *behaviour);

/* Speed of each sample, as for nx_behaviour_runs(), into speed_out[n]. */
int nx_behaviour_speed(const struct nx_behaviour *behaviour, const char *species, const char *unit,
                       double rate_hz, const float *x, size_t n_channels, size_t n,
                       double *speed_out, struct nx_error *err);

/* A stretch of one state, seconds from the first sample. */
struct nx_behaviour_run {
  double from_s, to_s;
  int state;
};

struct nx_behaviour_runs {
  size_t n;
  struct nx_behaviour_run *runs; /* in order; gaps are neither state */
};

/* x[n_channels][n] in `unit` at rate_hz: coordinates of one point, or its velocity, as the
 * vocabulary's entry for species and unit says. Speed is the norm over channels of the velocity,
 * averaged over the entry's smooth_s. NX_E_UNSUPPORTED: there is no such entry. */
int nx_behaviour_runs(const struct nx_behaviour *behaviour, const char *species, const char *unit,
                      double rate_hz, const float *x, size_t n_channels, size_t n,
                      struct nx_behaviour_runs *runs_out, struct nx_error *err);
void nx_behaviour_runs_finish(struct nx_behaviour_runs *runs); /* zeroed is fine */
