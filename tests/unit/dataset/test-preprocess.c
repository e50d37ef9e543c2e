#include "node/dataset/preprocess.h"

#include <math.h>

#include "common/size.h"
#include "node/dataset/fir.h"
#include "node/dataset/quality.h"
#include "node/dataset/welch.h"
#include "tests/support/shared_data.h"

#define CHANNELS 8
#define SAMPLES 5000

static double *golden(const char *name, size_t n_expected) {
  char path[512], file[128];
  size_t n;
  snprintf(file, sizeof file, "golden/%s.npy", name);
  double *values = load_npy(shared_data(path, sizeof path, file), &n);
  assert_int_equal(n, n_expected);
  return values;
}

/* Largest difference relative to the channel's RMS. */
static double worst(const double *x, const double *want, size_t n_channels, size_t n) {
  double most = 0;
  for (size_t c = 0; c < n_channels; c++) {
    double power = 0, difference = 0;
    for (size_t i = c * n; i < (c + 1) * n; i++) {
      power += want[i] * want[i];
      difference = fmax(difference, fabs(x[i] - want[i]));
    }
    most = fmax(most, difference / sqrt(power / (double)n));
  }
  return most;
}

static void butterworth_sections_are_scipys(void **state) {
  (void)state;
  double *want = golden("sos_butter4_0p5_40", 4 * 6);
  struct nx_sos sos;
  assert_int_equal(nx_filter_butterworth4(NX_FILTER_BAND_PASS, 0.5, 40, 500, &sos, NULL), 0);
  assert_int_equal(sos.n_sections, 4);
  for (size_t i = 0; i < 24; i++)
    assert_true(fabs(sos.s[i / 6][i % 6] - want[i]) < 1e-11);
  free(want);
}

static void band_pass_is_scipys_sosfiltfilt(void **state) {
  (void)state;
  double *x = golden("in_500Hz_uV", CHANNELS * SAMPLES);
  double *want = golden("sosfiltfilt_butter4", CHANNELS * SAMPLES);
  struct nx_sos sos;
  nx_filter_butterworth4(NX_FILTER_BAND_PASS, 0.5, 40, 500, &sos, NULL);
  for (size_t c = 0; c < CHANNELS; c++)
    assert_int_equal(nx_filter_zero_phase(&sos, x + c * SAMPLES, SAMPLES, NULL), 0);
  assert_true(worst(x, want, CHANNELS, SAMPLES) < 1e-8);
  free(x);
  free(want);
}

static void channels_filtered_together_are_as_each_alone(void **state) {
  (void)state;
  enum { ROWS = 11, N = 300 };
  double together[ROWS * N], alone[N];
  struct nx_sos sos;
  nx_filter_butterworth4(NX_FILTER_BAND_PASS, 1, 40, 200, &sos, NULL);
  for (size_t i = 0; i < ROWS * N; i++)
    together[i] = sin(0.37 * (double)(i * i % 977));
  for (size_t c = 0; c < ROWS; c += 5) {
    double copy[ROWS * N];
    memcpy(copy, together, sizeof copy);
    memcpy(alone, together + c * N, sizeof alone);
    assert_int_equal(nx_filter_zero_phase_all(&sos, 1, copy, ROWS, N, NULL), 0);
    assert_int_equal(nx_filter_zero_phase(&sos, alone, N, NULL), 0);
    assert_memory_equal(copy + c * N, alone, sizeof alone);
  }
}

static void notch_is_scipys_filtfilt(void **state) {
  (void)state;
  double *x = golden("in_500Hz_uV", CHANNELS * SAMPLES), *ba = golden("iirnotch50_ba", 6);
  double *want = golden("notch50_filtfilt", CHANNELS * SAMPLES);
  struct nx_sos sos;
  assert_int_equal(nx_filter_notch(50, 30, 500, &sos, NULL), 0);
  for (size_t i = 0; i < 6; i++)
    assert_true(fabs(sos.s[0][i] - ba[i]) < 1e-12);
  for (size_t c = 0; c < CHANNELS; c++)
    assert_int_equal(nx_filter_zero_phase(&sos, x + c * SAMPLES, SAMPLES, NULL), 0);
  assert_true(worst(x, want, CHANNELS, SAMPLES) < 1e-8);
  free(x);
  free(ba);
  free(want);
}

