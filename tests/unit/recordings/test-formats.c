/* The formats besides EDF, against what reference readers find in real files. */
#include <math.h>
#include <unistd.h>

#include "common/file.h"
#include "common/rng.h"
#include "common/size.h"
#include "node/recordings/recording.h"
#include "tests/support/shared_data.h"

#define FOLDER "/tmp/nx-formats-XXXXXX"

static double si(const struct nx_channel *channel) {
  double microvolts = nx_unit_microvolts(channel->unit);
  bool micro = !strcmp(channel->unit, "uS") || !strcmp(channel->unit, "\xc2\xb5S");
  return microvolts > 0 ? 1e-6 * microvolts : micro ? 1e-6 : 1;
}

static void check_channel(struct nx_recording *recording, char **f) {
  uint32_t index = (uint32_t)atoi(f[2]);
  const struct nx_channel *channel = &nx_recording_info(recording)->channels[index];
  size_t n = strtoul(f[6], NULL, 10);
  double squares = 0, scale = si(channel), rms = atof(f[10]), tolerance = 1e-6 * rms + 1e-30;
  if (strcmp(f[3], "-"))
    assert_string_equal(channel->name, f[3]);
  if (strcmp(f[4], "-"))
    assert_string_equal(nx_channel_type_name(channel->type), f[4]);
  assert_true(fabs(channel->rate_hz / atof(f[5]) - 1) < 1e-6);
  assert_int_equal(channel->n_samples, n);
  float *x = malloc(n * sizeof *x), one;
  assert_int_equal(nx_recording_read(recording, &index, 1, 0, n, x, NULL), 0);
  for (size_t i = 0; i < n; i++)
    squares += (double)x[i] * x[i];
  assert_true(fabs(x[0] * scale - atof(f[7])) <= tolerance + 1e-6 * fabs(atof(f[7])));
  assert_true(fabs(x[n / 2] * scale - atof(f[8])) <= tolerance + 1e-6 * fabs(atof(f[8])));
  assert_true(fabs(x[n - 1] * scale - atof(f[9])) <= tolerance + 1e-6 * fabs(atof(f[9])));
  assert_true(fabs(sqrt(squares / (double)n) * scale - rms) <= 1e-5 * rms);
  assert_int_equal(nx_recording_read(recording, &index, 1, n / 2, 1, &one, NULL), 0);
  assert_true(one == x[n / 2]); /* a window anywhere gives what the whole gives */
  free(x);
}

static void check_row(struct nx_recording **recording, char **f) {
  char path[512];
  if (!strcmp(f[0], "file")) {
    struct nx_error err = {0};
    nx_recording_close(*recording);
    *recording = NULL;
    if (nx_recording_open(shared_data(path, sizeof path, f[1]), recording, &err) < 0)
      fail_msg("%s", err.text);
    assert_int_equal(nx_recording_info(*recording)->n_channels, atoi(f[2]));
    if (strcmp(f[3], "-"))
      assert_int_equal(nx_recording_info(*recording)->n_events, atoi(f[3]));
  } else if (!strcmp(f[0], "channel")) {
    check_channel(*recording, f);
  } else {
    const struct nx_event *event = &nx_recording_info(*recording)->events[atoi(f[2])];
    assert_true(fabs(event->onset_s - atof(f[3])) < 1e-6);
    assert_true(fabs(event->duration_s - atof(f[4])) < 1e-6);
    assert_string_equal(event->text, f[5]);
  }
}

/* tests/vectors/recordings/make_vectors.py */
static void real_files_read_as_reference_readers_read_them(void **state) {
  (void)state;
  char line[512];
  struct nx_recording *recording = NULL;
  FILE *table = fopen("tests/vectors/recordings/recordings.tsv", "r");
  assert_non_null(table);
  while (fgets(line, sizeof line, table)) {
    char *fields[11] = {0}, *rest = line;
    line[strcspn(line, "\n")] = 0;
    for (int i = 0; i < 11 && (fields[i] = strsep(&rest, "\t")); i++)
      ;
    check_row(&recording, fields);
  }
  nx_recording_close(recording);
  fclose(table);
}

static void put(const char *folder, const char *name, const char *text, size_t size) {
  char path[NX_PATH_SIZE];
  nx_path_join(path, folder, name, NULL);
  assert_int_equal(nx_file_replace(path, nx_bytes(text, size), 0644, NULL), 0);
}

