#include "node/dataset/chain.h"

#include "node/dataset/preprocess.h"

#define NOTCH_QUALITY 30

int nx_chain_stages(const struct nx_pipeline *p, double rate_hz, struct nx_stream_spec *spec,
                    struct nx_error *err) {
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
