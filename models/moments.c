#include "models/moments.h"

#include <math.h>
#include <string.h>

static double bounded(double x) {
  return fmax(-NX_MOMENT_BOUND, fmin(NX_MOMENT_BOUND, x));
}

void nx_moments_add(struct nx_moments *m, double y, double p) {
  y = bounded(y);
  p = bounded(p);
  m->n += 1;
  m->y += y;
  m->yy += y * y;
  m->p += p;
  m->pp += p * p;
  m->yp += y * p;
}

/* Sums of squares about the mean; what is left of rounding counts as none. */
static double about_mean(double squares, double sum, double n) {
  double v = squares - sum * sum / n;
  return v > 1e-9 * squares ? v : 0;
}

double nx_moments_r_squared(const struct nx_moments *m) {
  double total = m->n >= 2 ? about_mean(m->yy, m->y, m->n) : 0;
  return total > 0 ? 1 - (m->yy - 2 * m->yp + m->pp) / total : NAN;
}

double nx_moments_correlation(const struct nx_moments *m) {
  double y = m->n >= 2 ? about_mean(m->yy, m->y, m->n) : 0;
  double p = m->n >= 2 ? about_mean(m->pp, m->p, m->n) : 0;
  return y > 0 && p > 0 ? (m->yp - m->y * m->p / m->n) / sqrt(y * p) : NAN;
}

void nx_moments_to_lanes(const struct nx_target_moments *moments, uint64_t *aux) {
  uint64_t sum = 0;
  for (size_t k = 0; k < moments->n_targets; k++) {
    const struct nx_moments *m = &moments->of[k];
    const double values[NX_MOMENTS - 1] = {m->y, m->yy, m->p, m->pp, m->yp};
    uint64_t *lanes = aux + NX_AUX_MOMENTS + NX_MOMENTS * k;
    lanes[0] = (uint64_t)m->n;
    for (size_t i = 1; i < NX_MOMENTS; i++)
      lanes[i] = nx_aux_encode(values[i - 1], NX_AUX_LOSS_SCALE);
    for (size_t i = 0; i < NX_MOMENTS; i++)
      sum += lanes[i];
  }
  aux[NX_AUX_BALANCE] = 0 - sum;
}

void nx_moments_from_lanes(const uint64_t *aux, struct nx_target_moments *out) {
  uint64_t sum = 0;
  memset(out, 0, sizeof *out);
  for (size_t i = NX_AUX_MOMENTS; i <= NX_AUX_BALANCE; i++)
    sum += aux[i];
  if (sum)
    return;
  for (size_t k = 0; k < NX_REGRESSION_TARGETS; k++) {
    const uint64_t *lanes = aux + NX_AUX_MOMENTS + NX_MOMENTS * k;
    double values[NX_MOMENTS - 1];
    if (!lanes[0])
      return;
    for (size_t i = 1; i < NX_MOMENTS; i++)
      values[i - 1] = nx_aux_decode(lanes[i], NX_AUX_LOSS_SCALE);
    out->of[out->n_targets++] = (struct nx_moments){(double)lanes[0], values[0], values[1],
                                                    values[2],        values[3], values[4]};
  }
}

static double mean_of(const struct nx_target_moments *moments,
                      double (*figure)(const struct nx_moments *)) {
  double sum = 0;
  for (size_t k = 0; k < moments->n_targets; k++)
    sum += figure(&moments->of[k]);
  return sum / (double)moments->n_targets;
}

double nx_moments_mean_r_squared(const struct nx_target_moments *moments) {
  return mean_of(moments, nx_moments_r_squared);
}

double nx_moments_mean_correlation(const struct nx_target_moments *moments) {
  return mean_of(moments, nx_moments_correlation);
}
