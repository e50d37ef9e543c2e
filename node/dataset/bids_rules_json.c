/* What sidecars must say (schema 2.0, rules.sidecars and rules.json: the required keys). */
#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "node/dataset/bids_check_parts.h"

enum key_type { TEXT, NUMBER, POSITIVE, NUMBER_OR_NA, OBJECT_OR_NA, BOOLEAN };

static const struct key_rule {
  const char *suffix, *key;
  enum key_type type;
} keys[] = {
    {"eeg", "TaskName", TEXT},
    {"eeg", "EEGReference", TEXT},
    {"eeg", "SamplingFrequency", NUMBER},
    {"eeg", "PowerLineFrequency", NUMBER_OR_NA},
    {"eeg", "SoftwareFilters", OBJECT_OR_NA},
    {"ieeg", "TaskName", TEXT},
    {"ieeg", "iEEGReference", TEXT},
    {"ieeg", "SamplingFrequency", NUMBER},
    {"ieeg", "PowerLineFrequency", NUMBER_OR_NA},
    {"ieeg", "SoftwareFilters", OBJECT_OR_NA},
    {"meg", "TaskName", TEXT},
    {"meg", "SamplingFrequency", NUMBER},
    {"meg", "PowerLineFrequency", NUMBER_OR_NA},
    {"meg", "DewarPosition", TEXT},
    {"meg", "SoftwareFilters", OBJECT_OR_NA},
    {"meg", "DigitizedLandmarks", BOOLEAN},
    {"meg", "DigitizedHeadPoints", BOOLEAN},
    {"bold", "TaskName", TEXT},
};

static bool has_type(const cJSON *value, enum key_type type) {
  bool na = cJSON_IsString(value) && !strcmp(value->valuestring, "n/a");
  switch (type) {
  case TEXT:
    return cJSON_IsString(value);
  case NUMBER:
    return cJSON_IsNumber(value);
  case POSITIVE:
    return cJSON_IsNumber(value) && value->valuedouble > 0;
  case NUMBER_OR_NA:
    return na || (cJSON_IsNumber(value) && value->valuedouble >= 0);
  case OBJECT_OR_NA:
    return na || cJSON_IsObject(value);
  case BOOLEAN:
    return cJSON_IsBool(value);
  }
  return false;
}

static const char *type_name(enum key_type type) {
  static const char *const names[] = {[TEXT] = "a text",
                                      [NUMBER] = "a number",
                                      [POSITIVE] = "a number above 0",
                                      [NUMBER_OR_NA] = "a number or \"n/a\"",
                                      [OBJECT_OR_NA] = "an object or \"n/a\"",
                                      [BOOLEAN] = "true or false"};
  return names[type];
}

static void require(const struct nx_bids_file *file, const cJSON *json, const char *rule,
                    const char *key, enum key_type type, struct nx_findings *findings) {
  const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, key);
  if (!value)
    nx_findings_add(findings, NX_FINDING_ERROR, rule, file->path,
                    "write \"%s\" (%s) into its JSON file", key, type_name(type));
  else if (!has_type(value, type))
    nx_findings_add(findings, NX_FINDING_ERROR, "JSON_SCHEMA_VALIDATION_ERROR", file->path,
                    "\"%s\" must be %s: correct its JSON file", key, type_name(type));
}

static void check_bold(const struct nx_bids_file *file, const cJSON *json,
                       struct nx_findings *findings) {
  const cJSON *repetition = cJSON_GetObjectItemCaseSensitive(json, "RepetitionTime");
  const cJSON *volumes = cJSON_GetObjectItemCaseSensitive(json, "VolumeTiming");
  if (!repetition && !volumes)
    require(file, json, "SIDECAR_KEY_REQUIRED", "RepetitionTime", POSITIVE, findings);
  else if (repetition && volumes)
    nx_findings_add(findings, NX_FINDING_ERROR,
                    "VOLUME_TIMING_AND_REPETITION_TIME_MUTUALLY_EXCLUSIVE", file->path,
                    "keep one of RepetitionTime and VolumeTiming");
  else if (repetition && !has_type(repetition, POSITIVE))
    require(file, json, "SIDECAR_KEY_REQUIRED", "RepetitionTime", POSITIVE, findings);
}

void nx_bids_check_sidecar(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                           struct nx_findings *findings) {
  struct nx_error why = {0};
  cJSON *json = NULL;
  const char *acq = nx_bids_entity(&file->name, "acq");
  if (acq && !nx_bids_entity(&file->name, "task") && nx_word_in(acq, "calibration crosstalk"))
    return;
  if (nx_bids_sidecar(tree, file, &json, &why) < 0)
    return; /* the JSON file itself is found fault with where it lies */
  for (size_t i = 0; i < NX_ARRAY_LENGTH(keys); i++)
    if (!strcmp(file->name.suffix, keys[i].suffix))
      require(file, json, "SIDECAR_KEY_REQUIRED", keys[i].key, keys[i].type, findings);
  if (!strcmp(file->name.suffix, "bold"))
    check_bold(file, json, findings);
  const cJSON *rate = cJSON_GetObjectItemCaseSensitive(json, "SamplingFrequency");
  if (cJSON_IsNumber(rate) && !(rate->valuedouble > 0))
    nx_findings_add(findings, NX_FINDING_ERROR, "neurox.sampling-frequency", file->path,
                    "\"SamplingFrequency\" must be above 0: correct its JSON file");
  cJSON_Delete(json);
}

