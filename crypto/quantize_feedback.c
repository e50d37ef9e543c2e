#include <math.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "crypto/quantize.h"

/* What the encoding says, in units of the update: not times the weight. */
static int subtract_encoded(const struct nx_quantize *q, const uint32_t *lanes, size_t n,
                            double weight, double clip, float *wanted, float *residual,
                            struct nx_error *err) {
  _cleanup_free_ float *said = malloc((n ? n : 1) * sizeof *said);
  if (!said)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a residual of %zu values", n);
  int r = nx_quantize_decode(q, lanes, n, weight, NULL, said, err);
  /* Beyond the clip nothing is carried on, or the residual would grow without bound. */
  for (size_t i = 0; r == 0 && i < n; i++)
    residual[i] = (float)((double)wanted[i] * clip) - said[i];
  return r;
}

int nx_quantize_encode_feedback(const struct nx_quantize *q, const float *values, float *residual,
                                size_t n, double weight, struct nx_rng *rng, uint32_t *lanes_out,
                                struct nx_quantize_report *report, struct nx_error *err) {
  _cleanup_free_ float *wanted = malloc((n ? n : 1) * sizeof *wanted);
  struct nx_quantize_report own;
  if (!(weight > 0))
    return nx_fail(err, NX_E_INVALID, "weight %g: error feedback needs a positive one", weight);
  if (!wanted)
    return nx_fail(err, NX_E_NOMEM, "out of memory for %zu values", n);
  for (size_t i = 0; i < n; i++)
    wanted[i] = values[i] + residual[i];
  int r = nx_quantize_encode(q, wanted, n, weight, rng, lanes_out, &own, err);
  if (r < 0)
    return r;
  double clip = own.norm > q->clip_norm ? q->clip_norm / own.norm : 1.0;
  r = subtract_encoded(q, lanes_out, n, weight, clip, wanted, residual, err);
  if (r == 0 && report)
    *report = own;
  return r;
}
