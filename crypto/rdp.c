#include "crypto/rdp.h"

#include <math.h>

#include "common/size.h"
#include "crypto/log_math.h"

static int check_order(uint32_t order, struct nx_error *err) {
  if (order < NX_RDP_ORDER_MIN || order > NX_RDP_ORDER_MAX)
    return nx_fail(err, NX_E_INVALID, "Rényi order %u: orders are whole numbers from %u to %u",
                   order, NX_RDP_ORDER_MIN, NX_RDP_ORDER_MAX);
  return 0;
}

static int check_probability(double q, struct nx_error *err) {
  if (!(q >= 0 && q <= 1))
    return nx_fail(err, NX_E_INVALID, "sampling rate %g: a probability lies between 0 and 1", q);
  return 0;
}

/* The comparisons below are written so that NaN fails them. */
static int check_positive(const char *name, double value, struct nx_error *err) {
  if (!(value > 0 && value < INFINITY))
    return nx_fail(err, NX_E_INVALID, "%s %g: must be a finite number above 0", name, value);
  return 0;
}

static int check_not_negative(const char *name, double value, struct nx_error *err) {
  if (!(value >= 0 && value < INFINITY))
    return nx_fail(err, NX_E_INVALID, "%s %g: must be a finite number, 0 or above", name, value);
  return 0;
}

static int check_delta(double delta, struct nx_error *err) {
  if (!(delta > 0 && delta < 1))
    return nx_fail(err, NX_E_INVALID, "delta %g: must lie between 0 and 1, both excluded", delta);
  return 0;
}

int nx_rdp_sampled_gaussian(uint32_t order, double q, double sigma, double *eps_out,
                            struct nx_error *err) {
  int r = check_order(order, err);
  if (!r)
    r = check_probability(q, err);
  if (!r)
    r = check_positive("noise multiplier", sigma, err);
  if (r)
    return r;
  if (q == 0)
    return *eps_out = 0, 0;
  if (q == 1)
    return *eps_out = order / (2 * sigma) / sigma, 0;
  double log_q = log(q), log_p = log1p(-q), log_sum = -INFINITY;
  for (uint32_t k = 0; k <= order; k++) {
    /* Divided twice: sigma^2 may underflow where k (k-1) = 0. */
    double exponent = k < 2 ? 0 : (double)k * (k - 1) / 2 / sigma / sigma;
    log_sum = nx_log_add(log_sum, nx_log_binomial(order, k) + nx_log_power(log_p, order - k) +
                                      nx_log_power(log_q, k) + exponent);
  }
  *eps_out = fmax(0, log_sum / (order - 1));
  return 0;
}

int nx_rdp_skellam(uint32_t order, const struct nx_rdp_skellam *skellam, double *eps_out,
                   struct nx_error *err) {
  int r = check_order(order, err);
  if (!r)
    r = check_positive("Skellam variance", skellam->mu, err);
  if (!r)
    r = check_not_negative("L1 sensitivity", skellam->l1, err);
  if (!r)
    r = check_not_negative("L2 sensitivity", skellam->l2, err);
  if (r)
    return r;
  double mu = skellam->mu, l1_mu = skellam->l1 / mu, l2_mu = skellam->l2 / mu * skellam->l2;
  double by_square = ((2.0 * order - 1) * l2_mu + 6 * l1_mu) / (4 * mu);
  *eps_out = order * l2_mu / 2 + fmin(by_square, 1.5 * l1_mu);
  return 0;
}

int nx_rdp_rounded_sensitivity(const struct nx_rdp_rounding *rounding, double *l1_out,
                               double *l2_out, struct nx_error *err) {
  int r = check_positive("clip norm", rounding->clip_norm, err);
  if (!r)
    r = check_positive("scale", rounding->scale, err);
  if (!r)
    r = check_positive("dimension", rounding->dimension, err);
  if (r)
    return r;
  if (!(rounding->beta > 0 && rounding->beta < 1))
    return nx_fail(err, NX_E_INVALID,
                   "rounding beta %g: must lie between 0 and 1, both excluded; exp(-1/2) = 0.6065 "
                   "is usual",
                   rounding->beta);
  double norm = rounding->scale * rounding->clip_norm, root = sqrt(rounding->dimension);
  double conditional = sqrt(norm * norm + rounding->dimension / 4 +
                            sqrt(-2 * log(rounding->beta)) * (norm + root / 2));
  *l2_out = fmin(norm + root, conditional);
  *l1_out = fmin(root * *l2_out, *l2_out * *l2_out);
  return 0;
}

int nx_rdp_subsampled(uint32_t order, double q, const double *eps, double *eps_out,
                      struct nx_error *err) {
  int r = check_order(order, err);
  if (!r)
    r = check_probability(q, err);
  if (r)
    return r;
  for (uint32_t l = 2; l <= order; l++)
    if (!(eps[l] >= 0))
      return nx_fail(err, NX_E_INVALID, "curve value %g at order %u: must be 0 or above", eps[l],
                     l);
  if (q == 0)
    return *eps_out = 0, 0;
  if (q == 1)
    return *eps_out = eps[order], 0;
  double log_q = log(q), log_p = log1p(-q);
  double log_sum = (order - 1) * log_p + log1p((order - 1.0) * q);
  for (uint32_t l = 2; l <= order; l++)
    log_sum =
        nx_log_add(log_sum, (l > 2 ? log(3) : 0) + nx_log_binomial(order, l) +
                                nx_log_power(log_p, order - l) + l * log_q + (l - 1) * eps[l]);
  *eps_out = fmin(eps[order], fmax(0, log_sum / (order - 1)));
  return 0;
}

int nx_rdp_to_epsilon(uint32_t order, double eps, double delta, double *epsilon_out,
                      struct nx_error *err) {
  int r = check_order(order, err);
  if (!r)
    r = check_delta(delta, err);
  if (r)
    return r;
  if (!(eps >= 0))
    return nx_fail(err, NX_E_INVALID, "curve value %g at order %u: must be 0 or above", eps, order);
  *epsilon_out = fmax(0, eps + log1p(-1.0 / order) - (log(delta) + log(order)) / (order - 1));
  return 0;
}

static double gaussian_delta(double m, double epsilon) {
  double first = nx_log_normal_cdf(-epsilon / m + m / 2);
  double second = epsilon + nx_log_normal_cdf(-epsilon / m - m / 2);
  return exp(nx_log_sub(first, second));
}

int nx_gaussian_delta(double m, double epsilon, double *delta_out, struct nx_error *err) {
  int r = check_not_negative("m", m, err);
  if (!r)
    r = check_not_negative("epsilon", epsilon, err);
  if (r)
    return r;
  *delta_out = m == 0 ? 0 : gaussian_delta(m, epsilon);
  return 0;
}

int nx_gaussian_epsilon(double m, double delta, double *epsilon_out, struct nx_error *err) {
  int r = check_not_negative("m", m, err);
  if (!r)
    r = check_delta(delta, err);
  if (r)
    return r;
  if (m == 0 || gaussian_delta(m, 0) <= delta)
    return *epsilon_out = 0, 0;
  /* Here delta(low) > delta; at high the Gaussian tail alone is below it. */
  double low = 0, high = m * m / 2 + m * sqrt(-2 * log(delta));
  while (high - low > 1e-12 * fmax(1, high)) {
    double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high)
      break;
    if (gaussian_delta(m, middle) > delta)
      low = middle;
    else
      high = middle;
  }
  *epsilon_out = high;
  return 0;
}
