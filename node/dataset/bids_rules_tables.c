/* What tables must hold (schema 2.0, rules.tabular_data): required columns, their order and their
 * values. Optional columns are free. */
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"
#include "node/dataset/bids_check_parts.h"
#include "node/dataset/tsv.h"

/* columns: the required ones, in the order in which the table must begin. */
static const struct table_rule {
  const char *suffix, *datatypes;
  const char *columns[6];
  const char *unique;
} rules[] = {
    {"channels", "eeg meg", {"name", "type", "units"}, "name"},
    {"channels", "ieeg", {"name", "type", "units", "low_cutoff", "high_cutoff"}, "name"},
    {"electrodes", "eeg", {"name", "x", "y", "z"}, "name"},
    {"electrodes", "ieeg", {"name", "x", "y", "z", "size"}, "name"},
    {"events", "eeg ieeg meg func beh", {"onset", "duration"}, NULL},
    {"scans", "", {"filename"}, "filename"},
    {"sessions", "", {"session_id"}, "session_id"},
};

static const char numeric_columns[] = "onset duration x y z size low_cutoff high_cutoff";
static const char channel_types[] =
    "ACCEL ADC ANGACCEL AUDIO DAC DBS ECG ECOG EEG EMG EOG EYEGAZE FITERR GSR GYRO HEOG HLU JNTANG "
    "LATENCY MAGN MEGGRADAXIAL MEGGRADPLANAR MEGMAG MEGOTHER MEGREFGRADAXIAL MEGREFGRADPLANAR "
    "MEGREFMAG MISC ORNT OTHER PD POS PPG PUPIL REF RESP SEEG SYSCLOCK TEMP TRIG VEL VEOG";

static void check_columns(const struct nx_bids_file *file, const struct table_rule *rule,
                          const struct nx_tsv *table, struct nx_findings *findings) {
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rule->columns) && rule->columns[i]; i++) {
    size_t at = nx_tsv_column(table, rule->columns[i]);
    if (at == NX_TSV_NONE)
      nx_findings_add(findings, NX_FINDING_ERROR, "TSV_COLUMN_MISSING", file->path,
                      "add the column \"%s\" (\"n/a\" where nothing is known)", rule->columns[i]);
    else if (at != i)
      nx_findings_add(findings, NX_FINDING_ERROR, "TSV_COLUMN_ORDER_INCORRECT", file->path,
                      "the column \"%s\" must be number %zu", rule->columns[i], i + 1);
  }
}

/* One finding a column: the first bad row stands for the rest. */
static void check_values(const struct nx_bids_file *file, const struct table_rule *rule,
                         const struct nx_tsv *table, struct nx_findings *findings) {
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rule->columns) && rule->columns[i]; i++) {
    const char *name = rule->columns[i];
    size_t column = nx_tsv_column(table, name);
    bool numeric = nx_word_in(name, numeric_columns), typed = !strcmp(name, "type");
    for (size_t row = 0; row < table->n_rows && (numeric || typed); row++) {
      const char *cell = nx_tsv_cell(table, row, column);
      double value;
      bool good = !cell || (numeric ? nx_tsv_number(table, row, column, &value)
                                    : nx_word_in(cell, channel_types));
      if (good && cell && !strcmp(name, "duration"))
        good = value >= 0;
      if (good)
        continue;
      nx_findings_add(findings, NX_FINDING_ERROR, "TSV_VALUE_INCORRECT_TYPE", file->path,
                      "line %zu, column \"%s\": write %s, or \"n/a\"", row + 2, name,
                      typed ? "one of BIDS's channel types in capitals" : "a number");
      break;
    }
  }
}

static void check_unique(const struct nx_bids_file *file, const char *name,
                         const struct nx_tsv *table, struct nx_findings *findings) {
  size_t column = nx_tsv_column(table, name);
  if (table->n_rows > 20000)
    return; /* no channel list is so long, and the search is quadratic */
  for (size_t a = 0; a < table->n_rows; a++)
    for (size_t b = 0; b < a; b++) {
      const char *x = nx_tsv_cell(table, a, column), *y = nx_tsv_cell(table, b, column);
      if (!x || !y || strcmp(x, y) != 0)
        continue;
      nx_findings_add(findings, NX_FINDING_ERROR, "TSV_INDEX_VALUE_NOT_UNIQUE", file->path,
                      "lines %zu and %zu say the same in column \"%s\"", b + 2, a + 2, name);
      return;
    }
}

static void check_shape(const struct nx_bids_file *file, const struct nx_tsv *table,
                        struct nx_findings *findings) {
  if (table->carriage_returns)
    nx_findings_add(findings, NX_FINDING_WARNING, "WRONG_NEW_LINE", file->path,
                    "lines end in CR LF: save the table with Unix line ends");
  if (table->ragged_line)
    nx_findings_add(findings, NX_FINDING_ERROR, "TSV_EQUAL_ROWS", file->path,
                    "line %zu has another number of fields than the header", table->ragged_line);
  if (table->empty_line)
    nx_findings_add(findings, NX_FINDING_ERROR, "TSV_EMPTY_LINE", file->path,
                    "line %zu is empty: remove it", table->empty_line);
  if (table->doubled_columns)
    nx_findings_add(findings, NX_FINDING_ERROR, "TSV_COLUMN_HEADER_DUPLICATE", file->path,
                    "two columns have one name");
}

