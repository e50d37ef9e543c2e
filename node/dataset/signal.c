#include "node/dataset/signal.h"

#include <math.h>

#define STAT_BOUND 5.0
#define LOG_FLOOR 1e-3

static double within(double x, double bound) {
  return fmax(-bound, fmin(bound, x));
}

void nx_signal_stats(const float *x, size_t n, double scale, double median_scale,
                     float stats_out[NX_SIGNAL_STATS]) {
  double mean = 0, m2 = 0, m3 = 0, m4 = 0, lag = 0, steps = 0, zeros = 0;
  for (size_t i = 0; i < n; i++)
    mean += (double)x[i] / (double)n;
  for (size_t i = 0; i < n; i++) {
    double d = (double)x[i] - mean, before = i ? (double)x[i - 1] - mean : 0;
    m2 += d * d / (double)n;
    m3 += d * d * d / (double)n;
    m4 += d * d * d * d / (double)n;
    lag += d * before / (double)n;
    steps += i ? (d - before) * (d - before) / (double)n : 0;
    zeros += (x[i] == 0) / (double)n;
  }
  double sd = sqrt(m2), safe = m2 > 0 ? m2 : 1;
  double relative = scale > 0 && median_scale > 0 ? log(scale / median_scale) : 0;
  const double stats[NX_SIGNAL_STATS] = {
      log(m2 + LOG_FLOOR),
      log(fmax(mean, 0) + LOG_FLOOR),
      lag / safe,
      log(steps / safe + LOG_FLOOR),
      log(m4 / (safe * safe) + 1),
      sd > 0 ? within(m3 / (sd * sd * sd), STAT_BOUND) : 0,
      zeros,
      within(relative, STAT_BOUND),
  };
  for (size_t i = 0; i < NX_SIGNAL_STATS; i++)
    stats_out[i] = (float)stats[i];
}

static int check_samples(const struct nx_signal *s, bool counts, const char *where,
                         struct nx_error *err) {
  for (size_t c = 0; c < s->n_channels; c++)
    for (size_t i = 0; i < s->n_samples; i++) {
      float x = s->x[c * s->n_samples + i];
      if (!isfinite(x))
        return nx_fail(err, NX_E_INVALID, "%s: channel %zu holds NaN or infinity at sample %zu",
                       where, c + 1, i);
      if (counts && x < 0)
        return nx_fail(err, NX_E_INVALID,
                       "%s: channel %zu is negative at sample %zu: a poisson loss is for counts",
                       where, c + 1, i);
    }
  return 0;
}

int nx_signal_check(const struct nx_signal *signal, const struct nx_plan_tokeniser *tokeniser,
                    size_t patches, const char *where, struct nx_error *err) {
  size_t least = patches * tokeniser->patch_samples;
  if (!nx_tokeniser_reads(tokeniser->kind, signal->modality))
    return nx_fail(err, NX_E_INVALID, "%s: the plan's tokeniser %s does not read %s", where,
                   nx_tokeniser_name(tokeniser->kind), nx_modality_name(signal->modality));
  if (!signal->n_channels)
    return nx_fail(err, NX_E_INVALID, "%s: no channels: leave it out, or mend its channel list",
                   where);
  if (signal->n_samples < least)
    return nx_fail(
        err, NX_E_INVALID, "%s: %zu samples at %g Hz; one window of the plan is %zu (%g s)", where,
        signal->n_samples, tokeniser->rate_hz, least, (double)least / tokeniser->rate_hz);
  return check_samples(signal, tokeniser->loss == NX_TOKEN_LOSS_POISSON, where, err);
}
