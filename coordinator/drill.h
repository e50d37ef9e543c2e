/* Drill: where a coordinator kills itself (SIGKILL) so that people and tests can see it go on.
 *
 *   kill-before-WHAT@N, kill-after-WHAT@N: the N-th WHAT from the start on becomes durable
 *
 * WHAT is attempt, invite, roster, shares, bundle, upload, commit, certificate, opened, result,
 * aborting or ended (records of a round), sealed (a round), or record (any of these). */
#pragma once

#include "coordinator/coordinator.h"

/* NX_E_INVALID with the words that would do. */
int nx_drill_parse(const char *text, struct nx_serve_options *options, struct nx_error *err);
