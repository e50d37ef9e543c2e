/* Kernels of loss.c. Compiled by backend/cpu_kernels.c. */
#pragma once

#include <stdbool.h>

#include "models/backend/cpu.h"

/* log(1 + e^-|x|) + max(x, 0) - x t, and its derivative (sigmoid(x) - t) / n. */
static void cross_entropy(struct nx_stream *stream, size_t n, const nx_real *logits,
                          const nx_real *targets, nx_real *loss, nx_real *dlogits) {
  (void)stream;
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    double x = (double)logits[i], t = (double)targets[i], e = exp(-fabs(x));
    sum += log1p(e) + (x > 0 ? x : 0) - x * t;
    double sigmoid = x >= 0 ? 1 / (1 + e) : e / (1 + e);
    dlogits[i] = (nx_real)((sigmoid - t) / (double)n);
  }
  *loss = (nx_real)(sum / (double)n);
}

static void square_error(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                         const nx_real *target, const uint8_t *skip, nx_real scale, nx_real *loss,
                         nx_real *dx) {
  (void)stream;
  double sum = 0;
  for (size_t r = 0; r < rows; r++, x += columns, target += columns, dx += columns) {
    if (skip && skip[r]) {
      memset(dx, 0, columns * sizeof *dx);
      continue;
    }
    for (size_t i = 0; i < columns; i++)
      dx[i] = x[i] - target[i];
    sum += (double)nx_dot(columns, dx, dx);
    for (size_t i = 0; i < columns; i++)
      dx[i] *= 2 * scale;
  }
  *loss = (nx_real)(sum * (double)scale);
}

static void scale(struct nx_stream *stream, size_t n, nx_real s, const nx_real *d, nx_real *dx,
                  int acc) {
  (void)stream;
  for (size_t i = 0; i < n; i++)
    dx[i] = (acc ? dx[i] : 0) + s * d[i];
}

/* Mean of -log softmax(logits)[class]; derivative (softmax - one-hot) / rows. */
static void class_entropy(struct nx_stream *stream, size_t rows, size_t classes,
                          const nx_real *logits, const uint32_t *labels, nx_real *loss,
                          nx_real *dlogits) {
  (void)stream;
  double total = 0;
  for (size_t r = 0; r < rows; r++, logits += classes, dlogits += classes) {
    double largest = (double)logits[0], sum = 0;
    for (size_t i = 1; i < classes; i++)
      largest = (double)logits[i] > largest ? (double)logits[i] : largest;
    for (size_t i = 0; i < classes; i++)
      sum += exp((double)logits[i] - largest);
    for (size_t i = 0; i < classes; i++)
      dlogits[i] =
          (nx_real)((exp((double)logits[i] - largest) / sum - (i == labels[r])) / (double)rows);
    total += log(sum) + largest - (double)logits[labels[r]];
  }
  *loss = (nx_real)(total / (double)rows);
}

/* scale * sum of e^x - count x over the rows that are not skipped. */
static void poisson(struct nx_stream *stream, size_t rows, size_t columns, const nx_real *x,
                    const nx_real *counts, const uint8_t *skip, nx_real scale, nx_real *loss,
                    nx_real *dx) {
  (void)stream;
  double sum = 0;
  for (size_t r = 0; r < rows; r++, x += columns, counts += columns, dx += columns)
    for (size_t i = 0; i < columns; i++) {
      double rate = exp((double)x[i]);
      bool counted = !skip || !skip[r];
      sum += counted ? rate - (double)counts[i] * (double)x[i] : 0;
      dx[i] = counted ? scale * (nx_real)(rate - (double)counts[i]) : 0;
    }
  *loss = (nx_real)(sum * (double)scale);
}

/* loss = x . y / 2 */
static void half_dot(struct nx_stream *stream, size_t n, const nx_real *x, const nx_real *y,
                     nx_real *loss) {
  (void)stream;
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += (double)x[i] * (double)y[i];
  *loss = (nx_real)(sum / 2);
}
