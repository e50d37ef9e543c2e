/* The recordings of a BIDS tree for a plan of many modalities: their people, what channels.tsv says of
 * their channels, and where electrodes.tsv puts them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/plan_labels.h"
#include "node/dataset/bids_check.h"
#include "node/dataset/bids_electrodes.h"
#include "node/dataset/signal_files.h"
#include "node/dataset/subjects.h"

struct listing {
  const struct nx_dataset_options *options;
  const struct nx_bids_tree *tree;
  const char *datatype; /* NULL: any that is read */
  struct nx_signal_files *files;
  const struct nx_bids_file *last_table; /* electrodes.tsv that was read last … */
  size_t last_set;                       /* … and what came of it: NX_NO_ELECTRODES, or an index */
};

/* Places of a table, once for all the recordings that share it. One whose unit cannot be true is not
 * used; which one, neurox-node check says: its path may name a person, so the log does not. */
static int electrodes_of(struct listing *listing, const struct nx_bids_file *file, size_t *set_out,
                         struct nx_error *err) {
  const struct nx_bids_file *table = nx_bids_inherited(listing->tree, file, "electrodes", ".tsv");
  struct nx_signal_files *files = listing->files;
  struct nx_electrodes electrodes = {0};
  struct nx_error why = {0};
  *set_out = NX_NO_ELECTRODES;
  if (!table)
    return 0;
  if (table != listing->last_table) {
    listing->last_table = table;
    listing->last_set = NX_NO_ELECTRODES;
    int r = nx_bids_electrodes(listing->tree, table, &electrodes, &why);
    if (r == NX_E_NOMEM)
      return nx_fail(err, r, "electrodes: out of memory");
    if (r < 0) {
      NX_LOG(NX_LOG_WARNING, "electrodes.unused",
             NX_STR("why", r == NX_E_INVALID ? "the unit in a coordsystem.json cannot be true"
                                             : "a table or its coordsystem.json cannot be used"),
             NX_STR("next", "neurox-node check names it"));
    } else {
      struct nx_electrodes *grown =
          reallocarray(files->electrodes, files->n_electrodes + 1, sizeof *grown);
      if (!grown) {
        nx_electrodes_finish(&electrodes);
        return nx_fail(err, NX_E_NOMEM, "electrodes: out of memory");
      }
      files->electrodes = grown;
      listing->last_set = files->n_electrodes;
      grown[files->n_electrodes++] = electrodes;
    }
  }
  *set_out = listing->last_set;
  return 0;
}

static int take(struct listing *listing, const struct nx_bids_file *file, struct nx_error *err) {
  struct nx_signal_file entry = {.electrodes = NX_NO_ELECTRODES};
  const char *subject = nx_bids_entity(&file->name, "sub"), *task;
  const struct nx_bids_file *channels;
  if (!nx_bids_is_recording(file) || file->folder || !subject ||
      !strncmp(file->path, "sub-emptyroom/", 14) ||
      (listing->datatype && strcmp(file->datatype, listing->datatype) != 0) ||
      !nx_signal_file_is_recording(nx_bids_base(file)) ||
      !nx_subject_is_wanted(listing->options, subject))
    return 0;
  channels = nx_bids_inherited(listing->tree, file, "channels", ".tsv");
  task = nx_bids_entity(&file->name, "task");
  if (strlen(file->path) + 8 >= sizeof entry.file ||
      (channels && strlen(channels->path) >= sizeof entry.channels))
    return nx_fail(err, NX_E_LIMIT, "a path of the tree is too long");
  strcpy(entry.file, file->path);
  snprintf(entry.subject, sizeof entry.subject, "%s", subject);
  snprintf(entry.label, sizeof entry.label, "%s", task ? task : "");
  if (channels)
    strcpy(entry.channels, channels->path);
  int r = electrodes_of(listing, file, &entry.electrodes, err);
  return r < 0 ? r : nx_signal_files_add(listing->options, listing->files, &entry, err);
}

int nx_signal_files_list_bids(const struct nx_dataset_options *options, const struct nx_plan *plan,
                              struct nx_signal_files *files, struct nx_error *err) {
  _cleanup_(nx_bids_tree_finish) struct nx_bids_tree tree = {0};
  struct listing listing = {.options = options, .tree = &tree, .files = files};
  bool any = !strcmp(plan->data.modality, "any");
  const char *modality = any ? options->modality : plan->data.modality;
  listing.datatype = modality ? nx_bids_datatype(modality) : NULL;
  if (plan->labels && plan->labels->source != NX_LABELS_TASK &&
      plan->training.objective == NX_OBJECTIVE_CLASSIFICATION)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "a plan of many modalities takes labels of a BIDS tree from task- alone");
  int r = nx_bids_tree_read(options->folder, &tree, err);
  for (size_t i = 0; !r && i < tree.n; i++)
    r = take(&listing, &tree.files[i], err);
  return r;
}
