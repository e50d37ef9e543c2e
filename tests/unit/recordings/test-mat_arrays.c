/* Spikes, calcium events and behaviour in MAT files, and a camera's tracking: real files, the
 * figures from scipy.io.loadmat. The files are copied, since what they are stands in a sidecar. */
#include <math.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "node/recordings/recording.h"
#include "node/recordings/sandbox.h"
#include "tests/support/shared_data.h"

#define FOLDER "/tmp/nx-arrays-XXXXXX"

static void put(const char *folder, const char *name, const char *text) {
  char path[NX_PATH_SIZE];
  nx_path_join(path, folder, name, NULL);
  assert_int_equal(nx_file_replace(path, nx_bytes(text, strlen(text)), 0644, NULL), 0);
}

static void copy(const char *folder, const char *from) {
  char source[512], path[NX_PATH_SIZE];
  struct nx_buffer bytes = {0};
  shared_data(source, sizeof source, from);
  assert_int_equal(nx_file_read(source, 64 << 20, &bytes, NULL), 0);
  nx_path_join(path, folder, strrchr(from, '/') + 1, NULL);
  assert_int_equal(nx_file_replace(path, nx_buffer_view(&bytes), 0644, NULL), 0);
  nx_buffer_finish(&bytes);
}

static void remove_files(const char *folder, const char *const *names, size_t n) {
  char path[NX_PATH_SIZE];
  for (size_t i = 0; i < n; i++) {
    nx_path_join(path, folder, names[i], NULL);
    unlink(path);
  }
  rmdir(folder);
}

/* In the sandbox, as a node opens it. */
static struct nx_recording *open_in(const char *folder, const char *name) {
  char path[NX_PATH_SIZE];
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  nx_path_join(path, folder, name, NULL);
  if (nx_recording_open_sandboxed(getenv("NEUROX_READER"), path, &recording, &err) < 0)
    fail_msg("%s", err.text);
  return recording;
}

static void refused(const char *folder, const char *name, const char *words) {
  char path[NX_PATH_SIZE];
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  nx_path_join(path, folder, name, NULL);
  assert_true(nx_recording_open_sandboxed(getenv("NEUROX_READER"), path, &recording, &err) < 0);
  if (!strstr(err.text, words))
    fail_msg("\"%s\" where \"%s\" was expected", err.text, words);
}

static double sum_of(struct nx_recording *recording, uint32_t channel, size_t n) {
  float *x = malloc(n * sizeof *x);
  double sum = 0;
  assert_int_equal(nx_recording_read(recording, &channel, 1, 0, n, x, NULL), 0);
  for (size_t i = 0; i < n; i++)
    sum += (double)x[i];
  free(x);
  return sum;
}

static void sessions_of_calcium_events_are_parts(void **state) {
  static const struct {
    const char *name;
    size_t cells, samples;
    double events, position;
  } parts[] = {{"C8M2_spike_train.mat", 328, 1589, 48.42609212695529, 16910},
               {"C8M2_spike_train.mat#3", 153, 1224, 24.46073085146687, 15369},
               {"C8M2_spike_train.mat#15", 161, 1068, 39.58797255210585, 15017}};
  char folder[] = FOLDER;
  (void)state;
  assert_non_null(mkdtemp(folder));
  copy(folder, "mouse_hpc_calcium_ziv/CA1/C8M2_spike_train.mat");
  copy(folder, "mouse_hpc_calcium_ziv/CA1/C8M2_stimulus_trace.mat");
  put(folder, "C8M2_spike_train.json",
      "{\"rate_hz\": 10, \"type\": \"calcium\", \"unit\": \"events\", \"data\": \"spike_train\","
      " \"behaviour\": {\"file\": \"C8M2_stimulus_trace.mat\", \"data\": \"stimulus_trace\","
      " \"names\": [\"position\"], \"unit\": \"bin\"}}");
  for (size_t i = 0; i < NX_ARRAY_LENGTH(parts); i++) {
    struct nx_recording *recording = open_in(folder, parts[i].name);
    const struct nx_recording_info *info = nx_recording_info(recording);
    assert_int_equal(info->n_parts, 16);
    assert_int_equal(info->n_channels, parts[i].cells + 1);
    assert_int_equal(info->channels[0].n_samples, parts[i].samples);
    assert_int_equal(info->channels[7].type, NX_CHANNEL_CALCIUM);
    assert_true(info->channels[0].rate_hz == 10);
    assert_string_equal(info->channels[parts[i].cells].name, "position");
    assert_int_equal(info->channels[parts[i].cells].type, NX_CHANNEL_BEHAVIOUR);
    assert_true(fabs(sum_of(recording, 7, parts[i].samples) - parts[i].events) <
                1e-5 * parts[i].events);
    assert_true(sum_of(recording, (uint32_t)parts[i].cells, parts[i].samples) == parts[i].position);
    nx_recording_close(recording);
  }
  refused(folder, "C8M2_spike_train.mat#16", "16 parts");
  put(folder, "C8M2_spike_train.json", "{\"data\": \"spikes\"}");
  refused(folder, "C8M2_spike_train.mat", "no variable spikes");
  put(folder, "C8M2_spike_train.json", "{\"type\": \"neurons\"}");
  refused(folder, "C8M2_spike_train.mat", "C8M2_spike_train.json: type");
  put(folder, "C8M2_spike_train.json",
      "{\"behaviour\": {\"file\": \"../C8M2_stimulus_trace.mat\", \"data\": \"stimulus_trace\"}}");
  refused(folder, "C8M2_spike_train.mat", "plain file name");
  remove_files(
      folder,
      (const char *[]){"C8M2_spike_train.mat", "C8M2_stimulus_trace.mat", "C8M2_spike_train.json"},
      3);
}

