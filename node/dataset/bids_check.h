/* BIDS check: is a tree valid, by the rules of BIDS 1.11 (schema 2.0) for EEG, iEEG, MEG, fMRI and
 * behaviour? Rules carry the codes of the official validator, so that its documentation applies;
 * tests/oracle/bids_validator.py compares the two. Not checked here: what lies in datatypes that
 * this program does not read (anat, dwi, fmap, perf, pet, micr, motion, mrs, nirs, emg) beyond
 * names and sizes, HED, and recommended keys. Nothing below anat/ is opened. */
#pragma once

#include "node/dataset/bids_tree.h"
#include "node/dataset/findings.h"

struct nx_bids_check_options {
  /* Data files may be empty or hold a header only, as in published examples: EMPTY_FILE and
   * NIFTI_… are not said then. */
  bool headers_only;
};

/* Appends findings; fails only when the tree cannot be read at all. */
int nx_bids_check(const struct nx_bids_tree *tree, const struct nx_bids_check_options *options,
                  struct nx_findings *findings, struct nx_error *err);

/* A file that holds samples (or the header that leads to them), as opposed to tables, sidecars and
 * the .eeg and .vmrk of a .vhdr. */
bool nx_bids_is_recording(const struct nx_bids_file *file);
