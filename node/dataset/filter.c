#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/size.h"
#include "node/dataset/preprocess.h"

#define ORDER 4
#define PAIRS_MAX ORDER /* a band-pass has as many conjugate pairs as the order */

/* One of each conjugate pair of analogue poles, warped for the bilinear transform at rate 2
 * (scipy.signal.iirfilter); returns how many. */
static size_t analogue_poles(enum nx_filter_kind kind, double low, double high,
                             double complex poles[PAIRS_MAX]) {
  size_t n = 0;
  for (int k = 0; k < ORDER / 2; k++) {
    double complex p = -cexp(I * M_PI * (2 * k - ORDER + 1) / (2 * ORDER));
    double complex scaled = p * (high - low) / 2;
    double complex root = csqrt(scaled * scaled - low * high);
    switch (kind) {
    case NX_FILTER_LOW_PASS:
      poles[n++] = p * high;
      break;
    case NX_FILTER_HIGH_PASS:
      poles[n++] = low / p;
      break;
    case NX_FILTER_BAND_PASS:
      poles[n++] = scaled + root;
      poles[n++] = scaled - root;
      break;
    }
  }
  return n;
}

/* Gain of the digital filter so that the analogue one has gain k. */
static double digital_gain(enum nx_filter_kind kind, double low, double high,
                           const double complex *poles, size_t n) {
  double gain = kind == NX_FILTER_LOW_PASS    ? pow(high, ORDER)
                : kind == NX_FILTER_BAND_PASS ? pow(high - low, ORDER)
                                              : 1;
  double zeros_at_0 = kind == NX_FILTER_LOW_PASS ? 0 : ORDER;
  double complex denominator = 1;
  for (size_t i = 0; i < n; i++)
    denominator *= (4 - poles[i]) * (4 - conj(poles[i]));
  return gain * pow(4, zeros_at_0) / creal(denominator);
}

static int by_distance_to_circle(const void *a, const void *b) {
  double x = fabs(1 - cabs(*(const double complex *)a));
  double y = fabs(1 - cabs(*(const double complex *)b));
  return (x < y) - (x > y); /* the nearest last, as scipy's zpk2sos orders sections */
}

int nx_filter_butterworth4(enum nx_filter_kind kind, double low_hz, double high_hz, double rate_hz,
                           struct nx_sos *sos_out, struct nx_error *err) {
  bool uses_low = kind != NX_FILTER_LOW_PASS, uses_high = kind != NX_FILTER_HIGH_PASS;
  if ((uses_low && !(low_hz > 0 && low_hz < rate_hz / 2)) ||
      (uses_high && !(high_hz > 0 && high_hz < rate_hz / 2)) ||
      (uses_low && uses_high && low_hz >= high_hz))
    return nx_fail(err, NX_E_INVALID,
                   "filter edges %g and %g Hz do not fit a rate of %g Hz: change the plan's "
                   "high_pass_hz or low_pass_hz",
                   low_hz, high_hz, rate_hz);
  double low = uses_low ? 4 * tan(M_PI * low_hz / rate_hz) : 0;
  double high = uses_high ? 4 * tan(M_PI * high_hz / rate_hz) : 0;
  double complex poles[PAIRS_MAX] = {0};
  size_t n = analogue_poles(kind, low, high, poles);
  double gain = digital_gain(kind, low, high, poles, n);
  for (size_t i = 0; i < n; i++)
    poles[i] = (4 + poles[i]) / (4 - poles[i]);
  qsort(poles, n, sizeof *poles, by_distance_to_circle);
  size_t at_plus = kind == NX_FILTER_LOW_PASS ? 0 : kind == NX_FILTER_HIGH_PASS ? n : n / 2;
  memset(sos_out, 0, sizeof *sos_out);
  sos_out->n_sections = n;
  for (size_t i = n; i-- > 0;) { /* poles next to the circle choose their zeros first */
    bool near_plus = creal(poles[i]) >= 0;
    bool plus = at_plus > 0 && (near_plus || at_plus > i);
    at_plus -= plus;
    double scale = i == 0 ? gain : 1;
    double row[6] = {scale, (plus ? -2 : 2) * scale, scale,
                     1,     -2 * creal(poles[i]),    creal(poles[i] * conj(poles[i]))};
    memcpy(sos_out->s[i], row, sizeof row);
  }
  return 0;
}

