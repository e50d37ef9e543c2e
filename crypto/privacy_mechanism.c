#include "crypto/privacy_mechanism.h"

#include <math.h>
#include <stdio.h>

#include "common/size.h"
#include "crypto/gaussian_cdt.h"

static const char *kind_name(enum nx_mechanism_kind kind) {
  return kind == NX_MECHANISM_GAUSSIAN  ? "gaussian"
         : kind == NX_MECHANISM_SKELLAM ? "skellam"
                                        : "unknown";
}

static const char *unit_name(enum nx_privacy_unit unit) {
  return unit == NX_UNIT_SUBJECT ? "subject" : unit == NX_UNIT_NODE ? "node" : "unknown";
}

/* Ends of both ranges belong to them; NaN belongs to none. */
static int check_range(const char *name, double value, double low, double high,
                       struct nx_error *err) {
  if (!(value >= low && value <= high))
    return nx_fail(err, NX_E_INVALID, "privacy: %s is %g: choose one from %g to %g", name, value,
                   low, high);
  return 0;
}

int nx_privacy_mechanism_check(const struct nx_privacy_mechanism *m, struct nx_error *err) {
  if (m->kind != NX_MECHANISM_GAUSSIAN && m->kind != NX_MECHANISM_SKELLAM)
    return nx_fail(err, NX_E_INVALID, "privacy: mechanism %d is neither gaussian nor skellam",
                   (int)m->kind);
  if (m->unit != NX_UNIT_SUBJECT && m->unit != NX_UNIT_NODE)
    return nx_fail(err, NX_E_INVALID, "privacy: unit %d is neither subject nor node", (int)m->unit);
  const struct {
    const char *name;
    double value, low, high;
  } ranges[] = {
      {"noise_multiplier", m->noise_multiplier, 0.01, 10000},
      {"sampling_rate", m->sampling_rate, 1e-9, 1},
      {"clip_norm", m->clip_norm, 1e-9, 1e9},
      {"scale", m->kind == NX_MECHANISM_SKELLAM ? m->scale : 1, 1e-9, 1e12},
      {"dimension", (double)m->dimension, 1, 0x1p40},
      {"rounding_beta", m->rounding_beta, 1e-12, 1 - 1e-12},
      {"delta", m->delta, 1e-30, 0.1},
  };
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ranges); i++) {
    int r = check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, err);
    if (r)
      return r;
  }
  if (m->kind == NX_MECHANISM_GAUSSIAN && m->scale != 0)
    return nx_fail(err, NX_E_INVALID,
                   "privacy: scale is %g: leave it 0, the gaussian's follows from noise_multiplier "
                   "and clip_norm",
                   m->scale);
  if (m->unit == NX_UNIT_NODE && m->sampling_rate != 1)
    return nx_fail(err, NX_E_INVALID,
                   "privacy: sampling_rate is %g: nodes are not sampled, with unit node it is 1",
                   m->sampling_rate);
  return 0;
}

int nx_privacy_mechanism_scale(const struct nx_privacy_mechanism *m, double *scale_out,
                               struct nx_error *err) {
  int r = nx_privacy_mechanism_check(m, err);
  if (r)
    return r;
  *scale_out = m->kind == NX_MECHANISM_SKELLAM
                   ? m->scale
                   : NX_GAUSSIAN_DEVIATION / (m->noise_multiplier * m->clip_norm);
  return 0;
}

static int sensitivity(const struct nx_privacy_mechanism *m, double *l1_out, double *l2_out,
                       struct nx_error *err) {
  struct nx_rdp_rounding rounding = {
      .clip_norm = m->clip_norm, .dimension = (double)m->dimension, .beta = m->rounding_beta};
  int r = nx_privacy_mechanism_scale(m, &rounding.scale, err);
  return r ? r : nx_rdp_rounded_sensitivity(&rounding, l1_out, l2_out, err);
}

int nx_privacy_mechanism_bound(const struct nx_privacy_mechanism *m, double *bound_out,
                               struct nx_error *err) {
  double l1;
  return sensitivity(m, &l1, bound_out, err);
}

int nx_privacy_mechanism_step(const struct nx_privacy_mechanism *m,
                              struct nx_privacy_step *step_out, struct nx_error *err) {
  double l1, l2;
  int r = sensitivity(m, &l1, &l2, err);
  if (r)
    return r;
  *step_out = (struct nx_privacy_step){.q = m->sampling_rate};
  if (m->kind == NX_MECHANISM_GAUSSIAN) {
    step_out->kind = NX_STEP_GAUSSIAN;
    step_out->sigma = NX_GAUSSIAN_DEVIATION / l2;
  } else {
    double deviation = m->noise_multiplier * m->scale * m->clip_norm;
    step_out->kind = NX_STEP_SKELLAM;
    step_out->skellam = (struct nx_rdp_skellam){.mu = deviation * deviation, .l1 = l1, .l2 = l2};
  }
  return 0;
}

int nx_privacy_mechanism_epsilon(const struct nx_privacy_mechanism *m, uint64_t n_steps,
                                 double *epsilon_out, struct nx_error *err) {
  struct nx_privacy_step step;
  _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant = NULL;
  int r = nx_privacy_mechanism_step(m, &step, err);
  if (!r)
    r = nx_accountant_create(&accountant, err);
  return r ? r : nx_accountant_preview(accountant, &step, n_steps, m->delta, epsilon_out, err);
}

void nx_privacy_mechanism_describe(const struct nx_privacy_mechanism *m, char *text_out,
                                   size_t size) {
  char scale[32] = "";
  if (m->kind == NX_MECHANISM_SKELLAM)
    snprintf(scale, sizeof scale, " s=%g", m->scale);
  snprintf(text_out, size, "%s z=%g q=%g C=%g%s d=%llu unit=%s delta=%g", kind_name(m->kind),
           m->noise_multiplier, m->sampling_rate, m->clip_norm, scale,
           (unsigned long long)m->dimension, unit_name(m->unit), m->delta);
}