static void check_coordsystem(const struct nx_bids_file *file, const cJSON *json,
                              struct nx_findings *findings) {
  const char *prefix = !strcmp(file->datatype, "eeg")    ? "EEG"
                       : !strcmp(file->datatype, "ieeg") ? "iEEG"
                                                         : "MEG";
  char key[48];
  snprintf(key, sizeof key, "%sCoordinateSystem", prefix);
  require(file, json, "JSON_KEY_REQUIRED", key, TEXT, findings);
  const cJSON *system = cJSON_GetObjectItemCaseSensitive(json, key);
  if (cJSON_IsString(system) && !strcmp(system->valuestring, "Other")) {
    snprintf(key, sizeof key, "%sCoordinateSystemDescription", prefix);
    require(file, json, "JSON_KEY_REQUIRED", key, TEXT, findings);
  }
  snprintf(key, sizeof key, "%sCoordinateUnits", prefix);
  require(file, json, "JSON_KEY_REQUIRED", key, TEXT, findings);
  const cJSON *units = cJSON_GetObjectItemCaseSensitive(json, key);
  const char *known = *prefix == 'i' ? "m mm cm pixels n/a" : "m mm cm n/a";
  if (cJSON_IsString(units) && !nx_word_in(units->valuestring, known))
    nx_findings_add(findings, NX_FINDING_ERROR, "JSON_SCHEMA_VALIDATION_ERROR", file->path,
                    "\"%s\" must be one of %s", key, known);
}

static void check_description(const struct nx_bids_file *file, const cJSON *json,
                              struct nx_findings *findings) {
  require(file, json, "JSON_KEY_REQUIRED", "Name", TEXT, findings);
  require(file, json, "JSON_KEY_REQUIRED", "BIDSVersion", TEXT, findings);
  const cJSON *type = cJSON_GetObjectItemCaseSensitive(json, "DatasetType");
  if (type && (!cJSON_IsString(type) || !nx_word_in(type->valuestring, "raw derivative study")))
    nx_findings_add(findings, NX_FINDING_ERROR, "JSON_SCHEMA_VALIDATION_ERROR", file->path,
                    "\"DatasetType\" must be raw, derivative or study");
  const cJSON *authors = cJSON_GetObjectItemCaseSensitive(json, "Authors");
  if (authors && !cJSON_IsArray(authors))
    nx_findings_add(findings, NX_FINDING_ERROR, "JSON_SCHEMA_VALIDATION_ERROR", file->path,
                    "\"Authors\" must be a list of texts");
}

/* Is there a file that this sidecar is for? */
static bool has_data_file(const struct nx_bids_tree *tree, const struct nx_bids_file *file) {
  size_t n = (size_t)(nx_bids_base(file) - file->path), here;
  const struct nx_bids_file *end = tree->files + tree->n;
  /* What lies in its folder and below stands together in the list. */
  for (const struct nx_bids_file *other = nx_bids_folder(tree, file->path, n, &here);
       other < end && !strncmp(other->path, file->path, n); other++)
    if (other != file && other->named && !strcmp(other->name.suffix, file->name.suffix) &&
        strcmp(other->name.extension, ".json") != 0 &&
        nx_bids_applies(&file->name, &other->name, NULL))
      return true;
  return false;
}

void nx_bids_check_json_file(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                             struct nx_findings *findings) {
  cJSON *json = NULL;
  struct nx_error why = {0};
  if (nx_bids_json(tree, file->path, &json, &why) < 0) {
    nx_findings_add(findings, NX_FINDING_ERROR, "JSON_INVALID", file->path,
                    "this is no JSON: correct it (a missing comma or quote, most often)");
    return;
  }
  if (!cJSON_IsObject(json))
    nx_findings_add(findings, NX_FINDING_ERROR, "JSON_INVALID", file->path,
                    "the file must hold one JSON object");
  else if (!strcmp(file->path, "dataset_description.json"))
    check_description(file, json, findings);
  else if (file->named && !strcmp(file->name.suffix, "coordsystem") && file->datatype[0])
    check_coordsystem(file, json, findings);
  else if (file->named && (strchr(file->path, '/') || !strcmp(file->path, "participants.json")) &&
           !has_data_file(tree, file))
    nx_findings_add(findings, NX_FINDING_ERROR, "SIDECAR_WITHOUT_DATAFILE", file->path,
                    "there is no file that this JSON describes: remove it, or correct its name");
  cJSON_Delete(json);
}
