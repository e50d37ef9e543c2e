/* Threshold: how many of N members are assumed corrupt, must vote, must vouch.
 *
 *   n_C = floor((N-1)/3)   corrupt members tolerated
 *   t   = max(3, floor((N+n_C)/2)+1)   so 2t > N + n_C: two quorums share an honest member
 *   N    3  4  6  7 10 20 100
 *   t    3  3  4  5  7 14  67
 */
#pragma once

#include <stdint.h>

#include "common/error.h"

#define NX_MEMBERS_MIN 3u
#define NX_MEMBERS_MAX 255u
#define NX_SUM_MIN 3u /* a sum over fewer is never opened */

/* n in 3..255; 0 for any other n. */
uint32_t nx_threshold_corrupt(uint32_t n);  /* n_C */
uint32_t nx_threshold_quorum(uint32_t n);   /* t: votes, shares, manifest signatures */
uint32_t nx_threshold_catch_up(uint32_t n); /* n_C + 1: M11 signatures that vouch for a model */

/* A node's rule for U0: within 3..255 and at least max(policy minimum, two thirds of the
 * members). NX_E_DENIED (or NX_E_LIMIT above 255) with an explanation. */
int nx_threshold_check_cohort(uint32_t n_members, uint32_t n_cohort, uint32_t policy_minimum,
                              struct nx_error *err);
