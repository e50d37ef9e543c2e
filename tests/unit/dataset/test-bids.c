#include <sys/stat.h>

#include "common/plan_labels.h"
#include "node/dataset/bids_check.h"
#include "node/dataset/bids_electrodes.h"
#include "node/dataset/dataset.h"
#include "node/dataset/subjects.h"
#include "node/dataset/survey.h"
#include "node/dataset/tsv.h"
#include "tests/support/bids_support.h"

static void names_are_entities_a_suffix_and_an_extension(void **state) {
  (void)state;
  struct nx_bids_name name;
  assert_true(nx_bids_name_parse("sub-01_ses-a_task-rest_run-2_bold.nii.gz", &name));
  assert_int_equal(name.n, 4);
  assert_string_equal(nx_bids_entity(&name, "task"), "rest");
  assert_null(nx_bids_entity(&name, "acq"));
  assert_string_equal(name.suffix, "bold");
  assert_string_equal(name.extension, ".nii.gz");
  static const char *const wrong[] = {"",
                                      "sub-_eeg.edf",
                                      "sub-01_.edf",
                                      "_eeg.edf",
                                      "sub-01_sub-02_eeg.edf",
                                      "sub-0 1_eeg.edf",
                                      "sub-01-2_eeg.edf",
                                      "a/b_eeg.edf",
                                      "rest_eeg.edf"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    assert_false(nx_bids_name_parse(wrong[i], &name));
}

static void tables_forgive_and_say_what_they_forgave(void **state) {
  (void)state;
  struct nx_tsv table;
  double value;
  const char text[] = "\xef\xbb\xbfname\tx\r\nA\t1.5\r\n\nB\nC\tn/a\t9\n";
  assert_int_equal(nx_tsv_parse(nx_bytes(text, sizeof text - 1), &table, NULL), 0);
  assert_int_equal(table.n_columns, 2);
  assert_int_equal(table.n_rows, 3);
  assert_true(table.carriage_returns);
  assert_int_equal(table.empty_line, 3);
  assert_int_equal(table.ragged_line, 4);
  assert_true(nx_tsv_number(&table, 0, nx_tsv_column(&table, "x"), &value));
  assert_true(value == 1.5);
  assert_null(nx_tsv_cell(&table, 1, 1));
  assert_false(nx_tsv_number(&table, 2, 1, &value));
  assert_null(nx_tsv_cell(&table, 0, NX_TSV_NONE));
  nx_tsv_finish(&table);
  assert_int_equal(nx_tsv_parse(nx_bytes("", 0), &table, NULL), NX_E_FORMAT);
  assert_int_equal(nx_tsv_parse(nx_bytes("a\0b\n", 4), &table, NULL), NX_E_FORMAT);
}

/* The nearest sidecar wins key by key, and only those whose entities all fit apply. */
static void sidecars_are_inherited(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-bids-XXXXXX";
  struct nx_bids_tree tree;
  cJSON *json;
  make_folder(folder);
  put_file(folder, "sub-1/ses-a/eeg/sub-1_ses-a_task-rest_eeg.edf", "0");
  put_file(folder, "sub-1/ses-a/eeg/sub-1_ses-a_task-rest_eeg.json", "{\"A\": 1}");
  put_file(folder, "sub-1/sub-1_task-rest_eeg.json", "{\"A\": 2, \"B\": 2}");
  put_file(folder, "task-rest_eeg.json", "{\"A\": 3, \"B\": 3, \"C\": 3}");
  put_file(folder, "task-other_eeg.json", "{\"D\": 4}");
  put_file(folder, "task-rest_events.tsv", "onset\tduration\n");
  put_file(folder, "derivatives/sub-1/eeg/sub-1_task-rest_eeg.json", "{\"A\": 9}");
  assert_int_equal(nx_bids_tree_read(folder, &tree, NULL), 0);
  assert_int_equal(tree.n, 6);
  const struct nx_bids_file *file =
      nx_bids_find(&tree, "sub-1/ses-a/eeg/sub-1_ses-a_task-rest_eeg.edf");
  assert_non_null(file);
  assert_string_equal(file->datatype, "eeg");
  assert_int_equal(nx_bids_sidecar(&tree, file, &json, NULL), 0);
  static const double expected[] = {1, 2, 3};
  for (int i = 0; i < 3; i++) {
    char key[2] = {(char)('A' + i), 0};
    assert_true(cJSON_GetObjectItem(json, key)->valuedouble == expected[i]);
  }
  assert_null(cJSON_GetObjectItem(json, "D"));
  cJSON_Delete(json);
  assert_string_equal(nx_bids_inherited(&tree, file, "events", ".tsv")->path,
                      "task-rest_events.tsv");
  assert_null(nx_bids_inherited(&tree, file, "channels", ".tsv"));
  nx_bids_tree_finish(&tree);
  remove_tree(folder);
}

static void links_do_not_lead_out_and_bidsignore_is_honoured(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-bids-XXXXXX", link[256];
  struct nx_bids_tree tree;
  make_folder(folder);
  put_file(folder, "dataset_description.json", "{}");
  put_file(folder, ".bidsignore", "# notes\n*.txt\nextra/\n");
  put_file(folder, "notes.txt", "x");
  put_file(folder, "extra/sub-1_eeg.edf", "x");
  snprintf(link, sizeof link, "%s/passwd.tsv", folder);
  assert_int_equal(symlink("/etc/passwd", link), 0);
  assert_int_equal(nx_bids_tree_read(folder, &tree, NULL), 0);
  assert_int_equal(tree.n, 1);
  nx_bids_tree_finish(&tree);
  remove_tree(folder);
}

/* What bids-validator-deno 3.0.2 says of the published examples, but for images below anat/,
 * which are never opened here. tests/oracle/bids_validator.py asks the validator itself. */
static void examples_are_judged_as_the_validator_judges_them(void **state) {
  (void)state;
  static const struct {
    const char *tree;
    size_t empty, stimuli;
  } known[] = {{"ds000247", 4, 0},
               {"eeg_cbm", 20, 0},
               {"eeg_matchingpennies", 7, 7},
               {"ieeg_motorMiller2007", 0, 0},
               {"ieeg_visual", 1, 3}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    char path[NX_PATH_SIZE], name[64];
    snprintf(name, sizeof name, "bids_examples/%s", known[i].tree);
    shared_data(path, sizeof path, name);
    for (int headers_only = 0; headers_only < 2; headers_only++) {
      struct nx_findings findings = {0};
      check_tree(path, headers_only, &findings);
      size_t empty = count_rule(&findings, "EMPTY_FILE");
      size_t stimuli = count_rule(&findings, "STIMULUS_FILE_MISSING");
      assert_int_equal(empty, headers_only ? 0 : known[i].empty);
      assert_int_equal(stimuli, known[i].stimuli);
      assert_int_equal(nx_findings_count(&findings, NX_FINDING_ERROR, true), empty + stimuli);
      assert_int_equal(nx_findings_count(&findings, NX_FINDING_ERROR, false), 0);
      nx_findings_finish(&findings);
    }
  }
}

static void metres_declared_as_millimetres_are_caught(void **state) {
  (void)state;
  char path[NX_PATH_SIZE];
  struct nx_bids_tree tree;
  struct nx_electrodes electrodes;
  struct nx_error err = {0};
  shared_data(path, sizeof path, "human_ieeg_mne_misc");
  assert_int_equal(nx_bids_tree_read(path, &tree, NULL), 0);
  const struct nx_bids_file *ecog =
      nx_bids_find(&tree, "sub-pat01_ses-test_acq-ecog_electrodes.tsv");
  const struct nx_bids_file *seeg =
      nx_bids_find(&tree, "sub-pat01_ses-test_acq-seeg_electrodes.tsv");
  assert_int_equal(nx_bids_electrodes(&tree, ecog, &electrodes, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "in m it would be 105 mm"));
  assert_int_equal(nx_bids_electrodes(&tree, seeg, &electrodes, NULL), 0);
  assert_int_equal(electrodes.n, 88);
  assert_true(electrodes.list[0].metres[1] > 0.0617 && electrodes.list[0].metres[1] < 0.0618);
  nx_electrodes_finish(&electrodes);
  nx_bids_tree_finish(&tree);
}

/* ---- training ------------------------------------------------------------------------------ */

static void open_set(const char *folder, const struct nx_plan *plan, const char *withdrawn,
                     struct nx_dataset **out) {
  const struct nx_dataset_options options = {
      .folder = folder, .withdrawn = &withdrawn, .n_withdrawn = withdrawn ? 1 : 0};
  struct nx_error err = {0};
  if (nx_dataset_open(&options, plan, out, &err) < 0)
    fail_msg("%s", err.text);
}

static void assert_same_set(const struct nx_dataset *a, const struct nx_dataset *b) {
  const struct nx_dataset_summary *x = nx_dataset_summary(a), *y = nx_dataset_summary(b);
  assert_int_equal(x->n_recordings, y->n_recordings);
  assert_int_equal(x->n_subjects, y->n_subjects);
  assert_int_equal(x->n_channels, y->n_channels);
  assert_memory_equal(&x->manifest, &y->manifest, sizeof x->manifest);
  for (size_t i = 0; i < x->n_recordings; i++) {
    const struct nx_dataset_recording *r = nx_dataset_recording(a, i);
    const struct nx_dataset_recording *s = nx_dataset_recording(b, i);
    assert_int_equal(r->label, s->label);
    assert_int_equal(r->n_samples, s->n_samples);
    assert_memory_equal(r->x, s->x, x->n_channels * r->n_samples * sizeof(float));
  }
}

static void compare_flat_and_bids(const char *flat, size_t n_people) {
  char folder[] = "/tmp/nx-bids-XXXXXX";
  struct nx_plan *plan = load_plan();
  struct nx_dataset *a, *b;
  struct nx_findings findings = {0};
  char first_out[] = "/tmp/nx-flat-XXXXXX";
  make_folder(folder);
  make_folder(first_out);
  for (size_t p = 0; p < n_people; p++)
    for (int arithmetic = 0; arithmetic < 2; arithmetic++)
      copy_into_bids(flat, first_out, folder, p, arithmetic);
  finish_bids(folder, n_people);
  check_tree(folder, false, &findings);
  assert_int_equal(nx_findings_count(&findings, NX_FINDING_ERROR, true), 0);
  assert_int_equal(nx_findings_count(&findings, NX_FINDING_ERROR, false), 0);
  open_set(first_out, plan, NULL, &a);
  open_set(folder, plan, NULL, &b);
  assert_same_set(a, b);
  nx_dataset_destroy(b);
  open_set(folder, plan, "sub-01", &b); /* a withdrawal as participants.tsv writes it */
  assert_int_equal(nx_dataset_summary(b)->n_subjects, n_people - 1);
  nx_dataset_destroy(a);
  nx_dataset_destroy(b);
  nx_findings_finish(&findings);
  nx_plan_destroy(plan);
  remove_tree(folder);
  remove_tree(first_out);
}

static void eegmat_as_a_bids_tree_is_the_same_data_set(void **state) {
  (void)state;
  char path[NX_PATH_SIZE];
  compare_flat_and_bids(shared_data(path, sizeof path, "eegmat_100Hz"), 6);
}

static void a_generated_cohort_as_a_bids_tree_is_the_same_data_set(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-cohort-XXXXXX", marker[256];
  make_folder(folder);
  make_cohort(folder, 3, 12);
  snprintf(marker, sizeof marker, "%s/SYNTHETIC", folder);
  unlink(marker);
  compare_flat_and_bids(folder, 3);
  remove_tree(folder);
}

static void labels_come_from_participants_or_events(void **state) {
  (void)state;
  char flat[] = "/tmp/nx-cohort-XXXXXX", folder[] = "/tmp/nx-bids-XXXXXX";
  char copy[] = "/tmp/nx-flat-XXXXXX", column[] = "trial_type", group[] = "group";
  struct nx_plan *plan = load_plan();
  struct nx_plan_labels labels = {.source = NX_LABELS_PARTICIPANTS, .column = group};
  struct nx_dataset *set, *whole;
  make_folder(flat);
  make_folder(folder);
  make_folder(copy);
  make_cohort(flat, 2, 20);
  for (size_t p = 0; p < 2; p++)
    copy_into_bids(flat, copy, folder, p, false);
  finish_bids(folder, 2);
  put_file(folder, "participants.tsv", "participant_id\tgroup\nsub-00\tarithmetic\nsub-01\trest\n");
  put_file(folder, "sub-00/eeg/sub-00_task-rest_events.tsv",
           "onset\tduration\ttrial_type\n0\t6\trest\n6\t2\trest\n9.5\t10\tarithmetic\n"
           "15\t0\tarithmetic\n");
  open_set(folder, plan, "01", &whole); /* by task: one rest recording of sub-00 */
  plan->labels = &labels;
  open_set(folder, plan, NULL, &set);
  assert_int_equal(nx_dataset_summary(set)->n_recordings, 2);
  assert_int_equal(nx_dataset_recording(set, 0)->label, 1);
  assert_int_equal(nx_dataset_recording(set, 1)->label, 0);
  nx_dataset_destroy(set);
  labels = (struct nx_plan_labels){.source = NX_LABELS_EVENTS, .column = column};
  open_set(folder, plan, NULL, &set); /* the 2 s and 0 s events are shorter than a window */
  assert_int_equal(nx_dataset_summary(set)->n_recordings, 2);
  assert_int_equal(nx_dataset_summary(set)->n_subjects, 1);
  const struct nx_dataset_recording *rest = nx_dataset_recording(set, 0);
  const struct nx_dataset_recording *task = nx_dataset_recording(set, 1);
  const struct nx_dataset_recording *all = nx_dataset_recording(whole, 0);
  assert_int_equal(rest->n_samples, 600);
  assert_int_equal(task->n_samples, 1000);
  for (size_t c = 0; c < 19; c++) {
    assert_memory_equal(rest->x + c * 600, all->x + c * all->n_samples, 600 * sizeof(float));
    assert_memory_equal(task->x + c * 1000, all->x + c * all->n_samples + 950,
                        1000 * sizeof(float));
  }
  plan->labels = NULL;
  nx_dataset_destroy(whole);
  nx_dataset_destroy(set);
  nx_plan_destroy(plan);
  remove_tree(flat);
  remove_tree(copy);
  remove_tree(folder);
}

static void channels_tsv_says_what_is_eeg(void **state) {
  (void)state;
  char flat[] = "/tmp/nx-cohort-XXXXXX", folder[] = "/tmp/nx-bids-XXXXXX";
  char copy[] = "/tmp/nx-flat-XXXXXX";
  struct nx_plan *plan = load_plan();
  struct nx_dataset *set;
  make_folder(flat);
  make_folder(folder);
  make_folder(copy);
  make_cohort(flat, 1, 12);
  copy_into_bids(flat, copy, folder, 0, false);
  finish_bids(folder, 1);
  put_file(folder, "task-rest_channels.tsv", "name\ttype\tunits\nEEG Fp1\tEOG\tuV\n");
  open_set(folder, plan, NULL, &set);
  assert_int_equal(nx_dataset_summary(set)->n_channels, 18);
  nx_dataset_destroy(set);
  nx_plan_destroy(plan);
  remove_tree(flat);
  remove_tree(copy);
  remove_tree(folder);
}

/* ---- survey -------------------------------------------------------------------------------- */

static void the_page_names_nobody_and_loads_nothing(void **state) {
  (void)state;
  char flat[] = "/tmp/nx-cohort-XXXXXX", folder[] = "/tmp/nx-bids-XXXXXX";
  char copy[] = "/tmp/nx-flat-XXXXXX", page[64];
  struct nx_survey survey;
  struct nx_survey_options options = {0};
  struct nx_buffer text = {0};
  make_folder(flat);
  make_folder(folder);
  make_folder(copy);
  make_cohort(flat, 1, 12);
  copy_into_bids(flat, copy, folder, 0, false);
  finish_bids(folder, 1);
  put_file(folder, "sub-Mustermann/eeg/sub-Mustermann_task-rest_eeg.edf", "0       broken");
  put_file(folder, "sub-Mustermann/eeg/sub-Mustermann_task-<b>_eeg.edf", "x");
  put_file(folder, "sub-00/eeg/sub-00_Mustermann.txt", "x");
  assert_int_equal(nx_survey(folder, &options, &survey, NULL), 0);
  assert_int_equal(survey.n_people, 2);
  assert_false(nx_survey_valid(&survey)); /* Mustermann has no line in participants.tsv */
  assert_int_equal(count_rule(&survey.findings, "PARTICIPANT_ID_MISMATCH"), 1);
  assert_int_equal(count_rule(&survey.findings, "neurox.unreadable"), 1);
  assert_int_equal(survey.n_regions, 5);
  snprintf(page, sizeof page, "%s.html", copy);
  assert_int_equal(nx_survey_page(&survey, page, NULL), 0);
  assert_int_equal(nx_file_read(page, 1 << 22, &text, NULL), 0);
  assert_int_equal(nx_buffer_append(&text, "", 1, NULL), 0);
  const char *html = (const char *)text.data;
  static const char *const never[] = {
      "Mustermann", "sub-00", "http:", "https:", "<script", "src=", "<b>_", "url("};
  for (size_t i = 0; i < sizeof never / sizeof *never; i++)
    assert_null(strstr(html, never[i]));
  assert_non_null(strstr(html, "sub-#"));
  assert_non_null(strstr(html, "occipital"));
  nx_buffer_finish(&text);
  nx_survey_finish(&survey);
  unlink(page);
  remove_tree(flat);
  remove_tree(copy);
  remove_tree(folder);
}

/* In a plain folder any part of a file's name may be a person's. */
static void the_page_of_a_plain_folder_shows_no_part_of_a_name(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-Mustermann-XXXXXX", page[64];
  struct nx_survey survey;
  struct nx_survey_options options = {.no_samples = true};
  struct nx_buffer text = {0};
  make_folder(folder);
  make_cohort(folder, 1, 10);
  put_file(folder, "Mustermann_Erika.edf", "broken");
  assert_int_equal(nx_survey(folder, &options, &survey, NULL), 0);
  assert_int_equal(survey.n_people, 2);
  snprintf(page, sizeof page, "%s.html", folder);
  assert_int_equal(nx_survey_page(&survey, page, NULL), 0);
  assert_int_equal(nx_file_read(page, 1 << 22, &text, NULL), 0);
  assert_null(memmem(text.data, text.size, "Mustermann", 10));
  assert_null(memmem(text.data, text.size, "Erika", 5));
  nx_buffer_finish(&text);
  nx_survey_finish(&survey);
  unlink(page);
  remove_tree(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_are_entities_a_suffix_and_an_extension),
      cmocka_unit_test(tables_forgive_and_say_what_they_forgave),
      cmocka_unit_test(sidecars_are_inherited),
      cmocka_unit_test(links_do_not_lead_out_and_bidsignore_is_honoured),
      cmocka_unit_test(examples_are_judged_as_the_validator_judges_them),
      cmocka_unit_test(metres_declared_as_millimetres_are_caught),
      cmocka_unit_test(eegmat_as_a_bids_tree_is_the_same_data_set),
      cmocka_unit_test(a_generated_cohort_as_a_bids_tree_is_the_same_data_set),
      cmocka_unit_test(labels_come_from_participants_or_events),
      cmocka_unit_test(channels_tsv_says_what_is_eeg),
      cmocka_unit_test(the_page_names_nobody_and_loads_nothing),
      cmocka_unit_test(the_page_of_a_plain_folder_shows_no_part_of_a_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
