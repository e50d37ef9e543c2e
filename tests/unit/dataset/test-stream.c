/* A recording longer than a stream's blocks, pushed in pieces of any size, comes out as if it were
 * filtered whole. The whole is done here as scipy's sosfiltfilt and resample_poly are written; that
 * those definitions are scipy's own results is test-preprocess.c's. */
#include "node/dataset/stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/dataset/lanes_kernels.h"
#include "tests/support/shared_data.h"

#define CHANNELS 19 /* one group of sixteen lanes and a part of another */
#define N 50000     /* look-ahead and block of a 2 Hz high-pass at 200 Hz are 4,000 and 16,000 */
#define RATE 200
#define PAD_MOST 64

static double *make_signal(void) {
  double *x = calloc((size_t)CHANNELS * N, sizeof *x);
  uint32_t state = 1;
  assert_non_null(x);
  for (size_t c = 0; c < CHANNELS; c++)
    for (size_t i = 0; i < N; i++) {
      state = state * 1664525 + 1013904223;
      x[c * N + i] = 1e3 * (double)c + 50 * sin(0.01 * (double)(c + 1) * (double)i) + state / 1e8;
    }
  return x;
}

static void cascade(const struct nx_sos *sos, double *x, size_t n) {
  double scale = 1, first = x[0];
  for (size_t s = 0; s < sos->n_sections; s++) {
    const double *c = sos->s[s];
    double sum_a = 1 + c[4] + c[5], z0, z1;
    z0 = (c[1] - c[4] * c[0] + c[2] - c[5] * c[0]) / sum_a;
    z1 = (1 + c[4]) * z0 - (c[1] - c[4] * c[0]);
    z0 *= scale * first, z1 *= scale * first;
    scale *= (c[0] + c[1] + c[2]) / sum_a;
    for (size_t i = 0; i < n; i++) {
      double y = c[0] * x[i] + z0;
      z0 = c[1] * x[i] - c[4] * y + z1;
      z1 = c[2] * x[i] - c[5] * y;
      x[i] = y;
    }
  }
}

static void turn(double *x, size_t n) {
  for (size_t i = 0; i < n / 2; i++) {
    double swap = x[i];
    x[i] = x[n - 1 - i];
    x[n - 1 - i] = swap;
  }
}

static void whole_filter(const struct nx_sos *sos, double *x, size_t n) {
  size_t pad = 3 * (2 * sos->n_sections + 1);
  double *wide = calloc(n + 2 * PAD_MOST, sizeof *wide);
  assert_non_null(wide);
  memcpy(wide + pad, x, n * sizeof *x);
  for (size_t i = 0; i < pad; i++) {
    wide[i] = 2 * x[0] - x[pad - i];
    wide[pad + n + i] = 2 * x[n - 1] - x[n - 2 - i];
  }
  for (int way = 0; way < 2; way++) {
    cascade(sos, wide, n + 2 * pad);
    turn(wide, n + 2 * pad);
  }
  memcpy(x, wide + pad, n * sizeof *x);
  free(wide);
}

static struct nx_stream_spec make_spec(size_t up, size_t down, size_t n_stages) {
  struct nx_stream_spec spec = {
      .n_channels = CHANNELS, .average = true, .n_stages = n_stages, .up = up, .down = down};
  assert_int_equal(nx_filter_notch(50, 30, RATE, &spec.stages[0], NULL), 0);
  assert_int_equal(nx_filter_butterworth4(NX_FILTER_BAND_PASS, 2, 40, RATE, &spec.stages[1], NULL),
                   0);
  return spec;
}

