#include "node/recordings/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "common/rng.h"
#include "common/size.h"
#include "tests/support/shared_data.h"

static const char *reader(void) {
  const char *path = getenv("NEUROX_READER");
  assert_non_null(path);
  return path;
}

/* Every value of both, byte for byte. */
static void assert_same(const char *path) {
  struct nx_recording *inside = NULL, *outside = NULL;
  struct nx_error err = {0};
  if (nx_recording_open_sandboxed(reader(), path, &inside, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(nx_recording_open(path, &outside, NULL), 0);
  const struct nx_recording_info *a = nx_recording_info(inside), *b = nx_recording_info(outside);
  assert_string_equal(a->format, b->format);
  assert_int_equal(a->n_channels, b->n_channels);
  assert_int_equal(a->n_events, b->n_events);
  assert_memory_equal(a->channels, b->channels, a->n_channels * sizeof *a->channels);
  if (a->n_events)
    assert_memory_equal(a->events, b->events, a->n_events * sizeof *a->events);
  size_t n = (size_t)a->channels[0].n_samples, n_picks = 0;
  uint32_t *picks = calloc(a->n_channels, sizeof *picks);
  for (uint32_t c = 0; c < a->n_channels; c++)
    if (a->channels[c].rate_hz == a->channels[0].rate_hz)
      picks[n_picks++] = c;
  float *x = malloc(n * n_picks * sizeof *x), *y = malloc(n * n_picks * sizeof *y);
  assert_int_equal(nx_recording_read(inside, picks, n_picks, 0, n, x, NULL), 0);
  assert_int_equal(nx_recording_read(outside, picks, n_picks, 0, n, y, NULL), 0);
  assert_memory_equal(x, y, n * n_picks * sizeof *x);
  free(x);
  free(y);
  free(picks);
  nx_recording_close(inside);
  nx_recording_close(outside);
}

static void sandboxed_reading_gives_the_same_values(void **state) {
  (void)state;
  static const char *const files[] = {
      "eegmat_100Hz/Subject00_rest.edf",
      "mne_formats/mnepy/edf/test.bdf",
      "mne_formats/mnepy/brainvision/test.vhdr", /* asks for two siblings */
      "mne_formats/EEGLAB/test_raw_2021.set",
      "monkey_m1_dad/DAD_mihi_demo.mat",
      "fmri_haxby_pymvpa/bold.nii.gz",
      "mne_formats/SSS/sample_audvis_trunc_raw_sss.fif",
      "lfp_neurodsp/sample_data_2_rat_hpc_lfp_1000Hz.npy",
      "human_ieeg_mne_misc/sub-pat01_ses-test_acq-seeg_ieeg.edf"};
  char path[512];
  for (size_t i = 0; i < NX_ARRAY_LENGTH(files); i++)
    assert_same(shared_data(path, sizeof path, files[i]));
}

static void window_larger_than_the_shared_memory_is_read_in_parts(void **state) {
  (void)state;
  char path[] = "/tmp/nx-sandbox-XXXXXX";
  enum { N = 5000000 }; /* 20 MB of floats, the window has 16 MiB */
  int fd = mkstemp(path);
  char head[64];
  int n = snprintf(head, sizeof head, "\x93NUMPY\x01%c%c%c", 0, 0, 0);
  n = 10 + snprintf(head + 10, 54, "{'descr': '|u1', 'shape': (%d,)}", N);
  memcpy(head, "\x93NUMPY\x01\0", 8);
  head[8] = (char)(n - 10);
  head[9] = 0;
  assert_int_equal(write(fd, head, (size_t)n), n);
  uint8_t *bytes = malloc(N);
  for (size_t i = 0; i < N; i++)
    bytes[i] = (uint8_t)(i * 7 / 5);
  assert_int_equal(write(fd, bytes, N), N);
  close(fd);
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  if (nx_recording_open_sandboxed(reader(), path, &recording, &err) < 0)
    fail_msg("%s", err.text);
  float *x = malloc(N * sizeof *x);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){0}, 1, 0, N, x, NULL), 0);
  for (size_t i = 0; i < N; i += 4999)
    assert_true(x[i] == bytes[i]);
  assert_true(x[N - 1] == bytes[N - 1]);
  free(x);
  free(bytes);
  nx_recording_close(recording);
  unlink(path);
}