static void expect(const char *folder, const char *name, int code, const char *word) {
  char path[NX_PATH_SIZE];
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  nx_path_join(path, folder, name, NULL);
  int r = nx_recording_open(path, &recording, &err);
  if (r != code || (r < 0 && !strstr(err.text, word)))
    fail_msg("%s: code %d, \"%s\" where \"%s\" was expected", name, r, err.text, word);
  nx_recording_close(recording);
}

static void remove_files(const char *folder, const char *const *names, size_t n) {
  char path[NX_PATH_SIZE];
  for (size_t i = 0; i < n; i++) {
    nx_path_join(path, folder, names[i], NULL);
    unlink(path);
  }
  rmdir(folder);
}

#define VHDR                                                                                       \
  "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nDataFile=a.eeg\n"           \
  "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=2\nSamplingInterval=2000\n"    \
  "[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\nCh1=Fz,,0.5,\xb5V\nCh2=a\\1b,,2,mV\n"

static char *with(const char *text, const char *from, const char *to) {
  static char out[2048];
  const char *at = strstr(text, from);
  assert_non_null(at);
  snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
  return out;
}

static void brainvision_headers_are_read_or_refused_with_the_place(void **state) {
  (void)state;
  static const int16_t samples[] = {2, 10, 4, 20, 6, 30};
  static const struct {
    const char *from, *to;
    int code;
    const char *word;
  } cases[] = {
      {"DataFile=a.eeg", "DataFile=../a.eeg", NX_E_FORMAT, "plain file name"},
      {"DataFile=a.eeg", "DataFile=gone.eeg", NX_E_NOT_FOUND, "gone.eeg"},
      {"Channels=2", "Channels=99999", NX_E_FORMAT, "NumberOfChannels"},
      {"Channels=2", "Channels=3", NX_E_FORMAT, "2 of 3"},
      {"Channels=2", "Channels=1", NX_E_FORMAT, "Ch2"},
      {"Interval=2000", "Interval=0", NX_E_FORMAT, "SamplingInterval"},
      {"INT_16", "INT_12", NX_E_UNSUPPORTED, "INT_16"},
      {"=BINARY", "=ASCII", NX_E_UNSUPPORTED, "BINARY"},
      {",0.5,", ",nan,", NX_E_FORMAT, "resolution"},
  };
  char folder[] = FOLDER, path[NX_PATH_SIZE];
  float x[6];
  assert_non_null(mkdtemp(folder));
  put(folder, "a.eeg", (const char *)samples, sizeof samples);
  put(folder, "a.vhdr", VHDR, strlen(VHDR));
  nx_path_join(path, folder, "a.vhdr", NULL);
  struct nx_recording *recording = NULL;
  assert_int_equal(nx_recording_open(path, &recording, NULL), 0);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_string_equal(info->channels[0].unit, "uV"); /* Latin-1 micro sign */
  assert_string_equal(info->channels[1].name, "a,b");
  assert_true(info->channels[0].rate_hz == 500);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){1, 0}, 2, 0, 3, x, NULL), 0);
  assert_true(x[0] == 20 && x[2] == 60 && x[3] == 1 && x[5] == 3);
  nx_recording_close(recording);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(cases); i++) {
    const char *text = with(VHDR, cases[i].from, cases[i].to);
    put(folder, "a.vhdr", text, strlen(text));
    expect(folder, "a.vhdr", cases[i].code, cases[i].word);
  }
  remove_files(folder, (const char *[]){"a.eeg", "a.vhdr"}, 2);
}

static void npy_of_odd_shapes_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *header;
    int code;
    const char *word;
  } cases[] = {
      {"{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }", 0, ""},
      {"{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3, 4), }", NX_E_UNSUPPORTED, "two"},
      {"{'descr': '<i2', 'fortran_order': False, 'shape': (), }", NX_E_UNSUPPORTED, "shape"},
      {"{'descr': '>i2', 'fortran_order': False, 'shape': (6,), }", NX_E_UNSUPPORTED, "float32"},
      {"{'descr': '|O', 'fortran_order': False, 'shape': (6,), }", NX_E_UNSUPPORTED, "float32"},
      {"{'descr': '<i2', 'fortran_order': False, 'shape': (6000, 9000), }", NX_E_LIMIT, "channels"},
      {"{'descr': '<i2', 'fortran_order': False, 'shape': (7, 90000000000), }", NX_E_FORMAT,
       "cut off"},
  };
  char folder[] = FOLDER, text[256];
  assert_non_null(mkdtemp(folder));
  for (size_t i = 0; i < NX_ARRAY_LENGTH(cases); i++) {
    size_t n = strlen(cases[i].header);
    memcpy(text, "\x93NUMPY\x01\0", 8);
    text[8] = (char)n;
    text[9] = 0;
    memcpy(text + 10, cases[i].header, n);
    memset(text + 10 + n, 1, 12);
    put(folder, "a.npy", text, 10 + n + 12);
    expect(folder, "a.npy", cases[i].code, cases[i].word);
  }
  remove_files(folder, (const char *[]){"a.npy"}, 1);
}

