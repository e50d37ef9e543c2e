/* Plan numbers: what a plan says about the numbers of its rounds, read once for both ends.
 * A coordinator announces them, a node compares them with its own, the transcript binds
 * them: there is no second place that turns a plan into widths, grids and mechanisms.
 *
 *   rounds of a plan under a mechanism
 *     statistics   nothing of the data: the model gets the plan's feature_mean and feature_sd
 *     train        contributors and weights that are constants, and the noisy update
 *     evaluate     constants only: scores stay at home
 *
 * Pure; any thread. */
#pragma once

#include "common/plan.h"
#include "common/plan_aux.h"
#include "crypto/hash.h"
#include "crypto/privacy_mechanism.h"
#include "crypto/quantize.h"
#include "crypto/transcript.h"

/* How updates become lanes. model: what the round starts from; seeds the rotation, so that
 * it differs from round to round and every member knows it from M0. NULL where only sizes
 * matter. NX_E_*: what HKDF said. */
int nx_plan_quantize(const struct nx_plan *plan, const struct nx_hash *model,
                     struct nx_quantize *quantize_out, struct nx_error *err);

/* The mechanism as the accountant knows it, for a model of n_params values; NX_E_STATE for a
 * plan without one. */
int nx_plan_mechanism(const struct nx_plan *plan, uint64_t n_params,
                      struct nx_privacy_mechanism *mechanism_out, struct nx_error *err);
/* Noisy steps that one round of that kind charges. */
uint64_t nx_plan_noisy_steps(const struct nx_plan *plan, enum nx_round_kind kind);
/* Grid steps per 1.0 of a Skellam plan: those of the ring. */
double nx_plan_grid(const struct nx_plan *plan);
/* Variance of the noise that each of n members adds to a sum, in grid steps; 0 where a plan
 * adds none to it. */
int nx_plan_noise_share(const struct nx_plan *plan, uint32_t n_members, double *variance_out,
                        struct nx_error *err);

/* What T0 binds about a round of that kind of a model with so many values and features. */
struct nx_transcript_parameters nx_plan_round_parameters(const struct nx_plan *plan,
                                                         size_t n_params, size_t n_features,
                                                         enum nx_round_kind kind);

/* Does a sum over n members fit the ring, noise included? NX_E_LIMIT or NX_E_INVALID. */
int nx_plan_check_ring(const struct nx_plan *plan, uint32_t n_members, struct nx_error *err);
/* The same question about announced numbers (M0), before the plan is at hand. */
int nx_parameters_check_ring(const struct nx_transcript_parameters *parameters, uint32_t n_members,
                             struct nx_error *err);

/* An opened lane over this and the sum of weights is what a parameter moves by. */
double nx_plan_server_scale(const struct nx_plan *plan);
