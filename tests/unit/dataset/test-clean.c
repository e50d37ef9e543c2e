/* A plan's section cleaning: what it says about keys, what becomes of bad channels and artefacts.
 */
#include "node/dataset/clean.h"

#include <math.h>

#include "common/size.h"
#include "node/dataset/dataset.h"
#include "node/dataset/signal.h"
#include "node/recordings/edf_write.h"
#include "tests/support/dataset_support.h"

#define FOLDER "/tmp/nx-clean-XXXXXX"
#define RATE 100
#define SECONDS 60
#define N (RATE * SECONDS)

static const char *const electrodes[] = {"EEG F3", "EEG F4", "EEG Fz", "EEG C3",
                                         "EEG C4", "EEG Cz", "EEG Pz", "EEG Fp1"};
#define CHANNELS NX_ARRAY_LENGTH(electrodes)
enum { FZ = 2 };

/* MNE's own matrix (tests/vectors/clean/make.py). */
static void weights_are_mnes(void **state) {
  (void)state;
  double from[8][3], to[2][3], want[2][8], got[2 * 8];
  size_t n_from = 0, n_to = 0, n_rows = 0;
  char word[16];
  FILE *table = fopen("tests/vectors/clean/spline.tsv", "r");
  assert_non_null(table);
  while (fscanf(table, "%15s", word) == 1) {
    double *row = !strcmp(word, "from") ? from[n_from++]
                  : !strcmp(word, "to") ? to[n_to++]
                                        : want[n_rows++];
    for (size_t i = 0; i < (row >= want[0] && row <= want[1] ? 8u : 3u); i++)
      assert_int_equal(fscanf(table, "%lf", &row[i]), 1);
  }
  fclose(table);
  assert_int_equal(n_from, 8);
  assert_int_equal(n_rows, 2);
  assert_int_equal(nx_clean_spline(from[0], 8, to[0], 2, got, NULL), 0);
  for (size_t k = 0; k < 16; k++)
    assert_true(fabs(got[k] - want[k / 8][k % 8]) < 1e-8);
  assert_int_equal(nx_clean_spline(from[0], 3, to[0], 2, got, NULL), NX_E_FORMAT);
}

static struct nx_plan *plan_with(const char *section, int code, const char *words) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_file_read("configs/plan-eegmat.yaml", 1 << 20, &text, NULL), 0);
  assert_int_equal(nx_buffer_append(&text, section, strlen(section), NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &plan, &err), code);
  if (code && !strstr(err.text, words))
    fail_msg("%s", err.text);
  nx_buffer_finish(&text);
  return plan;
}

static void wrong_keys_are_named_with_their_line(void **state) {
  (void)state;
  plan_with(
      "\ncleaning: {bad_channels: mend, most_bad_share: 1, artefact_z: 0, artefact_share: 0}\n",
      NX_E_FORMAT, "plan:");
  plan_with("\ncleaning:\n  bad_channels: keep\n  most_bad_share: 2\n  artefact_z: 0\n"
            "  artefact_share: 0\n",
            NX_E_FORMAT, "cleaning.most_bad_share is 2: use 0 to 1");
  plan_with("\ncleaning:\n  bad_channels: keep\n  most_bad_share: 1\n  artefact_z: 5\n"
            "  artefact_share: 0\n",
            NX_E_FORMAT, "both above 0");
  plan_with("\ncleaning:\n  bad_channels: keep\n", NX_E_FORMAT, "most_bad_share");
}

/* Fields over the scalp that vary slowly with place, and a little noise. Fz: nothing, or as it
 * would be. A jump of a second in all channels at 31 s, if asked for. */
static void write_recording(const char *folder, bool flat, bool jump) {
  static int16_t samples[CHANNELS][N];
  struct nx_edf_signal signals[CHANNELS];
  char path[NX_PATH_SIZE];
  uint32_t draw = 7;
  for (size_t c = 0; c < CHANNELS; c++) {
    for (size_t i = 0; i < N; i++) {
      double t = (double)i / RATE, wave = sin(2 * M_PI * 7 * t) + sin(2 * M_PI * 11.3 * t + 1);
      draw = draw * 1664525 + 1013904223;
      double level = 3000 * wave * (1 + 0.05 * (double)c) + draw / 4294967296.0 * 600;
      if (jump && i / RATE == 31)
        level = i % 2 ? 32000 : -32000;
      samples[c][i] = (int16_t)(flat && c == FZ ? 0 : level);
    }
    signals[c] = (struct nx_edf_signal){.label = electrodes[c],
                                        .transducer = "",
                                        .unit = "uV",
                                        .prefilter = "",
                                        .physical_min = -327.68,
                                        .physical_max = 327.67,
                                        .samples = samples[c]};
  }
  const struct nx_edf_file file = {.subject_code = "s",
                                   .recording = "test",
                                   .rate_hz = RATE,
                                   .n_records = SECONDS,
                                   .n_signals = CHANNELS,
                                   .signals = signals};
  nx_path_join(path, folder, "S1_rest.edf", NULL);
  assert_int_equal(nx_edf_write(path, &file, NULL), 0);
}

