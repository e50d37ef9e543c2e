#include "node/dataset/targets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"

/* x[n] at rate, each sample lasting 1 / rate from shift_s on → means over out's samples. */
static void resample(const double *x, size_t n, double rate, double shift_s, double out_rate,
                     float *out, size_t n_out) {
  for (size_t i = 0; i < n_out; i++) {
    double from = ((double)i / out_rate - shift_s) * rate;
    double to = ((double)(i + 1) / out_rate - shift_s) * rate, sum = 0;
    out[i] = NAN;
    if (from < -1e-6 || to > (double)n + 1e-6)
      continue;
    size_t first = (size_t)fmax(floor(from + 1e-9), 0);
    for (size_t k = first; k < n && (double)k < to - 1e-9; k++)
      sum += x[k] * (fmin(to, (double)(k + 1)) - fmax(from, (double)k));
    out[i] = (float)(sum / (to - from)); /* NaN where a part is */
  }
}

static int find(const struct nx_loaded_signal *from, const char *name, size_t *out) {
  for (size_t c = 0; c < from->n_behaviour; c++)
    if (!strcmp(from->behaviour_names[c], name)) {
      *out = c;
      return 0;
    }
  return NX_E_NOT_FOUND;
}

/* One target on the behaviour's own clock. */
static int take(const char *name, const struct nx_behaviour *vocabulary, const char *species,
                const struct nx_loaded_signal *from, double *out, struct nx_error *err) {
  size_t c, n = from->n_behaviour_samples;
  if (find(from, name, &c) == 0) {
    for (size_t i = 0; i < n; i++)
      out[i] = (double)from->behaviour[c * n + i];
    return 0;
  }
  if (strcmp(name, NX_REGRESSION_SPEED) != 0)
    return nx_fail(err, NX_E_NOT_FOUND,
                   "no channel of behaviour is named %s: name them in the file's sidecar", name);
  if (!vocabulary)
    return nx_fail(
        err, NX_E_NOT_FOUND,
        "speed needs a vocabulary that says what the behaviour is: set data.behaviour in "
        "node.yaml");
  return nx_behaviour_speed(vocabulary, species, from->behaviour_unit, from->behaviour_hz,
                            from->behaviour, from->n_behaviour, n, out, err);
}

int nx_targets_fill(const struct nx_plan_regression *regression,
                    const struct nx_behaviour *vocabulary, const char *species,
                    const struct nx_loaded_signal *from, double shift_s, double rate_hz, size_t n,
                    float *targets_out, struct nx_error *err) {
  if (!from->n_behaviour || !from->n_behaviour_samples)
    return nx_fail(err, NX_E_NOT_FOUND, "no behaviour was recorded beside it");
  if (strcmp(regression->unit, NX_REGRESSION_ANY_UNIT) != 0 &&
      strcmp(regression->unit, from->behaviour_unit) != 0)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "behaviour is in \"%s\", the plan's regression.unit is %s", from->behaviour_unit,
                   regression->unit);
  _cleanup_free_ double *own = calloc(from->n_behaviour_samples, sizeof *own);
  if (!own)
    return nx_fail(err, NX_E_NOMEM, "targets: out of memory");
  for (uint32_t k = 0; k < regression->n_targets; k++) {
    int r = take(regression->targets[k], vocabulary, species, from, own, err);
    if (r < 0)
      return r;
    resample(own, from->n_behaviour_samples, from->behaviour_hz, shift_s, rate_hz,
             targets_out + k * n, n);
  }
  return 0;
}

void nx_targets_sum(const float *targets, size_t n_targets, size_t n, size_t patch,
                    struct nx_target_sums *sums) {
  for (size_t first = 0; first + patch <= n; first += patch) {
    double means[NX_REGRESSION_TARGETS] = {0};
    bool known = true;
    for (size_t k = 0; k < n_targets; k++) {
      for (size_t i = 0; i < patch; i++)
        means[k] += (double)targets[k * n + first + i] / (double)patch;
      known &= (bool)isfinite(means[k]);
    }
    sums->n += known;
    for (size_t k = 0; known && k < n_targets; k++) {
      sums->sum[k] += means[k];
      sums->squares[k] += means[k] * means[k];
    }
  }
}
