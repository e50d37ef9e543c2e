/* Spikes, calcium, behaviour and every other modality from real files to what the general network
 * is fed with. */
#include <math.h>
#include <unistd.h>

#include "common/modality.h"
#include "common/plan_prototypes.h"
#include "common/size.h"
#include "node/dataset/behaviour.h"
#include "node/dataset/rates.h"
#include "node/dataset/signal.h"
#include "node/dataset/signal_load.h"
#include "node/dataset/targets.h"
#include "tests/support/dataset_support.h"

#define FOLDER "/tmp/nx-signals-XXXXXX"

/* ---- rates ----------------------------------------------------------------------------------- */

static void bins_that_nest_keep_their_sums(void **state) {
  (void)state;
  double x[100], out[200], total = 0;
  for (int i = 0; i < 100; i++)
    total += x[i] = i % 7;
  assert_int_equal(nx_rates_length(100, 1000, 50), 5);
  nx_rates_rebin(x, 100, 1000, 50, out, 5);
  for (int k = 0; k < 5; k++) {
    double sum = 0;
    for (int i = 0; i < 20; i++)
      sum += x[20 * k + i];
    assert_true(out[k] == sum);
  }
  assert_int_equal(nx_rates_length(100, 10, 20), 200); /* one bin is two */
  nx_rates_rebin(x, 100, 10, 20, out, 200);
  for (int k = 0; k < 200; k++)
    assert_true(fabs(out[k] - x[k / 2] / 2) < 1e-12);
  size_t m = nx_rates_length(100, 30, 20);
  assert_int_equal(m, 66);
  nx_rates_rebin(x, 99, 30, 20, out, m); /* 3 bins into 2 */
  assert_true(fabs(out[0] - (x[0] + x[1] / 2)) < 1e-12);
  assert_true(fabs(out[1] - (x[1] / 2 + x[2])) < 1e-12);
  double kept = 0;
  for (size_t k = 0; k < m; k++)
    kept += out[k];
  assert_true(fabs(kept - (total - x[99])) < 1e-9);
}

/* ---- behaviour ------------------------------------------------------------------------------- */

static struct nx_behaviour *vocabulary(void) {
  struct nx_behaviour *behaviour = NULL;
  struct nx_error err = {0};
  if (nx_behaviour_load("configs/behaviour.yaml", &behaviour, &err) < 0)
    fail_msg("%s", err.text);
  return behaviour;
}

static void words_of_every_lab_are_one_vocabulary(void **state) {
  (void)state;
  struct nx_behaviour *b = vocabulary();
  assert_string_equal(nx_behaviour_name(b, nx_behaviour_state(b, "Resting")), "still");
  assert_int_equal(nx_behaviour_state(b, "immobile"), nx_behaviour_state(b, "still"));
  assert_int_equal(nx_behaviour_state(b, "reaching"), nx_behaviour_state(b, "running"));
  assert_int_equal(nx_behaviour_state(b, "knitting"), NX_BEHAVIOUR_NONE);
  nx_behaviour_destroy(b);
}

static void speeds_become_runs_of_states(void **state) {
  (void)state;
  struct nx_behaviour *b = vocabulary();
  struct nx_behaviour_runs runs;
  float x[2000];
  /* ten seconds still at 100 Hz, then ten at 20 cm/s along x */
  for (int i = 0; i < 2000; i++)
    x[i] = i < 1000 ? 50 : 50 + 0.2F * (float)(i - 1000);
  assert_int_equal(nx_behaviour_runs(b, "rat", "cm", 100, x, 1, 2000, &runs, NULL), 0);
  assert_int_equal(runs.n, 2);
  assert_string_equal(nx_behaviour_name(b, runs.runs[0].state), "still");
  assert_string_equal(nx_behaviour_name(b, runs.runs[1].state), "moving");
  assert_true(runs.runs[0].from_s == 0 && fabs(runs.runs[0].to_s - 10) < 0.3);
  assert_true(fabs(runs.runs[1].from_s - 10) < 0.3 && runs.runs[1].to_s == 20);
  nx_behaviour_runs_finish(&runs);
  struct nx_error err = {0};
  assert_int_equal(nx_behaviour_runs(b, "rat", "furlong", 100, x, 1, 2000, &runs, &err),
                   NX_E_UNSUPPORTED);
  assert_non_null(strstr(err.text, "furlong"));
  nx_behaviour_destroy(b);
}