static struct nx_dataset *open_with(const char *folder, struct nx_plan *plan,
                                    struct nx_plan_cleaning *cleaning, int code,
                                    const char *words) {
  const struct nx_dataset_options options = {.folder = folder};
  struct nx_dataset *dataset = NULL;
  struct nx_error err = {0};
  plan->cleaning = cleaning;
  int r = nx_dataset_open(&options, plan, &dataset, &err);
  plan->cleaning = NULL;
  if (r != code || (code && !strstr(err.text, words)))
    fail_msg("%d: %s", r, err.text);
  return dataset;
}

static void bad_channels_go_or_are_made_of_the_others(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = load_plan();
  struct nx_plan_cleaning cleaning = {.most_bad_share = 0.5};
  plan->data.minimum_subjects = 1;
  plan->preprocessing.reference = NX_REFERENCE_AS_RECORDED;
  make_folder(folder);
  write_recording(folder, false, false);
  struct nx_dataset *whole = open_with(folder, plan, NULL, 0, "");
  write_recording(folder, true, false);
  open_with(folder, plan, NULL, NX_E_FORMAT, "channel Fz is flat");
  cleaning.bad_channels = NX_BAD_CHANNELS_KEEP;
  open_with(folder, plan, &cleaning, NX_E_FORMAT, "channel Fz is flat");
  cleaning.bad_channels = NX_BAD_CHANNELS_DROP;
  struct nx_dataset *dropped = open_with(folder, plan, &cleaning, 0, "");
  assert_int_equal(nx_dataset_summary(dropped)->n_channels, CHANNELS - 1);
  for (size_t c = 0; c < CHANNELS - 1; c++)
    assert_string_not_equal(nx_dataset_channel(dropped, c), "Fz");
  cleaning.bad_channels = NX_BAD_CHANNELS_INTERPOLATE;
  struct nx_dataset *mended = open_with(folder, plan, &cleaning, 0, "");
  assert_int_equal(nx_dataset_summary(mended)->n_channels, CHANNELS);
  assert_string_equal(nx_dataset_channel(mended, FZ), "Fz");
  const struct nx_dataset_recording *was = nx_dataset_recording(whole, 0),
                                    *is = nx_dataset_recording(mended, 0);
  double product = 0, a = 0, b = 0;
  for (size_t i = 0; i < is->n_samples; i++) {
    double x = (double)was->x[FZ * was->n_samples + i], y = (double)is->x[FZ * is->n_samples + i];
    product += x * y, a += x * x, b += y * y;
  }
  assert_true(product / sqrt(a * b) > 0.95);
  assert_false(
      nx_hash_equal(&nx_dataset_summary(mended)->manifest, &nx_dataset_summary(dropped)->manifest));
  cleaning.most_bad_share = 0.1;
  open_with(folder, plan, &cleaning, NX_E_FORMAT, "1 of 8 channels are bad (EEG Fz: flat)");
  nx_dataset_destroy(whole);
  nx_dataset_destroy(dropped);
  nx_dataset_destroy(mended);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void windows_with_artefacts_are_left_out(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = load_plan();
  struct nx_plan_cleaning cleaning = {
      .bad_channels = NX_BAD_CHANNELS_KEEP, .artefact_z = 6, .artefact_share = 0.5};
  plan->data.minimum_subjects = 1;
  plan->preprocessing.reference = NX_REFERENCE_AS_RECORDED;
  plan->preprocessing.high_pass_hz = plan->preprocessing.low_pass_hz = 0;
  plan->preprocessing.notch_hz = 0;
  size_t window = (size_t)lround(plan->window.seconds * plan->preprocessing.rate_hz);
  size_t hit = (size_t)(31 / plan->window.seconds); /* the window that second 31 is in */
  make_folder(folder);
  write_recording(folder, false, true);
  struct nx_dataset *whole = open_with(folder, plan, NULL, 0, "");
  struct nx_dataset *clean = open_with(folder, plan, &cleaning, 0, "");
  const struct nx_dataset_recording *all = nx_dataset_recording(whole, 0);
  assert_int_equal(nx_dataset_summary(whole)->n_recordings, 1);
  assert_int_equal(nx_dataset_summary(clean)->n_recordings, 2);
  const struct nx_dataset_recording *before = nx_dataset_recording(clean, 0),
                                    *behind = nx_dataset_recording(clean, 1);
  assert_int_equal(before->n_samples, hit * window);
  assert_memory_equal(before->x, all->x, before->n_samples * sizeof(float));
  assert_int_equal(behind->n_samples, all->n_samples / window * window - (hit + 1) * window);
  assert_memory_equal(behind->x, all->x + (hit + 1) * window, behind->n_samples * sizeof(float));
  cleaning.artefact_z = 0.1;
  open_with(folder, plan, &cleaning, NX_E_FORMAT, "every window holds artefacts");
  nx_dataset_destroy(whole);
  nx_dataset_destroy(clean);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

/* ---- many modalities ------------------------------------------------------------------------- */

static struct nx_plan *general_plan(const char *section, int code, const char *words) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 20, &text, NULL), 0);
  assert_int_equal(nx_buffer_append(&text, section, strlen(section), NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &plan, &err), code);
  if (code && !strstr(err.text, words))
    fail_msg("%s", err.text);
  nx_buffer_finish(&text);
  if (plan)
    plan->modalities->patches = 2; /* windows of a second */
  return plan;
}