/* Small files that scipy and MNE wrote; they are also the fuzzer's seeds. */
static void small_files_of_other_writers_are_read(void **state) {
  (void)state;
  struct nx_recording *recording = NULL;
  float x[5];
  assert_int_equal(nx_recording_open("tests/fuzz/corpus-recording-fif/raw.fif", &recording, NULL), 0);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_int_equal(info->n_events, 2);
  assert_true(fabs(info->events[1].onset_s - 0.05) < 1e-6);
  assert_true(fabs(info->events[1].duration_s - 0.02) < 1e-6);
  assert_string_equal(info->events[1].text, "b");
  nx_recording_close(recording);
  assert_int_equal(nx_recording_open("tests/fuzz/corpus-recording-matlab/eeglab.set", &recording, NULL),
                   0);
  info = nx_recording_info(recording);
  assert_string_equal(info->format, "EEGLAB");
  assert_string_equal(info->channels[1].name, "Cz");
  assert_int_equal(info->n_events, 1);
  assert_string_equal(info->events[0].text, "x");
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){1}, 1, 0, 5, x, NULL), 0);
  assert_true(x[0] == 5 && x[4] == 9);
  nx_recording_close(recording);
  assert_int_equal(
      nx_recording_open("tests/fuzz/corpus-recording-matlab/compressed.mat", &recording, NULL), 0);
  info = nx_recording_info(recording);
  assert_int_equal(info->n_channels, 3);
  assert_true(info->channels[0].rate_hz == 100);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){2}, 1, 1, 3, x, NULL), 0);
  assert_true(x[0] == 9 && x[2] == 11);
  nx_recording_close(recording);
}

/* Flips bytes of a real file's head; whatever opens must also read. */
static void mutate(const char *name, size_t head, const char *as) {
  char source[512], folder[] = FOLDER, path[NX_PATH_SIZE];
  struct nx_buffer bytes = {0};
  struct nx_rng rng;
  shared_data(source, sizeof source, name);
  assert_int_equal(nx_file_read(source, 64 << 20, &bytes, NULL), 0);
  assert_non_null(mkdtemp(folder));
  nx_path_join(path, folder, as, NULL);
  nx_rng_init(&rng, 9, head);
  for (int round = 0; round < 300; round++) {
    size_t size = NX_MIN(bytes.size, (size_t)200000);
    char *copy = malloc(size);
    memcpy(copy, bytes.data, size);
    for (uint64_t k = 0, n = 1 + nx_rng_below(&rng, 5); k < n; k++)
      copy[nx_rng_below(&rng, NX_MIN(head, size))] = (char)nx_rng_u64(&rng);
    FILE *file = fopen(path, "wb");
    fwrite(copy, 1, nx_rng_below(&rng, 4) ? size : (size_t)nx_rng_below(&rng, size), file);
    fclose(file);
    free(copy);
    struct nx_recording *recording = NULL;
    struct nx_error err = {0};
    if (nx_recording_open(path, &recording, &err) == 0)
      for (uint32_t c = 0; c < nx_recording_info(recording)->n_channels && c < 8; c++) {
        float x[64];
        uint64_t n = nx_recording_info(recording)->channels[c].n_samples;
        size_t part = (size_t)NX_MIN(n, (uint64_t)64);
        nx_recording_read(recording, &c, 1, n - part, part, x, NULL);
      }
    else
      assert_true(err.text[0]);
    nx_recording_close(recording);
  }
  nx_buffer_finish(&bytes);
  remove_files(folder, &as, 1);
}