static void check_resample(size_t up, size_t down, const char *name, size_t n_out) {
  double *x = golden("in_500Hz_uV", CHANNELS * SAMPLES), *want = golden(name, CHANNELS * n_out);
  double *out = calloc(CHANNELS * n_out, sizeof *out);
  assert_int_equal(nx_resample_length(SAMPLES, up, down), n_out);
  for (size_t c = 0; c < CHANNELS; c++)
    assert_int_equal(nx_resample(x + c * SAMPLES, SAMPLES, up, down, out + c * n_out, NULL), 0);
  assert_true(worst(out, want, CHANNELS, n_out) < 1e-10);
  free(x);
  free(want);
  free(out);
}

static void resampling_is_scipys_resample_poly(void **state) {
  (void)state;
  check_resample(2, 5, "resample_poly_500_200", 2000);
  check_resample(32, 125, "resample_poly_500_128", 1280);
}

static void average_reference_is_the_mean_over_channels(void **state) {
  (void)state;
  double *x = golden("in_500Hz_uV", CHANNELS * SAMPLES);
  double *want = golden("car", CHANNELS * SAMPLES);
  nx_reference_average(x, CHANNELS, SAMPLES);
  assert_true(worst(x, want, CHANNELS, SAMPLES) < 1e-12);
  free(x);
  free(want);
}

static void robust_z_is_numpys(void **state) {
  (void)state;
  double *x = golden("in_500Hz_uV", CHANNELS * SAMPLES), scratch[SAMPLES];
  double *want = golden("robust_z", CHANNELS * SAMPLES);
  for (size_t c = 0; c < CHANNELS; c++) {
    double median, scale;
    nx_robust_scale(x + c * SAMPLES, SAMPLES, scratch, &median, &scale);
    for (size_t i = 0; i < SAMPLES; i++)
      x[c * SAMPLES + i] = (x[c * SAMPLES + i] - median) / scale;
  }
  assert_true(worst(x, want, CHANNELS, SAMPLES) < 1e-12);
  free(x);
  free(want);
}

static void firwin_band_pass_is_mnes(void **state) {
  (void)state;
  double *x = golden("in_500Hz_uV", CHANNELS * SAMPLES), *taps = golden("mne_fir_1_40_h", 1651);
  double *want = golden("mne_fir_1_40", CHANNELS * SAMPLES);
  struct nx_fir fir;
  assert_int_equal(nx_fir_design(1, 40, 500, &fir, NULL), 0);
  assert_int_equal(fir.n_taps, 1651);
  for (size_t i = 0; i < 1651; i++)
    assert_true(fabs(fir.taps[i] - taps[i]) < 1e-12);
  for (size_t c = 0; c < CHANNELS; c++)
    assert_int_equal(nx_fir_zero_phase(&fir, x + c * SAMPLES, SAMPLES, NULL), 0);
  assert_true(worst(x, want, CHANNELS, SAMPLES) < 1e-9);
  assert_int_equal(nx_fir_zero_phase(&fir, x, 3, NULL), 0); /* shorter than the filter */
  nx_fir_finish(&fir);
  assert_int_equal(nx_fir_design(40, 1, 500, &fir, NULL), NX_E_INVALID);
  free(x);
  free(taps);
  free(want);
}

