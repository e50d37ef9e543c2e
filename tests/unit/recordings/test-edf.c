#include "node/recordings/edf.h"

#include <math.h>
#include <unistd.h>

#include "common/file.h"
#include "common/rng.h"
#include "common/size.h"
#include "node/recordings/edf_write.h"
#include "tests/support/shared_data.h"

/* A small EDF in the making: patched, written, opened. */
struct draft {
  uint8_t bytes[16384];
  size_t size;
  char path[64];
};

static void put(struct draft *draft, size_t at, const char *text) {
  memcpy(draft->bytes + at, text, strlen(text));
}

/* Two signals of 4 and 2 samples a record and an annotation signal of 20 bytes; 3 records of
 * one second. Samples count up: signal s, sample i is 100 s + i. */
static void start(struct draft *draft) {
  enum { SIGNALS = 3, HEADER = 256 * (1 + SIGNALS), RECORD = 2 * (4 + 2 + 20) };
  static const char *const labels[] = {"EEG Fp1", "Temp rectal", "EDF Annotations"};
  static const char *const units[] = {"uV", "degC", ""};
  static const char *const samples[] = {"4", "2", "20"};
  memset(draft, 0, sizeof *draft);
  memset(draft->bytes, ' ', HEADER);
  put(draft, 0, "0");
  put(draft, 8, "X X X Mr_Secret");
  put(draft, 168, "01.01.0100.00.00");
  put(draft, 184, "1024");
  put(draft, 192, "EDF+C");
  put(draft, 236, "3");
  put(draft, 244, "1");
  put(draft, 252, "3");
  for (size_t s = 0; s < SIGNALS; s++) {
    put(draft, 256 + 16 * s, labels[s]);
    put(draft, 256 + 96 * SIGNALS + 8 * s, units[s]);
    put(draft, 256 + 104 * SIGNALS + 8 * s, "-3276.8");
    put(draft, 256 + 112 * SIGNALS + 8 * s, "3276.7");
    put(draft, 256 + 120 * SIGNALS + 8 * s, "-32768");
    put(draft, 256 + 128 * SIGNALS + 8 * s, "32767");
    put(draft, 256 + 216 * SIGNALS + 8 * s, samples[s]);
  }
  for (size_t r = 0; r < 3; r++) {
    uint8_t *record = draft->bytes + HEADER + RECORD * r;
    for (size_t i = 0; i < 4; i++)
      record[2 * i] = (uint8_t)(4 * r + i);
    for (size_t i = 0; i < 2; i++)
      record[8 + 2 * i] = (uint8_t)(100 + 2 * r + i);
    snprintf((char *)record + 12, 40, "+%zu\x14\x14", r);
  }
  draft->size = HEADER + 3 * RECORD;
}

static int open_draft(struct draft *draft, struct nx_recording **out, struct nx_error *err) {
  strcpy(draft->path, "/tmp/nx-edf-XXXXXX");
  int fd = mkstemp(draft->path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, draft->bytes, draft->size), draft->size);
  close(fd);
  int r = nx_recording_open(draft->path, out, err);
  unlink(draft->path);
  return r;
}

static void assert_refused(struct draft *draft, int code, const char *word) {
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  assert_int_equal(open_draft(draft, &recording, &err), code);
  assert_null(recording);
  assert_non_null(strstr(err.text, draft->path)); /* names the file */
  assert_non_null(strstr(err.text, word));
}