static void a_vocabulary_that_says_two_things_is_refused(void **state) {
  (void)state;
  char folder[] = FOLDER, path[NX_PATH_SIZE];
  struct nx_behaviour *behaviour = NULL;
  struct nx_error err = {0};
  static const char text[] = "neurox_behaviour: 1\nstates:\n"
                             "  - {name: still, words: [rest]}\n"
                             "  - {name: moving, words: [rest]}\n"
                             "still: still\nmoving: moving\nspeeds: []\n";
  make_folder(folder);
  nx_path_join(path, folder, "b.yaml", NULL);
  assert_int_equal(nx_file_replace(path, nx_bytes(text, strlen(text)), 0644, NULL), 0);
  assert_int_equal(nx_behaviour_load(path, &behaviour, &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "'rest'"));
  remove_folder(folder);
}

/* ---- sites ----------------------------------------------------------------------------------- */

static struct nx_plan *plan_of(uint32_t patches, enum nx_plan_objective objective) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 20, &text, NULL), 0);
  if (nx_plan_parse("plan", nx_buffer_view(&text), &plan, &err) < 0)
    fail_msg("%s", err.text);
  nx_buffer_finish(&text);
  plan->modalities->patches = patches;
  plan->training.objective = objective;
  return plan;
}

static void link_to(const char *folder, const char *from, const char *as) {
  char source[512], whole[NX_PATH_SIZE], path[NX_PATH_SIZE];
  shared_data(source, sizeof source, from);
  assert_non_null(realpath(source, whole));
  nx_path_join(path, folder, as, NULL);
  assert_int_equal(symlink(whole, path), 0);
}

static void copy_to(const char *folder, const char *from, const char *as) {
  char source[512], path[NX_PATH_SIZE];
  struct nx_buffer bytes = {0};
  shared_data(source, sizeof source, from);
  assert_int_equal(nx_file_read(source, 64 << 20, &bytes, NULL), 0);
  nx_path_join(path, folder, as, NULL);
  assert_int_equal(nx_file_replace(path, nx_buffer_view(&bytes), 0644, NULL), 0);
  nx_buffer_finish(&bytes);
}

static void put(const char *folder, const char *name, const char *text) {
  char path[NX_PATH_SIZE];
  nx_path_join(path, folder, name, NULL);
  assert_int_equal(nx_file_replace(path, nx_bytes(text, strlen(text)), 0644, NULL), 0);
}

static struct nx_dataset *open_site(const char *folder, const struct nx_plan *plan,
                                    const char *species, const char *modality) {
  const struct nx_dataset_options options = {.folder = folder,
                                             .reader = getenv("NEUROX_READER"),
                                             .species = species,
                                             .modality = modality,
                                             .allow_identity = true,
                                             .behaviour = "configs/behaviour.yaml"};
  struct nx_dataset *dataset = NULL;
  struct nx_error err = {0};
  if (nx_dataset_open(&options, plan, &dataset, &err) < 0)
    fail_msg("%s", err.text);
  size_t n;
  const struct nx_signals *sets = nx_dataset_signals(dataset, &n);
  for (size_t k = 0; k < n; k++)
    for (size_t i = 0; i < sets[k].n; i++)
      if (nx_signal_check(&sets[k].signals[i], sets[k].tokeniser, plan->modalities->patches, "x",
                          &err) < 0)
        fail_msg("%s", err.text);
  return dataset;
}