/* Pushes of piece samples; *n_out of every channel. */
static double *by_stream(const struct nx_stream_spec *spec, const double *x, size_t n, size_t piece,
                         size_t *n_out) {
  struct nx_stream *stream = NULL;
  struct nx_error err = {0};
  size_t expected = nx_resample_length(n, spec->up, spec->down), done = 0, m, now;
  double *out = calloc(CHANNELS * expected + 1, sizeof *out);
  const double *y;
  if (nx_stream_new(spec, &stream, &err) < 0)
    fail_msg("%s", err.text);
  for (size_t first = 0; first < n; first += now) {
    now = NX_MIN(piece, n - first);
    if (nx_stream_push(stream, x + first, N, now, first + now == n, &y, &m, &err) < 0)
      fail_msg("%s", err.text);
    assert_true(done + m <= expected);
    for (size_t c = 0; m && c < CHANNELS; c++)
      memcpy(out + c * expected + done, y + c * m, m * sizeof *y);
    done += m;
  }
  assert_int_equal(done, expected);
  nx_stream_destroy(stream);
  *n_out = expected;
  return out;
}

static void check_close(const double *got, const double *want, size_t n) {
  for (size_t c = 0; c < CHANNELS; c++) {
    double power = 0, worst = 0;
    for (size_t i = c * n; i < (c + 1) * n; i++) {
      power += want[i] * want[i] / (double)n;
      worst = fmax(worst, fabs(got[i] - want[i]));
    }
    assert_true(power > 0);
    assert_true(worst < 1e-10 * sqrt(power));
  }
}

static void a_long_recording_is_filtered_as_if_whole(void **state) {
  (void)state;
  struct nx_stream_spec spec = make_spec(1, 1, 2);
  double *x = make_signal(), *want = make_signal();
  nx_reference_average(want, CHANNELS, N);
  for (size_t c = 0; c < CHANNELS; c++)
    for (size_t k = 0; k < 2; k++)
      whole_filter(&spec.stages[k], want + c * N, N);
  static const size_t pieces[] = {777, 16384, N};
  for (size_t k = 0; k < NX_ARRAY_LENGTH(pieces); k++) {
    size_t n;
    double *got = by_stream(&spec, x, N, pieces[k], &n);
    check_close(got, want, N);
    free(got);
  }
  free(x);
  free(want);
}

static void pieces_change_nothing_in_resampling(void **state) {
  (void)state;
  static const size_t ratios[][2] = {{2, 5}, {32, 125}, {5, 3}, {1, 100}};
  static const size_t pieces[] = {1, 13, 600};
  double *x = make_signal();
  for (size_t k = 0; k < NX_ARRAY_LENGTH(ratios); k++) {
    struct nx_stream_spec spec = make_spec(ratios[k][0], ratios[k][1], 0);
    size_t n = 3001, n_out;
    double *want = by_stream(&spec, x, n, n, &n_out);
    for (size_t i = 0; i < NX_ARRAY_LENGTH(pieces); i++) {
      double *got = by_stream(&spec, x, n, pieces[i], &n_out);
      assert_memory_equal(got, want, CHANNELS * n_out * sizeof *want);
      free(got);
    }
    free(want);
  }
  free(x);
}

static void what_is_too_short_is_refused_at_its_end(void **state) {
  (void)state;
  struct nx_stream_spec spec = make_spec(1, 4, 2);
  struct nx_stream *stream = NULL;
  struct nx_error err = {0};
  double *x = make_signal();
  const double *y;
  size_t m;
  assert_int_equal(nx_stream_new(&spec, &stream, &err), 0);
  assert_int_equal(nx_stream_push(stream, x, N, 20, false, &y, &m, &err), 0);
  assert_int_equal(m, 0);
  assert_int_equal(nx_stream_push(stream, x + 20, N, 7, true, &y, &m, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "27 samples are too few to filter: 28"));
  nx_stream_destroy(stream);
  free(x);
}

static void a_filter_that_never_ends_is_refused(void **state) {
  (void)state;
  struct nx_stream_spec spec = {.n_channels = 4096, .n_stages = 1, .up = 1, .down = 1};
  struct nx_stream *stream = NULL;
  struct nx_error err = {0};
  assert_int_equal(
      nx_filter_butterworth4(NX_FILTER_HIGH_PASS, 0.001, 0, 20000, &spec.stages[0], NULL), 0);
  assert_int_equal(nx_stream_new(&spec, &stream, &err), NX_E_LIMIT);
  assert_non_null(strstr(err.text, "high_pass_hz"));
  spec.n_samples = 2000; /* a short recording needs no more than itself */
  assert_int_equal(nx_stream_new(&spec, &stream, &err), 0);
  nx_stream_destroy(stream);
}

