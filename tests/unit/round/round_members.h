/* Round members: a small federation for tests of the coordinator's state machine. Header only. */
#pragma once

#include "coordinator/round/round.h"

/* Members 1..n with the keys of identities[1..n]. */
static inline void fill_members(struct nx_identity *const *identities,
                                struct nx_round_member *members, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    members[i] = (struct nx_round_member){.id = i + 1,
                                          .name = "site",
                                          .key = *nx_identity_public(identities[i + 1]),
                                          .spki = nx_sha256(&i, sizeof i)};
}

/* A statistics round of all of them, the coordinator being identities[0]. */
static inline struct nx_round_config round_of_all(struct nx_identity *const *identities,
                                                  const struct nx_round_member *members,
                                                  const uint32_t *everybody, uint32_t n) {
  return (struct nx_round_config){.federation = {7},
                                  .identity = identities[0],
                                  .members = members,
                                  .n_members = n,
                                  .cohort = everybody,
                                  .n_cohort = n,
                                  .round = 3,
                                  .attempt = 1,
                                  .parameters = {.kind = 1, .n_aux = 6, .ring_bits = 32},
                                  .phase_seconds = 10,
                                  .training_seconds = 20};
}
