/* Rdp: Rényi differential privacy of one step at one integer order, and the exact curve of
 * the Gaussian. Pure formulae; accountant.h composes them and privacy_mechanism.h says what
 * the numbers mean. All eps are natural logarithms ("nats"); INFINITY means "no promise".
 *
 * Arguments are checked, NaN included: NX_E_INVALID names the one that is wrong.
 * Any thread. */
#pragma once

#include <stdint.h>

#include "common/error.h"

#define NX_RDP_ORDER_MIN 2u
#define NX_RDP_ORDER_MAX 4096u

/* The Gaussian of noise multiplier sigma (standard deviation over sensitivity), each unit
 * taking part in a step with probability q (Poisson sampling), neighbours by adding or
 * removing one unit. Mironov, Talwar & Zhang 2019 (arXiv:1908.10530), eq. 30 at integer
 * orders; q = 1: order / (2 sigma^2). 0 <= q <= 1, sigma > 0. */
int nx_rdp_sampled_gaussian(uint32_t order, double q, double sigma, double *eps_out,
                            struct nx_error *err);

/* The symmetric Skellam of variance mu, added to every coordinate of an integer vector of
 * L1 and L2 sensitivity l1 and l2. Agarwal, Kairouz & Liu 2021 (arXiv:2110.04995), theorem
 * 3.5. mu > 0, l1 and l2 >= 0. */
struct nx_rdp_skellam {
  double mu, l1, l2;
};
int nx_rdp_skellam(uint32_t order, const struct nx_rdp_skellam *skellam, double *eps_out,
                   struct nx_error *err);

/* Bounds on the sensitivity of a real vector of d coordinates and L2 norm <= C that was
 * multiplied by scale and rounded stochastically, again and again until its norm was at
 * most l2 (Kairouz, Liu & Steinke 2021, arXiv:2102.06387, proposition 22):
 *   l2 = min{ sC + sqrt d,  sqrt(s^2 C^2 + d/4 + sqrt(2 ln(1/beta)) (sC + sqrt(d)/2)) }
 *   l1 = min{ sqrt(d) l2, l2^2 }
 * beta: the chance that one rounding has to be repeated is at most this; 0 < beta < 1. */
struct nx_rdp_rounding {
  double clip_norm; /* C */
  double scale;     /* s */
  double dimension; /* d */
  double beta;
};
int nx_rdp_rounded_sensitivity(const struct nx_rdp_rounding *rounding, double *l1_out,
                               double *l2_out, struct nx_error *err);

/* Any mechanism under Poisson sampling with probability q, from its own curve without
 * sampling: eps[l] is the value at order l, l = 2..order (eps[0] and eps[1] are not read).
 * Zhu & Wang 2019 (ICML), theorem 5, and never worse than without sampling. */
int nx_rdp_subsampled(uint32_t order, double q, const double *eps, double *eps_out,
                      struct nx_error *err);

/* The least epsilon at this delta that follows from one order (Canonne, Kamath & Steinke
 * 2020, arXiv:2004.00010, proposition 12), never below 0:
 *   epsilon = eps + ln(1 - 1/order) - ln(delta order) / (order - 1)
 * 0 < delta < 1, eps >= 0. */
int nx_rdp_to_epsilon(uint32_t order, double eps, double delta, double *epsilon_out,
                      struct nx_error *err);

/* The Gaussian without sampling is known exactly (Balle & Wang 2018, arXiv:1805.06530).
 * m = sqrt(sum over steps of 1/sigma^2), which also composes steps of different sigma:
 *   delta = Phi(-epsilon/m + m/2) - e^epsilon Phi(-epsilon/m - m/2)
 * The inverse is rounded up, to within 1e-12 or a relative 1e-12. m, epsilon >= 0. */
int nx_gaussian_delta(double m, double epsilon, double *delta_out, struct nx_error *err);
int nx_gaussian_epsilon(double m, double delta, double *epsilon_out, struct nx_error *err);
