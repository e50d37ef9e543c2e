#include "tests/bench/ar_predictor.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/size.h"

void ar_add_products(const float *x, size_t n, double mean, double r[AR_ORDER_MAX + 1]) {
  for (size_t k = 0; k <= AR_ORDER_MAX; k++)
    for (size_t t = 0; t + k < n; t++)
      r[k] += ((double)x[t] - mean) * ((double)x[t + k] - mean);
}

void ar_fit(const double r[AR_ORDER_MAX + 1], size_t n, double mean, size_t most,
            struct ar_model *model_out) {
  double a[AR_ORDER_MAX] = {0}, previous[AR_ORDER_MAX], error = r[0], best = 0;
  *model_out = (struct ar_model){.mean = mean};
  if (!(r[0] > 0))
    return;
  for (size_t p = 1; p <= NX_MIN(most, (size_t)AR_ORDER_MAX) && error > 1e-12 * r[0]; p++) {
    double reflection = r[p];
    for (size_t k = 1; k < p; k++)
      reflection -= a[k - 1] * r[p - k];
    reflection /= error;
    memcpy(previous, a, sizeof a);
    for (size_t k = 1; k < p; k++)
      a[k - 1] = previous[k - 1] - reflection * previous[p - k - 1];
    a[p - 1] = reflection;
    error *= 1 - reflection * reflection;
    double criterion = (double)n * log(error / r[0]) + 2 * (double)p;
    if (criterion < best) {
      best = criterion;
      model_out->order = p;
      memcpy(model_out->a, a, sizeof a);
    }
  }
}

void ar_forecast(const struct ar_model *model, const float *x, const uint8_t *hidden, size_t n,
                 double *out) {
  for (size_t t = 0; t < n; t++) {
    out[t] = hidden[t] ? model->mean : (double)x[t];
    for (size_t k = 1; hidden[t] && k <= NX_MIN(model->order, t); k++)
      out[t] += model->a[k - 1] * (out[t - k] - model->mean);
  }
}

/* The inverse of the covariance of n samples, times the noise's variance: Gohberg and Semencul's
 * formula, of which an autoregressive process leaves a band. u = 1, -a_1 … -a_p. */
struct precision {
  size_t n, order;
  double u[AR_ORDER_MAX + 1], inner[AR_ORDER_MAX + 1]; /* inner: entries far from both ends */
};

static struct precision precision_of(const struct ar_model *model, size_t n) {
  struct precision q = {.n = n, .order = model->order, .u = {1}};
  for (size_t k = 1; k <= q.order; k++)
    q.u[k] = -model->a[k - 1];
  for (size_t d = 0; d <= q.order; d++)
    for (size_t k = 0; k + d <= q.order; k++)
      q.inner[d] += q.u[k] * q.u[k + d];
  return q;
}

/* Row i, column j <= i, i - j <= order. */
static double entry(const struct precision *q, size_t i, size_t j) {
  size_t d = i - j, p = q->order, n = q->n;
  double sum = 0;
  if (i >= p)
    sum = q->inner[d];
  else
    for (size_t k = 0; k <= j; k++)
      sum += q->u[k] * q->u[k + d];
  /* v_k = u_{n - k}: not zero from n - p on */
  for (size_t k = n - p; p && k <= j; k++)
    sum -= q->u[n - k] * (k + d < n ? q->u[n - k - d] : 0);
  return sum;
}

/* Solves L L^T y = b in place, l[i * (band + 1) + i - j] the lower triangle of the matrix. */
static void solve_banded(double *l, size_t n, size_t band, double *b) {
  size_t w = band + 1;
  for (size_t i = 0; i < n; i++) {
    size_t first = i > band ? i - band : 0;
    for (size_t j = first; j <= i; j++) {
      double sum = l[i * w + i - j];
      for (size_t k = NX_MAX(first, j > band ? j - band : 0); k < j; k++)
        sum -= l[i * w + i - k] * l[j * w + j - k];
      l[i * w + i - j] = i == j ? sqrt(sum) : sum / l[j * w];
    }
    for (size_t k = first; k < i; k++)
      b[i] -= l[i * w + i - k] * b[k];
    b[i] /= l[i * w];
  }
  for (size_t i = n; i-- > 0;) {
    b[i] /= l[i * w];
    for (size_t k = i > band ? i - band : 0; k < i; k++)
      b[k] -= l[i * w + i - k] * b[i];
  }
}

bool ar_interpolate(const struct ar_model *model, const float *x, const uint8_t *hidden, size_t n,
                    double *out) {
  size_t band = model->order, w = band + 1, m = 0;
  assert(n > 2 * band);
  const struct precision q = precision_of(model, n);
  _cleanup_free_ size_t *at = calloc(n, sizeof *at);
  _cleanup_free_ double *l = calloc(n * w, sizeof *l), *b = calloc(n, sizeof *b);
  if (!at || !l || !b)
    return false;
  for (size_t t = 0; t < n; t++)
    if (hidden[t])
      at[m++] = t;
  for (size_t r = 0; r < m; r++) {
    size_t i = at[r];
    for (size_t c = r + 1; c-- > 0 && i - at[c] <= band;)
      l[r * w + r - c] = entry(&q, i, at[c]);
    for (size_t j = i > band ? i - band : 0; j < n && j <= i + band; j++)
      if (!hidden[j])
        b[r] -= entry(&q, NX_MAX(i, j), NX_MIN(i, j)) * ((double)x[j] - model->mean);
  }
  solve_banded(l, m, band, b);
  for (size_t t = 0; t < n; t++)
    out[t] = (double)x[t];
  for (size_t r = 0; r < m; r++)
    out[at[r]] = model->mean + b[r];
  return true;
}
