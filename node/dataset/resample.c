#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/size.h"
#include "node/dataset/resample_bank.h"

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

int nx_resample_bank_make(size_t up, size_t down, struct nx_resample_bank *bank_out,
                          struct nx_error *err) {
  size_t g = common_divisor(up, down);
  memset(bank_out, 0, sizeof *bank_out);
  if (up == 0 || down == 0 || up / g > RATIO_CAP || down / g > RATIO_CAP)
    return nx_fail(err, NX_E_INVALID, "cannot resample by %zu/%zu", up, down);
  struct nx_resample_bank bank = {.up = up / g, .down = down / g};
  size_t rate = NX_MAX(bank.up, bank.down);
  if (rate > 1) {
    bank.half = 10 * rate;
    bank.n_taps = 2 * bank.half / bank.up + 1;
    _cleanup_free_ double *h = kaiser_low_pass(bank.half, rate, (double)bank.up);
    bank.taps = h ? polyphase(h, bank.half, bank.up, bank.n_taps) : NULL;
    if (!bank.taps)
      return nx_fail(err, NX_E_NOMEM, "resample: out of memory");
  }
  *bank_out = bank;
  return 0;
}

struct nx_resample_place nx_resample_place_of(const struct nx_resample_bank *bank, size_t m,
                                              size_t n) {
  size_t t = m * bank->down + bank->half, last = t / bank->up, n_taps = bank->n_taps;
  size_t j = last + 1 >= n_taps ? 0 : n_taps - 1 - last; /* first tap inside of x */
  size_t end = last < n ? n_taps : n_taps - (last - n + 1);
  return (struct nx_resample_place){bank->taps + t % bank->up * n_taps + j, last + 1 + j - n_taps,
                                    end - j, last};
}

void nx_resample_bank_finish(struct nx_resample_bank *bank) {
  free(bank->taps);
  memset(bank, 0, sizeof *bank);
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