static void counts_and_hand_velocity_are_read_side_by_side(void **state) {
  char folder[] = FOLDER;
  float v[2];
  (void)state;
  assert_non_null(mkdtemp(folder));
  copy(folder, "monkey_m1_dad/DAD_mihi_demo.mat");
  put(folder, "DAD_mihi_demo.json",
      "{\"rate_hz\": 5, \"type\": \"spikes\", \"unit\": \"Hz\", \"data\": [\"Ytr\", \"Yte\"],"
      " \"behaviour\": {\"data\": [\"Xtr\", \"Xte\"], \"names\": [\"vx\", \"vy\"],"
      " \"unit\": \"cm/s\"}}");
  struct nx_recording *recording = open_in(folder, "DAD_mihi_demo.mat");
  assert_int_equal(nx_recording_info(recording)->n_channels, 174 + 2);
  nx_recording_close(recording);
  recording = open_in(folder, "DAD_mihi_demo.mat#1");
  assert_int_equal(nx_recording_info(recording)->n_channels, 187 + 2);
  assert_true(fabs(sum_of(recording, 3, 803) - 135) < 1e-3);
  assert_true(fabs(sum_of(recording, 188, 803) + 3584.966219689859) < 0.02);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){187, 188}, 2, 10, 1, v, NULL), 0);
  assert_true(v[0] == 11.41464737F && v[1] == -12.94501295F);
  nx_recording_close(recording);
  remove_files(folder, (const char *[]){"DAD_mihi_demo.mat", "DAD_mihi_demo.json"}, 2);
}

static void spike_times_in_cells_of_structs_are_counts(void **state) {
  static const uint32_t bins[] = {8899, 22643, 32039};
  char path[512];
  struct nx_recording *recording = NULL;
  float one;
  (void)state;
  shared_data(path, sizeof path, "rat_hpc_spikes_nelpy/linear-track/spikes.mat");
  assert_int_equal(nx_recording_open(path, &recording, NULL), 0);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_int_equal(info->n_channels, 31);
  assert_int_equal(info->channels[30].type, NX_CHANNEL_SPIKES);
  assert_true(info->channels[0].rate_hz == 1000 && info->channels[0].n_samples == 1968274);
  assert_true(info->origin_s == 4396.9975);
  assert_true(sum_of(recording, 0, 100000) == 59);
  assert_true(sum_of(recording, 0, 1968274) == 1748 && sum_of(recording, 1, 1968274) == 106);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(nx_recording_read(recording, (uint32_t[]){0}, 1, bins[i], 1, &one, NULL), 0);
    assert_true(one == 1);
  }
  nx_recording_close(recording);
}

static void a_cameras_frames_lie_on_an_even_grid(void **state) {
  char path[512];
  struct nx_recording *recording = NULL;
  float x[2];
  (void)state;
  shared_data(path, sizeof path,
              "rat_hpc_spikes_nelpy/linear-track/trajectory.videoPositionTracking");
  assert_int_equal(nx_recording_open(path, &recording, NULL), 0);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_int_equal(info->n_channels, 2); /* the second diode was not there */
  assert_true(fabs(info->channels[0].rate_hz - 60) < 1e-9);
  assert_true(fabs(info->origin_s - 131910951 / 30000.0) < 1e-9);
  assert_true(fabs(info->duration_s - 1982.44) < 0.05);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){0, 1}, 2, 0, 1, x, NULL), 0);
  assert_true(x[0] == 477 && x[1] == 479);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){0, 1}, 2,
                                     info->channels[0].n_samples - 1, 1, x, NULL),
                   0);
  assert_true(fabsf(x[0] - 522) < 2 && fabsf(x[1] - 8) < 2);
  nx_recording_close(recording);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sessions_of_calcium_events_are_parts),
      cmocka_unit_test(counts_and_hand_velocity_are_read_side_by_side),
      cmocka_unit_test(spike_times_in_cells_of_structs_are_counts),
      cmocka_unit_test(a_cameras_frames_lie_on_an_even_grid),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
