#include "node/dataset/quality.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/size.h"
#include "node/dataset/preprocess.h"

#define CHANNELS_CAP 4096
#define Z_LIMIT 5
#define CORRELATION_LIMIT 0.4
#define SHARE_LIMIT 0.01
#define NOISE_HZ 50
#define TOGETHER 16 /* channels filtered at once */

struct work {
  const double *x;
  size_t n_channels, n;
  double rate_hz;
  double *scratch; /* [n] */
  double *row;     /* [n_channels] */
  double *sorted;  /* [n_channels] */
  struct nx_channel_quality *quality;
};

/* (value - median) / (1.4826 MAD) over channels; 0 where all agree. */
static void robust_z_over_channels(struct work *w, double *values) {
  double median, scale;
  nx_robust_scale(values, w->n_channels, w->sorted, &median, &scale);
  for (size_t c = 0; c < w->n_channels; c++)
    values[c] = scale > 0 ? (values[c] - median) / scale : 0;
}

static void judge_values(struct work *w) {
  for (size_t c = 0; c < w->n_channels; c++) {
    const double *x = w->x + c * w->n;
    struct nx_channel_quality *q = &w->quality[c];
    double low = INFINITY, high = -INFINITY;
    size_t at_low = 0, at_high = 0;
    for (size_t i = 0; i < w->n; i++) {
      if (!isfinite(x[i]))
        q->reasons |= NX_BAD_NOT_A_NUMBER;
      low = fmin(low, x[i]);
      high = fmax(high, x[i]);
    }
    for (size_t i = 0; i < w->n; i++) {
      at_low += x[i] == low;
      at_high += x[i] == high;
    }
    q->clipped = (double)NX_MAX(at_low, at_high) / (double)w->n;
    if (!(high > low))
      q->reasons |= NX_BAD_FLAT;
    else if (q->clipped > SHARE_LIMIT)
      q->reasons |= NX_BAD_CLIPPED;
  }
}

static void judge_deviation(struct work *w) {
  for (size_t c = 0; c < w->n_channels; c++) {
    const double *x = w->x + c * w->n;
    double range = nx_quantile(x, w->n, 0.75, w->scratch) - nx_quantile(x, w->n, 0.25, w->scratch);
    w->row[c] = w->quality[c].amplitude = 0.7413 * range;
  }
  robust_z_over_channels(w, w->row);
  for (size_t c = 0; c < w->n_channels; c++) {
    w->quality[c].deviation_z = w->row[c];
    if (fabs(w->row[c]) > Z_LIMIT)
      w->quality[c].reasons |= NX_BAD_DEVIATION;
  }
}

/* unit[c][0..n): samples from .. from + n - 1 of every channel, centred, of length 1. */
static void unit_rows(const struct work *w, size_t from, size_t n, double *unit) {
  for (size_t c = 0; c < w->n_channels; c++) {
    const double *x = w->x + c * w->n + from;
    double mean = 0, norm = 0;
    for (size_t i = 0; i < n; i++)
      mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++) {
      unit[c * n + i] = x[i] - mean;
      norm += unit[c * n + i] * unit[c * n + i];
    }
    for (size_t i = 0; i < n; i++)
      unit[c * n + i] = norm > 0 ? unit[c * n + i] / sqrt(norm) : 0;
  }
}

/* The 98 % quantile of |r| of channel c with the others; itself counts as 0, as in PREP. */
static double correlation_of(struct work *w, const double *unit, size_t n, size_t c) {
  for (size_t k = 0; k < w->n_channels; k++) {
    double sum = 0;
    for (size_t i = 0; k != c && i < n; i++)
      sum += unit[c * n + i] * unit[k * n + i];
    w->row[k] = fabs(sum);
  }
  return nx_quantile(w->row, w->n_channels, 0.98, w->sorted);
}

