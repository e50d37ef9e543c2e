#include "node/recordings/deidentify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "node/recordings/edf.h"
#include "node/recordings/identity.h"
#include "tests/support/shared_data.h"

static char folder[64];

static const char *at(const char *name) {
  static char paths[4][256];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

static int make(void **state) {
  (void)state;
  strcpy(folder, "/tmp/nx-deidentify-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int unmake(void **state) {
  char command[128];
  (void)state;
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static void put(const char *name, const void *data, size_t size) {
  assert_int_equal(nx_file_replace(at(name), nx_bytes(data, size), 0600, NULL), 0);
}

static void get(const char *name, struct nx_buffer *out) {
  memset(out, 0, sizeof *out);
  assert_int_equal(nx_file_read(at(name), 1 << 26, out, NULL), 0);
}

/* The header of the EDF+ specification's own example, with two signals. */
static size_t make_edf(char *out, const char *patient, const char *about) {
  static const struct {
    int width;
    const char *values[2];
  } fields[] = {{16, {"EEG Fp1", "EDF Annotations"}},
                {80, {"AgAgCl 02-MAY-1951", ""}},
                {8, {"uV", ""}},
                {8, {"-100", "-1"}},
                {8, {"100", "1"}},
                {8, {"-32768", "-32768"}},
                {8, {"32767", "32767"}},
                {80, {"HP:0.16Hz LP:75.5Hz N:50Hz", ""}},
                {8, {"10", "60"}},
                {32, {"", ""}}};
  size_t n = (size_t)sprintf(out, "%-8s%-80s%-80s%-8s%-8s%-8s%-44s%-8s%-8s%-4s", "0", patient,
                             about, "02.03.02", "09.00.00", "768", "EDF+C", "2", "1", "2");
  for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
    for (int s = 0; s < 2; s++)
      n += (size_t)sprintf(out + n, "%-*s", fields[f].width, fields[f].values[s]);
  for (int record = 0; record < 2; record++) {
    for (int i = 0; i < 20; i++)
      out[n++] = (char)(7 * i + record);
    memset(out + n, 0, 120);
    size_t k = (size_t)sprintf(out + n, "+%d%c%c", record, 0x14, 0x14) + 1;
    sprintf(out + n + k, "+%d.5%c0.5%ceyes open%cHarry coughs%c", record, 0x15, 0x14, 0x14, 0x14);
    n += 120;
  }
  return n;
}

static void an_edf_copy_has_the_samples_and_nothing_of_the_person(void **state) {
  (void)state;
  char edf[4096];
  struct nx_buffer before, after;
  struct nx_deidentify_counts counts;
  struct nx_recording *recording;
  const struct nx_deidentify_options options = {.code = "P07"};
  size_t n = make_edf(edf, "MCH-0234567 F 02-MAY-1951 Haagse_Harry",
                      "Startdate 02-MAR-2002 PSG-1234/2002 NN Telemetry03");
  put("harry.edf", edf, n);
  assert_int_equal(nx_deidentify(at("harry.edf"), at("clean.edf"), &options, &counts, NULL), 0);
  get("harry.edf", &before);
  get("clean.edf", &after);
  assert_int_equal(before.size, after.size);
  for (int record = 0; record < 2; record++)
    assert_memory_equal(before.data + 768 + 140 * record, after.data + 768 + 140 * record, 20);
  static const char *const gone[] = {"Harry", "MCH",  "0234567", "MAY-1951",
                                     "2002",  "1234", "02.03"};
  for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
    assert_null(memmem(after.data, after.size, gone[i], strlen(gone[i])));
  assert_memory_equal(after.data + 8, "P07 X X X ", 10);
  assert_int_equal(counts.annotations_kept, 2);
  assert_int_equal(counts.annotations_changed, 2);
  assert_int_equal(counts.fields_blanked, 1);
  assert_non_null(memmem(after.data, after.size, "LP:75.5Hz", 9)); /* filters tell of nobody */
  assert_int_equal(nx_recording_open(at("clean.edf"), &recording, NULL), 0);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_string_equal(info->identity, "");
  assert_int_equal(info->n_events, 4);
  assert_string_equal(info->events[0].text, "eyes open");
  assert_string_equal(info->events[1].text, "event");
  assert_true(info->events[2].onset_s == 1.5 && info->events[2].duration_s == 0.5);
  nx_recording_close(recording);
  nx_buffer_finish(&before);
  nx_buffer_finish(&after);
}

static void nothing_is_written_over_and_nothing_is_left_behind(void **state) {
  (void)state;
  char edf[4096];
  struct nx_buffer after;
  struct nx_deidentify_counts counts;
  const struct nx_deidentify_options options = {0}, named = {.code = "Haagse Harry"};
  size_t n = make_edf(edf, "X X X X", "Startdate X X X X");
  put("in.edf", edf, n);
  put("there.edf", "mine", 4);
  assert_int_equal(nx_deidentify(at("in.edf"), at("there.edf"), &options, &counts, NULL),
                   NX_E_EXISTS);
  get("there.edf", &after);
  assert_int_equal(after.size, 4);
  nx_buffer_finish(&after);
  assert_int_equal(nx_deidentify(at("in.edf"), at("x.edf"), &named, &counts, NULL), NX_E_INVALID);
  assert_int_equal(nx_deidentify(at("in.edf"), at("x.bdf"), &options, &counts, NULL), NX_E_INVALID);
  put("short.edf", edf, 600); /* ends within the header of its signals */
  assert_true(nx_deidentify(at("short.edf"), at("y.edf"), &options, &counts, NULL) < 0);
  assert_false(nx_path_exists(at("x.edf")));
  assert_false(nx_path_exists(at("y.edf")));
}

static void annotations_are_dropped_or_kept_as_asked(void **state) {
  (void)state;
  char edf[4096];
  struct nx_deidentify_counts counts;
  struct nx_recording *recording;
  static const char *const keep[] = {"Harry coughs"};
  const struct nx_deidentify_options drop = {.annotations = NX_ANNOTATIONS_DROP};
  const struct nx_deidentify_options one = {.keep = keep, .n_keep = 1};
  put("a.edf", edf, make_edf(edf, "X X X X", "Startdate X X X X"));
  assert_int_equal(nx_deidentify(at("a.edf"), at("drop.edf"), &drop, &counts, NULL), 0);
  assert_int_equal(nx_recording_open(at("drop.edf"), &recording, NULL), 0);
  assert_int_equal(nx_recording_info(recording)->n_events, 0);
  assert_false(nx_recording_info(recording)->discontinuous); /* records still have their times */
  nx_recording_close(recording);
  assert_int_equal(nx_deidentify(at("a.edf"), at("keep.edf"), &one, &counts, NULL), 0);
  assert_int_equal(counts.annotations_kept, 4);
}

static void a_brainvision_copy_is_written_anew(void **state) {
  (void)state;
  static const char vhdr[] =
      "Brain Vision Data Exchange Header File Version 1.0\r\n; Harry's EEG\r\n[Common Infos]\r\n"
      "DataFile=$b.eeg\r\nMarkerFile=harry.vmrk\r\nDataFormat=BINARY\r\n"
      "DataOrientation=MULTIPLEXED\r\nNumberOfChannels=2\r\nSamplingInterval=2000\r\n"
      "[User Infos]\r\nSubjectName=Haagse Harry\r\n[Binary Infos]\r\nBinaryFormat=INT_16\r\n"
      "[Channel Infos]\r\nCh1=Fp1,,0.5,\xc2\xb5V\r\nCh2=Fp2,Cz,0.5,\xc2\xb5V,Harry\r\n[Comment]\r\n"
      "Patient name: Haagse Harry\r\nBorn: 02-MAY-1951\r\n";
  static const char vmrk[] =
      "Brain Vision Data Exchange Marker File, Version 1.0\r\n[Marker Infos]\r\n"
      "Mk1=New Segment,,1,1,0,20131113161403794232\r\nMk2=Stimulus,S  1,2,1,0\r\n"
      "Mk3=Comment,Harry coughs,3,1,0\r\n";
  static const int16_t samples[] = {1, 2, 3, 4, 5, 6, 7, 8};
  struct nx_deidentify_counts counts;
  struct nx_recording *recording;
  struct nx_buffer bytes;
  const struct nx_deidentify_options options = {0};
  float x[2][4];
  put("harry.vhdr", vhdr, sizeof vhdr - 1);
  put("harry.vmrk", vmrk, sizeof vmrk - 1);
  put("harry.eeg", samples, sizeof samples);
  assert_int_equal(nx_recording_open(at("harry.vhdr"), &recording, NULL), 0);
  assert_non_null(strstr(nx_recording_info(recording)->identity, "patient name"));
  assert_null(strstr(nx_recording_info(recording)->identity, "Harry"));
  nx_recording_close(recording);
  assert_int_equal(nx_deidentify(at("harry.vhdr"), at("c.vhdr"), &options, &counts, NULL), 0);
  static const char *const files[] = {"c.vhdr", "c.vmrk", "c.eeg"};
  for (int i = 0; i < 3; i++) {
    get(files[i], &bytes);
    assert_null(memmem(bytes.data, bytes.size, "arry", 4));
    assert_null(memmem(bytes.data, bytes.size, "1951", 4));
    assert_null(memmem(bytes.data, bytes.size, "20131113", 8));
    nx_buffer_finish(&bytes);
  }
  get("c.eeg", &bytes);
  assert_memory_equal(bytes.data, samples, sizeof samples);
  nx_buffer_finish(&bytes);
  assert_int_equal(nx_recording_open(at("c.vhdr"), &recording, NULL), 0);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_int_equal(info->n_channels, 2);
  assert_string_equal(info->identity, "");
  assert_int_equal(info->n_events, 3);
  assert_string_equal(info->events[1].text, "Stimulus/S  1");
  assert_string_equal(info->events[2].text, "Comment/event");
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){0, 1}, 2, 0, 4, x[0], NULL), 0);
  assert_true(x[0][1] == 1.5f && x[1][3] == 4.0f);
  nx_recording_close(recording);
  put("d.vmrk", "mine", 4); /* one of the three is there: none is written */
  assert_int_equal(nx_deidentify(at("harry.vhdr"), at("d.vhdr"), &options, &counts, NULL),
                   NX_E_EXISTS);
  assert_false(nx_path_exists(at("d.vhdr")));
  assert_false(nx_path_exists(at("d.eeg")));
}