/* Processors without FMA go through the same kernels, compiled for any: one of both is all that a
 * machine ever uses, so they are compared here. */
static void kernels_for_any_processor_do_the_same(void **state) {
  (void)state;
#ifdef NX_HAVE_LANES_FMA
  enum { ROWS = 203, MANY = 13 };
  static double x[NX_LANES * ROWS], mean[2][ROWS], rows[2][ROWS * NX_LANES] __attribute__((aligned(64)));
  static double y[2][NX_LANES * ROWS], out[2][NX_LANES] __attribute__((aligned(64)));
  static struct nx_lanes_state states[2];
  struct nx_sos sos;
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    skip();
  assert_int_equal(nx_filter_butterworth4(NX_FILTER_BAND_PASS, 0.5, 40, 512, &sos, NULL), 0);
  for (size_t i = 0; i < NX_LANES * ROWS; i++)
    x[i] = sin(0.37 * (double)i) + 0.01 * (double)(i % 17);
  for (size_t n_channels = MANY; n_channels <= NX_LANES; n_channels += NX_LANES - MANY) {
    memset(states, 0, sizeof states);
    nx_lanes_mean_any(x, ROWS, n_channels, ROWS, mean[0]);
    nx_lanes_mean_fma(x, ROWS, n_channels, ROWS, mean[1]);
    nx_lanes_gather_any(x, ROWS, n_channels, mean[0], ROWS, rows[0]);
    nx_lanes_gather_fma(x, ROWS, n_channels, mean[1], ROWS, rows[1]);
    for (size_t c = 0; c < n_channels; c++)
      for (size_t i = 0; i < ROWS; i++)
        assert_true(rows[0][i * NX_LANES + c] == x[c * ROWS + i] - mean[0][i]);
    nx_lanes_scatter_any(rows[0], ROWS, n_channels, y[0], ROWS);
    nx_lanes_scatter_fma(rows[1], ROWS, n_channels, y[1], ROWS);
    for (size_t c = 0; c < n_channels; c++)
      for (size_t i = 0; i < ROWS; i++)
        assert_true(y[0][c * ROWS + i] == rows[0][i * NX_LANES + c]);
    nx_lanes_section_any(sos.s, states[0].z, rows[0], NX_LANES, rows[0], NX_LANES, ROWS, true);
    nx_lanes_section_fma(sos.s, states[1].z, rows[1], NX_LANES, rows[1], NX_LANES, ROWS, true);
    nx_lanes_section_any(&sos.s[2], &states[0].z[2], rows[0], NX_LANES, rows[0], NX_LANES, ROWS, false);
    nx_lanes_section_fma(&sos.s[2], &states[1].z[2], rows[1], NX_LANES, rows[1], NX_LANES, ROWS, false);
    nx_lanes_dot_any(x, rows[0], ROWS, out[0]);
    nx_lanes_dot_fma(x, rows[1], ROWS, out[1]);
    for (size_t i = 0; i < ROWS * NX_LANES; i++)
      assert_true(fabs(rows[0][i] - rows[1][i]) <= 1e-12 * (1 + fabs(rows[0][i])));
    for (size_t c = 0; c < NX_LANES; c++)
      assert_true(fabs(out[0][c] - out[1][c]) <= 1e-11 * (1 + fabs(out[0][c])));
    for (size_t i = 0; i < n_channels * ROWS; i++)
      assert_true(fabs(y[0][i] - y[1][i]) <= 1e-14);
  }
#else
  skip();
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kernels_for_any_processor_do_the_same),
      cmocka_unit_test(a_long_recording_is_filtered_as_if_whole),
      cmocka_unit_test(pieces_change_nothing_in_resampling),
      cmocka_unit_test(what_is_too_short_is_refused_at_its_end),
      cmocka_unit_test(a_filter_that_never_ends_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