static int judge_correlation(struct work *w, struct nx_error *err) {
  size_t second = (size_t)fmax(1, round(w->rate_hz)), windows = w->n / second;
  _cleanup_free_ double *unit = reallocarray(NULL, w->n_channels * w->n, sizeof *unit);
  if (!unit)
    return nx_fail(err, NX_E_NOMEM, "quality: out of memory");
  unit_rows(w, 0, w->n, unit);
  for (size_t c = 0; c < w->n_channels; c++)
    w->quality[c].correlation = correlation_of(w, unit, w->n, c);
  for (size_t i = 0; i < windows; i++) {
    unit_rows(w, i * second, second, unit);
    for (size_t c = 0; c < w->n_channels; c++)
      if (correlation_of(w, unit, second, c) < CORRELATION_LIMIT)
        w->quality[c].uncorrelated += 1 / (double)windows;
  }
  for (size_t c = 0; w->n_channels > 2 && c < w->n_channels; c++)
    if (w->quality[c].uncorrelated > SHARE_LIMIT)
      w->quality[c].reasons |= NX_BAD_CORRELATION;
  return 0;
}

/* slow: x below 50 Hz; what is left of x is overwritten into it. */
static double noise_of(struct work *w, const double *x, double *slow) {
  double median, below, above;
  nx_robust_scale(slow, w->n, w->scratch, &median, &below);
  for (size_t i = 0; i < w->n; i++)
    slow[i] = x[i] - slow[i];
  nx_robust_scale(slow, w->n, w->scratch, &median, &above);
  return below > 0 ? above / below : 0;
}

static int judge_noise(struct work *w, struct nx_error *err) {
  struct nx_sos low;
  if (w->rate_hz <= 2 * NOISE_HZ + 1 || w->n < 100)
    return 0;
  int r = nx_filter_butterworth4(NX_FILTER_LOW_PASS, 0, NOISE_HZ, w->rate_hz, &low, err);
  size_t together = NX_MIN((size_t)TOGETHER, w->n_channels);
  _cleanup_free_ double *slow = reallocarray(NULL, together * w->n, sizeof *slow);
  if (!slow)
    return nx_fail(err, NX_E_NOMEM, "quality: out of memory");
  for (size_t first = 0; !r && first < w->n_channels; first += together) {
    size_t here = NX_MIN(together, w->n_channels - first);
    memcpy(slow, w->x + first * w->n, here * w->n * sizeof *slow);
    r = nx_filter_zero_phase_all(&low, 1, slow, here, w->n, err);
    for (size_t c = 0; !r && c < here; c++)
      w->row[first + c] = noise_of(w, w->x + (first + c) * w->n, slow + c * w->n);
  }
  if (r < 0)
    return r;
  robust_z_over_channels(w, w->row);
  for (size_t c = 0; c < w->n_channels; c++) {
    w->quality[c].noise_z = w->row[c];
    if (w->row[c] > Z_LIMIT)
      w->quality[c].reasons |= NX_BAD_NOISE;
  }
  return 0;
}

int nx_quality(const double *x, size_t n_channels, size_t n, double rate_hz,
               struct nx_channel_quality *quality_out, struct nx_error *err) {
  if (n_channels == 0 || n_channels > CHANNELS_CAP || n < 2 || !(rate_hz > 0))
    return nx_fail(err, NX_E_INVALID, "quality of %zu channels of %zu samples", n_channels, n);
  _cleanup_free_ double *scratch = reallocarray(NULL, n, sizeof *scratch);
  _cleanup_free_ double *row = calloc(2 * n_channels, sizeof *row);
  if (!scratch || !row)
    return nx_fail(err, NX_E_NOMEM, "quality: out of memory");
  memset(quality_out, 0, n_channels * sizeof *quality_out);
  struct work w = {x, n_channels, n, rate_hz, scratch, row, row + n_channels, quality_out};
  judge_values(&w);
  for (size_t c = 0; c < n_channels; c++)
    if (quality_out[c].reasons & NX_BAD_NOT_A_NUMBER)
      return 0; /* nothing else can be computed: that channel has to go first */
  judge_deviation(&w);
  int r = judge_correlation(&w, err);
  return r < 0 ? r : judge_noise(&w, err);
}

const char *nx_bad_reason_name(enum nx_bad_reason reason) {
  switch (reason) {
  case NX_BAD_FLAT:
    return "flat";
  case NX_BAD_CLIPPED:
    return "clipped";
  case NX_BAD_DEVIATION:
    return "deviation";
  case NX_BAD_CORRELATION:
    return "correlation";
  case NX_BAD_NOISE:
    return "noise";
  case NX_BAD_NOT_A_NUMBER:
    return "not a number";
  }
  return "?";
}
