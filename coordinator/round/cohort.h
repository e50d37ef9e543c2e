/* Cohort: who is invited to a round. Nodes check the floor themselves; here it is kept so
 * that no round is begun that they would refuse. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct nx_cohort_candidate {
  uint32_t id; /* sorted, strictly ascending */
  bool connected;
  bool excluded; /* revoked, or accused in the attempt before */
};

/* Writes the ids of all connected candidates that are not excluded, ascending; when that
 * would fall below the floor, connected accused ones are taken back in rather than give up.
 * 0, or NX_E_PEER: too few are here (the text says who is missing for how many); NX_E_LIMIT
 * above 255 members. floor = max(minimum, two thirds of n, 3). */
int nx_cohort_choose(const struct nx_cohort_candidate *candidates, size_t n, uint32_t minimum,
                     uint32_t ids_out[255], size_t *n_out, struct nx_error *err);
uint32_t nx_cohort_floor(uint32_t n_members, uint32_t minimum);