static void mixed_rates_and_events_are_read(void **state) {
  (void)state;
  struct draft draft;
  start(&draft);
  memcpy(draft.bytes + 1024 + 52 + 12 + 5,
         "+1.5\x15"
         "0.25\x14spike \xb5V\x14",
         19);
  memcpy(draft.bytes + 1024 + 104 + 12 + 5,
         "+2\x14"
         "a\x14\xc3\xa9\x14",
         8);
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  assert_int_equal(open_draft(&draft, &recording, NULL), 0);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_string_equal(info->format, "EDF+C");
  assert_int_equal(info->n_channels, 2);
  assert_true(info->duration_s == 3 && !info->truncated && !info->discontinuous);
  assert_string_equal(info->channels[0].name, "EEG Fp1");
  assert_true(info->channels[0].rate_hz == 4 && info->channels[1].rate_hz == 2);
  assert_int_equal(info->channels[0].type, NX_CHANNEL_EEG);
  assert_int_equal(info->channels[1].type, NX_CHANNEL_MISC);
  assert_int_equal(info->n_events, 3);
  assert_true(info->events[0].onset_s == 1.5 && info->events[0].duration_s == 0.25);
  assert_string_equal(info->events[0].text, "spike \xc2\xb5V"); /* Latin-1 */
  assert_string_equal(info->events[2].text, "\xc3\xa9");        /* UTF-8 */
  float x[8];
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){0}, 1, 3, 6, x, NULL), 0);
  for (int i = 0; i < 6; i++)
    assert_true(fabsf(x[i] - 0.1f * (float)(3 + i)) < 1e-5f);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){1}, 1, 1, 5, x, NULL), 0);
  assert_true(fabsf(x[4] - 10.5f) < 1e-5f);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){0, 1}, 2, 0, 1, x, NULL),
                   NX_E_INVALID);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){0}, 1, 8, 5, x, NULL), NX_E_INVALID);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){0}, 1, UINT64_MAX, 2, x, NULL),
                   NX_E_INVALID);
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){2}, 1, 0, 1, x, NULL), NX_E_INVALID);
}

static void unknown_record_count_is_taken_from_the_size(void **state) {
  (void)state;
  struct draft draft;
  start(&draft);
  put(&draft, 236, "-1");
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  assert_int_equal(open_draft(&draft, &recording, NULL), 0);
  assert_int_equal(nx_recording_info(recording)->channels[0].n_samples, 12);
  assert_false(nx_recording_info(recording)->truncated);
}

static void cut_off_last_record_is_left_out_and_said(void **state) {
  (void)state;
  struct draft draft;
  start(&draft);
  draft.size -= 7;
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  assert_int_equal(open_draft(&draft, &recording, NULL), 0);
  assert_int_equal(nx_recording_info(recording)->channels[0].n_samples, 8);
  assert_true(nx_recording_info(recording)->truncated);
}

static void gaps_between_records_are_said(void **state) {
  (void)state;
  struct draft draft;
  start(&draft);
  put(&draft, 192, "EDF+D");
  draft.bytes[1024 + 104 + 13] = '7';
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  assert_int_equal(open_draft(&draft, &recording, NULL), 0);
  assert_string_equal(nx_recording_info(recording)->format, "EDF+D");
  assert_true(nx_recording_info(recording)->discontinuous);
}

static void odd_headers_are_forgiven(void **state) {
  (void)state;
  struct draft draft;
  start(&draft);
  put(&draft, 184, "99999999");                      /* wrong header size */
  put(&draft, 256 + 136 * 3 + 160, "HP:0Hz LP:0Hz"); /* prefilter of the annotations */
  put(&draft, 256 + 16, "EEG Fp1    ");              /* two of one name */
  put(&draft, 256 + 104 * 3, "-3276,8 ");            /* decimal comma */
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  assert_int_equal(open_draft(&draft, &recording, NULL), 0);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_string_equal(info->channels[0].name, "EEG Fp1");
  assert_string_equal(info->channels[1].name, "EEG Fp1-1");
  float x;
  assert_int_equal(nx_recording_read(recording, (uint32_t[]){0}, 1, 11, 1, &x, NULL), 0);
  assert_true(fabsf(x - 1.1f) < 1e-5f);
}

static void channel_without_calibration_loses_its_unit(void **state) {
  (void)state;
  struct draft draft;
  start(&draft);
  put(&draft, 256 + 128 * 3, "-32768");
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  assert_int_equal(open_draft(&draft, &recording, NULL), 0);
  assert_string_equal(nx_recording_info(recording)->channels[0].unit, "");
}

static void file_without_signals_opens_empty(void **state) {
  (void)state;
  struct draft draft;
  start(&draft);
  put(&draft, 252, "0   ");
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  assert_int_equal(open_draft(&draft, &recording, NULL), 0);
  assert_int_equal(nx_recording_info(recording)->n_channels, 0);
}

