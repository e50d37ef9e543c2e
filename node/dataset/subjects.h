/* Subjects: which recordings of a folder belong to which person and label. Ids stay local.
 *
 *     a BIDS tree    sub-<person>; the label is the task-, a participants.tsv column or events,
 *                    as the plan's labels section says (bids_subjects.c)
 *     labels.tsv     file, subject, label
 *     else           SUBJECT_LABEL.edf */
#pragma once

#include "node/dataset/dataset.h"

struct nx_subject_file {
  char file[256]; /* from the folder; below it in a BIDS tree */
  char subject[NX_SUBJECT_SIZE];
  uint8_t label;
  bool unlabelled; /* only where options->any_label asks for such files too */
  bool part; /* only from_s to to_s of the file, an event's */
  double from_s, to_s;
  char channels[256]; /* the channels.tsv that says what each channel is, or "" */
};

struct nx_subject_files {
  size_t n;
  struct nx_subject_file *files; /* sorted by subject, label, file, from_s */
  bool synthetic;                /* the folder holds a file SYNTHETIC */
};

/* Lists options->folder as a BIDS tree, by labels.tsv, or else by names SUBJECT_LABEL.edf (or .bdf,
 * .vhdr, .fif, .set), where LABEL is a plan's label or the beginning of one (at least 4 letters:
 * "arith"). Other files are passed over. Applies only and withdrawn; a held-out id that has no file
 * is NX_E_INVALID. */
int nx_subjects_list(const struct nx_dataset_options *options, const struct nx_plan *plan,
                     struct nx_subject_files *files_out, struct nx_error *err);
void nx_subjects_finish(struct nx_subject_files *files);

/* "sub-01" and "01" are one person. */
bool nx_subject_in(const char *subject, const char *const *list, size_t n);
/* The n characters can be a person's id: letters, digits, "-_.". */
bool nx_subject_is_id(const char *text, size_t n);
/* Not withdrawn and, where only some are asked for, one of them. */
bool nx_subject_is_wanted(const struct nx_dataset_options *options, const char *subject);
/* Every held-out person has a recording or withdrew. subject: of the first of n entries that lie
 * `stride` bytes apart. NX_E_INVALID names who has none. */
int nx_subjects_check_held_out(const struct nx_dataset_options *options, const char *subject,
                               size_t stride, size_t n, struct nx_error *err);
/* Inside: adds one file, if its subject is wanted; for nx_subjects_list() and bids_subjects.c. */
int nx_subjects_add(struct nx_subject_files *files, const struct nx_dataset_options *options,
                    const struct nx_subject_file *entry, struct nx_error *err);
/* 0 or 1; -1: no label of the plan. may_shorten: "arith" is enough for "arithmetic". */
int nx_subjects_label(const struct nx_plan *plan, const char *word, size_t n, bool may_shorten);
/* "eeg", "ieeg", "meg", "func": the folder in which BIDS keeps a modality. */
const char *nx_bids_datatype(const char *modality);
int nx_subjects_list_bids(const struct nx_dataset_options *options, const struct nx_plan *plan,
                          struct nx_subject_files *files, struct nx_error *err);
