#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/size.h"
#include "node/dataset/preprocess.h"

#define RATIO_CAP 10000

static size_t common_divisor(size_t a, size_t b) {
  while (b) {
    size_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

size_t nx_resample_length(size_t n, size_t up, size_t down) {
  size_t g = common_divisor(up, down);
  up /= g;
  down /= g;
  return n / down * up + (n % down * up + down - 1) / down;
}

/* Modified Bessel function of the first kind, order 0, by its power series. */
static double bessel_i0(double x) {
  double term = 1, sum = 1;
  for (int k = 1; term > 1e-17 * sum; k++) {
    term *= x / 2 / k * (x / 2 / k);
    sum += term;
  }
  return sum;
}

/* firwin(2 * half + 1, 1 / rate, window=("kaiser", 5.0)) * gain; caller frees. */
static double *kaiser_low_pass(size_t half, size_t rate, double gain) {
  double *h = calloc(2 * half + 1, sizeof *h), sum = 0;
  if (!h)
    return NULL;
  for (size_t i = 0; i <= 2 * half; i++) {
    double m = (double)i - (double)half, ratio = m / (double)half, t = m / (double)rate;
    double sinc = m == 0 ? 1 : sin(M_PI * t) / (M_PI * t);
    h[i] = sinc / (double)rate * bessel_i0(5 * sqrt(fmax(0, 1 - ratio * ratio))) / bessel_i0(5);
    sum += h[i];
  }
  for (size_t i = 0; i <= 2 * half; i++)
    h[i] *= gain / sum;
  return h;
}

/* Taps of each phase, reversed so that they meet samples in ascending order:
 * bank[phase][n_taps], phase = (m * down + half) mod up. */
static double *polyphase(const double *h, size_t half, size_t up, size_t n_taps) {
  double *bank = calloc(up * n_taps, sizeof *bank);
  for (size_t phase = 0; bank && phase < up; phase++)
    for (size_t j = 0; j < n_taps; j++)
      if (phase + up * j <= 2 * half)
        bank[phase * n_taps + n_taps - 1 - j] = h[phase + up * j];
  return bank;
}

/* Eight sums at once: one would wait for itself. */
#define LANES 8
typedef double lanes __attribute__((vector_size(LANES * sizeof(double))));

static inline __attribute__((always_inline)) double dot(const double *a, const double *b,
                                                        size_t n) {
  lanes sums = {0}, x, y;
  double sum = 0;
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    memcpy(&x, a + i, sizeof x);
    memcpy(&y, b + i, sizeof y);
    sums += x * y;
  }
  for (; i < n; i++)
    sum += a[i] * b[i];
  for (size_t k = 0; k < LANES; k++)
    sum += sums[k];
  return sum;
}

struct bank {
  const double *taps;
  size_t n_taps, half, up, down;
};

/* Which taps meet which samples in output m. */
struct place {
  const double *taps;
  size_t first, n; /* of the samples */
};

static inline __attribute__((always_inline)) struct place place_of(const struct bank *bank,
                                                                   size_t m, size_t n) {
  size_t t = m * bank->down + bank->half, last = t / bank->up, n_taps = bank->n_taps;
  size_t j = last + 1 >= n_taps ? 0 : n_taps - 1 - last; /* first tap inside of x */
  size_t end = last < n ? n_taps : n_taps - (last - n + 1);
  return (struct place){bank->taps + t % bank->up * n_taps + j, last + 1 + j - n_taps, end - j};
}

static inline __attribute__((always_inline)) void
convolve_any(const double *x, size_t n, const struct bank *bank, double *out, size_t n_out) {
  for (size_t m = 0; m < n_out; m++) {
    struct place place = place_of(bank, m, n);
    out[m] = dot(place.taps, x + place.first, place.n);
  }
}

#if defined(__x86_64__)
/* The eight sums of dot() in two registers of AVX2: the same bits. */
typedef double quad __attribute__((vector_size(LANES / 2 * sizeof(double))));

static inline __attribute__((always_inline)) double dot_quads(const double *a, const double *b,
                                                              size_t n) {
  quad low = {0}, high = {0}, x, y;
  double sum = 0;
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    memcpy(&x, a + i, sizeof x);
    memcpy(&y, b + i, sizeof y);
    low += x * y;
    memcpy(&x, a + i + LANES / 2, sizeof x);
    memcpy(&y, b + i + LANES / 2, sizeof y);
    high += x * y;
  }
  for (; i < n; i++)
    sum += a[i] * b[i];
  for (size_t k = 0; k < LANES; k++)
    sum += k < LANES / 2 ? low[k] : high[k - LANES / 2];
  return sum;
}