static void welch_density_is_scipys(void **state) {
  (void)state;
  double *x = golden("in_500Hz_uV", CHANNELS * SAMPLES), density[251];
  double *want = golden("welch_psd", CHANNELS * 251);
  _cleanup_(nx_welch_destroyp) struct nx_welch *welch = NULL;
  assert_int_equal(nx_welch_create(500, 251, 500, &welch, NULL), 0);
  for (size_t c = 0; c < CHANNELS; c++) {
    assert_int_equal(nx_welch_density(welch, x + c * SAMPLES, SAMPLES, density, NULL), 0);
    for (size_t k = 0; k < 251; k++)
      assert_true(fabs(density[k] - want[c * 251 + k]) <
                  1e-10 * want[c * 251 + k] + 1e-14 * want[c * 251 + 1]);
  }
  assert_int_equal(nx_welch_density(welch, x, 499, density, NULL), NX_E_INVALID);
  free(x);
  free(want);
}

static void prep_figures_are_numpys(void **state) {
  (void)state;
  double *x = golden("in_500Hz_uV", CHANNELS * SAMPLES), *z = golden("prep_dev_z", CHANNELS);
  double *correlation = golden("prep_max_abs_corr", CHANNELS);
  struct nx_channel_quality quality[CHANNELS];
  assert_int_equal(nx_quality(x, CHANNELS, SAMPLES, 500, quality, NULL), 0);
  for (size_t c = 0; c < CHANNELS; c++) {
    assert_true(fabs(quality[c].deviation_z - z[c]) < 1e-9);
    assert_true(fabs(quality[c].correlation - correlation[c]) < 1e-9);
  }
  free(x);
  free(z);
  free(correlation);
}

static void spoilt_channels_are_found_with_their_reason(void **state) {
  (void)state;
  double *x = golden("in_500Hz_uV", CHANNELS * SAMPLES);
  struct nx_channel_quality quality[CHANNELS];
  for (size_t i = 0; i < SAMPLES; i++) {
    x[0 * SAMPLES + i] = 3;                                     /* flat */
    x[1 * SAMPLES + i] = fmax(-4, fmin(4, x[1 * SAMPLES + i])); /* clipped */
    x[2 * SAMPLES + i] *= 40;                                   /* too large */
    x[3 * SAMPLES + i] += 60 * sin(2.5 * (double)i);            /* 199 Hz */
  }
  assert_int_equal(nx_quality(x, CHANNELS, SAMPLES, 500, quality, NULL), 0);
  assert_true(quality[0].reasons & NX_BAD_FLAT);
  assert_true(quality[1].reasons & NX_BAD_CLIPPED);
  assert_true(quality[2].reasons & NX_BAD_DEVIATION);
  assert_true(quality[3].reasons & NX_BAD_NOISE);
  assert_false(quality[7].reasons & (NX_BAD_FLAT | NX_BAD_CLIPPED | NX_BAD_DEVIATION));
  x[5] = NAN;
  assert_int_equal(nx_quality(x, CHANNELS, SAMPLES, 500, quality, NULL), 0);
  assert_true(quality[0].reasons & NX_BAD_NOT_A_NUMBER);
  free(x);
}

static void quality_of_a_recording_is_of_its_brain_signals(void **state) {
  (void)state;
  char path[512];
  static uint32_t picks[NX_RECORDING_CHANNELS];
  static struct nx_channel_quality quality[NX_RECORDING_CHANNELS];
  size_t n = 0;
  struct nx_recording *recording = NULL;
  shared_data(path, sizeof path, "eegmmidb_S001/S001R01.edf");
  assert_int_equal(nx_recording_open(path, &recording, NULL), 0);
  assert_int_equal(nx_quality_of_recording(recording, picks, quality, &n, NULL), 0);
  assert_int_equal(n, 64);
  for (size_t i = 0; i < n; i++) {
    const char *name = nx_recording_info(recording)->channels[picks[i]].name;
    bool bad = !strcmp(name, "T10.") || !strcmp(name, "T8..") || !strcmp(name, "F8..");
    assert_int_equal(quality[i].reasons != 0, bad);
  }
  nx_recording_close(recording);
  shared_data(path, sizeof path, "mne_formats/EDF/SC4001EC-Hypnogram.edf");
  assert_int_equal(nx_recording_open(path, &recording, NULL), 0);
  assert_int_equal(nx_quality_of_recording(recording, picks, quality, &n, NULL), 0);
  assert_int_equal(n, 0);
  nx_recording_close(recording);
}