static void what_looks_like_a_person_is_noted_by_field_only(void **state) {
  (void)state;
  static const struct {
    const char *patient, *about, *noted;
  } cases[] = {
      {"X X X X", "Startdate X X X X", ""},
      {"X X X Subject00", "Startdate X X X EEGMAT-crop-60s", ""},
      {"pat01 X X X", "Startdate 01-JAN-2000 X X Nihon", ""},
      {"0 X X No_Name", "", ""},
      {"MCH-0234567 F X X", "", "hospital number"},
      {"X F 02-MAY-1951 X", "", "birth date"},
      {"X F X Haagse_Harry", "", "patient name"},
      {"Haagse Harry", "", "patient name"},
      {"X M 1951-05-02 X", "", "birth date"},
      {"X M 2.5.1951 X", "", "birth date"},
      {"X M 19510502 X", "", "birth date"},
      {"X X X X", "Startdate X PSG-123456 X X", "administration number"},
  };
  char edf[4096];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nx_recording *recording;
    put("case.edf", edf, make_edf(edf, cases[i].patient, cases[i].about));
    assert_int_equal(nx_recording_open(at("case.edf"), &recording, NULL), 0);
    assert_string_equal(nx_recording_info(recording)->identity, cases[i].noted);
    nx_recording_close(recording);
  }
}

static void real_recordings_are_told_apart(void **state) {
  (void)state;
  static const struct {
    const char *file, *noted;
  } cases[] = {{"eegmat_100Hz/Subject00_rest.edf", ""},
               {"eegmmidb_S001/S001R01.edf", ""},
               {"eegmat_500Hz/Subject00_1.edf", "birth date"},
               {"human_ieeg_mne_misc/sample_ecog_ieeg.fif", ""}};
  char path[NX_PATH_SIZE];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nx_recording *recording;
    shared_data(path, sizeof path, cases[i].file);
    assert_int_equal(nx_recording_open(path, &recording, NULL), 0);
    assert_string_equal(nx_recording_info(recording)->identity, cases[i].noted);
    nx_recording_close(recording);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_edf_copy_has_the_samples_and_nothing_of_the_person),
      cmocka_unit_test(nothing_is_written_over_and_nothing_is_left_behind),
      cmocka_unit_test(annotations_are_dropped_or_kept_as_asked),
      cmocka_unit_test(a_brainvision_copy_is_written_anew),
      cmocka_unit_test(what_looks_like_a_person_is_noted_by_field_only),
      cmocka_unit_test(real_recordings_are_told_apart),
  };
  return cmocka_run_group_tests(tests, make, unmake);
}
