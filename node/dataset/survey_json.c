#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

#include "common/size.h"
#include "node/dataset/survey.h"

static void add_number(cJSON *object, const char *name, double value) {
  if (isfinite(value))
    cJSON_AddNumberToObject(object, name, value);
  else
    cJSON_AddNullToObject(object, name);
}

static void add_findings(cJSON *json, const struct nx_findings *findings) {
  cJSON *list = cJSON_AddArrayToObject(json, "findings");
  for (size_t i = 0; i < findings->n; i++) {
    const struct nx_finding *finding = &findings->list[i];
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "severity",
                            finding->severity == NX_FINDING_ERROR ? "error" : "warning");
    cJSON_AddStringToObject(item, "rule", finding->rule);
    cJSON_AddBoolToObject(item, "standard", finding->standard);
    cJSON_AddStringToObject(item, "file", finding->path);
    cJSON_AddStringToObject(item, "mend", finding->mend);
    cJSON_AddItemToArray(list, item);
  }
}

static void add_recordings(cJSON *json, const struct nx_survey *survey) {
  cJSON *list = cJSON_AddArrayToObject(json, "recordings");
  for (size_t i = 0; i < survey->n_recordings; i++) {
    const struct nx_survey_recording *r = &survey->recordings[i];
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "file", r->path);
    cJSON_AddNumberToObject(item, "person", (double)r->person);
    cJSON_AddStringToObject(item, "label", r->label);
    cJSON_AddStringToObject(item, "format", r->format);
    add_number(item, "duration_s", r->duration_s);
    add_number(item, "rate", r->rate_hz);
    cJSON_AddNumberToObject(item, "channels", (double)r->n_channels);
    cJSON_AddNumberToObject(item, "bad_channels", (double)r->n_bad);
    add_number(item, "line_50_db", r->line50_db);
    add_number(item, "line_60_db", r->line60_db);
    if (r->refused[0])
      cJSON_AddStringToObject(item, "refused", r->refused);
    else
      cJSON_AddNullToObject(item, "refused");
    cJSON_AddItemToArray(list, item);
  }
}

static void add_channels(cJSON *json, const struct nx_survey *survey) {
  cJSON *list = cJSON_AddArrayToObject(json, "channels");
  for (size_t i = 0; i < survey->n_channels; i++) {
    const struct nx_survey_channel *c = &survey->channels[i];
    cJSON *item = cJSON_CreateObject(), *why;
    cJSON_AddStringToObject(item, "name", c->name);
    cJSON_AddStringToObject(item, "type", c->type);
    cJSON_AddStringToObject(item, "unit", c->unit);
    cJSON_AddNumberToObject(item, "recordings", (double)c->n_recordings);
    cJSON_AddNumberToObject(item, "judged", (double)c->n_judged);
    cJSON_AddNumberToObject(item, "bad", (double)c->n_bad);
    why = cJSON_AddObjectToObject(item, "why");
    for (int bit = 0; bit < 6; bit++)
      if (c->n_reasons[bit])
        cJSON_AddNumberToObject(why, nx_bad_reason_name((enum nx_bad_reason)(1 << bit)),
                                (double)c->n_reasons[bit]);
    cJSON_AddItemToArray(list, item);
  }
}

static void add_counts(cJSON *json, const char *name, const struct nx_survey_count *counts,
                       size_t n) {
  cJSON *object = cJSON_AddObjectToObject(json, name);
  for (size_t i = 0; i < n; i++)
    cJSON_AddNumberToObject(object, counts[i].word, (double)counts[i].n);
}

static void add_spectra(cJSON *json, const struct nx_survey *survey) {
  cJSON *spectra = cJSON_AddObjectToObject(json, "spectra");
  cJSON_AddStringToObject(spectra, "unit", survey->power_unit);
  cJSON *regions = cJSON_AddObjectToObject(spectra, "regions");
  for (size_t i = 0; i < survey->n_regions; i++) {
    cJSON *list = cJSON_AddArrayToObject(regions, survey->regions[i].name);
    for (size_t k = 0; k < NX_SURVEY_BINS && survey->regions[i].n[k]; k++)
      cJSON_AddItemToArray(list, cJSON_CreateNumber(survey->regions[i].density[k] /
                                                    (double)survey->regions[i].n[k]));
  }
}

static void add_places(cJSON *json, const struct nx_survey *survey) {
  cJSON *coverage = cJSON_AddObjectToObject(json, "coverage");
  cJSON_AddStringToObject(coverage, "system", survey->system);
  cJSON_AddStringToObject(coverage, "unit", survey->on_sphere ? "head radius" : "m");
  cJSON *list = cJSON_AddArrayToObject(coverage, "electrodes");
  for (size_t i = 0; i < survey->n_places; i++) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", survey->places[i].name);
    cJSON_AddItemToObject(item, "position", cJSON_CreateFloatArray(survey->places[i].xyz, 3));
    cJSON_AddItemToArray(list, item);
  }
}

int nx_survey_json(const struct nx_survey *survey, FILE *out, struct nx_error *err) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "dataset", survey->folder_name);
  cJSON_AddBoolToObject(json, "bids", survey->is_bids);
  cJSON_AddBoolToObject(json, "valid", nx_survey_valid(survey));
  cJSON_AddBoolToObject(json, "ready", nx_survey_ready(survey));
  cJSON_AddBoolToObject(json, "synthetic", survey->synthetic);
  cJSON_AddNumberToObject(json, "subjects", (double)survey->n_people);
  add_counts(json, "sex", survey->sexes, survey->n_sexes);
  add_counts(json, "labels", survey->labels, survey->n_labels);
  add_findings(json, &survey->findings);
  add_recordings(json, survey);
  add_channels(json, survey);
  add_spectra(json, survey);
  add_places(json, survey);
  char *text = cJSON_Print(json);
  cJSON_Delete(json);
  if (!text)
    return nx_fail(err, NX_E_NOMEM, "check: out of memory");
  int r = fprintf(out, "%s\n", text) < 0 ? nx_fail(err, NX_E_IO, "check: cannot write") : 0;
  free(text);
  return r;
}