int nx_filter_notch(double notch_hz, double quality, double rate_hz, struct nx_sos *sos_out,
                    struct nx_error *err) {
  if (!(notch_hz > 0 && notch_hz < rate_hz / 2))
    return nx_fail(err, NX_E_INVALID,
                   "a notch at %g Hz does not fit a rate of %g Hz: set the plan's notch_hz to 0",
                   notch_hz, rate_hz);
  double w0 = 2 * M_PI * notch_hz / rate_hz;
  double gain = 1 / (1 + tan(w0 / quality / 2)), c = cos(w0);
  double row[6] = {gain, -2 * gain * c, gain, 1, -2 * gain * c, 2 * gain - 1};
  memset(sos_out, 0, sizeof *sos_out);
  sos_out->n_sections = 1;
  memcpy(sos_out->s[0], row, sizeof row);
  return 0;
}

/* scipy.signal.sosfilt_zi: the state of a cascade that has always seen ones. */
static void steady_state(const struct nx_sos *sos, double zi[NX_SOS_SECTIONS][2]) {
  double scale = 1;
  for (size_t s = 0; s < sos->n_sections; s++) {
    const double *c = sos->s[s];
    double b1 = c[1] - c[4] * c[0], b2 = c[2] - c[5] * c[0], sum_a = 1 + c[4] + c[5];
    double z0 = (b1 + b2) / sum_a;
    zi[s][0] = scale * z0;
    zi[s][1] = scale * ((1 + c[4]) * z0 - b1);
    scale *= (c[0] + c[1] + c[2]) / sum_a;
  }
}

/* Eight channels side by side: an IIR filter waits for its own last sample, so one channel
 * cannot fill a vector unit, eight can. */
#define LANES 8
typedef double lanes __attribute__((vector_size(LANES * sizeof(double)), aligned(64)));

/* The cascade over x[0], x[step], …, transposed direct form II, state in float64. The number
 * of sections is a constant where this is inlined, so that all state is in registers. */
static inline __attribute__((always_inline)) void cascade(const struct nx_sos *sos,
                                                          const double zi[NX_SOS_SECTIONS][2],
                                                          lanes *x, size_t n, ptrdiff_t step,
                                                          size_t n_sections) {
  lanes z0[NX_SOS_SECTIONS], z1[NX_SOS_SECTIONS];
  for (size_t s = 0; s < n_sections; s++) {
    z0[s] = zi[s][0] * x[0];
    z1[s] = zi[s][1] * x[0];
  }
  for (size_t i = 0; i < n; i++, x += step) {
    lanes v = *x;
    for (size_t s = 0; s < n_sections; s++) {
      const double *c = sos->s[s];
      lanes y = c[0] * v + z0[s];
      z0[s] = c[1] * v - c[4] * y + z1[s];
      z1[s] = c[2] * v - c[5] * y;
      v = y;
    }
    *x = v;
  }
}

static inline __attribute__((always_inline)) void cascades(const struct nx_sos *sos,
                                                           const double zi[NX_SOS_SECTIONS][2],
                                                           lanes *x, size_t n, ptrdiff_t step) {
  switch (sos->n_sections) {
  case 1:
    cascade(sos, zi, x, n, step, 1);
    return;
  case 2:
    cascade(sos, zi, x, n, step, 2);
    return;
  case 4:
    cascade(sos, zi, x, n, step, 4);
    return;
  default:
    cascade(sos, zi, x, n, step, sos->n_sections);
  }
}

#if defined(__x86_64__)
/* Four channels of a row of eight: what a register of AVX2 holds. The state of a cascade of four
 * such sections fits into its sixteen registers, that of eight channels does not. */
typedef double quad __attribute__((vector_size(LANES / 2 * sizeof(double))));

struct quad_state {
  quad z0[NX_SOS_SECTIONS], z1[NX_SOS_SECTIONS];
};

static inline __attribute__((always_inline)) void cascade_quads(const struct nx_sos *sos,
                                                                struct quad_state *state, quad *x,
                                                                size_t n, ptrdiff_t step,
                                                                size_t n_sections) {
  struct quad_state z = *state;
  for (size_t i = 0; i < n; i++, x += 2 * step) {
    quad v = *x;
    for (size_t s = 0; s < n_sections; s++) {
      const double *c = sos->s[s];
      quad y = c[0] * v + z.z0[s];
      z.z0[s] = c[1] * v - c[4] * y + z.z1[s];
      z.z1[s] = c[2] * v - c[5] * y;
      v = y;
    }
    *x = v;
  }
  *state = z;
}

/* The same arithmetic as cascade(), and so the same bits: both halves of a row in turn, in blocks
 * that stay in the cache. */
