/* NWB, SNIRF and MAT 7.3 as their formats' own writers wrote them (tests/vectors/recordings/
 * make_hdf5.py), read in the sandbox. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "node/recordings/recording.h"
#include "node/recordings/sandbox.h"
#include "tests/unit/cmocka_shim.h"

#define VECTORS "tests/vectors/recordings/"

static bool have_hdf5(void) {
  const char *has = getenv("NEUROX_HAS_HDF5");
  if (has && !strcmp(has, "1"))
    return true;
  print_message("SKIPPED 1 test: built without libhdf5\n");
  return false;
}

static int open_one(const char *path, struct nx_recording **recording, struct nx_error *err) {
  return nx_recording_open_sandboxed(getenv("NEUROX_READER"), path, recording, err);
}

static struct nx_recording *must_open(const char *name) {
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  char path[NX_PATH_SIZE];
  snprintf(path, sizeof path, "%s%s", name[0] == '/' ? "" : VECTORS, name);
  if (open_one(path, &recording, &err) < 0)
    fail_msg("%s", err.text);
  return recording;
}

/* make_hdf5.py: wave() */
static double wave(size_t t, size_t c) {
  return (double)(t * (c + 1) % 101) - 50;
}

/* Channels first .. first + n - 1 are the wave's, times gain. */
static void check_wave(struct nx_recording *recording, uint32_t first, size_t n, double gain) {
  const struct nx_recording_info *info = nx_recording_info(recording);
  size_t samples = (size_t)info->channels[first].n_samples;
  float *x = malloc(samples * n * sizeof *x);
  uint32_t picks[16];
  for (size_t c = 0; c < n; c++)
    picks[c] = first + (uint32_t)(n - 1 - c); /* backwards: an order of our own */
  assert_int_equal(nx_recording_read(recording, picks, n, 0, samples, x, NULL), 0);
  for (size_t c = 0; c < n; c++)
    for (size_t t = 0; t < samples; t++)
      assert_true(fabs((double)x[c * samples + t] - gain * wave(t, n - 1 - c)) <=
                  1e-6 * fabs(gain) * 51);
  free(x);
}

static void every_series_of_an_nwb_file_is_a_part(void **state) {
  (void)state;
  if (!have_hdf5())
    skip();
  struct nx_recording *raw = must_open("many.nwb"), *lfp = must_open("many.nwb#1");
  struct nx_recording *traces = must_open("many.nwb#2"), *units = must_open("many.nwb#3");
  const struct nx_recording_info *info = nx_recording_info(raw);
  assert_string_equal(info->format, "NWB");
  assert_int_equal(info->n_parts, 4);
  assert_true(info->origin_s == 2 && info->channels[0].rate_hz == 1000);
  check_wave(raw, 0, 3, 1e-6);
  check_wave(lfp, 0, 3, 1);
  assert_int_equal(nx_recording_info(traces)->channels[0].type, NX_CHANNEL_CALCIUM);
  check_wave(traces, 0, 4, 1);
  info = nx_recording_info(units);
  assert_int_equal(info->channels[0].type, NX_CHANNEL_SPIKES);
  assert_true(info->origin_s == 1);
  float x[1001];
  static const float want[3] = {4, 0, 2};
  for (uint32_t u = 0; u < 3; u++) {
    float sum = 0;
    assert_int_equal(nx_recording_read(units, &u, 1, 0, 1001, x, NULL), 0);
    for (size_t i = 0; i < 1001; i++)
      sum += x[i];
    assert_true(sum == want[u]);
    if (u == 0) /* 1.0 and 1.0005 s share the first millisecond */
      assert_true(x[0] == 2 && x[250] == 1 && x[1000] == 1);
  }
  nx_recording_close(raw);
  nx_recording_close(lfp);
  nx_recording_close(traces);
  nx_recording_close(units);
}

