/* The recordings of a BIDS tree, their people and labels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/file.h"
#include "common/plan_labels.h"
#include "common/size.h"
#include "node/dataset/bids_check.h"
#include "node/dataset/subjects.h"
#include "node/dataset/tsv.h"

struct listing {
  const struct nx_dataset_options *options;
  const struct nx_plan *plan;
  const struct nx_bids_tree *tree;
  struct nx_tsv participants; /* empty when the plan does not ask for it */
  struct nx_subject_files *files;
};

const char *nx_bids_datatype(const char *modality) {
  static const struct {
    const char *modality, *datatype;
  } words[] = {{"eeg", "eeg"},   {"ieeg", "ieeg"}, {"ecog", "ieeg"}, {"seeg", "ieeg"},
               {"lfp", "ieeg"},  {"meg", "meg"},   {"fmri", "func"}, {"bold", "func"},
               {"nirs", "nirs"}, {"fnirs", "nirs"}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(words); i++)
    if (!strcasecmp(modality, words[i].modality))
      return words[i].datatype;
  return modality;
}

static bool is_emptyroom(const struct nx_bids_file *file) {
  return !strncmp(file->path, "sub-emptyroom/", 14);
}

/* What the table says of a person, or NULL. */
static const char *participant(const struct listing *listing, const char *subject) {
  const struct nx_tsv *table = &listing->participants;
  size_t id = nx_tsv_column(table, "participant_id");
  size_t column = nx_tsv_column(table, listing->plan->labels->column);
  for (size_t row = 0; row < table->n_rows; row++) {
    const char *who = nx_tsv_cell(table, row, id);
    if (who && nx_subject_in(who, &subject, 1))
      return nx_tsv_cell(table, row, column);
  }
  return NULL;
}

static int start_entry(const struct listing *listing, const struct nx_bids_file *file,
                       struct nx_subject_file *entry, struct nx_error *err) {
  const struct nx_bids_file *channels = nx_bids_inherited(listing->tree, file, "channels", ".tsv");
  const char *subject = nx_bids_entity(&file->name, "sub");
  memset(entry, 0, sizeof *entry);
  if (strlen(file->path) >= sizeof entry->file ||
      (channels && strlen(channels->path) >= sizeof entry->channels))
    return nx_fail(err, NX_E_LIMIT, "too long a path: %.64s…", file->path);
  strcpy(entry->file, file->path);
  if (channels)
    strcpy(entry->channels, channels->path);
  snprintf(entry->subject, sizeof entry->subject, "%s", subject);
  return 0;
}

static int add_whole(const struct listing *listing, const struct nx_bids_file *file,
                     const char *word, bool may_shorten, struct nx_error *err) {
  struct nx_subject_file entry;
  int label = word ? nx_subjects_label(listing->plan, word, strlen(word), may_shorten) : -1;
  if (label < 0 && !listing->options->any_label)
    return 0;
  int r = start_entry(listing, file, &entry, err);
  entry.label = label > 0;
  entry.unlabelled = label < 0;
  return r < 0 ? r : nx_subjects_add(listing->files, listing->options, &entry, err);
}

static int add_event(const struct listing *listing, const struct nx_tsv *table, size_t row,
                     const struct nx_subject_file *start, struct nx_error *err) {
  const struct nx_plan_labels *labels = listing->plan->labels;
  struct nx_subject_file entry = *start;
  double onset, duration = 0;
  const char *word = nx_tsv_cell(table, row, nx_tsv_column(table, labels->column));
  int label = word ? nx_subjects_label(listing->plan, word, strlen(word), false) : -1;
  if (label < 0 || !nx_tsv_number(table, row, nx_tsv_column(table, "onset"), &onset))
    return 0;
  nx_tsv_number(table, row, nx_tsv_column(table, "duration"), &duration);
  entry.label = (uint8_t)label;
  entry.part = true;
  entry.from_s = NX_MAX(0, onset + labels->epoch_start_s);
  entry.to_s = onset + labels->epoch_start_s +
               (labels->epoch_seconds > 0 ? labels->epoch_seconds : duration);
  if (entry.to_s - entry.from_s < listing->plan->window.seconds)
    return 0; /* shorter than a window: nothing of it could be used */
  return nx_subjects_add(listing->files, listing->options, &entry, err);
}

static int add_events(const struct listing *listing, const struct nx_bids_file *file,
                      struct nx_error *err) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  const struct nx_bids_file *events = nx_bids_inherited(listing->tree, file, "events", ".tsv");
  struct nx_subject_file start;
  char path[NX_PATH_SIZE];
  if (!events)
    return 0;
  int r = nx_path_join(path, listing->tree->root, events->path, err);
  if (!r)
    r = nx_tsv_read(path, &table, err);
  if (!r && nx_tsv_column(&table, listing->plan->labels->column) == NX_TSV_NONE)
    r = nx_fail(err, NX_E_INVALID, "%s has no column \"%s\", which the plan's labels.column names",
                events->path, listing->plan->labels->column);
  if (!r)
    r = start_entry(listing, file, &start, err);
  for (size_t row = 0; !r && row < table.n_rows; row++)
    r = add_event(listing, &table, row, &start, err);
  return r;
}

static int take(const struct listing *listing, const struct nx_bids_file *file,
                struct nx_error *err) {
  const struct nx_plan_labels *labels = listing->plan->labels;
  const char *subject = nx_bids_entity(&file->name, "sub");
  if (!nx_bids_is_recording(file) || !subject || is_emptyroom(file) ||
      strcmp(file->datatype, nx_bids_datatype(listing->plan->data.modality)) != 0)
    return 0;
  if (labels && labels->source == NX_LABELS_EVENTS && listing->options->any_label)
    return add_whole(listing, file, NULL, false, err);
  if (labels && labels->source == NX_LABELS_EVENTS)
    return add_events(listing, file, err);
  if (labels && labels->source == NX_LABELS_PARTICIPANTS)
    return add_whole(listing, file, participant(listing, subject), false, err);
  return add_whole(listing, file, nx_bids_entity(&file->name, "task"), true, err);
}

static int read_participants(struct listing *listing, struct nx_error *err) {
  const struct nx_plan_labels *labels = listing->plan->labels;
  char path[NX_PATH_SIZE];
  if (!labels || labels->source != NX_LABELS_PARTICIPANTS)
    return 0;
  int r = nx_path_join(path, listing->tree->root, "participants.tsv", err);
  if (!r)
    r = nx_tsv_read(path, &listing->participants, err);
  if (!r && nx_tsv_column(&listing->participants, labels->column) == NX_TSV_NONE)
    r = nx_fail(err, NX_E_INVALID, "%s has no column \"%s\", which the plan's labels.column names",
                path, labels->column);
  return r;
}

int nx_subjects_list_bids(const struct nx_dataset_options *options, const struct nx_plan *plan,
                          struct nx_subject_files *files, struct nx_error *err) {
  _cleanup_(nx_bids_tree_finish) struct nx_bids_tree tree = {0};
  struct listing listing = {.options = options, .plan = plan, .tree = &tree, .files = files};
  int r = nx_bids_tree_read(options->folder, &tree, err);
  if (!r)
    r = read_participants(&listing, err);
  for (size_t i = 0; !r && i < tree.n; i++)
    r = take(&listing, &tree.files[i], err);
  nx_tsv_finish(&listing.participants);
  return r;
}