static struct nx_dataset *open_general(const char *folder, const struct nx_plan *plan) {
  const struct nx_dataset_options options = {
      .folder = folder, .species = "human", .modality = "eeg"};
  struct nx_dataset *dataset = NULL;
  struct nx_error err = {0};
  if (nx_dataset_open(&options, plan, &dataset, &err) < 0)
    fail_msg("%s", err.text);
  return dataset;
}

static const struct nx_signals *signals_of(const struct nx_dataset *dataset) {
  size_t n;
  return nx_dataset_signals(dataset, &n);
}

static void wrong_pipelines_are_named_with_their_line(void **state) {
  (void)state;
  plan_with("\npipelines: {eeg: {reference: average, high_pass_hz: 1, low_pass_hz: 40, notch_hz: 50}}\n",
            NX_E_FORMAT, "for model.network: general");
  general_plan("\npipelines:\n  spikes: {reference: average}\n", NX_E_FORMAT, "spikes");
  general_plan("\npipelines:\n  meg: {reference: average, high_pass_hz: 1, low_pass_hz: 40, "
               "notch_hz: 50}\n",
               NX_E_FORMAT, "meg has no reference");
  general_plan("\npipelines:\n  ieeg:\n    reference: average\n    high_pass_hz: 70\n"
               "    low_pass_hz: 40\n    notch_hz: 50\n",
               NX_E_FORMAT, "low_pass_hz is 40, not above");
  general_plan("\npipelines:\n  fmri:\n    reference: as-recorded\n    high_pass_hz: -1\n"
               "    low_pass_hz: 0\n    notch_hz: 0\n",
               NX_E_FORMAT, "high_pass_hz is -1");
}

/* What a pipeline of its own says is what preprocessing says when the words are the same; another
 * modality's changes nothing but the name of the data set. */
static void each_modality_has_its_own_pipeline(void **state) {
  (void)state;
  char folder[] = FOLDER;
  make_folder(folder);
  write_recording(folder, false, false);
  struct nx_plan *plain = general_plan("", 0, "");
  struct nx_plan *own = general_plan("\npipelines:\n  eeg: {reference: average, high_pass_hz: 1, "
                                     "low_pass_hz: 30, notch_hz: 0}\n",
                                     0, "");
  struct nx_plan *other = general_plan("\npipelines:\n  ieeg: {reference: average, high_pass_hz: 1, "
                                       "low_pass_hz: 30, notch_hz: 0}\n",
                                       0, "");
  struct nx_dataset *sets[4] = {open_general(folder, plain), open_general(folder, own),
                                open_general(folder, other)};
  plain->preprocessing.reference = NX_REFERENCE_AVERAGE;
  plain->preprocessing.high_pass_hz = 1;
  plain->preprocessing.low_pass_hz = 30;
  sets[3] = open_general(folder, plain);
  const struct nx_signal *x[4];
  for (size_t i = 0; i < 4; i++)
    x[i] = signals_of(sets[i])->signals;
  size_t size = x[0]->n_channels * x[0]->n_samples * sizeof(float);
  assert_memory_equal(x[1]->x, x[3]->x, size);
  assert_memory_equal(x[0]->x, x[2]->x, size);
  assert_int_not_equal(memcmp(x[0]->x, x[1]->x, size), 0);
  assert_int_equal(x[1]->reference, NX_SIGNAL_AVERAGE);
  assert_int_equal(x[2]->reference, NX_SIGNAL_AS_RECORDED);
  for (size_t i = 0; i < 4; i++)
    for (size_t k = 0; k < i; k++)
      assert_false(nx_hash_equal(&nx_dataset_summary(sets[i])->manifest,
                                 &nx_dataset_summary(sets[k])->manifest));
  for (size_t i = 0; i < 4; i++)
    nx_dataset_destroy(sets[i]);
  nx_plan_destroy(plain);
  nx_plan_destroy(own);
  nx_plan_destroy(other);
  remove_folder(folder);
}

