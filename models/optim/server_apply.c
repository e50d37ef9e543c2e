#include "models/optim/server_apply.h"

#include <math.h>
#include <string.h>

/* A feature is a standardised log power or amplitude: far below this, or not real. */
#define FEATURE_BOUND 1e6

/* Mean and SD of one feature; false when no n real numbers have these sums. */
static int moments(double n, double sum, double squares, float *mean, float *sd) {
  double m = sum / n;
  double variance = (squares - m * sum) / (n - 1);
  double deviation = sqrt(variance > 0 ? variance : 0);
  if (!(fabs(m) < FEATURE_BOUND) || !(deviation < FEATURE_BOUND) || !(squares >= 0))
    return 0;
  *mean = (float)m;
  *sd = (float)(deviation > NX_FEATURE_SD_FLOOR ? deviation : NX_FEATURE_SD_FLOOR);
  return 1;
}

int nx_server_apply_statistics(struct nx_model *model, const uint64_t *aux, size_t n_aux,
                               struct nx_error *err) {
  size_t f = model->n_features, bins = model->shape.bins;
  if (n_aux != nx_aux_lanes(NX_ROUND_STATISTICS, f))
    return nx_fail(err, NX_E_PROTOCOL, "%zu aux lanes for %zu features", n_aux, f);
  double counts[2] = {(double)aux[NX_AUX_SPECTRAL_COUNT], (double)aux[NX_AUX_CHANNEL_COUNT]};
  if (!(counts[0] >= 2 && counts[0] < 0x1p53 && counts[1] >= 2 && counts[1] < 0x1p53))
    return nx_fail(err, NX_E_PROTOCOL, "feature statistics over too few observations");
  for (int write = 0; write < 2; write++)
    for (size_t i = 0; i < f; i++) {
      float mean, sd;
      double sum = nx_aux_decode(aux[NX_AUX_FEATURE_SUMS + i], NX_AUX_FEATURE_SCALE);
      double squares = nx_aux_decode(aux[NX_AUX_FEATURE_SUMS + f + i], NX_AUX_FEATURE_SCALE);
      if (!moments(counts[i >= bins], sum, squares, &mean, &sd))
        return nx_fail(err, NX_E_PROTOCOL, "feature %zu: its sums are out of range", i);
      if (write) {
        model->feature_mean[i] = mean;
        model->feature_sd[i] = sd;
      }
    }
  return 0;
}

/* The representative of x mod 2^bits nearest to zero. */
static int32_t lift(uint32_t x, uint32_t bits) {
  uint32_t shift = 32 - bits;
  return (int32_t)(x << shift) >> shift;
}

int nx_server_weight(const uint64_t *aux, size_t n_aux, double *weight_out, struct nx_error *err) {
  if (n_aux < NX_AUX_COMMON)
    return nx_fail(err, NX_E_PROTOCOL, "%zu aux lanes are too few", n_aux);
  double weight = nx_aux_decode(aux[NX_AUX_WEIGHT], NX_AUX_WEIGHT_SCALE);
  if (!(weight > 0 && weight <= (double)aux[NX_AUX_CONTRIBUTORS]))
    return nx_fail(err, NX_E_PROTOCOL, "weights sum to %g over %llu contributors", weight,
                   (unsigned long long)aux[NX_AUX_CONTRIBUTORS]);
  *weight_out = weight;
  return 0;
}

int nx_server_apply_average(struct nx_model *model, const uint32_t *lanes, size_t n_lanes,
                            uint32_t ring_bits, double scale, const uint64_t *aux, size_t n_aux,
                            struct nx_error *err) {
  double weight;
  if (n_lanes != model->n_params || n_aux < NX_AUX_COMMON)
    return nx_fail(err, NX_E_PROTOCOL, "%zu lanes for %zu parameters, %zu aux lanes", n_lanes,
                   model->n_params, n_aux);
  if (ring_bits < 2 || ring_bits > 32 || !(scale > 0 && isfinite(scale)))
    return nx_fail(err, NX_E_INVALID, "a ring of %u bits with scale %g", ring_bits, scale);
  int r = nx_server_weight(aux, n_aux, &weight, err);
  if (r < 0)
    return r;
  double unit = weight * scale;
  size_t n_trained = n_lanes - nx_model_standing(&model->shape);
  for (int write = 0; write < 2; write++)
    for (size_t i = 0; i < n_trained; i++) {
      float next = (float)((double)model->params[i] + (double)lift(lanes[i], ring_bits) / unit);
      if (!isfinite(next))
        return nx_fail(err, NX_E_PROTOCOL, "parameter %zu would not be finite", i);
      if (write)
        model->params[i] = next;
    }
  return 0;
}