/* Means over samples of another clock; what was not recorded, or is no number, is not known. */
static void targets_lie_on_the_signals_clock(void **state) {
  (void)state;
  float y[8] = {1, 2, 3, 4, 5, NAN, 7, 8}, out[6];
  static char name[] = "x", other[] = "z", unit[] = "cm", *names[] = {name};
  struct nx_plan_regression regression = {names, 1, unit, NX_STANDARDISE_FEDERATION};
  struct nx_loaded_signal from = {.n_behaviour = 1,
                                  .behaviour_hz = 10,
                                  .behaviour_unit = "cm",
                                  .behaviour_names = {"x"},
                                  .n_behaviour_samples = 8,
                                  .behaviour = y};
  struct nx_error err = {0};
  /* 0.2 s a sample, behaviour from 0.2 s on */
  assert_int_equal(nx_targets_fill(&regression, NULL, "rat", &from, 0.2, 5, 6, out, &err), 0);
  assert_true(isnan(out[0]) && out[1] == 1.5f && out[2] == 3.5f && isnan(out[3]) &&
              out[4] == 7.5f && isnan(out[5]));
  /* a faster clock: the sample it lies in */
  assert_int_equal(nx_targets_fill(&regression, NULL, "rat", &from, 0, 20, 3, out, &err), 0);
  assert_true(out[0] == 1 && out[1] == 1 && out[2] == 2);
  struct nx_target_sums sums = {0};
  nx_targets_sum(y, 1, 8, 2, &sums);
  assert_true(sums.n == 3 && sums.sum[0] == 1.5 + 3.5 + 7.5);
  strcpy(from.behaviour_unit, "px");
  assert_int_equal(nx_targets_fill(&regression, NULL, "rat", &from, 0, 20, 3, out, &err),
                   NX_E_UNSUPPORTED);
  assert_non_null(strstr(err.text, "regression.unit is cm"));
  strcpy(from.behaviour_unit, "cm");
  names[0] = other;
  assert_int_equal(nx_targets_fill(&regression, NULL, "rat", &from, 0, 20, 3, out, &err),
                   NX_E_NOT_FOUND);
  assert_non_null(strstr(err.text, "named z"));
}

