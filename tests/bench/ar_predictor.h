/* AR predictor: the linear autoregressive baseline of one channel, beside which a masked network's
 * reconstruction is looked at.
 *
 *   x_t - mean = a_1 (x_{t-1} - mean) + … + a_p (x_{t-p} - mean) + noise
 *
 * Fitted by Yule-Walker (Levinson-Durbin), order by Akaike's criterion. It answers for hidden
 * samples twice: from what is visible before them only, and from what is visible on both sides, which
 * is the best that any linear predictor of that model can do. Oracle: tests/oracle/ar_scipy.py. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AR_ORDER_MAX 32

struct ar_model {
  size_t order; /* 0: the mean is all there is */
  double mean;
  double a[AR_ORDER_MAX];
};

/* r[k] += sum over t of (x_t - mean) (x_{t+k} - mean), k = 0 .. AR_ORDER_MAX. */
void ar_add_products(const float *x, size_t n, double mean, double r[AR_ORDER_MAX + 1]);
/* r: sums of ar_add_products() over n samples in all; `most`: largest order to try. */
void ar_fit(const double r[AR_ORDER_MAX + 1], size_t n, double mean, size_t most,
            struct ar_model *model_out);
/* What the model says of the hidden samples of x[n]; visible ones are copied. Before the window is
 * the mean; hidden samples count as what was said of them. */
void ar_forecast(const struct ar_model *model, const float *x, const uint8_t *hidden, size_t n,
                 double *out);
/* The mean of the hidden samples given every visible one, for a stationary Gaussian process of that
 * model. n must be more than 2 orders; false without memory. */
bool ar_interpolate(const struct ar_model *model, const float *x, const uint8_t *hidden, size_t n,
                    double *out);
