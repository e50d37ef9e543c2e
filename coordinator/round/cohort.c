#include "coordinator/round/cohort.h"

#include "common/size.h"
#include "crypto/threshold.h"

uint32_t nx_cohort_floor(uint32_t n_members, uint32_t minimum) {
  uint32_t two_thirds = (2 * n_members + 2) / 3;
  return NX_MAX(NX_MEMBERS_MIN, NX_MAX(minimum, two_thirds));
}

int nx_cohort_choose(const struct nx_cohort_candidate *candidates, size_t n, uint32_t minimum,
                     uint32_t ids_out[255], size_t *n_out, struct nx_error *err) {
  if (n > NX_MEMBERS_MAX)
    return nx_fail(err, NX_E_LIMIT,
                   "%zu members: secure aggregation here is a complete graph of at most %u", n,
                   NX_MEMBERS_MAX);
  uint32_t floor = nx_cohort_floor((uint32_t)n, minimum);
  size_t connected = 0, chosen = 0;
  for (size_t i = 0; i < n; i++) {
    connected += candidates[i].connected;
    chosen += candidates[i].connected && !candidates[i].excluded;
  }
  if (connected < floor)
    return nx_fail(err, NX_E_PEER, "%zu of %zu members are connected; a round needs %u", connected,
                   n, floor);
  bool all = chosen < floor;
  *n_out = 0;
  for (size_t i = 0; i < n; i++)
    if (candidates[i].connected && (all || !candidates[i].excluded))
      ids_out[(*n_out)++] = candidates[i].id;
  return 0;
}