static void mutated_files_never_break_a_reader(void **state) {
  (void)state;
  mutate("mne_formats/SSS/sample_audvis_trunc_raw_sss.fif", 60000, "a.fif");
  mutate("human_ieeg_mne_misc/sample_ecog_ieeg.fif", 60000, "a.fif");
  mutate("mne_formats/mnepy/brainvision/test.vhdr", 3000, "a.vhdr");
  mutate("mne_formats/EEGLAB/test_raw_2021.set", 80000, "a.set");
  mutate("monkey_m1_dad/DAD_mihi_demo.mat", 60000, "a.mat");
  mutate("fmri_haxby_pymvpa/haxby2001/sub001/BOLD/task001_run001/bold_25mm.nii.gz", 60000,
         "a.nii.gz");
  mutate("lfp_neurodsp/sample_data_2_rat_hpc_lfp_1000Hz.npy", 128, "a.npy");
}

/* A 3 x 2 x 1 image of 4 volumes, int16, value = 100 volume + voxel; units of milliseconds. */
static void write_image(const char *folder, const char *name, int volumes, const int16_t *voxels) {
  uint8_t h[352] = {0};
  const int16_t dims[8] = {volumes > 1 ? 4 : 3, 3, 2, 1, (int16_t)volumes, 1, 1, 1}, type = 4;
  const float zooms[8] = {1, 2, 2, 2, 1500, 0, 0, 0}, offset = 352, slope = 0.5F, shift = 10;
  const int32_t size = 348;
  int16_t data[24];
  char bytes[352 + sizeof data];
  memcpy(h, &size, 4);
  memcpy(h + 40, dims, sizeof dims);
  memcpy(h + 70, &type, 2);
  memcpy(h + 76, zooms, sizeof zooms);
  memcpy(h + 108, &offset, 4);
  memcpy(h + 112, &slope, 4);
  memcpy(h + 116, &shift, 4);
  h[123] = 2 | 16; /* mm, ms */
  memcpy(h + 344, "n+1", 4);
  for (int i = 0; i < 6 * volumes; i++)
    data[i] = voxels ? voxels[i] : (int16_t)(100 * (i / 6) + i % 6);
  memcpy(bytes, h, 352);
  memcpy(bytes + 352, data, 12 * (size_t)volumes);
  put(folder, name, bytes, 352 + 12 * (size_t)volumes);
}

static void image_with_parcels_gives_their_means_in_scaled_units(void **state) {
  (void)state;
  static const int16_t parcels[6] = {0, 2, 2, 0, 7, 7}, one[6] = {0, 1, 0, 0, 0, 1};
  char folder[] = FOLDER, path[NX_PATH_SIZE];
  float x[4];
  assert_non_null(mkdtemp(folder));
  write_image(folder, "a.nii", 4, NULL);
  nx_path_join(path, folder, "a.nii", NULL);
  for (int step = 0; step < 3; step++) {
    struct nx_recording *recording = NULL;
    if (step)
      write_image(folder, "a_mask.nii", 1, step == 1 ? parcels : one);
    assert_int_equal(nx_recording_open(path, &recording, NULL), 0);
    const struct nx_recording_info *info = nx_recording_info(recording);
    assert_int_equal(info->n_channels, step ? 2 : 6);
    assert_true(info->channels[0].rate_hz > 0.66 && info->channels[0].rate_hz < 0.67); /* ms */
    assert_int_equal(nx_recording_read(recording, (uint32_t[]){1}, 1, 1, 3, x, NULL), 0);
    /* voxel 1; the mean of voxels 4 and 5; voxel 5: times 0.5, plus 10 */
    assert_true(x[0] == (step == 0 ? 60.5F : step == 1 ? 62.25F : 62.5F));
    assert_true(x[2] - x[0] == 100);
    nx_recording_close(recording);
  }
  write_image(folder, "a_mask.nii", 4, NULL);
  expect(folder, "a.nii", 0, "");
  write_image(folder, "a_mask.nii", 1, (int16_t[6]){0});
  expect(folder, "a.nii", NX_E_FORMAT, "mask is empty");
  put(folder, "a_mask.nii", "short", 5);
  expect(folder, "a.nii", NX_E_FORMAT, "too early");
  remove_files(folder, (const char *[]){"a.nii", "a_mask.nii"}, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(real_files_read_as_reference_readers_read_them),
      cmocka_unit_test(brainvision_headers_are_read_or_refused_with_the_place),
      cmocka_unit_test(npy_of_odd_shapes_is_refused),
      cmocka_unit_test(image_with_parcels_gives_their_means_in_scaled_units),
      cmocka_unit_test(small_files_of_other_writers_are_read),
      cmocka_unit_test(mutated_files_never_break_a_reader),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