static void refusals_keep_their_words(void **state) {
  (void)state;
  char path[] = "/tmp/nx-sandbox-XXXXXX";
  int fd = mkstemp(path);
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_recording_open_sandboxed(reader(), path, &recording, &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "is empty"));
  assert_int_equal(write(fd, "GARBAGE", 7), 7);
  close(fd);
  assert_int_equal(nx_recording_open_sandboxed(reader(), path, &recording, &err), NX_E_UNSUPPORTED);
  assert_non_null(strstr(err.text, path));
  unlink(path);
  assert_int_equal(nx_recording_open_sandboxed(reader(), path, &recording, &err), NX_E_NOT_FOUND);
  assert_int_equal(nx_recording_open_sandboxed(reader(), "/tmp", &recording, &err), NX_E_INVALID);
}

static void anatomical_images_are_never_opened(void **state) {
  (void)state;
  char path[512];
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  shared_data(path, sizeof path,
              "bids_examples/ieeg_visual/sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz");
  assert_int_equal(nx_recording_open_sandboxed(reader(), path, &recording, &err), NX_E_DENIED);
  assert_int_equal(nx_recording_open(path, &recording, &err), NX_E_DENIED);
  assert_non_null(strstr(err.text, "never opened"));
  assert_null(nx_recording_probe(path, NULL));
}

static void sibling_outside_of_the_folder_is_refused(void **state) {
  (void)state;
  static const char text[] =
      "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n"
      "DataFile=../etc/passwd\nNumberOfChannels=1\nSamplingInterval=2000\n"
      "[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\nCh1=Fz,,0.5,uV\n";
  char path[] = "/tmp/nx-sandbox-XXXXXX";
  int fd = mkstemp(path);
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
  close(fd);
  assert_int_equal(nx_recording_open_sandboxed(reader(), path, &recording, &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "plain file name"));
  unlink(path);
}

static void crashing_or_lying_reader_costs_the_file_only(void **state) {
  (void)state;
  char script[] = "/tmp/nx-reader-XXXXXX", path[512];
  static const char *const bodies[] = {"#!/bin/sh\nkill -SEGV $$\n", "#!/bin/sh\nexit 7\n",
                                       "#!/bin/sh\necho lies >&3\n"};
  static const char *const words[] = {"signal 11", "code 7", "take the file out"};
  shared_data(path, sizeof path, "eegmat_100Hz/Subject00_rest.edf");
  for (size_t i = 0; i < NX_ARRAY_LENGTH(bodies); i++) {
    strcpy(script, "/tmp/nx-reader-XXXXXX");
    close(mkstemp(script));
    assert_int_equal(nx_file_replace(script, nx_bytes(bodies[i], strlen(bodies[i])), 0755, NULL),
                     0);
    struct nx_recording *recording = NULL;
    struct nx_error err = {0};
    assert_int_equal(nx_recording_open_sandboxed(script, path, &recording, &err), NX_E_FORMAT);
    if (!strstr(err.text, words[i]) || !strstr(err.text, path))
      fail_msg("\"%s\" lacks \"%s\"", err.text, words[i]);
    unlink(script);
  }
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_recording_open_sandboxed("/nonexistent/reader", path, &recording, &err),
                   NX_E_NOT_FOUND);
}

/* As on a kernel without seccomp: both of its calls fail, in this process and all it starts. */
static bool take_seccomp_away(void) {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  bool gone = filter && !seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(seccomp), 0) &&
              !seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1,
                                SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP)) &&
              !seccomp_load(filter);
  seccomp_release(filter);
  return gone;
}

