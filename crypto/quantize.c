#include "crypto/quantize.h"

#include <math.h>

#include "crypto/lane_kernels.h"

static int ceil_log2(double x) {
  int exponent;
  return frexp(x, &exponent) == 0.5 ? exponent - 1 : exponent;
}

int32_t nx_quantize_limit(const struct nx_quantize *q) {
  return (int32_t)((UINT32_C(1) << (q->value_bits - 1)) - 1);
}

double nx_quantize_scale(const struct nx_quantize *q) {
  return ldexp(1.0, (int)q->value_bits - 1 - ceil_log2(q->value_range));
}

int nx_quantize_check(const struct nx_quantize *q, uint32_t n_members, double margin,
                      struct nx_error *err) {
  if (q->ring_bits != 32 && q->ring_bits != 24 && q->ring_bits != 16 && q->ring_bits != 12)
    return nx_fail(err, NX_E_INVALID, "ring_bits %u: use 32, 24, 16 or 12", q->ring_bits);
  if (q->value_bits < 2 || q->value_bits >= q->ring_bits)
    return nx_fail(err, NX_E_INVALID, "value_bits %u: use 2 to %u in a ring of %u bits",
                   q->value_bits, q->ring_bits - 1, q->ring_bits);
  if (!(q->value_range >= 0x1p-60 && q->value_range <= 0x1p60))
    return nx_fail(err, NX_E_INVALID, "value_range %g: use a positive number", q->value_range);
  if (!(q->clip_norm > 0 && isfinite(q->clip_norm)))
    return nx_fail(err, NX_E_INVALID, "update_clip_norm %g: use a positive number", q->clip_norm);
  if (!(margin >= 0 && isfinite(margin)))
    return nx_fail(err, NX_E_INVALID, "noise margin %g is not a size", margin);
  double most = (double)n_members * nx_quantize_limit(q) + margin;
  if (!(most < ldexp(1.0, (int)q->ring_bits - 1)))
    return nx_fail(err, NX_E_LIMIT,
                   "%u members with values of %u bits and a noise margin of %.0f can overflow a "
                   "ring of %u bits: take a wider ring or fewer value bits",
                   n_members, q->value_bits, margin, q->ring_bits);
  return 0;
}

static int refuse_not_finite(const float *values, size_t n, struct nx_error *err) {
  size_t i = 0;
  while (i < n && isfinite(values[i]))
    i++;
  return nx_fail(err, NX_E_INVALID,
                 "component %zu of the update is not a finite number: nothing was encoded", i);
}

int nx_quantize_encode(const struct nx_quantize *q, const float *values, size_t n, double weight,
                       struct nx_rng *rng, uint32_t *lanes_out, struct nx_quantize_report *report,
                       struct nx_error *err) {
  const struct nx_lane_kernels *kernels = nx_lane_kernels();
  struct nx_rounding rounding;
  if (!(weight >= 0 && weight <= 1))
    return nx_fail(err, NX_E_INVALID, "weight %g is not in 0..1", weight);
  /* Squares of floats cannot overflow a double: not finite means a NaN or an infinity. */
  double norm = sqrt(kernels->sum_of_squares(values, n));
  if (!isfinite(norm))
    return refuse_not_finite(values, n, err);
  double clip = norm > q->clip_norm ? q->clip_norm / norm : 1.0;
  struct nx_encode_call call = {
      .values = values,
      .lanes = lanes_out,
      .n = n,
      .factor = weight * clip * nx_quantize_scale(q),
      .limit = nx_quantize_limit(q),
      .modulo = (uint32_t)((UINT64_C(1) << q->ring_bits) - 1),
  };
  nx_rounding_init(&rounding, rng);
  size_t n_clamped = kernels->encode(&call, &rounding);
  if (report)
    *report = (struct nx_quantize_report){norm, n_clamped};
  return 0;
}

void nx_quantize_decode(const struct nx_quantize *q, const uint32_t *lanes, size_t n,
                        double weight_sum, float *values_out) {
  nx_lane_kernels()->decode(lanes, n, q->ring_bits, nx_quantize_scale(q) * weight_sum, values_out);
}
