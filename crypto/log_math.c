#include "crypto/log_math.h"

#include <math.h>

double nx_log_add(double a, double b) {
  double high = fmax(a, b), low = fmin(a, b);
  if (isinf(high) || isinf(low))
    return high;
  return high + log1p(exp(low - high));
}

double nx_log_sub(double a, double b) {
  if (b == -INFINITY || a == INFINITY)
    return a;
  return b >= a ? -INFINITY : a + log(-expm1(b - a));
}

double nx_log_factorial(uint32_t n) {
  int sign;
  return lgamma_r((double)n + 1.0, &sign);
}

double nx_log_binomial(uint32_t n, uint32_t k) {
  return nx_log_factorial(n) - nx_log_factorial(k) - nx_log_factorial(n - k);
}

double nx_log_power(double log_base, double power) {
  return power == 0 ? 0 : power * log_base;
}

double nx_log_normal_cdf(double x) {
  if (x > 0)
    return log1p(-0.5 * erfc(x / M_SQRT2));
  if (x > -30)
    return log(0.5 * erfc(-x / M_SQRT2));
  /* Abramowitz & Stegun 26.2.12; the first term left out is below 1e-11 of the sum. */
  double r = 1 / (x * x);
  double series = 1 - r * (1 - 3 * r * (1 - 5 * r * (1 - 7 * r)));
  return -0.5 * x * x - log(-x) - 0.5 * log(2 * M_PI) + log(series);
}
