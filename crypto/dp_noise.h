/* Differential privacy noise: from clipped vectors to whole numbers to noisy whole numbers.
 *
 *     unit's vector --clip C--> * s --round until norm <= bound--> whole numbers --+
 *     unit's vector --clip C--> * s --round until norm <= bound--> whole numbers --+--> sum
 *                                                                                  |
 *                                          Skellam share or Gaussian, whole numbers + --> out
 *
 * Rounding comes once for every unit and before the sum: a sum that is rounded once would
 * make one unit's influence depend on the others. s and the bound are those of
 * crypto/privacy_mechanism.h. Never a float is noised.
 *
 * Noise takes its bits from the system (nx_entropy_system), never from a plan's seed: who
 * knows the noise subtracts it. Rounding may be seeded. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/rng.h"

struct nx_noise; /* opaque: constant after creation, for any number of threads */

#define NX_NOISE_VARIANCE_MAX 4e13 /* Skellam, of one share: no sum of draws leaves an int32_t */

/* Skellam of variance mu in [1, NX_NOISE_VARIANCE_MAX]; NX_E_INVALID otherwise. Closed under
 * sums: shares of variance mu_1 … mu_n add up to exactly one Skellam of their sum, and above
 * what a 64 MiB table can hold a sample is the sum of several. Takes 16 bytes and 16 steps
 * for every unit of sqrt(mu): 64 MiB and about a second at most. */
int nx_noise_create_skellam(double mu, struct nx_noise **noise_out, struct nx_error *err);
/* Real Gaussian of standard deviation NX_GAUSSIAN_DEVIATION grid steps, rounded: 3.5 MB. */
int nx_noise_create_gaussian(struct nx_noise **noise_out, struct nx_error *err);
void nx_noise_destroy(struct nx_noise *noise); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_noise *, nx_noise_destroy)

/* What a share costs to hold and to draw, for logs and benches. */
struct nx_noise_info {
  double variance;       /* of one sample */
  size_t table_bytes;    /* memory */
  uint32_t draws;        /* table look-ups a sample */
  int32_t magnitude_max; /* no sample is larger */
};
struct nx_noise_info nx_noise_info(const struct nx_noise *noise);

/* The variance of one node's share when the plan asks for (z s C)^2 and any survivors may
 * be left: with fewer than t - n_C honest contributors no sum is opened, so
 *     mu_u = (z s C)^2 / (t - n_C),   t and n_C those of n_members (crypto/threshold.h).
 * NX_E_INVALID when n_members is not 3..255 or z, s, C are not finite numbers above 0. */
int nx_noise_share(double noise_multiplier, double scale, double clip_norm, uint32_t n_members,
                   double *mu_out, struct nx_error *err);
/* 8 standard deviations of what n_members shares add up to: nx_quantize_check()'s margin. */
double nx_noise_margin(double share_variance, uint32_t n_members);

/* out: n samples. When entropy fails, zeros. */
int nx_noise_draw(const struct nx_noise *noise, const struct nx_entropy *entropy, int32_t *out,
                  size_t n, struct nx_error *err);
/* Adds one sample to each of n lanes mod 2^ring_bits (2..32). When entropy fails every lane
 * is zeroed: nothing without noise is left to be sent by mistake. */
int nx_noise_add_lanes(const struct nx_noise *noise, const struct nx_entropy *entropy,
                       uint32_t *lanes, size_t n, uint32_t ring_bits, struct nx_error *err);
/* The same for a sum that stays on this node. */
int nx_noise_add_sums(const struct nx_noise *noise, const struct nx_entropy *entropy, int64_t *sums,
                      size_t n, struct nx_error *err);

struct nx_dp_rounding {
  double clip_norm; /* C: a longer vector is scaled to it first */
  double scale;     /* s: grid steps per 1.0 */
  double bound;     /* L2, in grid steps; nx_privacy_mechanism_bound() */
};

/* One unit's vector as whole numbers whose exact L2 norm is at most the bound. Each is
 * rounded up or down at random with the right mean; a rounding that is too long is drawn
 * again. NX_E_INVALID: a value is not finite, a setting is out of range, or a coordinate
 * would not fit; nothing is written then. NX_E_LIMIT: no rounding was short enough, the
 * bound is below what C and s allow. */
int nx_dp_round(const struct nx_dp_rounding *rounding, const float *values, size_t n,
                struct nx_rng *rng, int32_t *out, struct nx_error *err);
