/* Server apply: the next model from the opened sum of a round. Coordinator and every node
 * compute it from (model r, sum) and compare hashes, so it must come out bit-equal
 * everywhere: elementwise, IEEE double in one fixed order, rounded once to float32; no FMA,
 * no library functions but sqrt, which IEEE defines. Compiled without contraction.
 *
 *   statistics  mean = S/n, SD = sqrt(max(0, Q - S^2/n) / (n - 1)) of every feature, but at
 *               least NX_FEATURE_SD_FLOOR; parameters unchanged
 *   statistics of a plan under differential privacy: the plan's own numbers
 *   train       p_i = float(p_i + sum_i / (weight_sum * scale)); weight_sum = aux / 2^16
 *               but what nx_model_standing() counts: prototypes, see nx_server_apply_sums()
 *   evaluate    the model is unchanged
 *
 * where sum_i is lane i lifted from Z mod 2^w to -2^(w-1) .. 2^(w-1) - 1. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/aux_lanes.h"
#include "common/error.h"
#include "models/model.h"

#define NX_FEATURE_SD_FLOOR 1e-3

/* Feature means and SDs from the aux lanes of a statistics round,
 * n_aux = nx_aux_lanes(NX_ROUND_STATISTICS, model->n_features). NX_E_PROTOCOL when they
 * cannot be sums of real observations (fewer than 2, mean or SD out of range): the model is
 * unchanged. */
int nx_server_apply_statistics(struct nx_model *model, const uint64_t *aux, size_t n_aux,
                               struct nx_error *err);

/* Adds the weighted mean update. lanes[n_params]: sums mod 2^ring_bits over members of the
 * integers round(w_u * delta_i * scale), scale > 0 (crypto/quantize). aux[n_aux]: of which
 * contributors and weight are used. NX_E_PROTOCOL when the weight sum is not in
 * (0, contributors] or a parameter would not be finite: the model is unchanged. */
int nx_server_apply_average(struct nx_model *model, const uint32_t *lanes, size_t n_lanes,
                            uint32_t ring_bits, double scale, const uint64_t *aux, size_t n_aux,
                            struct nx_error *err);

/* The sum of weights in the aux lanes: NX_E_PROTOCOL when it is not in (0, contributors]. */
int nx_server_weight(const uint64_t *aux, size_t n_aux, double *weight_out, struct nx_error *err);

/* p_i = float(p_i + values_i): for sums that were decoded before (rotated ones). As above. */
int nx_server_apply_values(struct nx_model *model, const float *values, size_t n_values,
                           struct nx_error *err);

/* The standing parameters from a training round's aux lanes (common/aux_lanes.h): of each class
 * with minimum_count windows or more, mu = S / |S|; others stay, and so does one whose sum has no
 * direction
 * (|S| below a millionth of its windows). Of each block's experts the share of its rows; without
 * rows they stay. NX_E_PROTOCOL when a sum is longer than that many unit vectors can be, or rows
 * are more than can be counted: the model is unchanged. Nothing to do for a model without. */
int nx_server_apply_sums(struct nx_model *model, uint64_t minimum_count, const uint64_t *aux,
                         size_t n_aux, struct nx_error *err);

/* Instead of a statistics round: means and SDs [n] that a plan states, or n = 0 for 0 and 1.
 * NX_E_INVALID when n is neither 0 nor model->n_features: the model is unchanged. */
int nx_server_apply_features(struct nx_model *model, const double *mean, const double *sd, size_t n,
                             struct nx_error *err);
