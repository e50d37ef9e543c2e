#include "crypto/threshold.h"

#include "common/size.h"

uint32_t nx_threshold_corrupt(uint32_t n) {
  return n < NX_MEMBERS_MIN || n > NX_MEMBERS_MAX ? 0 : (n - 1) / 3;
}

uint32_t nx_threshold_quorum(uint32_t n) {
  if (n < NX_MEMBERS_MIN || n > NX_MEMBERS_MAX)
    return 0;
  return NX_MAX(3u, (n + nx_threshold_corrupt(n)) / 2 + 1);
}

uint32_t nx_threshold_catch_up(uint32_t n) {
  return n < NX_MEMBERS_MIN || n > NX_MEMBERS_MAX ? 0 : nx_threshold_corrupt(n) + 1;
}

int nx_threshold_check_cohort(uint32_t n_members, uint32_t n_cohort, uint32_t policy_minimum,
                              struct nx_error *err) {
  if (n_cohort > NX_MEMBERS_MAX || n_members > NX_MEMBERS_MAX)
    return nx_fail(err, NX_E_LIMIT,
                   "%u members: secure aggregation here is a complete graph of at most %u; make "
                   "several federations",
                   NX_MAX(n_cohort, n_members), NX_MEMBERS_MAX);
  if (n_cohort > n_members)
    return nx_fail(err, NX_E_DENIED, "a cohort of %u is larger than the federation (%u members)",
                   n_cohort, n_members);
  uint32_t two_thirds = (2 * n_members + 2) / 3;
  uint32_t least = NX_MAX(NX_MEMBERS_MIN, NX_MAX(policy_minimum, two_thirds));
  if (n_cohort < least)
    return nx_fail(err, NX_E_DENIED,
                   "a cohort of %u of %u members is too small: this node takes part with %u or "
                   "more (policy %u, two thirds of the members %u, never below %u)",
                   n_cohort, n_members, least, policy_minimum, two_thirds, NX_MEMBERS_MIN);
  return 0;
}
