/* Logistic regression with an L2 penalty, scikit-learn's: minimises |w|^2 / 2 + C * sum log-loss,
 * the bias unpenalised. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* x[n][m], labels[n] 0 or 1. w[m + 1], the last one the bias: start (zeros) and result.
 * NX_E_STATE: the features allow no fit. */
int nx_logistic_fit(const double *x, const uint8_t *labels, size_t n, size_t m, double c, double *w,
                    struct nx_error *err);