static void tampered_headers_are_refused_with_the_place(void **state) {
  (void)state;
  struct draft draft;
  start(&draft);
  put(&draft, 252, "9999");
  assert_refused(&draft, NX_E_FORMAT, "number of signals");
  start(&draft);
  put(&draft, 252, "400 ");
  assert_refused(&draft, NX_E_FORMAT, "copy it again");
  start(&draft);
  put(&draft, 244, "nan ");
  assert_refused(&draft, NX_E_FORMAT, "seconds a record");
  start(&draft);
  put(&draft, 244, "0   ");
  assert_refused(&draft, NX_E_FORMAT, "lasts 0 s");
  start(&draft);
  put(&draft, 256 + 216 * 3, "99999999");
  assert_refused(&draft, NX_E_LIMIT, "record");
  start(&draft);
  put(&draft, 256 + 216 * 3, "-4      ");
  assert_refused(&draft, NX_E_FORMAT, "samples a record");
  start(&draft);
  draft.size = 300;
  assert_refused(&draft, NX_E_FORMAT, "copy it again");
  start(&draft);
  draft.size = 0;
  assert_refused(&draft, NX_E_FORMAT, "empty");
  start(&draft);
  draft.bytes[0] = 'G';
  assert_refused(&draft, NX_E_UNSUPPORTED, "no format");
}

static void header_text_about_people_stays_inside(void **state) {
  (void)state;
  struct draft draft;
  start(&draft);
  put(&draft, 252, "x");
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  assert_int_equal(open_draft(&draft, &recording, &err), NX_E_FORMAT);
  assert_null(strstr(err.text, "Secret"));
}

static void read_everything(struct nx_recording *recording) {
  const struct nx_recording_info *info = nx_recording_info(recording);
  for (uint32_t c = 0; c < info->n_channels; c++) {
    size_t n = (size_t)NX_MIN(info->channels[c].n_samples, (uint64_t)4096);
    float *x = malloc((n + 1) * sizeof *x);
    assert_int_equal(
        nx_recording_read(recording, &c, 1, info->channels[c].n_samples - n, n, x, NULL), 0);
    free(x);
  }
}

static void flipped_bytes_never_break_the_reader(void **state) {
  (void)state;
  struct nx_rng rng;
  nx_rng_init(&rng, 2, 0);
  for (int round = 0; round < 3000; round++) {
    struct draft draft;
    start(&draft);
    for (uint64_t k = 0, n = 1 + nx_rng_below(&rng, 6); k < n; k++)
      draft.bytes[nx_rng_below(&rng, draft.size)] = nx_rng_below(&rng, 2)
                                                        ? (uint8_t)nx_rng_u64(&rng)
                                                        : (uint8_t)('0' + nx_rng_below(&rng, 10));
    if (nx_rng_below(&rng, 8) == 0)
      draft.size = nx_rng_below(&rng, draft.size + 1);
    struct nx_recording *recording = NULL;
    struct nx_error err = {0};
    if (open_draft(&draft, &recording, &err) == 0)
      read_everything(recording);
    else
      assert_true(err.text[0]);
    nx_recording_close(recording);
  }
}

static void written_file_reads_back_the_same(void **state) {
  (void)state;
  int16_t a[10] = {0, 1, -1, INT16_MAX, INT16_MIN, 5, 6, 7, 8, 9}, b[10] = {0};
  const struct nx_edf_signal signals[] = {
      {.label = "EEG Cz",
       .transducer = "",
       .unit = "uV",
       .prefilter = "",
       .physical_min = -100,
       .physical_max = 100,
       .samples = a},
      {.label = "EEG Pz",
       .transducer = "",
       .unit = "uV",
       .prefilter = "",
       .physical_min = -0.5,
       .physical_max = 0.5,
       .samples = b},
  };
  struct nx_edf_file file = {.subject_code = "S01",
                             .recording = "SYNTHETIC",
                             .rate_hz = 5,
                             .n_records = 2,
                             .n_signals = 2,
                             .signals = signals};
  char path[] = "/tmp/nx-edf-XXXXXX";
  close(mkstemp(path));
  assert_int_equal(nx_edf_write(path, &file, NULL), 0);
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  assert_int_equal(nx_recording_open(path, &recording, NULL), 0);
  assert_true(nx_recording_info(recording)->synthetic);
  int32_t back[10];
  assert_int_equal(nx_edf_read_digital(recording, 0, 0, 10, back, NULL), 0);
  for (int i = 0; i < 10; i++)
    assert_int_equal(back[i], a[i]);
  unlink(path);
  file.subject_code = "a name that is far too long for it";
  assert_int_equal(nx_edf_write(path, &file, NULL), NX_E_INVALID);
  assert_false(nx_path_exists(path));
}

static uint32_t crc32_of(const void *data, size_t size) {
  uint32_t crc = ~0u;
  for (const uint8_t *p = data; size--; p++) {
    crc ^= *p;
    for (int k = 0; k < 8; k++)
      crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
  }
  return ~crc;
}

