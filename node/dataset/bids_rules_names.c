/* Which names BIDS knows (schema 2.0, rules.files). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "node/dataset/bids_check_parts.h"

#define FUNC_ENTITIES "ses acq ce rec dir run mod echo part chunk"

static const struct name_rule {
  const char *suffixes, *datatypes, *extensions, *required, *optional;
} rules[] = {
    {"eeg", "eeg", ".json .edf .vhdr .vmrk .eeg .set .fdt .bdf", "sub task", "ses acq run"},
    {"ieeg", "ieeg", ".json .edf .vhdr .vmrk .eeg .set .fdt .nwb .mefd", "sub task", "ses acq run"},
    {"meg", "meg", ".json .ds .fif .sqd .con .raw .ave .mrk .kdf .mhd .trg .chn", "sub task",
     "ses acq run proc split"},
    {"meg", "meg", ".dat .fif", "sub acq", "ses"},
    {"headshape", "meg", "*", "sub", "ses acq"},
    {"markers", "meg", ".sqd .mrk", "sub", "ses task acq space"},
    {"bold cbv sbref noRF phase", "func", ".nii.gz .nii .json .zarr", "sub task", FUNC_ENTITIES},
    {"beh", "beh", ".tsv .json", "sub task", "ses acq run"},
    {"channels", "eeg ieeg", ".tsv .json", "sub task", "ses acq run"},
    {"channels", "meg", ".tsv .json", "sub task", "ses acq run proc"},
    {"coordsystem", "eeg ieeg", ".json", "sub", "ses acq task space"},
    {"coordsystem", "meg", ".json", "sub", "ses acq task"},
    {"electrodes", "eeg ieeg", ".tsv .json", "sub", "ses acq run task space"},
    {"electrodes", "meg", ".tsv .json", "sub", "ses acq run task space proc"},
    {"events", "eeg ieeg beh", ".tsv .json", "sub task", "ses acq run"},
    {"events", "meg", ".tsv .json", "sub task", "ses acq run proc"},
    {"events", "func", ".tsv .json", "sub task", FUNC_ENTITIES},
    {"physio physioevents stim", "eeg ieeg beh", ".tsv.gz .json", "sub task",
     "ses acq run recording"},
    {"physio physioevents stim", "meg", ".tsv.gz .json", "sub task", "ses acq run proc recording"},
    {"physio physioevents stim", "func", ".tsv.gz .json", "sub task", FUNC_ENTITIES " recording"},
    {"photo", "eeg ieeg meg", ".jpg .png .tif", "sub", "ses acq"},
    {"scans", "", ".tsv .json", "sub", "ses"},
    {"sessions", "", ".tsv .json", "sub", ""},
};

static const char our_datatypes[] = "eeg ieeg meg func beh";
static const char other_datatypes[] = "anat dwi fmap perf pet nirs micr motion mrs emg phenotype";
static const char root_files[] =
    "dataset_description.json CITATION.cff README README.md README.rst README.txt CHANGES LICENSE "
    "LICENSE.md LICENSE.rst LICENSE.txt genetic_info.json participants.tsv participants.json "
    "samples.tsv samples.json";
static const char indices[] = "run echo flip inv chunk split";

bool nx_word_in(const char *word, const char *list) {
  size_t n = strlen(word);
  for (const char *at = list; n && (at = strstr(at, word)); at += n)
    if ((at == list || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
      return true;
  return false;
}

static bool is_digits(const char *text) {
  return text[strspn(text, "0123456789")] == 0;
}

static const char *extension_of(const struct nx_bids_file *file) {
  return file->name.extension;
}

/* Above a datatype's folder lie sidecars that are inherited from: all but the subject's entities
 * and the datatype are theirs to leave out. */
static bool fits_extension(const struct name_rule *rule, const struct nx_bids_file *file) {
  return !strcmp(rule->extensions, "*") || nx_word_in(extension_of(file), rule->extensions);
}

static bool fits_place(const struct name_rule *rule, const struct nx_bids_file *file) {
  bool inheritable = !strcmp(extension_of(file), ".json") || !strcmp(extension_of(file), ".tsv");
  if (!*rule->datatypes)
    return !file->datatype[0];
  return file->datatype[0] ? nx_word_in(file->datatype, rule->datatypes) : inheritable;
}

/* The first required entity that is missing, or NULL. */
static const char *missing(const struct name_rule *rule, const struct nx_bids_file *file) {
  if (!strcmp(extension_of(file), ".json") || (!file->datatype[0] && *rule->datatypes))
    return NULL;
  return nx_word_in("sub", rule->required) && !nx_bids_entity(&file->name, "sub")     ? "sub"
         : nx_word_in("task", rule->required) && !nx_bids_entity(&file->name, "task") ? "task"
         : nx_word_in("acq", rule->required) && !nx_bids_entity(&file->name, "acq")   ? "acq"
                                                                                      : NULL;
}