static void kernel_without_seccomp_opens_nothing_and_says_so(void **state) {
  char path[512];
  int status = 0;
  (void)state;
  shared_data(path, sizeof path, "eegmat_100Hz/Subject00_rest.edf");
  pid_t child = fork();
  if (child == 0) {
    struct nx_recording *recording = NULL;
    struct nx_error err = {0};
    if (!take_seccomp_away())
      _exit(3);
    int r = nx_recording_open_sandboxed(reader(), path, &recording, &err);
    if (r != NX_E_UNSUPPORTED || !strstr(err.text, "cannot confine")) {
      fprintf(stderr, "%d: %s\n", r, err.text);
      _exit(1);
    }
    _exit(recording ? 2 : 0);
  }
  assert_true(child > 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

/* HDF5 is read inside of the sandbox only, and only where it was there at build time. */
static bool has_hdf5(void) {
  const char *value = getenv("NEUROX_HAS_HDF5");
  if (value && !strcmp(value, "1"))
    return true;
  print_message("SKIPPED 1 test: built without libhdf5\n");
  skip();
  return false;
}

static void snirf_is_read_as_mne_reads_it(void **state) {
  (void)state;
  char path[512];
  float x[220];
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  if (!has_hdf5())
    return;
  shared_data(path, sizeof path,
              "mne_formats/SNIRF/MNE-NIRS/20220217/20220217_nirx_15_3_recording.snirf");
  if (nx_recording_open_sandboxed(reader(), path, &recording, &err) < 0)
    fail_msg("%s", err.text);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_string_equal(info->format, "SNIRF");
  assert_int_equal(info->n_channels, 26);
  assert_string_equal(info->channels[1].name, "S1_D9 760");
  assert_int_equal(info->channels[1].type, NX_CHANNEL_NIRS);
  assert_true(info->channels[1].rate_hz > 12.499 && info->channels[1].rate_hz < 12.501);
  assert_int_equal(info->n_events, 3);
  assert_true(info->events[1].onset_s > 7.519 && info->events[1].onset_s < 7.521);
  assert_string_equal(info->events[1].text, "2.0");
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){1}, 1, 0, 220, x, NULL), 0);
  assert_true(x[0] == 0.4109626F && x[1] == 0.4110714F);
  nx_recording_close(recording);
  assert_int_equal(nx_recording_open(path, &recording, NULL), NX_E_UNSUPPORTED); /* not in here */
}

static void electrical_series_of_nwb_is_read_in_volts(void **state) {
  (void)state;
  float x[6];
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  if (!has_hdf5())
    return;
  if (nx_recording_open_sandboxed(reader(), "tests/vectors/recordings/small.nwb", &recording,
                                  &err) < 0)
    fail_msg("%s", err.text);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_string_equal(info->format, "NWB");
  assert_int_equal(info->n_channels, 3);
  assert_true(info->channels[2].rate_hz == 250 && info->channels[2].n_samples == 10);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){2, 0}, 2, 7, 3, x, NULL), 0);
  assert_true(x[0] == (float)23e-6 && x[2] == (float)29e-6 && x[5] == (float)27e-6);
  nx_recording_close(recording);
}

static void damaged_hdf5_costs_the_file_only(void **state) {
  (void)state;
  struct nx_buffer bytes = {0};
  struct nx_rng rng;
  char path[] = "/tmp/nx-sandbox-XXXXXX";
  if (!has_hdf5())
    return;
  close(mkstemp(path));
  assert_int_equal(nx_file_read("tests/vectors/recordings/small.nwb", 1 << 20, &bytes, NULL), 0);
  nx_rng_init(&rng, 4, 0);
  for (int round = 0; round < 60; round++) {
    struct nx_recording *recording = NULL;
    struct nx_error err = {0};
    uint8_t *copy = malloc(bytes.size);
    memcpy(copy, bytes.data, bytes.size);
    for (int k = 0; k < 6; k++)
      copy[8 + nx_rng_below(&rng, bytes.size - 8)] = (uint8_t)nx_rng_u64(&rng);
    FILE *file = fopen(path, "wb");
    fwrite(copy, 1, bytes.size, file);
    fclose(file);
    free(copy);
    if (nx_recording_open_sandboxed(reader(), path, &recording, &err) < 0)
      assert_non_null(strstr(err.text, path));
    nx_recording_close(recording);
  }
  nx_buffer_finish(&bytes);
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sandboxed_reading_gives_the_same_values),
      cmocka_unit_test(window_larger_than_the_shared_memory_is_read_in_parts),
      cmocka_unit_test(refusals_keep_their_words),
      cmocka_unit_test(anatomical_images_are_never_opened),
      cmocka_unit_test(sibling_outside_of_the_folder_is_refused),
      cmocka_unit_test(snirf_is_read_as_mne_reads_it),
      cmocka_unit_test(electrical_series_of_nwb_is_read_in_volts),
      cmocka_unit_test(damaged_hdf5_costs_the_file_only),
      cmocka_unit_test(crashing_or_lying_reader_costs_the_file_only),
      cmocka_unit_test(kernel_without_seccomp_opens_nothing_and_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
