#include "crypto/dp_noise.h"

#include <assert.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "crypto/gaussian_cdt.h"
#include "crypto/skellam_cdt.h"
#include "crypto/threshold.h"

#define BLOCK 4096
#define ROUNDINGS_MAX 200 /* each fails with probability beta at most */

struct nx_noise {
  struct nx_noise_table table;
  double variance; /* of one look-up */
  uint32_t draws;
};

int nx_noise_create_skellam(double mu, struct nx_noise **noise_out, struct nx_error *err) {
  if (!(mu >= NX_SKELLAM_TABLE_MU_MIN && mu <= NX_NOISE_VARIANCE_MAX))
    return nx_fail(
        err, NX_E_INVALID,
        "noise of variance %g grid steps: between %g and %g can be drawn; choose another "
        "scale",
        mu, NX_SKELLAM_TABLE_MU_MIN, NX_NOISE_VARIANCE_MAX);
  _cleanup_(nx_noise_destroyp) struct nx_noise *noise = calloc(1, sizeof *noise);
  if (!noise)
    return nx_fail(err, NX_E_NOMEM, "no memory for a noise sampler");
  noise->draws = (uint32_t)ceil(mu / NX_SKELLAM_TABLE_MU_MAX);
  noise->variance = mu / noise->draws;
  int r = nx_skellam_table(noise->variance, &noise->table, err);
  if (r)
    return r;
  assert((double)noise->table.n * noise->draws <= INT32_MAX);
  *noise_out = nx_steal(&noise);
  return 0;
}

int nx_noise_create_gaussian(struct nx_noise **noise_out, struct nx_error *err) {
  _cleanup_(nx_noise_destroyp) struct nx_noise *noise = calloc(1, sizeof *noise);
  if (!noise)
    return nx_fail(err, NX_E_NOMEM, "no memory for a noise sampler");
  noise->draws = 1;
  noise->variance = NX_GAUSSIAN_DEVIATION * NX_GAUSSIAN_DEVIATION + 1.0 / 12;
  int r = nx_gaussian_table(&noise->table, err);
  if (r)
    return r;
  *noise_out = nx_steal(&noise);
  return 0;
}

void nx_noise_destroy(struct nx_noise *noise) {
  if (!noise)
    return;
  nx_noise_table_finish(&noise->table);
  free(noise);
}

struct nx_noise_info nx_noise_info(const struct nx_noise *noise) {
  return (struct nx_noise_info){
      .variance = noise->variance * noise->draws,
      .table_bytes = noise->table.n * sizeof *noise->table.tail,
      .draws = noise->draws,
      .magnitude_max = (int32_t)noise->table.n * (int32_t)noise->draws,
  };
}

int nx_noise_share(double noise_multiplier, double scale, double clip_norm, uint32_t n_members,
                   double *mu_out, struct nx_error *err) {
  uint32_t quorum = nx_threshold_quorum(n_members), corrupt = nx_threshold_corrupt(n_members);
  if (quorum == 0)
    return nx_fail(err, NX_E_INVALID, "noise shares for %u members: %u to %u can be", n_members,
                   NX_MEMBERS_MIN, NX_MEMBERS_MAX);
  double deviation = noise_multiplier * scale * clip_norm;
  if (!(noise_multiplier > 0 && scale > 0 && clip_norm > 0 && isfinite(deviation)))
    return nx_fail(
        err, NX_E_INVALID,
        "noise multiplier %g, scale %g, clip norm %g: each must be a finite number above "
        "0",
        noise_multiplier, scale, clip_norm);
  *mu_out = deviation * deviation / (quorum - corrupt);
  return 0;
}

double nx_noise_margin(double share_variance, uint32_t n_members) {
  return 8 * sqrt(share_variance * n_members);
}

static int draw_block(const struct nx_noise *noise, const struct nx_entropy *entropy,
                      int32_t out[BLOCK], size_t n, struct nx_error *err) {
  int r = nx_noise_table_sample(&noise->table, entropy, out, n, err);
  if (r || noise->draws == 1)
    return r;
  int32_t more[BLOCK];
  for (uint32_t draw = 1; draw < noise->draws && !r; draw++) {
    r = nx_noise_table_sample(&noise->table, entropy, more, n, err);
    for (size_t i = 0; i < n; i++)
      out[i] += more[i];
  }
  sodium_memzero(more, sizeof more);
  return r;
}

int nx_noise_draw(const struct nx_noise *noise, const struct nx_entropy *entropy, int32_t *out,
                  size_t n, struct nx_error *err) {
  for (size_t done = 0; done < n; done += BLOCK) {
    int r = draw_block(noise, entropy, out + done, NX_MIN(n - done, (size_t)BLOCK), err);
    if (r) {
      sodium_memzero(out, n * sizeof *out);
      return r;
    }
  }
  return 0;
}

