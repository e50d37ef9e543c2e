#include "node/dataset/dataset.h"

#include <math.h>
#include <sys/stat.h>

#include "node/dataset/batch.h"
#include "node/dataset/montage.h"
#include "node/dataset/physionet.h"
#include "node/recordings/edf_write.h"
#include "tests/support/dataset_support.h"

#define FOLDER "/tmp/nx-dataset-XXXXXX"

static int open_folder(const char *folder, const struct nx_plan *plan, struct nx_dataset **out,
                       struct nx_error *err) {
  const struct nx_dataset_options options = {.folder = folder};
  return nx_dataset_open(&options, plan, out, err);
}

static void synthetic_cohort_is_read_split_and_called_synthetic(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = load_plan();
  struct nx_dataset *dataset = NULL;
  const char *held_out[] = {"Subject02"}, *withdrawn[] = {"Subject01"};
  make_folder(folder);
  make_cohort(folder, 4, 12);
  const struct nx_dataset_options options = {.folder = folder,
                                             .held_out = held_out,
                                             .n_held_out = 1,
                                             .withdrawn = withdrawn,
                                             .n_withdrawn = 1};
  assert_int_equal(nx_dataset_open(&options, plan, &dataset, NULL), 0);
  const struct nx_dataset_summary *summary = nx_dataset_summary(dataset);
  assert_true(summary->synthetic);
  assert_int_equal(summary->n_subjects, 3);
  assert_int_equal(summary->n_held_out_subjects, 1);
  assert_int_equal(summary->n_train_recordings, 4);
  assert_int_equal(summary->n_train_windows, 8);
  assert_int_equal(summary->n_held_out_windows, 4);
  assert_int_equal(summary->n_channels, 19);
  for (size_t i = 0; i < summary->n_recordings; i++) {
    const struct nx_dataset_recording *recording = nx_dataset_recording(dataset, i);
    assert_int_equal(recording->n_samples, 1200); /* 200 Hz resampled to 100 */
    assert_int_equal(recording->label, strstr(recording->file, "arith") != NULL);
    assert_string_not_equal(recording->subject, "Subject01");
    for (size_t k = 0; k < 19 * 1200; k++)
      assert_true(fabsf(recording->x[k]) <= 15);
  }
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void manifest_changes_with_files_and_pipeline_but_not_names(void **state) {
  (void)state;
  char folder[] = FOLDER, from[NX_PATH_SIZE], to[NX_PATH_SIZE];
  struct nx_plan *plan = load_plan();
  struct nx_dataset *a = NULL, *b = NULL, *c = NULL;
  make_folder(folder);
  make_cohort(folder, 1, 10);
  assert_int_equal(open_folder(folder, plan, &a, NULL), 0);
  for (int task = 0; task < 2; task++) {
    nx_path_join(from, folder, task ? "Subject00_arith.edf" : "Subject00_rest.edf", NULL);
    nx_path_join(to, folder, task ? "other_arith.edf" : "other_rest.edf", NULL);
    assert_int_equal(rename(from, to), 0);
  }
  assert_int_equal(open_folder(folder, plan, &b, NULL), 0);
  assert_true(nx_hash_equal(&nx_dataset_summary(a)->manifest, &nx_dataset_summary(b)->manifest));
  plan->preprocessing.notch_hz = 45;
  assert_int_equal(open_folder(folder, plan, &c, NULL), 0);
  assert_false(nx_hash_equal(&nx_dataset_summary(a)->manifest, &nx_dataset_summary(c)->manifest));
  nx_dataset_destroy(a);
  nx_dataset_destroy(b);
  nx_dataset_destroy(c);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void pool_and_sandbox_give_the_same_data_set(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = load_plan();
  struct nx_dataset *alone = NULL, *together = NULL;
  struct nx_pool *pool = NULL;
  struct nx_error err = {0};
  make_folder(folder);
  make_cohort(folder, 3, 10);
  assert_int_equal(nx_pool_create(3, &pool, NULL), 0);
  const struct nx_dataset_options options = {
      .folder = folder, .reader = getenv("NEUROX_READER"), .pool = pool};
  assert_non_null(options.reader);
  assert_int_equal(open_folder(folder, plan, &alone, NULL), 0);
  if (nx_dataset_open(&options, plan, &together, &err) < 0)
    fail_msg("%s", err.text);
  for (size_t i = 0; i < 6; i++) {
    const struct nx_dataset_recording *a = nx_dataset_recording(alone, i);
    const struct nx_dataset_recording *b = nx_dataset_recording(together, i);
    assert_string_equal(a->file, b->file);
    assert_int_equal(a->n_samples, b->n_samples);
    assert_memory_equal(a->x, b->x, 19 * a->n_samples * sizeof *a->x);
  }
  assert_true(
      nx_hash_equal(&nx_dataset_summary(alone)->manifest, &nx_dataset_summary(together)->manifest));
  nx_dataset_destroy(alone);
  nx_dataset_destroy(together);
  nx_pool_destroy(pool);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void expect(const char *folder, const struct nx_plan *plan, int code, const char *word) {
  struct nx_dataset *dataset = NULL;
  struct nx_error err = {0};
  assert_int_equal(open_folder(folder, plan, &dataset, &err), code);
  assert_null(dataset);
  if (!strstr(err.text, word))
    fail_msg("\"%s\" does not say \"%s\"", err.text, word);
}

/* One recording of two channels in which channel 1 is `second`. */
static void write_pair(const char *folder, const char *name, const char *unit, const char *label,
                       bool flat, uint32_t n_records) {
  int16_t samples[2][2000];
  char path[NX_PATH_SIZE];
  for (int i = 0; i < 2000; i++) {
    samples[0][i] = (int16_t)(1000 * sin(0.3 * i));
    samples[1][i] = flat ? 7 : (int16_t)(500 * sin(0.7 * i));
  }
  const struct nx_edf_signal signals[] = {
      {.label = "EEG Fz",
       .transducer = "",
       .unit = unit,
       .prefilter = "",
       .physical_min = -100,
       .physical_max = 100,
       .samples = samples[0]},
      {.label = label,
       .transducer = "",
       .unit = unit,
       .prefilter = "",
       .physical_min = -100,
       .physical_max = 100,
       .samples = samples[1]},
  };
  const struct nx_edf_file file = {.subject_code = "s",
                                   .recording = "test",
                                   .rate_hz = 100,
                                   .n_records = n_records,
                                   .n_signals = 2,
                                   .signals = signals};
  nx_path_join(path, folder, name, NULL);
  assert_int_equal(nx_edf_write(path, &file, NULL), 0);
}

static void bad_folders_end_in_one_clear_line(void **state) {
  (void)state;
  char folder[] = FOLDER, path[NX_PATH_SIZE];
  struct nx_plan *plan = load_plan();
  expect("/nonexistent/folder", plan, NX_E_NOT_FOUND, "/nonexistent/folder");
  make_folder(folder);
  expect(folder, plan, NX_E_NOT_FOUND, "labels.tsv");
  write_pair(folder, "S1_rest.edf", "uV", "EEG Pz", true, 20);
  expect(folder, plan, NX_E_FORMAT, "channel Pz is flat");
  write_pair(folder, "S1_rest.edf", "degC", "EEG Pz", false, 20);
  expect(folder, plan, NX_E_FORMAT, "write it in uV");
  write_pair(folder, "S1_rest.edf", "uV", "EEG Pz", false, 3);
  expect(folder, plan, NX_E_FORMAT, "lasts 3 s");
  write_pair(folder, "S1_rest.edf", "uV", "EEG Pz", false, 20);
  nx_path_join(path, folder, "S1_rest.edf", NULL);
  assert_int_equal(truncate(path, 3000), 0);
  expect(folder, plan, NX_E_FORMAT, "cut off");
  assert_int_equal(truncate(path, 0), 0);
  expect(folder, plan, NX_E_FORMAT, "S1_rest.edf is empty");
  write_pair(folder, "S1_rest.edf", "uV", "EEG Pz", false, 20);
  plan->data.minimum_subjects = 2;
  expect(folder, plan, NX_E_DENIED, "asks for 2");
  plan->data.minimum_subjects = 1;
  plan->preprocessing.notch_hz = 50;
  expect(folder, plan, NX_E_INVALID, "notch_hz");
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void write_brainvision(const char *folder, const float *samples, size_t n) {
  static const char header[] =
      "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nDataFile=S1.eeg\n"
      "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=1\n"
      "SamplingInterval=10000\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n"
      "[Channel Infos]\nCh1=Fz,,1,uV\n";
  char path[NX_PATH_SIZE];
  nx_path_join(path, folder, "S1_rest.vhdr", NULL);
  nx_file_replace(path, nx_bytes(header, sizeof header - 1), 0644, NULL);
  nx_path_join(path, folder, "S1.eeg", NULL);
  nx_file_replace(path, nx_bytes(samples, n * sizeof *samples), 0644, NULL);
}

static void value_that_is_no_number_is_refused_with_its_place(void **state) {
  (void)state;
  char folder[] = FOLDER;
  float samples[1000];
  struct nx_plan *plan = load_plan();
  struct nx_dataset *dataset = NULL;
  make_folder(folder);
  for (int i = 0; i < 1000; i++)
    samples[i] = (float)sin(0.3 * i);
  write_brainvision(folder, samples, 1000);
  assert_int_equal(open_folder(folder, plan, &dataset, NULL), 0);
  nx_dataset_destroy(dataset);
  samples[777] = NAN;
  write_brainvision(folder, samples, 1000);
  expect(folder, plan, NX_E_FORMAT, "channel Fz is not a number at sample 777");
  samples[777] = INFINITY;
  write_brainvision(folder, samples, 1000);
  expect(folder, plan, NX_E_FORMAT, "channel Fz is not a number at sample 777");
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void held_out_name_without_recordings_is_refused(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = load_plan();
  struct nx_dataset *dataset = NULL;
  struct nx_error err = {0};
  const char *held_out[] = {"S9"};
  make_folder(folder);
  write_pair(folder, "S1_rest.edf", "uV", "EEG Pz", false, 20);
  const struct nx_dataset_options options = {
      .folder = folder, .held_out = held_out, .n_held_out = 1};
  assert_int_equal(nx_dataset_open(&options, plan, &dataset, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "S9"));
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void table_of_labels_is_used_and_checked(void **state) {
  (void)state;
  char folder[] = FOLDER, path[NX_PATH_SIZE];
  struct nx_plan *plan = load_plan();
  struct nx_dataset *dataset = NULL;
  make_folder(folder);
  write_pair(folder, "a.edf", "mV", "Pz-Ref", false, 20);
  write_pair(folder, "b.edf", "uV", "EEG Cz", false, 20);
  nx_path_join(path, folder, "labels.tsv", NULL);
  const char *good = "file\tsubject\tlabel\r\nb.edf\tp2\tArithmetic\na.edf\tp1\trest\n"
                     "c.edf\tp1\tsleep\n";
  nx_file_replace(path, nx_bytes(good, strlen(good)), 0644, NULL);
  assert_int_equal(open_folder(folder, plan, &dataset, NULL), 0);
  assert_int_equal(nx_dataset_summary(dataset)->n_recordings, 2);
  assert_int_equal(nx_dataset_summary(dataset)->n_channels, 1); /* Fz is what they share */
  assert_string_equal(nx_dataset_channel(dataset, 0), "Fz");
  assert_int_equal(nx_dataset_recording(dataset, 1)->label, 1);
  assert_true(nx_dataset_recording(dataset, 0)->scale[0] >
              900 * nx_dataset_recording(dataset, 1)->scale[0]); /* mV */
  nx_dataset_destroy(dataset);
  const char *outside = "file\tsubject\tlabel\n../b.edf\tp2\trest\n";
  nx_file_replace(path, nx_bytes(outside, strlen(outside)), 0644, NULL);
  expect(folder, plan, NX_E_FORMAT, "line 2");
  const char *twice = "file\tsubject\tlabel\na.edf\tp2\trest\na.edf\tp2\trest\n";
  nx_file_replace(path, nx_bytes(twice, strlen(twice)), 0644, NULL);
  expect(folder, plan, NX_E_FORMAT, "twice");
  const char *headless = "a.edf\tp2\trest\n";
  nx_file_replace(path, nx_bytes(headless, strlen(headless)), 0644, NULL);
  expect(folder, plan, NX_E_FORMAT, "first line");
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void batches_are_balanced_reproducible_and_inside(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = load_plan();
  struct nx_dataset *dataset = NULL;
  struct nx_batch a, b;
  struct nx_rng rng;
  make_folder(folder);
  make_cohort(folder, 5, 12);
  assert_int_equal(open_folder(folder, plan, &dataset, NULL), 0);
  assert_int_equal(nx_batch_init(&a, dataset, plan, 20, NULL), 0);
  assert_int_equal(nx_batch_init(&b, dataset, plan, 20, NULL), 0);
  nx_rng_init(&rng, 1, 2);
  assert_int_equal(nx_batch_draw(&a, dataset, 20, &rng, NULL), 0);
  nx_rng_init(&rng, 1, 2);
  assert_int_equal(nx_batch_draw(&b, dataset, 20, &rng, NULL), 0);
  size_t size = 20 * 19 * 500 * sizeof(float), counts[10] = {0};
  assert_memory_equal(a.patches, b.patches, size);
  for (int w = 0; w < 20; w++)
    counts[a.recordings[w]]++;
  for (int i = 0; i < 10; i++)
    assert_int_equal(counts[i], 2);
  assert_int_equal(nx_batch_draw(&b, dataset, 20, &rng, NULL), 0);
  assert_memory_not_equal(a.patches, b.patches, size);
  assert_int_equal(nx_batch_draw(&b, dataset, 21, &rng, NULL), NX_E_INVALID);
  assert_int_equal(nx_batch_draw(&b, dataset, 7, &rng, NULL), 0); /* drawn, not dealt */
  assert_int_equal(b.n_windows, 7);
  nx_batch_finish(&a);
  nx_batch_finish(&b);
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void grid_pages_through_every_window_once(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = load_plan();
  struct nx_dataset *dataset = NULL;
  struct nx_batch all, page;
  make_folder(folder);
  make_cohort(folder, 2, 16);
  assert_int_equal(open_folder(folder, plan, &dataset, NULL), 0);
  assert_int_equal(nx_batch_init(&all, dataset, plan, 12, NULL), 0);
  assert_int_equal(nx_batch_init(&page, dataset, plan, 5, NULL), 0);
  assert_int_equal(nx_batch_grid(&all, dataset, NX_SPLIT_TRAIN, 0, 12, NULL), 0);
  assert_int_equal(all.n_windows, 12);
  for (size_t first = 0; first < 12; first += 5) {
    assert_int_equal(nx_batch_grid(&page, dataset, NX_SPLIT_TRAIN, first, 5, NULL), 0);
    assert_int_equal(page.n_windows, first == 10 ? 2 : 5);
    for (size_t w = 0; w < page.n_windows; w++) {
      assert_int_equal(page.recordings[w], all.recordings[first + w]);
      assert_int_equal(page.windows[w], all.windows[first + w]);
    }
    assert_memory_equal(page.patches, all.patches + first * 19 * 500, 19 * 500 * sizeof(float));
  }
  assert_int_equal(nx_batch_grid(&page, dataset, NX_SPLIT_TRAIN, 12, 5, NULL), 0);
  assert_int_equal(page.n_windows, 0);
  assert_int_equal(nx_batch_grid(&page, dataset, NX_SPLIT_HELD_OUT, 0, 5, NULL), 0);
  assert_int_equal(page.n_windows, 0);
  nx_batch_finish(&all);
  nx_batch_finish(&page);
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void electrode_names_are_cleaned_and_placed(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"EEG Fp1", "Fp1"},  {"EEG FP1-Ref", "Fp1"}, {"Fcz.", "FCz"}, {"T7", "T7"},
      {"EEG T3-LE", "T3"}, {" Cz ", "Cz"},         {"AF7", "AF7"},  {"Iz..", "Iz"},
  };
  static const char *const none[] = {"EEG A2-A1",
                                     "ECG ECG",
                                     "Fp1-F7",
                                     "",
                                     "EEG",
                                     "POL $A2",
                                     "a name that is much longer than any electrode name could be"};
  char name[16];
  float a[3], b[3];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_true(nx_montage_clean(cases[i][0], name));
    assert_string_equal(name, cases[i][1]);
  }
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    assert_false(nx_montage_clean(none[i], name));
  assert_true(nx_montage_position("T3", a) && nx_montage_position("T7", b));
  assert_memory_equal(a, b, sizeof a);
  assert_true(nx_montage_same("P7", "T5"));
  assert_false(nx_montage_same("P7", "T6"));
  assert_true(nx_montage_position("F3", a)); /* design/recipe-eegmat's data.py */
  assert_true(fabsf(a[0] + 0.480804f) < 1e-5f && fabsf(a[1] - 0.769563f) < 1e-5f &&
              fabsf(a[2] - 0.420238f) < 1e-5f);
  assert_false(nx_montage_position("XX", a));
}

static void cut_of_the_originals_is_the_shared_cut_byte_for_byte(void **state) {
  (void)state;
  static const char *const names[] = {"Subject00_rest.edf", "Subject27_arith.edf"};
  char in[512], want_path[512], folder[] = FOLDER, got_path[NX_PATH_SIZE];
  size_t n = 0;
  make_folder(folder);
  assert_int_equal(
      nx_physionet_cut(shared_data(in, sizeof in, "eegmat_500Hz"), folder, NULL, &n, NULL), 0);
  assert_int_equal(n, 8);
  for (size_t i = 0; i < 2; i++) {
    struct nx_buffer got = {0}, want = {0};
    char name[64];
    snprintf(name, sizeof name, "eegmat_100Hz/%s", names[i]);
    nx_path_join(got_path, folder, names[i], NULL);
    assert_int_equal(nx_file_read(got_path, 1 << 20, &got, NULL), 0);
    assert_int_equal(
        nx_file_read(shared_data(want_path, sizeof want_path, name), 1 << 20, &want, NULL), 0);
    assert_int_equal(got.size, want.size);
    assert_memory_equal(got.data, want.data, want.size);
    nx_buffer_finish(&got);
    nx_buffer_finish(&want);
  }
  remove_folder(folder);
  make_folder(strcpy(folder, FOLDER));
  assert_int_equal(nx_physionet_cut(folder, folder, NULL, &n, NULL), NX_E_NOT_FOUND);
  remove_folder(folder);
}

static void generated_files_are_reproducible_and_never_overwrite(void **state) {
  (void)state;
  char a[] = FOLDER, b[] = FOLDER, path[NX_PATH_SIZE];
  struct nx_buffer x = {0}, y = {0};
  make_folder(a);
  make_folder(b);
  struct nx_synth_options options = {
      .folder = a, .n_subjects = 2, .first_subject = 3, .seconds = 10, .seed = 5};
  assert_int_equal(nx_synth(&options, NULL), 0);
  assert_int_equal(nx_synth(&options, NULL), NX_E_EXISTS);
  options.folder = b;
  options.n_subjects = 1;
  options.first_subject = 4; /* a subject depends on its number, not on who came before */
  assert_int_equal(nx_synth(&options, NULL), 0);
  nx_path_join(path, a, "Subject04_rest.edf", NULL);
  assert_int_equal(nx_file_read(path, 1 << 22, &x, NULL), 0);
  nx_path_join(path, b, "Subject04_rest.edf", NULL);
  assert_int_equal(nx_file_read(path, 1 << 22, &y, NULL), 0);
  assert_int_equal(x.size, y.size);
  assert_memory_equal(x.data, y.data, x.size);
  assert_non_null(memmem(x.data, 256, "SYNTHETIC", 9));
  options.seconds = 1;
  assert_int_equal(nx_synth(&options, NULL), NX_E_INVALID);
  nx_buffer_finish(&x);
  nx_buffer_finish(&y);
  remove_folder(a);
  remove_folder(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(synthetic_cohort_is_read_split_and_called_synthetic),
      cmocka_unit_test(manifest_changes_with_files_and_pipeline_but_not_names),
      cmocka_unit_test(pool_and_sandbox_give_the_same_data_set),
      cmocka_unit_test(bad_folders_end_in_one_clear_line),
      cmocka_unit_test(value_that_is_no_number_is_refused_with_its_place),
      cmocka_unit_test(held_out_name_without_recordings_is_refused),
      cmocka_unit_test(table_of_labels_is_used_and_checked),
      cmocka_unit_test(batches_are_balanced_reproducible_and_inside),
      cmocka_unit_test(grid_pages_through_every_window_once),
      cmocka_unit_test(electrode_names_are_cleaned_and_placed),
      cmocka_unit_test(cut_of_the_originals_is_the_shared_cut_byte_for_byte),
      cmocka_unit_test(generated_files_are_reproducible_and_never_overwrite),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