/* events.tsv: every stim_file lies in stimuli/. */
static void check_stimuli(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                          const struct nx_tsv *table, struct nx_findings *findings) {
  size_t column = nx_tsv_column(table, "stim_file");
  char folder[NX_PATH_SIZE], path[NX_PATH_SIZE];
  if (column == NX_TSV_NONE || nx_path_join(folder, tree->root, "stimuli", NULL) < 0)
    return;
  for (size_t row = 0; row < table->n_rows; row++) {
    const char *name = nx_tsv_cell(table, row, column);
    if (!name || (!strstr(name, "..") && nx_path_join(path, folder, name, NULL) == 0 &&
                  nx_path_exists(path)))
      continue;
    nx_findings_add(findings, NX_FINDING_ERROR, "STIMULUS_FILE_MISSING", file->path,
                    "line %zu names a stim_file that is not in stimuli/: put it there, or write "
                    "\"n/a\"",
                    row + 2);
    return;
  }
}

/* scans.tsv: every file is there, seen from the table's own folder. */
static void check_scans(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                        const struct nx_tsv *table, struct nx_findings *findings) {
  size_t column = nx_tsv_column(table, "filename");
  size_t n = (size_t)(nx_bids_base(file) - file->path);
  char path[NX_PATH_SIZE];
  for (size_t row = 0; row < table->n_rows; row++) {
    const char *name = nx_tsv_cell(table, row, column);
    if (!name)
      continue;
    snprintf(path, sizeof path, "%.*s%s", (int)n, file->path, name);
    size_t length = strlen(path);
    if (length && path[length - 1] == '/')
      path[length - 1] = 0;
    if (nx_bids_find(tree, path))
      continue;
    nx_findings_add(findings, NX_FINDING_ERROR, "SCANS_FILENAME_NOT_MATCH_DATASET", file->path,
                    "line %zu names a file that is not there: correct or remove the line", row + 2);
    return;
  }
}

static bool is_subject_folder(const struct nx_bids_tree *tree, const char *label) {
  for (size_t i = 0; i < tree->n; i++) {
    size_t n = strcspn(tree->files[i].path, "/");
    if (tree->files[i].path[n] && strlen(label) == n && !strncmp(tree->files[i].path, label, n))
      return true;
  }
  return false;
}

static void check_participants(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                               const struct nx_tsv *table, struct nx_findings *findings) {
  static const struct table_rule rule = {"participants", "", {"participant_id"}, "participant_id"};
  size_t column = nx_tsv_column(table, "participant_id"), age = nx_tsv_column(table, "age");
  check_columns(file, &rule, table, findings);
  check_unique(file, rule.unique, table, findings);
  for (size_t row = 0; row < table->n_rows; row++) {
    const char *id = nx_tsv_cell(table, row, column);
    double years;
    if (id && strncmp(id, "sub-", 4) != 0)
      nx_findings_add(findings, NX_FINDING_ERROR, "TSV_VALUE_INCORRECT_TYPE", file->path,
                      "line %zu: participant_id must begin with sub-", row + 2);
    else if (id && !is_subject_folder(tree, id))
      nx_findings_add(findings, NX_FINDING_WARNING, "neurox.participant-without-data", file->path,
                      "line %zu names a person who has no folder here", row + 2);
    if (nx_tsv_number(table, row, age, &years) && years >= 89)
      nx_findings_add(findings, NX_FINDING_WARNING, "AGE_89", file->path,
                      "line %zu: write ages of 89 and more as 89+: they point at single people",
                      row + 2);
  }
}

/* Every sub- folder has its line in participants.tsv. */
static void check_listed(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                         const struct nx_tsv *table, struct nx_findings *findings) {
  size_t column = nx_tsv_column(table, "participant_id"), length = 0;
  const char *before = "";
  for (size_t i = 0; i < tree->n; i++) {
    const char *path = tree->files[i].path;
    size_t n = strcspn(path, "/");
    if (!path[n] || strncmp(path, "sub-", 4) || !strncmp(path, "sub-emptyroom/", 14) ||
        (n == length && !strncmp(path, before, n)))
      continue;
    before = path;
    length = n;
    bool listed = false;
    for (size_t row = 0; row < table->n_rows && !listed; row++) {
      const char *id = nx_tsv_cell(table, row, column);
      listed = id && strlen(id) == n && !strncmp(id, path, n);
    }
    if (listed)
      continue;
    nx_findings_add(findings, NX_FINDING_ERROR, "PARTICIPANT_ID_MISMATCH", file->path,
                    "a sub- folder has no line here: add it (or remove the folder)");
    return;
  }
}

void nx_bids_check_table(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                         struct nx_findings *findings) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  char path[NX_PATH_SIZE];
  struct nx_error why = {0};
  if (nx_path_join(path, tree->root, file->path, &why) < 0 || nx_tsv_read(path, &table, &why) < 0) {
    nx_findings_add(findings, NX_FINDING_ERROR, "TSV_ERROR", file->path,
                    "is no table: save it as "
                    "tab-separated text with one header line");
    return;
  }
  check_shape(file, &table, findings);
  if (!strcmp(file->path, "participants.tsv")) {
    check_participants(tree, file, &table, findings);
    check_listed(tree, file, &table, findings);
  }
  for (size_t i = 0; file->named && i < NX_ARRAY_LENGTH(rules); i++) {
    const struct table_rule *rule = &rules[i];
    bool placed = *rule->datatypes ? nx_word_in(file->datatype, rule->datatypes) : !*file->datatype;
    if (!placed || strcmp(rule->suffix, file->name.suffix) != 0)
      continue;
    check_columns(file, rule, &table, findings);
    check_values(file, rule, &table, findings);
    if (rule->unique)
      check_unique(file, rule->unique, &table, findings);
  }
  if (file->named && nx_word_in(file->name.suffix, "events beh"))
    check_stimuli(tree, file, &table, findings);
  if (file->named && !strcmp(file->name.suffix, "scans"))
    check_scans(tree, file, &table, findings);
}
