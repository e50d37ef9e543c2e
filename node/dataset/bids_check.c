#include "node/dataset/bids_check.h"

#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"
#include "node/dataset/bids_check_parts.h"
#include "node/dataset/bids_electrodes.h"

#define NIFTI_HEADER 348

bool nx_bids_is_recording(const struct nx_bids_file *file) {
  static const struct {
    const char *suffix, *extensions;
  } kinds[] = {
      {"eeg", ".edf .bdf .vhdr .set"},
      {"ieeg", ".edf .vhdr .set .nwb .mefd"},
      {"meg", ".fif .ds .sqd .con .kdf"},
      {"bold", ".nii .nii.gz"},
  };
  for (size_t i = 0; file->named && i < NX_ARRAY_LENGTH(kinds); i++)
    if (!strcmp(file->name.suffix, kinds[i].suffix) &&
        nx_word_in(file->name.extension, kinds[i].extensions))
      return file->datatype[0] != 0;
  return false;
}

static bool is_nifti(const struct nx_bids_file *file) {
  return file->named && nx_word_in(file->name.extension, ".nii .nii.gz");
}

static void check_size(const struct nx_bids_file *file, struct nx_findings *findings) {
  if (!file->folder && !file->size)
    nx_findings_add(findings, NX_FINDING_ERROR, "EMPTY_FILE", file->path,
                    "the file is empty: copy it again");
  else if (is_nifti(file) && strcmp(file->name.extension, ".nii") == 0 && file->size < NIFTI_HEADER)
    nx_findings_add(findings, NX_FINDING_ERROR, "NIFTI_TOO_SMALL", file->path,
                    "smaller than a NIfTI header: copy it again");
}

/* The three files of a BrainVision recording lie together. */
static void check_brainvision(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                              struct nx_findings *findings) {
  static const char *const parts[] = {".vhdr", ".eeg", ".vmrk"};
  char path[NX_PATH_SIZE];
  size_t n = strlen(file->path) - strlen(file->name.extension);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(parts); i++) {
    snprintf(path, sizeof path, "%.*s%s", (int)n, file->path, parts[i]);
    const struct nx_bids_file *other = nx_bids_find(tree, path);
    if (other && !strcmp(file->name.extension, parts[i]))
      for (size_t k = 0; k < i; k++) { /* said once, at the first that is there */
        snprintf(path, sizeof path, "%.*s%s", (int)n, file->path, parts[k]);
        if (nx_bids_find(tree, path))
          return;
      }
  }
  for (size_t i = 0; i < NX_ARRAY_LENGTH(parts); i++) {
    snprintf(path, sizeof path, "%.*s%s", (int)n, file->path, parts[i]);
    if (!nx_bids_find(tree, path))
      nx_findings_add(findings, NX_FINDING_ERROR, "neurox.brainvision-parts", file->path,
                      "the %s beside it is missing: a BrainVision recording is three files",
                      parts[i]);
  }
}

static void check_companions(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                             struct nx_findings *findings) {
  if (!strcmp(file->name.suffix, "ieeg") && nx_bids_is_recording(file) &&
      !nx_bids_inherited(tree, file, "electrodes", ".tsv"))
    nx_findings_add(findings, NX_FINDING_ERROR, "IEEG_ELECTRODES_REQUIRED", file->path,
                    "write an electrodes.tsv for it: where were the contacts?");
  if (!strcmp(file->name.suffix, "electrodes") && !strcmp(file->name.extension, ".tsv") &&
      file->datatype[0] && !nx_bids_inherited(tree, file, "coordsystem", ".json"))
    nx_findings_add(findings, NX_FINDING_ERROR, "REQUIRED_COORDSYSTEM", file->path,
                    "write a coordsystem.json beside it: coordinates mean nothing without");
  if (nx_word_in(file->name.extension, ".vhdr .vmrk .eeg") && file->datatype[0])
    check_brainvision(tree, file, findings);
}

static void check_root(const struct nx_bids_tree *tree, struct nx_findings *findings) {
  static const char *const readmes[] = {"README", "README.md", "README.rst", "README.txt"};
  size_t n = 0, subjects = 0;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(readmes); i++)
    n += nx_bids_find(tree, readmes[i]) != NULL;
  if (n > 1)
    nx_findings_add(findings, NX_FINDING_ERROR, "MULTIPLE_README_FILES", "README",
                    "keep one README");
  else if (!n)
    nx_findings_add(findings, NX_FINDING_WARNING, "README_FILE_MISSING", "README",
                    "write a README: who recorded what, and why");
  if (!nx_bids_find(tree, "dataset_description.json"))
    nx_findings_add(findings, NX_FINDING_ERROR, "MISSING_DATASET_DESCRIPTION",
                    "dataset_description.json",
                    "write it: {\"Name\": \"…\", \"BIDSVersion\": \"1.11.0\"}");
  for (size_t i = 0; i < tree->n; i++)
    subjects += !strncmp(tree->files[i].path, "sub-", 4) && strchr(tree->files[i].path, '/');
  if (!subjects)
    nx_findings_add(findings, NX_FINDING_WARNING, "SUBJECT_FOLDERS", ".",
                    "there is no sub- folder: is this the root of the data set?");
}

static void check_file(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                       const struct nx_bids_check_options *options, struct nx_findings *findings) {
  nx_bids_check_name(tree, file, findings);
  if (!options->headers_only)
    check_size(file, findings);
  const char *dot = strrchr(file->path, '.');
  if (!strcmp(file->datatype, "anat") && !(dot && !strcmp(dot, ".json")))
    return; /* scans of heads show faces: names and sizes are all that is looked at */
  if (dot && !strcmp(dot, ".json") && file->size)
    nx_bids_check_json_file(tree, file, findings);
  if (dot && !strcmp(dot, ".tsv") && file->size)
    nx_bids_check_table(tree, file, findings);
  if (!file->named)
    return;
  check_companions(tree, file, findings);
  if (nx_bids_is_recording(file))
    nx_bids_check_sidecar(tree, file, findings);
  if (!strcmp(file->name.suffix, "electrodes") && !strcmp(file->name.extension, ".tsv"))
    nx_bids_check_electrodes(tree, file, findings);
}

int nx_bids_check(const struct nx_bids_tree *tree, const struct nx_bids_check_options *options,
                  struct nx_findings *findings, struct nx_error *err) {
  check_root(tree, findings);
  for (size_t i = 0; i < tree->n; i++)
    check_file(tree, &tree->files[i], options, findings);
  return findings->exhausted ? nx_fail(err, NX_E_NOMEM, "findings: out of memory") : 0;
}
