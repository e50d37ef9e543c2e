#include "node/dataset/int16_scale.h"

#include <math.h>

double nx_int16_limit(const double *x, size_t n) {
  double most = 1;
  for (size_t i = 0; i < n; i++)
    most = fmax(most, fabs(x[i]));
  return ceil(most);
}

void nx_int16_encode(const double *x, size_t n, double limit, int16_t *out) {
  for (size_t i = 0; i < n; i++) {
    double level = rint((x[i] + limit) / (2 * limit) * 65535 - 32768);
    out[i] = (int16_t)fmax(INT16_MIN, fmin(INT16_MAX, level));
  }
}