int nx_server_apply_values(struct nx_model *model, const float *values, size_t n_values,
                           struct nx_error *err) {
  if (n_values != model->n_params)
    return nx_fail(err, NX_E_PROTOCOL, "%zu values for %zu parameters", n_values, model->n_params);
  size_t n_trained = n_values - nx_model_standing(&model->shape);
  for (int write = 0; write < 2; write++)
    for (size_t i = 0; i < n_trained; i++) {
      float next = (float)((double)model->params[i] + (double)values[i]);
      if (!isfinite(next))
        return nx_fail(err, NX_E_PROTOCOL, "parameter %zu would not be finite", i);
      if (write)
        model->params[i] = next;
    }
  return 0;
}

/* lanes: the count of a class, then its sums. 1: mu was found; 0: it stays. */
static int find_prototype(uint64_t minimum_count, const uint64_t *lanes, float *mu,
                          struct nx_error *err) {
  double sum[NX_PROTOTYPE_WIDTH], squares = 0, n = (double)lanes[0];
  for (size_t i = 0; i < NX_PROTOTYPE_WIDTH; i++) {
    sum[i] = nx_aux_decode(lanes[1 + i], NX_AUX_FEATURE_SCALE);
    squares += sum[i] * sum[i];
  }
  double length = sqrt(squares);
  if (!(n < 0x1p53) || !(length <= n * (1 + 1e-3)))
    return nx_fail(err, NX_E_PROTOCOL, "%g unit vectors cannot have a sum of length %g", n, length);
  if (lanes[0] < minimum_count || !(length > 1e-6 * n))
    return 0;
  for (size_t i = 0; i < NX_PROTOTYPE_WIDTH; i++)
    mu[i] = (float)(sum[i] / length);
  return 1;
}

static void put_loads(const uint64_t *rows, size_t n, float *loads) {
  uint64_t total = 0;
  for (size_t e = 0; e < n; e++)
    total += rows[e];
  for (size_t e = 0; total && e < n; e++)
    loads[e] = (float)((double)rows[e] / (double)total);
}

int nx_server_apply_sums(struct nx_model *model, uint64_t minimum_count, const uint64_t *aux,
                         size_t n_aux, struct nx_error *err) {
  size_t each = 1 + NX_PROTOTYPE_WIDTH, n = model->shape.n_classes;
  size_t standing = nx_model_standing(&model->shape), n_loads = standing - n * NX_PROTOTYPE_WIDTH;
  if (!standing)
    return 0;
  if (n_aux != NX_AUX_COMMON + n * each + n_loads)
    return nx_fail(err, NX_E_PROTOCOL, "%zu aux lanes for %zu prototypes and %zu experts", n_aux, n,
                   n_loads);
  float *mu = model->params + model->n_params - standing;
  const uint64_t *rows = aux + NX_AUX_PROTOTYPES + n * each;
  for (size_t i = 0; i < n_loads; i++)
    if (rows[i] >= UINT64_C(1) << 47)
      return nx_fail(err, NX_E_PROTOCOL, "%llu rows of one expert", (unsigned long long)rows[i]);
  for (int write = 0; write < 2; write++)
    for (size_t c = 0; c < n; c++) {
      float found[NX_PROTOTYPE_WIDTH];
      int r = find_prototype(minimum_count, aux + NX_AUX_PROTOTYPES + c * each, found, err);
      if (r < 0)
        return nx_error_prefix(err, r, "prototype %zu", c);
      if (r && write)
        memcpy(mu + c * NX_PROTOTYPE_WIDTH, found, sizeof found);
    }
  for (size_t i = 0; i < n_loads; i += model->shape.experts)
    put_loads(rows + i, model->shape.experts, mu + n * NX_PROTOTYPE_WIDTH + i);
  return 0;
}

int nx_server_apply_features(struct nx_model *model, const double *mean, const double *sd, size_t n,
                             struct nx_error *err) {
  if (n && n != model->n_features)
    return nx_fail(err, NX_E_INVALID,
                   "differential_privacy.feature_mean has %zu numbers, the model %zu features", n,
                   model->n_features);
  for (size_t i = 0; i < model->n_features; i++) {
    model->feature_mean[i] = n ? (float)mean[i] : 0;
    model->feature_sd[i] = n ? (float)sd[i] : 1;
  }
  return 0;
}