__attribute__((target("avx2"))) static void
convolve_avx2(const double *x, size_t n, const struct bank *bank, double *out, size_t n_out) {
  for (size_t m = 0; m < n_out; m++) {
    struct place place = place_of(bank, m, n);
    out[m] = dot_quads(place.taps, x + place.first, place.n);
  }
}

/* The same sums in wider registers; without contraction the same bits, too. */
__attribute__((target("avx512f"))) static void
convolve_avx512(const double *x, size_t n, const struct bank *bank, double *out, size_t n_out) {
  convolve_any(x, n, bank, out, n_out);
}
#endif

static void convolve(const double *x, size_t n, const struct bank *bank, double *out,
                     size_t n_out) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    convolve_avx512(x, n, bank, out, n_out);
    return;
  }
  if (__builtin_cpu_supports("avx2")) {
    convolve_avx2(x, n, bank, out, n_out);
    return;
  }
#endif
  convolve_any(x, n, bank, out, n_out);
}

int nx_resample(const double *x, size_t n, size_t up, size_t down, double *out,
                struct nx_error *err) {
  size_t g = common_divisor(up, down);
  up /= g;
  down /= g;
  if (up == 0 || down == 0 || up > RATIO_CAP || down > RATIO_CAP || n > SIZE_MAX / RATIO_CAP / 2)
    return nx_fail(err, NX_E_INVALID, "cannot resample %zu samples by %zu/%zu", n, up, down);
  size_t n_out = nx_resample_length(n, up, down), rate = NX_MAX(up, down), half = 10 * rate;
  if (rate == 1) {
    for (size_t i = 0; i < n; i++)
      out[i] = x[i];
    return 0;
  }
  size_t n_taps = 2 * half / up + 1;
  _cleanup_free_ double *h = kaiser_low_pass(half, rate, (double)up);
  _cleanup_free_ double *bank = h ? polyphase(h, half, up, n_taps) : NULL;
  if (!bank)
    return nx_fail(err, NX_E_NOMEM, "resample: out of memory");
  const struct bank filters = {bank, n_taps, half, up, down};
  convolve(x, n, &filters, out, n_out);
  return 0;
}

int nx_resample_ratio(double from_hz, double to_hz, size_t *up_out, size_t *down_out,
                      struct nx_error *err) {
  double target = to_hz / from_hz, rest = target;
  double p0 = 0, q0 = 1, p1 = 1, q1 = 0;
  for (int i = 0; i < 40 && isfinite(target) && target > 0; i++) { /* continued fraction */
    double whole = floor(rest), p = whole * p1 + p0, q = whole * q1 + q0;
    if (p > RATIO_CAP || q > RATIO_CAP)
      break;
    p0 = p1, q0 = q1, p1 = p, q1 = q;
    if (p >= 1 && q >= 1 && fabs(p / q / target - 1) < 1e-6) {
      *up_out = (size_t)p;
      *down_out = (size_t)q;
      return 0;
    }
    rest = 1 / (rest - whole);
  }
  return nx_fail(err, NX_E_UNSUPPORTED, "%g Hz cannot be resampled to %g Hz: change rate_hz",
                 from_hz, to_hz);
}