int nx_noise_add_lanes(const struct nx_noise *noise, const struct nx_entropy *entropy,
                       uint32_t *lanes, size_t n, uint32_t ring_bits, struct nx_error *err) {
  int32_t samples[BLOCK];
  uint32_t ring = ring_bits < 32 ? (1u << ring_bits) - 1 : UINT32_MAX;
  int r = 0;
  for (size_t done = 0; done < n && !r; done += BLOCK) {
    size_t now = NX_MIN(n - done, (size_t)BLOCK);
    r = draw_block(noise, entropy, samples, now, err);
    for (size_t i = 0; i < now && !r; i++)
      lanes[done + i] = (lanes[done + i] + (uint32_t)samples[i]) & ring;
  }
  sodium_memzero(samples, sizeof samples);
  if (r)
    sodium_memzero(lanes, n * sizeof *lanes);
  return r;
}

int nx_noise_add_sums(const struct nx_noise *noise, const struct nx_entropy *entropy, int64_t *sums,
                      size_t n, struct nx_error *err) {
  int32_t samples[BLOCK];
  int r = 0;
  for (size_t done = 0; done < n && !r; done += BLOCK) {
    size_t now = NX_MIN(n - done, (size_t)BLOCK);
    r = draw_block(noise, entropy, samples, now, err);
    for (size_t i = 0; i < now && !r; i++)
      sums[done + i] += samples[i];
  }
  sodium_memzero(samples, sizeof samples);
  if (r)
    sodium_memzero(sums, n * sizeof *sums);
  return r;
}

static int check_rounding(const struct nx_dp_rounding *rounding, struct nx_error *err) {
  const double settings[] = {rounding->clip_norm, rounding->scale, rounding->bound};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(settings); i++)
    if (!(settings[i] > 0 && settings[i] < INFINITY))
      return nx_fail(err, NX_E_INVALID,
                     "rounding with clip norm %g, scale %g, bound %g: each must be a finite number "
                     "above 0",
                     settings[0], settings[1], settings[2]);
  if (rounding->clip_norm * rounding->scale >= 0x1p30)
    return nx_fail(err, NX_E_INVALID,
                   "rounding: clip norm %g times scale %g does not fit whole numbers of 31 bits",
                   settings[0], settings[1]);
  return 0;
}

/* What every value is multiplied by: clipping and scale in one. */
static int grid_factor(const struct nx_dp_rounding *rounding, const float *values, size_t n,
                       double *factor_out, struct nx_error *err) {
  double square = 0;
  for (size_t i = 0; i < n; i++) {
    if (!isfinite(values[i]))
      return nx_fail(err, NX_E_INVALID, "value %zu is not a finite number", i);
    square += (double)values[i] * values[i];
  }
  double norm = sqrt(square);
  *factor_out = rounding->scale * (norm > rounding->clip_norm ? rounding->clip_norm / norm : 1);
  return 0;
}

/* Rounds once; returns whether the result is short enough. The sum of squares is exact. */
static bool round_once(const float *values, size_t n, double factor, double bound,
                       struct nx_rng *rng, int32_t *out) {
  nx_u128 square = 0;
  for (size_t i = 0; i < n; i++) {
    double x = values[i] * factor, below = floor(x);
    int64_t whole = (int64_t)below + (nx_rng_uniform(rng) < x - below);
    square += (uint64_t)(whole * whole);
    out[i] = (int32_t)whole;
  }
  return (double)(uint64_t)(square >> 64) * 0x1p64 + (double)(uint64_t)square <=
         bound * bound * (1 - 0x1p-50);
}

int nx_dp_round(const struct nx_dp_rounding *rounding, const float *values, size_t n,
                struct nx_rng *rng, int32_t *out, struct nx_error *err) {
  double factor = 0;
  int r = check_rounding(rounding, err);
  if (!r)
    r = grid_factor(rounding, values, n, &factor, err);
  if (r)
    return r;
  for (int attempt = 0; attempt < ROUNDINGS_MAX; attempt++)
    if (round_once(values, n, factor, rounding->bound, rng, out))
      return 0;
  sodium_memzero(out, n * sizeof *out);
  return nx_fail(err, NX_E_LIMIT,
                 "no rounding of %zu values in %d was within the bound of %g grid steps: it is too "
                 "low for clip norm %g and scale %g",
                 n, ROUNDINGS_MAX, rounding->bound, rounding->clip_norm, rounding->scale);
}
