/* Subjects: which files of a folder belong to which person and label. Ids stay local. */
#pragma once

#include "node/dataset/dataset.h"

struct nx_subject_file {
  char file[256];
  char subject[NX_SUBJECT_SIZE];
  uint8_t label;
};

struct nx_subject_files {
  size_t n;
  struct nx_subject_file *files; /* sorted by subject, label, file */
  bool synthetic;                /* the folder holds a file SYNTHETIC */
};

/* Lists options->folder by labels.tsv, or else by names SUBJECT_LABEL.edf (or .bdf, .vhdr, .fif,
 * .set), where LABEL is a plan's label or the beginning of one (at least 4 letters: "arith"). Other
 * files are passed over. Applies only and withdrawn; a held-out id that has no file is
 * NX_E_INVALID. */
int nx_subjects_list(const struct nx_dataset_options *options, const struct nx_plan *plan,
                     struct nx_subject_files *files_out, struct nx_error *err);
void nx_subjects_finish(struct nx_subject_files *files);

bool nx_subject_in(const char *subject, const char *const *list, size_t n);