__attribute__((target("avx2"))) static void run_avx2(const struct nx_sos *sos,
                                                     const double zi[NX_SOS_SECTIONS][2], lanes *x,
                                                     size_t n, ptrdiff_t step) {
  enum { BLOCK = 256 };
  struct quad_state states[2];
  quad *rows = (quad *)x;
  for (size_t half = 0; half < 2; half++)
    for (size_t s = 0; s < sos->n_sections; s++) {
      states[half].z0[s] = zi[s][0] * rows[half];
      states[half].z1[s] = zi[s][1] * rows[half];
    }
  for (size_t first = 0; first < n; first += BLOCK, rows += 2 * BLOCK * step)
    for (size_t half = 0; half < 2; half++) {
      size_t here = NX_MIN((size_t)BLOCK, n - first);
      if (sos->n_sections == 1)
        cascade_quads(sos, &states[half], rows + half, here, step, 1);
      else if (sos->n_sections == 4)
        cascade_quads(sos, &states[half], rows + half, here, step, 4);
      else
        cascade_quads(sos, &states[half], rows + half, here, step, sos->n_sections);
    }
}

/* The same arithmetic in wider registers; without contraction the same bits, too. */
__attribute__((target("avx512f"))) static void run_avx512(const struct nx_sos *sos,
                                                          const double zi[NX_SOS_SECTIONS][2],
                                                          lanes *x, size_t n, ptrdiff_t step) {
  cascades(sos, zi, x, n, step);
}
#endif

static void run(const struct nx_sos *sos, const double zi[NX_SOS_SECTIONS][2], lanes *x, size_t n,
                ptrdiff_t step) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    run_avx512(sos, zi, x, n, step);
    return;
  }
  if (__builtin_cpu_supports("avx2")) {
    run_avx2(sos, zi, x, n, step);
    return;
  }
#endif
  cascades(sos, zi, x, n, step);
}

static size_t padding_of(const struct nx_sos *sos) {
  size_t b_zero = 0, a_zero = 0;
  for (size_t s = 0; s < sos->n_sections; s++) {
    b_zero += sos->s[s][2] == 0;
    a_zero += sos->s[s][5] == 0;
  }
  return 3 * (2 * sos->n_sections + 1 - NX_MIN(b_zero, a_zero));
}

/* x[n_channels][n], at most LANES channels, side by side. */
static void interleave(const double *x, size_t n_channels, size_t n, lanes *out) {
  for (size_t i = 0; i < n; i++) {
    lanes v = {0};
    for (size_t c = 0; c < n_channels; c++)
      v[c] = x[c * n + i];
    out[i] = v;
  }
}

static void separate(const lanes *in, size_t n_channels, size_t n, double *out) {
  enum { BLOCK = 64 };
  for (size_t first = 0; first < n; first += BLOCK)
    for (size_t c = 0; c < n_channels; c++)
      for (size_t i = first; i < n && i < first + BLOCK; i++)
        out[c * n + i] = in[i][c];
}

/* One filter, forward and backward over the odd extension of x[n]; room for pad on both sides. */
static void filter_lanes(const struct nx_sos *sos, lanes *x, size_t n) {
  size_t pad = padding_of(sos);
  double zi[NX_SOS_SECTIONS][2];
  for (size_t i = 0; i < pad; i++) {
    x[(ptrdiff_t)i - (ptrdiff_t)pad] = 2 * x[0] - x[pad - i];
    x[n + i] = 2 * x[n - 1] - x[n - 2 - i];
  }
  steady_state(sos, zi);
  run(sos, zi, x - pad, n + 2 * pad, 1);
  run(sos, zi, x + n + pad - 1, n + 2 * pad, -1);
}

int nx_filter_zero_phase_all(const struct nx_sos *stages, size_t n_stages, double *x,
                             size_t n_channels, size_t n, struct nx_error *err) {
  size_t pad = 0, total, size;
  for (size_t s = 0; s < n_stages; s++)
    pad = NX_MAX(pad, padding_of(&stages[s]));
  if (n <= pad)
    return nx_fail(err, NX_E_INVALID, "%zu samples are too few to filter: %zu are needed", n,
                   pad + 1);
  if (!nx_size_add(n, 2 * pad, &total) || !nx_size_mul(total, sizeof(lanes), &size))
    return nx_fail(err, NX_E_LIMIT, "%zu samples are too many to filter", n);
  _cleanup_free_ lanes *room = aligned_alloc(sizeof(lanes), size);
  if (!room)
    return nx_fail(err, NX_E_NOMEM, "filter %zu samples: out of memory", n);
  for (size_t first = 0; first < n_channels; first += LANES) {
    size_t here = NX_MIN((size_t)LANES, n_channels - first);
    interleave(x + first * n, here, n, room + pad);
    for (size_t s = 0; s < n_stages; s++)
      filter_lanes(&stages[s], room + pad, n);
    separate(room + pad, here, n, x + first * n);
  }
  return 0;
}

int nx_filter_zero_phase(const struct nx_sos *sos, double *x, size_t n, struct nx_error *err) {
  return nx_filter_zero_phase_all(sos, 1, x, 1, n, err);
}