static void check_channel(struct nx_recording *recording, char **fields) {
  uint32_t index = (uint32_t)atoi(fields[2]);
  const struct nx_channel *channel = &nx_recording_info(recording)->channels[index];
  size_t n = strtoul(fields[3], NULL, 10);
  assert_int_equal(channel->n_samples, n);
  assert_true(fabs(channel->rate_hz / atof(fields[4]) - 1) < 1e-8);
  if (!strcmp(fields[5], "-"))
    return;
  int32_t *digital = malloc(n * sizeof *digital);
  float *physical = malloc(n * sizeof *physical);
  assert_int_equal(nx_edf_read_digital(recording, index, 0, n, digital, NULL), 0);
  assert_int_equal(nx_recording_read(recording, &index, 1, 0, n, physical, NULL), 0);
  assert_int_equal(crc32_of(digital, n * sizeof *digital), strtoul(fields[5], NULL, 16));
  assert_true(fabs(physical[0] - atof(fields[6])) <= 1e-6 * (1 + fabs(atof(fields[6]))));
  assert_true(fabs(physical[n - 1] - atof(fields[7])) <= 1e-6 * (1 + fabs(atof(fields[7]))));
  free(digital);
  free(physical);
}

static void check_event(struct nx_recording *recording, char **fields) {
  const struct nx_event *event = &nx_recording_info(recording)->events[atoi(fields[2])];
  assert_true(fabs(event->onset_s - atof(fields[3])) < 1e-6);
  assert_true(fabs(event->duration_s - atof(fields[4])) < 1e-6);
  assert_string_equal(event->text, fields[5]);
}

/* tests/vectors/edf/make_vectors.py: integers of every sample, events, rates. */
static void real_files_read_as_mne_reads_them(void **state) {
  (void)state;
  char line[512], path[512];
  struct nx_recording *recording = NULL;
  FILE *table = fopen("tests/vectors/edf/edf.tsv", "r");
  assert_non_null(table);
  while (fgets(line, sizeof line, table)) {
    char *fields[8] = {0}, *rest = line;
    line[strcspn(line, "\n")] = 0;
    for (int i = 0; i < 8 && (fields[i] = strsep(&rest, "\t")); i++)
      ;
    if (!strcmp(fields[0], "file")) {
      nx_recording_close(recording);
      recording = NULL;
      struct nx_error err = {0};
      if (nx_recording_open(shared_data(path, sizeof path, fields[1]), &recording, &err) < 0)
        fail_msg("%s", err.text);
      assert_int_equal(nx_recording_info(recording)->n_channels, atoi(fields[2]));
      assert_int_equal(nx_recording_info(recording)->n_events, atoi(fields[3]));
      assert_false(nx_recording_info(recording)->truncated);
    } else if (!strcmp(fields[0], "channel")) {
      check_channel(recording, fields);
    } else {
      check_event(recording, fields);
    }
  }
  nx_recording_close(recording);
  fclose(table);
}

static void hypnogram_without_signals_gives_its_stages(void **state) {
  (void)state;
  char path[512];
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  const char *file = shared_data(path, sizeof path, "mne_formats/EDF/SC4001EC-Hypnogram.edf");
  assert_int_equal(nx_recording_open(file, &recording, NULL), 0);
  const struct nx_recording_info *info = nx_recording_info(recording);
  assert_int_equal(info->n_channels, 0);
  assert_int_equal(info->n_events, 154); /* mne.read_annotations */
  assert_string_equal(info->events[0].text, "Sleep stage W");
  assert_true(info->events[0].duration_s == 30630);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mixed_rates_and_events_are_read),
      cmocka_unit_test(unknown_record_count_is_taken_from_the_size),
      cmocka_unit_test(cut_off_last_record_is_left_out_and_said),
      cmocka_unit_test(gaps_between_records_are_said),
      cmocka_unit_test(odd_headers_are_forgiven),
      cmocka_unit_test(channel_without_calibration_loses_its_unit),
      cmocka_unit_test(file_without_signals_opens_empty),
      cmocka_unit_test(tampered_headers_are_refused_with_the_place),
      cmocka_unit_test(header_text_about_people_stays_inside),
      cmocka_unit_test(flipped_bytes_never_break_the_reader),
      cmocka_unit_test(written_file_reads_back_the_same),
      cmocka_unit_test(real_files_read_as_mne_reads_them),
      cmocka_unit_test(hypnogram_without_signals_gives_its_stages),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
