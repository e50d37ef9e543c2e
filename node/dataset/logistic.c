#include "node/dataset/logistic.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

#define NEWTON_STEPS 50

struct table {
  size_t n, m;
  double c;
  const double *x;
  const uint8_t *labels;
};

/* Solves A x = b in place for a positive definite A[m][m] (Cholesky, lower). */
static bool solve(double *a, double *b, size_t m) {
  for (size_t j = 0; j < m; j++) {
    for (size_t i = j; i < m; i++) {
      double sum = a[i * m + j];
      for (size_t k = 0; k < j; k++)
        sum -= a[i * m + k] * a[j * m + k];
      if (i == j && !(sum > 0))
        return false;
      a[i * m + j] = i == j ? sqrt(sum) : sum / a[j * m + j];
    }
  }
  for (size_t i = 0; i < m; i++) {
    for (size_t k = 0; k < i; k++)
      b[i] -= a[i * m + k] * b[k];
    b[i] /= a[i * m + i];
  }
  for (size_t i = m; i-- > 0;) {
    for (size_t k = i + 1; k < m; k++)
      b[i] -= a[k * m + i] * b[k];
    b[i] /= a[i * m + i];
  }
  return true;
}

/* Gradient and Hessian of |w|^2 / 2 + c * sum log-loss at w[m + 1], the last one the bias. */
static void derivatives(const struct table *table, const double *w, double *gradient,
                        double *hessian) {
  size_t m = table->m, n = m + 1;
  double c = table->c;
  memset(hessian, 0, n * n * sizeof *hessian);
  for (size_t j = 0; j < n; j++) {
    gradient[j] = j < m ? w[j] : 0;
    hessian[j * n + j] = j < m ? 1 : 1e-12;
  }
  for (size_t i = 0; i < table->n; i++) {
    const double *x = table->x + i * m;
    double logit = w[m];
    for (size_t j = 0; j < m; j++)
      logit += w[j] * x[j];
    double p = 1 / (1 + exp(-logit)), slope = c * (p - table->labels[i]), bend = c * p * (1 - p);
    for (size_t j = 0; j < n; j++) {
      double xj = j < m ? x[j] : 1;
      gradient[j] += slope * xj;
      for (size_t k = 0; k <= j; k++)
        hessian[j * n + k] += bend * xj * (k < m ? x[k] : 1);
    }
  }
}

/* Newton's method; the problem is strictly convex and with a small C its steps shrink at once. */
int nx_logistic_fit(const double *x, const uint8_t *labels, size_t n, size_t m, double c, double *w,
                    struct nx_error *err) {
  const struct table table = {n, m, c, x, labels};
  _cleanup_free_ double *gradient = calloc(m + 1, sizeof *gradient);
  _cleanup_free_ double *hessian = calloc((m + 1) * (m + 1), sizeof *hessian);
  if (!gradient || !hessian)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a fit");
  for (int step = 0; step < NEWTON_STEPS; step++) {
    double largest = 0;
    derivatives(&table, w, gradient, hessian);
    if (!solve(hessian, gradient, m + 1))
      return nx_fail(err, NX_E_STATE, "the features do not allow a fit");
    for (size_t j = 0; j <= m; j++) {
      w[j] -= gradient[j];
      largest = fmax(largest, fabs(gradient[j]));
    }
    if (largest < 1e-10)
      return 0;
  }
  return 0;
}
