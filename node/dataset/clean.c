#include "node/dataset/clean.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/dataset/quality.h"

#define STIFFNESS 4
#define TERMS 50
#define DIAGONAL 1e-5
#define LEAST_PLACES 4

static const char *reason_of(unsigned reasons) {
  for (unsigned bit = 1; bit <= reasons; bit <<= 1)
    if (reasons & bit)
      return nx_bad_reason_name((enum nx_bad_reason)bit);
  return "";
}

int nx_clean_judge(struct nx_recording *recording, const struct nx_plan_cleaning *cleaning,
                   bool *bad_out, struct nx_error *err) {
  const struct nx_recording_info *info = nx_recording_info(recording);
  _cleanup_free_ uint32_t *picks = calloc(NX_RECORDING_CHANNELS, sizeof *picks);
  _cleanup_free_ struct nx_channel_quality *quality =
      calloc(NX_RECORDING_CHANNELS, sizeof *quality);
  size_t n = 0, n_bad = 0, worst = 0;
  if (!picks || !quality)
    return nx_fail(err, NX_E_NOMEM, "quality: out of memory");
  memset(bad_out, 0, info->n_channels * sizeof *bad_out);
  int r = nx_quality_of_recording(recording, picks, quality, &n, err);
  for (size_t i = 0; !r && i < n; i++) {
    bad_out[picks[i]] = quality[i].reasons != 0;
    n_bad += quality[i].reasons != 0;
    worst = quality[i].reasons ? i : worst;
  }
  if (!r && n && (double)n_bad > cleaning->most_bad_share * (double)n)
    return nx_fail(err, NX_E_FORMAT,
                   "%zu of %zu channels are bad (%s: %s), more than the plan's "
                   "cleaning.most_bad_share of %g: take the file out, see neurox-node check",
                   n_bad, n, info->channels[picks[worst]].name, reason_of(quality[worst].reasons),
                   cleaning->most_bad_share);
  return r;
}

/* ---- spherical splines --------------------------------------------------------------------- */

/* sum over n of (2n + 1) / (n (n + 1))^m P_n(cos) / 4 pi. */
static double spline_g(double cosine) {
  double before = 1, now = cosine, sum = 0;
  for (int n = 1; n <= TERMS; n++) {
    sum += (2 * n + 1) / pow(n * (n + 1.0), STIFFNESS) * now;
    double next = ((2 * n + 1) * cosine * now - n * before) / (n + 1);
    before = now;
    now = next;
  }
  return sum / (4 * M_PI);
}

static double cosine_of(const double *a, const double *b) {
  return fmax(-1, fmin(1, a[0] * b[0] + a[1] * b[1] + a[2] * b[2]));
}

/* Solves a[n][n] x = b[n][m] in place by elimination with row exchange; false: singular. */
static bool solve(double *a, double *b, size_t n, size_t m) {
  for (size_t k = 0; k < n; k++) {
    size_t pivot = k;
    for (size_t i = k + 1; i < n; i++)
      if (fabs(a[i * n + k]) > fabs(a[pivot * n + k]))
        pivot = i;
    if (!(fabs(a[pivot * n + k]) > 1e-300))
      return false;
    for (size_t j = 0; pivot != k && j < n + m; j++) {
      double *row = j < n ? a + k * n + j : b + k * m + j - n;
      double *other = j < n ? a + pivot * n + j : b + pivot * m + j - n;
      double swap = *row;
      *row = *other;
      *other = swap;
    }
    for (size_t i = 0; i < n; i++) {
      double factor = i == k ? 0 : a[i * n + k] / a[k * n + k];
      for (size_t j = k; factor != 0 && j < n; j++)
        a[i * n + j] -= factor * a[k * n + j];
      for (size_t j = 0; factor != 0 && j < m; j++)
        b[i * m + j] -= factor * b[k * m + j];
    }
  }
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < m; j++)
      b[i * m + j] /= a[i * n + i];
  return true;
}

/* The system is symmetric: weights of a place are the solution for its own right side. */
int nx_clean_spline(const double *from, size_t n_from, const double *to, size_t n_to, double *w_out,
                    struct nx_error *err) {
  size_t n = n_from + 1;
  if (n_from < LEAST_PLACES)
    return nx_fail(err, NX_E_FORMAT,
                   "only %zu good electrodes have a known place, to interpolate from: drop bad "
                   "channels instead",
                   n_from);
  _cleanup_free_ double *a = calloc(n * n, sizeof *a), *b = calloc(n * n_to + 1, sizeof *b);
  if (!a || !b)
    return nx_fail(err, NX_E_NOMEM, "interpolate: out of memory");
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++)
      a[i * n + j] = i < n_from && j < n_from
                         ? spline_g(cosine_of(from + 3 * i, from + 3 * j)) + (i == j) * DIAGONAL
                         : (i < n_from) != (j < n_from);
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < n_to; k++)
      b[i * n_to + k] = i < n_from ? spline_g(cosine_of(from + 3 * i, to + 3 * k)) : 1;
  if (!solve(a, b, n, n_to))
    return nx_fail(err, NX_E_FORMAT, "two electrodes are at one place: correct the positions");
  for (size_t k = 0; k < n_to; k++)
    for (size_t i = 0; i < n_from; i++)
      w_out[k * n_from + i] = b[i * n_to + k];
  return 0;
}

/* ---- artefacts ----------------------------------------------------------------------------- */

void nx_clean_windows(const struct nx_plan_cleaning *cleaning, const double *x, const double *scale,
                      size_t n_channels, size_t n, size_t n_window, bool *bad_out) {
  for (size_t k = 0; k < n / n_window; k++) {
    size_t beyond = 0;
    for (size_t c = 0; c < n_channels; c++) {
      const double *at = x + c * n + k * n_window;
      double most = 0;
      for (size_t i = 0; i < n_window; i++)
        most = fmax(most, fabs(at[i]));
      beyond += most > cleaning->artefact_z * scale[c];
    }
    bad_out[k] = beyond > 0 && (double)beyond >= cleaning->artefact_share * (double)n_channels;
  }
}

bool nx_clean_next_stretch(const bool *bad, size_t n_windows, size_t n_window, size_t end,
                           size_t *first, size_t *n_out) {
  if (!bad) {
    *n_out = end - *first;
    return *first < end;
  }
  for (size_t k = *first / n_window; k < n_windows && *first < end; k++) {
    if (bad[k]) {
      *first = (k + 1) * n_window;
      continue;
    }
    bool last = k + 1 == n_windows || bad[k + 1] || (k + 1) * n_window >= end;
    *n_out = NX_MIN((k + 1) * n_window, end) - *first;
    if (last && *n_out >= n_window)
      return true;
    if (last)
      *first = (k + 1) * n_window;
  }
  return false;
}