static const char *surplus(const struct name_rule *rule, const struct nx_bids_file *file) {
  for (size_t i = 0; i < file->name.n; i++)
    if (!nx_word_in(file->name.entities[i].key, rule->required) &&
        !nx_word_in(file->name.entities[i].key, rule->optional))
      return file->name.entities[i].key;
  return NULL;
}

/* The rule that a name keeps, or else what it breaks of the one it comes nearest to. */
static void check_rules(const struct nx_bids_file *file, struct nx_findings *findings) {
  const char *lacks = NULL, *extra = NULL;
  bool known = false, placed = false, extended = false;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rules); i++) {
    if (!nx_word_in(file->name.suffix, rules[i].suffixes))
      continue;
    known = true;
    if (!fits_place(&rules[i], file))
      continue;
    placed = true;
    if (!fits_extension(&rules[i], file))
      continue;
    extended = true;
    const char *l = missing(&rules[i], file), *e = surplus(&rules[i], file);
    if (!l && !e)
      return;
    lacks = l;
    extra = e;
  }
  if (!known)
    nx_findings_add(findings, NX_FINDING_ERROR, "NOT_INCLUDED", file->path,
                    "BIDS has no such suffix: rename the file, or list it in .bidsignore");
  else if (!placed)
    nx_findings_add(findings, NX_FINDING_ERROR, "DATATYPE_MISMATCH", file->path,
                    "a file with suffix \"%s\" does not belong into this folder: move it",
                    file->name.suffix);
  else if (!extended)
    nx_findings_add(findings, NX_FINDING_ERROR, "EXTENSION_MISMATCH", file->path,
                    "\"%s\" is no extension for \"%s\": convert the file to a format that BIDS "
                    "takes for it",
                    extension_of(file), file->name.suffix);
  else if (lacks)
    nx_findings_add(findings, NX_FINDING_ERROR, "MISSING_REQUIRED_ENTITY", file->path,
                    "the name lacks %s-<label>: add it", lacks);
  else
    nx_findings_add(findings, NX_FINDING_ERROR, "ENTITY_NOT_IN_RULE", file->path,
                    "%s-… is not possible in the name of a \"%s\" file: leave it out", extra,
                    file->name.suffix);
}

/* sub-01/ses-02/ above a file must be what its name says. */
static bool folder_says(const char *path, const char *key, const char *label) {
  char folder[96];
  snprintf(folder, sizeof folder, "%s-%s/", key, label);
  const char *at = strstr(path, folder);
  return at && (at == path || at[-1] == '/');
}

static void check_place(const struct nx_bids_file *file, struct nx_findings *findings) {
  static const char *const keys[] = {"sub", "ses"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(keys); i++) {
    const char *label = nx_bids_entity(&file->name, keys[i]);
    char folder[8];
    snprintf(folder, sizeof folder, "%s-", keys[i]);
    const char *at = strstr(file->path, folder);
    bool in_folder = at && (at == file->path || at[-1] == '/') && strchr(at, '/');
    bool below = !strcmp(file->name.suffix, "sessions") && i == 1;
    if (below || (!label && !in_folder) || (label && folder_says(file->path, keys[i], label)) ||
        (!label && !strcmp(extension_of(file), ".json")))
      continue;
    nx_findings_add(findings, NX_FINDING_ERROR, "INVALID_LOCATION", file->path,
                    "the name and the folder say different things about %s-: move or rename the "
                    "file",
                    keys[i]);
  }
}

static void check_labels(const struct nx_bids_file *file, struct nx_findings *findings) {
  for (size_t i = 0; i < file->name.n; i++)
    if (nx_word_in(file->name.entities[i].key, indices) && !is_digits(file->name.entities[i].label))
      nx_findings_add(findings, NX_FINDING_ERROR, "INVALID_ENTITY_LABEL", file->path,
                      "%s- takes a whole number: rename the file", file->name.entities[i].key);
}

void nx_bids_check_name(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                        struct nx_findings *findings) {
  (void)tree;
  if (!strchr(file->path, '/') && nx_word_in(file->path, root_files))
    return;
  if (file->datatype[0] && nx_word_in(file->datatype, other_datatypes) &&
      (!strcmp(file->datatype, "phenotype") || (file->named && nx_bids_entity(&file->name, "sub"))))
    return;
  bool known_place = !file->datatype[0] || nx_word_in(file->datatype, our_datatypes);
  if (!file->named || !known_place) {
    nx_findings_add(findings, NX_FINDING_ERROR, "NOT_INCLUDED", file->path,
                    "this is no BIDS name: write key-label_key-label_suffix.extension in the "
                    "subject's folder, or list the file in .bidsignore");
    return;
  }
  check_labels(file, findings);
  check_place(file, findings);
  check_rules(file, findings);
}