/* Position starts at 1.5 s, the traces at 1 s: the first half second of it is not there. */
static void behaviour_lies_on_the_clock_of_its_part(void **state) {
  (void)state;
  if (!have_hdf5())
    skip();
  struct nx_recording *traces = must_open("many.nwb#2"), *raw = must_open("many.nwb");
  float x[60];
  assert_int_equal(nx_recording_read(traces, (uint32_t[]){5}, 1, 0, 60, x, NULL), 0);
  for (size_t t = 0; t < 60; t++)
    assert_true(t < 10 ? isnan(x[t]) : (double)x[t] == wave(t - 10, 0));
  assert_int_equal(nx_recording_read(traces, (uint32_t[]){4}, 1, 0, 30, x, NULL), 0);
  assert_true(x[0] == 10 && x[29] == 39); /* speed began at 0 s, 10 Hz */
  assert_int_equal(nx_recording_read(raw, (uint32_t[]){3}, 1, 0, 5, x, NULL), 0);
  assert_true(x[0] == 20); /* the series began at 2 s */
  nx_recording_close(traces);
  nx_recording_close(raw);
}

static void snirf_of_the_reference_writer_is_read(void **state) {
  (void)state;
  if (!have_hdf5())
    skip();
  struct nx_recording *recording = must_open("small.snirf");
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_int_equal(info->n_channels, 2);
  assert_string_equal(info->channels[1].name, "S1_D1 850");
  assert_int_equal(info->channels[0].type, NX_CHANNEL_NIRS);
  assert_true(fabs(info->channels[0].rate_hz - 10) < 1e-9);
  assert_true(fabsf(info->channels[0].position_m[0] - 0.015F) < 1e-6F);
  assert_int_equal(info->n_events, 2);
  assert_string_equal(info->events[1].text, "tap");
  assert_true(info->events[1].onset_s == 4 && info->events[1].duration_s == 0.5);
  check_wave(recording, 0, 2, 1);
  nx_recording_close(recording);
}

static void copy(const char *from, const char *to) {
  struct nx_buffer bytes = {0};
  assert_int_equal(nx_file_read(from, 1 << 20, &bytes, NULL), 0);
  assert_int_equal(nx_file_replace(to, nx_buffer_view(&bytes), 0644, NULL), 0);
  nx_buffer_finish(&bytes);
}

static void matlab_7_3_is_read_by_its_sidecar(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-hdf5-XXXXXX", file[64], sidecar[64], part[80];
  static const char sessions[] =
      "{\"rate_hz\": 20, \"type\": \"calcium\", \"data\": \"sessions\","
      " \"behaviour\": {\"data\": \"places\", \"names\": [\"place\"], \"unit\": \"cm\"}}";
  static const char spikes[] = "{\"data\": \"spikes\"}";
  if (!have_hdf5())
    skip();
  assert_non_null(mkdtemp(folder));
  snprintf(file, sizeof file, "%s/a.mat", folder);
  snprintf(sidecar, sizeof sidecar, "%s/a.json", folder);
  snprintf(part, sizeof part, "%s#2", file);
  copy(VECTORS "small73.mat", file);
  struct nx_recording *recording = must_open(file); /* the largest matrix, rate from fs */
  assert_string_equal(nx_recording_info(recording)->format, "MAT 7.3");
  assert_true(nx_recording_info(recording)->channels[0].rate_hz == 200);
  assert_int_equal(nx_recording_info(recording)->channels[0].n_samples, 400);
  check_wave(recording, 0, 5, 1);
  nx_recording_close(recording);
  assert_int_equal(nx_file_replace(sidecar, nx_bytes(sessions, strlen(sessions)), 0644, NULL), 0);
  recording = must_open(part);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_int_equal(info->n_parts, 3);
  assert_int_equal(info->n_channels, 7);
  assert_int_equal(info->channels[0].type, NX_CHANNEL_CALCIUM);
  assert_string_equal(info->channels[6].name, "place");
  check_wave(recording, 0, 6, 1);
  float x;
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){6}, 1, 51, 1, &x, NULL), 0);
  assert_true(x == 51);
  nx_recording_close(recording);
  assert_int_equal(nx_file_replace(sidecar, nx_bytes(spikes, strlen(spikes)), 0644, NULL), 0);
  recording = must_open(file);
  info = nx_recording_info(recording);
  assert_int_equal(info->n_channels, 3);
  assert_int_equal(info->channels[0].type, NX_CHANNEL_SPIKES);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){0}, 1, 0, 1, &x, NULL), 0);
  assert_true(x == 2);
  nx_recording_close(recording);
  unlink(file);
  unlink(sidecar);
  rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_series_of_an_nwb_file_is_a_part),
      cmocka_unit_test(behaviour_lies_on_the_clock_of_its_part),
      cmocka_unit_test(snirf_of_the_reference_writer_is_read),
      cmocka_unit_test(matlab_7_3_is_read_by_its_sidecar),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
