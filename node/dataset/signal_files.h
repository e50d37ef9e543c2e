/* Signal files: the recordings of a folder for a plan of many modalities, with or without labels.
 * Ids stay local. */
#pragma once

#include "node/dataset/bids_electrodes.h"
#include "node/dataset/dataset.h"

#define NX_NO_ELECTRODES ((size_t)-1)

struct nx_signal_file {
  char file[NX_SUBJECT_SIZE * 4 + 8]; /* inside the folder, with "#part" where there are several */
  char subject[NX_SUBJECT_SIZE];
  char label[NX_SUBJECT_SIZE];         /* a word, or "" */
  char behaviour[NX_SUBJECT_SIZE * 4]; /* recording with the subject's place or speed, or "" */
  char channels[NX_SUBJECT_SIZE * 4];  /* a BIDS channels.tsv, inside the folder, or "" */
  size_t electrodes;                   /* index of its places, or NX_NO_ELECTRODES */
};

struct nx_signal_files {
  size_t n;
  struct nx_signal_file *files; /* sorted by subject, file */
  size_t n_electrodes;
  struct nx_electrodes *electrodes; /* of a BIDS tree, those whose unit can be true */
  bool synthetic;
};

/* Of a BIDS tree the recordings of the modality (the plan's, or the site's where the plan takes any),
 * label is their task-. Else by labels.tsv, whose first line names its columns: file, subject and, where there are any, label
 * and behaviour; or else every recording of the folder: subject is the name up to the first '_',
 * label what stands behind the last one. A file without part that has several is listed part by
 * part. Applies only and withdrawn; held-out ids without a file are NX_E_INVALID. */
int nx_signal_files_list(const struct nx_dataset_options *options, const struct nx_plan *plan,
                         struct nx_signal_files *files_out, struct nx_error *err);
/* Inside, for bids_signals.c: adds a file, part by part where it has several. */
int nx_signal_files_add(const struct nx_dataset_options *options, struct nx_signal_files *files,
                        const struct nx_signal_file *file, struct nx_error *err);
int nx_signal_files_list_bids(const struct nx_dataset_options *options, const struct nx_plan *plan,
                              struct nx_signal_files *files, struct nx_error *err);
/* By its ending; masks of images (NAME_mask.nii.gz) are none. */
bool nx_signal_file_is_recording(const char *name);
void nx_signal_files_finish(struct nx_signal_files *files); /* zeroed is fine */