static void bad_channels_of_many_modalities_go_or_are_mended(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan_cleaning cleaning = {.most_bad_share = 0.5};
  struct nx_plan *plan = general_plan("", 0, "");
  make_folder(folder);
  write_recording(folder, false, false);
  struct nx_dataset *whole = open_general(folder, plan);
  write_recording(folder, true, false);
  plan->cleaning = &cleaning;
  cleaning.bad_channels = NX_BAD_CHANNELS_DROP;
  struct nx_dataset *dropped = open_general(folder, plan);
  cleaning.bad_channels = NX_BAD_CHANNELS_INTERPOLATE;
  struct nx_dataset *mended = open_general(folder, plan);
  const struct nx_signal *was = signals_of(whole)->signals, *is = signals_of(mended)->signals;
  assert_int_equal(signals_of(dropped)->signals->n_channels, CHANNELS - 1);
  assert_int_equal(is->n_channels, CHANNELS);
  double product = 0, a = 0, b = 0;
  for (size_t i = 0; i < is->n_samples; i++) {
    double x = (double)was->x[FZ * was->n_samples + i], y = (double)is->x[FZ * is->n_samples + i];
    product += x * y, a += x * x, b += y * y;
  }
  assert_true(product / sqrt(a * b) > 0.95);
  nx_dataset_destroy(whole);
  nx_dataset_destroy(dropped);
  nx_dataset_destroy(mended);
  plan->cleaning = NULL;
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void windows_of_many_modalities_with_artefacts_are_left_out(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan_cleaning cleaning = {.artefact_z = 6, .artefact_share = 0.5};
  struct nx_plan *plan = general_plan("", 0, "");
  size_t rate = 128;
  make_folder(folder);
  write_recording(folder, false, true); /* a jump from second 31 to 32 */
  struct nx_dataset *whole = open_general(folder, plan);
  plan->cleaning = &cleaning;
  struct nx_dataset *clean = open_general(folder, plan);
  const struct nx_signals *all = signals_of(whole), *kept = signals_of(clean);
  assert_int_equal(all->n, 1);
  assert_int_equal(kept->n, 2);
  assert_int_equal(nx_dataset_summary(clean)->n_recordings, 1);
  const struct nx_signal *x = all->signals, *before = kept->signals, *behind = kept->signals + 1;
  /* Resampling smears the jump's edges into the windows beside it, or not. */
  size_t end = before->n_samples, from = (size_t)lround(behind->from_s * (double)rate);
  assert_true(end % rate == 0 && end >= 30 * rate && end <= 31 * rate);
  assert_true(from % rate == 0 && from >= 32 * rate && from <= 33 * rate);
  assert_int_equal(from + behind->n_samples, x->n_samples);
  for (size_t c = 0; c < x->n_channels; c++) {
    const float *row = x->x + c * x->n_samples;
    assert_memory_equal(before->x + c * end, row, end * sizeof *row);
    assert_memory_equal(behind->x + c * behind->n_samples, row + from,
                        behind->n_samples * sizeof *row);
  }
  nx_dataset_destroy(whole);
  nx_dataset_destroy(clean);
  plan->cleaning = NULL;
  nx_plan_destroy(plan);
  remove_folder(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weights_are_mnes),
      cmocka_unit_test(wrong_keys_are_named_with_their_line),
      cmocka_unit_test(bad_channels_go_or_are_made_of_the_others),
      cmocka_unit_test(windows_with_artefacts_are_left_out),
      cmocka_unit_test(wrong_pipelines_are_named_with_their_line),
      cmocka_unit_test(each_modality_has_its_own_pipeline),
      cmocka_unit_test(bad_channels_of_many_modalities_go_or_are_mended),
      cmocka_unit_test(windows_of_many_modalities_with_artefacts_are_left_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