static void sessions_with_different_cells_are_signals_of_one_site(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = plan_of(16, NX_OBJECTIVE_RECONSTRUCTION);
  make_folder(folder);
  copy_to(folder, "mouse_hpc_calcium_ziv/CA1/C8M2_spike_train.mat", "C8M2_spike_train.mat");
  put(folder, "C8M2_spike_train.json",
      "{\"rate_hz\": 10, \"type\": \"calcium\", \"unit\": \"events\", \"data\": \"spike_train\"}");
  struct nx_dataset *dataset = open_site(folder, plan, "mouse", "calcium");
  size_t n;
  const struct nx_signals *sets = nx_dataset_signals(dataset, &n);
  assert_int_equal(n, 1);
  assert_int_equal(sets[0].n, 16);
  assert_int_equal(nx_dataset_summary(dataset)->n_subjects, 1);
  assert_true(sets[0].signals[0].n_channels != sets[0].signals[3].n_channels);
  assert_int_equal(sets[0].signals[0].n_samples, 2 * 1589); /* 10 to 20 Hz */
  assert_int_equal(sets[0].signals[0].modality, NX_MODALITY_CALCIUM);
  assert_int_equal(sets[0].signals[0].species, NX_SPECIES_MOUSE);
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void a_rats_speed_labels_its_spikes(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = plan_of(8, NX_OBJECTIVE_CLASSIFICATION);
  make_folder(folder);
  link_to(folder, "rat_hpc_spikes_nelpy/linear-track/spikes.mat", "rat_spikes.mat");
  link_to(folder, "rat_hpc_spikes_nelpy/linear-track/trajectory.videoPositionTracking",
          "rat.videoPositionTracking");
  put(folder, "labels.tsv",
      "file\tsubject\tbehaviour\nrat_spikes.mat\trat\trat.videoPositionTracking\n");
  struct nx_dataset *dataset = open_site(folder, plan, "rat", "spikes");
  size_t n, still = 0, moving = 0;
  const struct nx_signals *sets = nx_dataset_signals(dataset, &n);
  assert_int_equal(n, 1);
  for (size_t i = 0; i < sets[0].n; i++) {
    const struct nx_signal *s = &sets[0].signals[i];
    assert_int_equal(s->n_channels, 31);
    *(s->label ? &moving : &still) += s->n_samples;
    for (size_t k = 0; k < s->n_samples; k++)
      assert_true(s->x[k] >= 0 && s->x[k] == floorf(s->x[k])); /* counts */
  }
  assert_true(moving > 50 * 100 && still > 50 * 200); /* a minute or more of each */
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

/* For prototypes nothing is cut out: every sample has its class beside it. */
static void a_rats_speed_gives_its_samples_classes(void **state) {
  (void)state;
  static char task[] = "task", moving[] = "moving", still[] = "still",
              *names[] = {task, moving, still};
  struct nx_plan_prototypes prototypes = {names, 3, 0.1, 0.1, 64};
  char folder[] = FOLDER;
  struct nx_plan *plan = plan_of(8, NX_OBJECTIVE_RECONSTRUCTION);
  plan->prototypes = &prototypes;
  make_folder(folder);
  link_to(folder, "rat_hpc_spikes_nelpy/linear-track/spikes.mat", "rat_spikes.mat");
  link_to(folder, "rat_hpc_spikes_nelpy/linear-track/trajectory.videoPositionTracking",
          "rat.videoPositionTracking");
  put(folder, "labels.tsv",
      "file\tsubject\tlabel\tbehaviour\nrat_spikes.mat\trat\tn/a\trat.videoPositionTracking\n");
  struct nx_dataset *dataset = open_site(folder, plan, "rat", "spikes");
  size_t n, counts[NX_PROTOTYPE_NO_CLASS + 1] = {0};
  const struct nx_signals *sets = nx_dataset_signals(dataset, &n);
  assert_int_equal(sets[0].n, 1);
  for (size_t k = 0; k < sets[0].signals[0].n_samples; k++)
    counts[sets[0].signals[0].classes[k]]++;
  assert_int_equal(counts[0], 0);
  assert_true(counts[1] > 50 * 100 && counts[2] > 50 * 200 && counts[NX_PROTOTYPE_NO_CLASS] > 50);
  nx_dataset_destroy(dataset);
  /* a word of its own is a whole recording's */
  put(folder, "labels.tsv", "file\tsubject\tlabel\nrat_spikes.mat\trat\tresting\n");
  dataset = open_site(folder, plan, "rat", "spikes");
  sets = nx_dataset_signals(dataset, &n);
  for (size_t k = 0; k < sets[0].signals[0].n_samples; k++)
    assert_int_equal(sets[0].signals[0].classes[k], 2);
  nx_dataset_destroy(dataset);
  plan->prototypes = NULL; /* not the parser's */
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static void a_monkeys_hand_labels_its_counts(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = plan_of(4, NX_OBJECTIVE_CLASSIFICATION);
  make_folder(folder);
  copy_to(folder, "monkey_m1_dad/DAD_mihi_demo.mat", "mihi.mat");
  put(folder, "mihi.json",
      "{\"rate_hz\": 5, \"type\": \"spikes\", \"unit\": \"Hz\", \"data\": [\"Ytr\", \"Yte\"],"
      " \"behaviour\": {\"data\": [\"Xtr\", \"Xte\"], \"unit\": \"cm/s\"}}");
  struct nx_dataset *dataset = open_site(folder, plan, "monkey", "spikes");
  size_t n, both[2] = {0};
  const struct nx_signals *sets = nx_dataset_signals(dataset, &n);
  for (size_t i = 0; i < sets[0].n; i++)
    both[sets[0].signals[i].label]++;
  assert_true(both[0] > 0 && both[1] > 0);
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

static const struct {
  const char *file, *as, *species, *modality;
  size_t sets, channels, samples; /* of the first set */
} sites[] = {
    {"eegmat_500Hz/Subject00_1.edf", "a_1.edf", "human", "eeg", 1, 20, 23296},
    {"human_ieeg_mne_misc/sub-pat01_ses-test_acq-ecog_ieeg.edf", "a_ieeg.edf", "human", "ieeg", 2,
     76, 2774},
    {"mne_formats/SSS/sample_audvis_trunc_raw_sss.fif", "a_meg.fif", "human", "meg", 1, 306, 129},
    {"fmri_haxby_pymvpa/haxby2001/sub001/BOLD/task001_run001/bold_25mm.nii.gz", "a_bold.nii.gz",
     "human", "fmri", 1, 0, 121},
    {"lfp_neurodsp/sample_data_2_rat_hpc_lfp_1000Hz.npy", "a_lfp.npy", "rat", "lfp", 2, 1, 19200},
};

static void every_modality_reaches_its_tokenisers(void **state) {
  (void)state;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(sites); i++) {
    char folder[] = FOLDER;
    struct nx_plan *plan = plan_of(2, NX_OBJECTIVE_RECONSTRUCTION);
    make_folder(folder);
    copy_to(folder, sites[i].file, sites[i].as);
    if (strstr(sites[i].as, ".npy"))
      put(folder, "a_lfp.json", "{\"rate_hz\": 1000, \"unit\": \"uV\", \"type\": \"ieeg\"}");
    struct nx_dataset *dataset = open_site(folder, plan, sites[i].species, sites[i].modality);
    size_t n;
    const struct nx_signals *sets = nx_dataset_signals(dataset, &n);
    assert_int_equal(n, sites[i].sets);
    assert_int_equal(sets[0].n, 1);
    if (sites[i].channels)
      assert_int_equal(sets[0].signals[0].n_channels, sites[i].channels);
    if (sets[0].signals[0].n_samples != sites[i].samples)
      fail_msg("%s: %zu samples", sites[i].modality, sets[0].signals[0].n_samples);
    if (n > 1)
      assert_true(fabs((double)sets[1].signals[0].n_samples / (double)sites[i].samples - 4) < 0.01);
    nx_dataset_destroy(dataset);
    nx_plan_destroy(plan);
    remove_folder(folder);
  }
}

static void a_broken_file_stops_a_site_or_is_passed_over_as_it_says(void **state) {
  (void)state;
  char folder[] = FOLDER;
  struct nx_plan *plan = plan_of(2, NX_OBJECTIVE_RECONSTRUCTION);
  struct nx_dataset_options options = {
      .folder = folder, .reader = getenv("NEUROX_READER"), .species = "human", .modality = "eeg",
                                       .allow_identity = true};
  struct nx_dataset *dataset = NULL;
  struct nx_error err = {0};
  make_folder(folder);
  copy_to(folder, "eegmat_500Hz/Subject00_2.edf", "a_1.edf");
  put(folder, "b_1.edf", "0       this is no EDF");
  assert_true(nx_dataset_open(&options, plan, &dataset, &err) < 0);
  assert_non_null(strstr(err.text, "b_1.edf"));
  options.skip_broken = true;
  assert_int_equal(nx_dataset_open(&options, plan, &dataset, &err), 0);
  assert_int_equal(nx_dataset_summary(dataset)->n_recordings, 1);
  assert_int_equal(nx_dataset_summary(dataset)->n_subjects, 1);
  nx_dataset_destroy(dataset);
  nx_plan_destroy(plan);
  remove_folder(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bins_that_nest_keep_their_sums),
      cmocka_unit_test(words_of_every_lab_are_one_vocabulary),
      cmocka_unit_test(speeds_become_runs_of_states),
      cmocka_unit_test(a_vocabulary_that_says_two_things_is_refused),
      cmocka_unit_test(targets_lie_on_the_signals_clock),
      cmocka_unit_test(sessions_with_different_cells_are_signals_of_one_site),
      cmocka_unit_test(a_rats_speed_labels_its_spikes),
      cmocka_unit_test(a_rats_speed_gives_its_samples_classes),
      cmocka_unit_test(a_monkeys_hand_labels_its_counts),
      cmocka_unit_test(every_modality_reaches_its_tokenisers),
      cmocka_unit_test(a_broken_file_stops_a_site_or_is_passed_over_as_it_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