static void median_takes_the_middle_of_odd_even_and_negative_values(void **state) {
  (void)state;
  double scratch[6];
  assert_true(nx_median((double[]){3, -1, 2}, 3, scratch) == 2);
  assert_true(nx_median((double[]){-5, -1, -0.0, 4}, 4, scratch) == -0.5);
  assert_true(nx_median((double[]){7, 7, 7, 7, 7}, 5, scratch) == 7);
  assert_true(nx_median((double[]){1e300, -1e300, 1e-300}, 3, scratch) == 1e-300);
}

static void short_signals_and_wrong_edges_are_refused(void **state) {
  (void)state;
  struct nx_sos sos;
  struct nx_error err = {0};
  double x[32] = {0};
  assert_int_equal(nx_filter_butterworth4(NX_FILTER_LOW_PASS, 0, 60, 100, &sos, &err),
                   NX_E_INVALID);
  assert_non_null(strstr(err.text, "low_pass_hz"));
  assert_int_equal(nx_filter_butterworth4(NX_FILTER_BAND_PASS, 40, 1, 500, &sos, NULL),
                   NX_E_INVALID);
  assert_int_equal(nx_filter_notch(60, 30, 100, &sos, NULL), NX_E_INVALID);
  assert_int_equal(nx_filter_butterworth4(NX_FILTER_BAND_PASS, 1, 40, 100, &sos, NULL), 0);
  assert_int_equal(nx_filter_zero_phase(&sos, x, 27, NULL), NX_E_INVALID);
  assert_int_equal(nx_filter_zero_phase(&sos, x, 28, NULL), 0);
}

static void ratios_of_rates_are_found_or_refused(void **state) {
  (void)state;
  size_t up, down;
  assert_int_equal(nx_resample_ratio(500, 100, &up, &down, NULL), 0);
  assert_int_equal(up, 1);
  assert_int_equal(down, 5);
  assert_int_equal(nx_resample_ratio(160, 100, &up, &down, NULL), 0);
  assert_int_equal(up, 5);
  assert_int_equal(down, 8);
  assert_int_equal(nx_resample_ratio(238 / 0.23814, 100, &up, &down, NULL), 0);
  assert_true(fabs((double)up / (double)down * 238 / 0.23814 / 100 - 1) < 1e-6);
  assert_int_equal(nx_resample_ratio(0, 100, &up, &down, NULL), NX_E_UNSUPPORTED);
  assert_int_equal(nx_resample_ratio(NAN, 100, &up, &down, NULL), NX_E_UNSUPPORTED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(butterworth_sections_are_scipys),
      cmocka_unit_test(band_pass_is_scipys_sosfiltfilt),
      cmocka_unit_test(channels_filtered_together_are_as_each_alone),
      cmocka_unit_test(notch_is_scipys_filtfilt),
      cmocka_unit_test(resampling_is_scipys_resample_poly),
      cmocka_unit_test(average_reference_is_the_mean_over_channels),
      cmocka_unit_test(robust_z_is_numpys),
      cmocka_unit_test(firwin_band_pass_is_mnes),
      cmocka_unit_test(welch_density_is_scipys),
      cmocka_unit_test(prep_figures_are_numpys),
      cmocka_unit_test(spoilt_channels_are_found_with_their_reason),
      cmocka_unit_test(quality_of_a_recording_is_of_its_brain_signals),
      cmocka_unit_test(median_takes_the_middle_of_odd_even_and_negative_values),
      cmocka_unit_test(short_signals_and_wrong_edges_are_refused),
      cmocka_unit_test(ratios_of_rates_are_found_or_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
