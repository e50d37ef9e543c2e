/* BIDS tree: the files of a data set, by path, and which of them belong to one another.
 *
 *     root/dataset_description.json        names and sizes only: nothing is opened here
 *     root/sub-01/eeg/sub-01_task-rest_eeg.edf
 *
 * derivatives/, sourcedata/, code/, stimuli/, hidden files and what .bidsignore names are left
 * out; so are symbolic links that lead out of the tree. Folders that are one recording (.ds,
 * .mefd, .zarr) count as one file. */
#pragma once

#include <cjson/cJSON.h>
#include <stdint.h>

#include "common/error.h"
#include "node/dataset/bids_name.h"

struct nx_bids_file {
  char *path; /* from the root, "sub-01/eeg/…" */
  uint64_t size;
  bool folder;       /* .ds and the like */
  bool named;        /* name holds what the file's name says */
  char datatype[12]; /* "eeg", "anat" …: the folder it lies in; "" above that */
  struct nx_bids_name name;
};

struct nx_bids_tree {
  char *root;
  size_t n;
  struct nx_bids_file *files; /* sorted by folder, then name */
};

/* A folder that says it is BIDS: it has a dataset_description.json or a participants.tsv with
 * sub-… folders beside. */
bool nx_bids_is_tree(const char *folder);
/* NX_E_NOT_FOUND, NX_E_DENIED, NX_E_LIMIT: more than 1e6 files or 16 folders deep. */
int nx_bids_tree_read(const char *root, struct nx_bids_tree *tree_out, struct nx_error *err);
void nx_bids_tree_finish(struct nx_bids_tree *tree);

const struct nx_bids_file *nx_bids_find(const struct nx_bids_tree *tree, const char *path);
/* The files right in one folder: size is the length of "sub-01/eeg/" with its slash, 0 the root. */
const struct nx_bids_file *nx_bids_folder(const struct nx_bids_tree *tree, const char *folder,
                                          size_t size, size_t *n_out);
const char *nx_bids_base(const struct nx_bids_file *file); /* last part of its path */

/* The inheritance principle: the nearest file of this suffix and extension whose entities are all
 * in `file`'s, in its folder or above. An electrodes or coordsystem file may have a space more.
 * NULL when there is none. */
const struct nx_bids_file *nx_bids_inherited(const struct nx_bids_tree *tree,
                                             const struct nx_bids_file *file, const char *suffix,
                                             const char *extension);
/* All JSON sidecars that apply to `file`, merged, the nearest winning; an empty object when there
 * are none. The caller deletes. NX_E_FORMAT names the file that is no JSON object. */
int nx_bids_sidecar(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                    cJSON **merged_out, struct nx_error *err);
/* One JSON file of the tree, at most 16 MiB. */
int nx_bids_json(const struct nx_bids_tree *tree, const char *path, cJSON **out,
                 struct nx_error *err);
