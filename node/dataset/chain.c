#include "node/dataset/chain.h"

#include <stdlib.h>

#include "common/size.h"
#include "node/dataset/preprocess.h"

#define NOTCH_QUALITY 30

int nx_chain_stages(const struct nx_plan_preprocessing *p, double rate_hz,
                    struct nx_stream_spec *spec, struct nx_error *err) {
  int r = 0;
  if (p->notch_hz > 0)
    r = nx_filter_notch(p->notch_hz, NOTCH_QUALITY, rate_hz, &spec->stages[spec->n_stages++], err);
  if (!r && (p->high_pass_hz > 0 || p->low_pass_hz > 0)) {
    enum nx_filter_kind kind = p->high_pass_hz <= 0  ? NX_FILTER_LOW_PASS
                               : p->low_pass_hz <= 0 ? NX_FILTER_HIGH_PASS
                                                     : NX_FILTER_BAND_PASS;
    r = nx_filter_butterworth4(kind, p->high_pass_hz, p->low_pass_hz, rate_hz,
                               &spec->stages[spec->n_stages++], err);
  }
  return r;
}

int nx_chain_filter(const struct nx_plan_preprocessing *p, double rate_hz, double *x,
                    size_t n_channels, size_t n, struct nx_error *err) {
  struct nx_stream_spec spec = {0};
  int r = nx_chain_stages(p, rate_hz, &spec, err);
  if (!r && spec.n_stages)
    r = nx_filter_zero_phase_all(spec.stages, spec.n_stages, x, n_channels, n, err);
  return r;
}

int nx_chain_resample(double rate_hz, double to_hz, const double *x, size_t n_channels, size_t n,
                      double **x_out, size_t *n_out, struct nx_error *err) {
  size_t up, down, total;
  int r = nx_resample_ratio(rate_hz, to_hz, &up, &down, err);
  if (r < 0)
    return r;
  *n_out = nx_resample_length(n, up, down);
  if (!nx_size_mul(n_channels, *n_out, &total) || total > NX_CHAIN_SAMPLES_CAP)
    return nx_fail(err, NX_E_LIMIT, "the recording is too long: cut it into parts");
  _cleanup_free_ double *out = reallocarray(NULL, total, sizeof *out);
  if (!out)
    return nx_fail(err, NX_E_NOMEM, "resample: out of memory");
  r = nx_resample_all(x, n_channels, n, up, down, out, err);
  if (!r)
    *x_out = nx_steal(&out);
  return r;
}
