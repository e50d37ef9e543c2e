#include "node/recordings/sidecar.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SIDECAR_CAP ((size_t)1 << 20)

static int wrong(const char *file, const char *key, const char *mend, struct nx_error *err) {
  return nx_fail(err, NX_E_FORMAT, "%s: %s: write %s", file, key, mend);
}

static int text(const cJSON *json, const char *file, const char *key, char *out, size_t size,
                struct nx_error *err) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
  if (!item)
    return 0;
  if (!cJSON_IsString(item) || strlen(item->valuestring) >= size)
    return wrong(file, key, "a short text in quotes", err);
  strcpy(out, item->valuestring);
  return 0;
}

/* "a" or ["a", "b"] */
static int texts(const cJSON *json, const char *file, const char *key, char out[][64], size_t *n,
                 struct nx_error *err) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key), *one;
  if (cJSON_IsString(item) && strlen(item->valuestring) < 64) {
    strcpy(out[(*n)++], item->valuestring);
    return 0;
  }
  if (item && !cJSON_IsArray(item))
    return wrong(file, key, "a name or a list of names", err);
  cJSON_ArrayForEach(one, item) {
    if (!cJSON_IsString(one) || strlen(one->valuestring) >= 64 || *n >= NX_SIDECAR_NAMES)
      return wrong(file, key, "a list of at most 64 names", err);
    strcpy(out[(*n)++], one->valuestring);
  }
  return 0;
}

static int parse_type(const cJSON *json, const char *file, struct nx_sidecar *out,
                      struct nx_error *err) {
  char word[32] = "";
  int r = text(json, file, "type", word, sizeof word, err);
  if (r < 0 || !word[0])
    return r;
  for (int t = NX_CHANNEL_MISC; t <= NX_CHANNEL_BEHAVIOUR; t++)
    if (!strcmp(word, nx_channel_type_name((enum nx_channel_type)t))) {
      out->has_type = true;
      out->type = (enum nx_channel_type)t;
      return 0;
    }
  return wrong(file, "type", "eeg, ieeg, meg-mag, meg-grad, spikes, calcium, bold, behaviour …",
               err);
}

static int parse(const cJSON *json, const char *file, struct nx_sidecar *out,
                 struct nx_error *err) {
  const cJSON *rate = cJSON_GetObjectItemCaseSensitive(json, "rate_hz");
  const cJSON *behaviour = cJSON_GetObjectItemCaseSensitive(json, "behaviour");
  if (!cJSON_IsObject(json))
    return nx_fail(err, NX_E_FORMAT, "%s: write {\"rate_hz\": 1000, \"unit\": \"uV\"}", file);
  if (rate && (!cJSON_IsNumber(rate) || !(rate->valuedouble > 0 && rate->valuedouble < 1e9)))
    return wrong(file, "rate_hz", "samples a second, such as 1000", err);
  out->rate_hz = rate ? rate->valuedouble : 0;
  int r = text(json, file, "unit", out->unit, sizeof out->unit, err);
  if (!r)
    r = parse_type(json, file, out, err);
  if (!r)
    r = texts(json, file, "data", out->data, &out->n_data, err);
  if (r < 0 || !behaviour)
    return r;
  if (!cJSON_IsObject(behaviour))
    return wrong(file, "behaviour", "{\"data\": \"position\", \"unit\": \"cm\"}", err);
  r = text(behaviour, file, "file", out->behaviour_file, sizeof out->behaviour_file, err);
  if (!r)
    r = text(behaviour, file, "unit", out->behaviour_unit, sizeof out->behaviour_unit, err);
  if (!r)
    r = texts(behaviour, file, "data", out->behaviour, &out->n_behaviour, err);
  return r < 0 ? r : texts(behaviour, file, "names", out->names, &out->n_names, err);
}

int nx_sidecar_read(struct nx_recording *recording, struct nx_sidecar *out, struct nx_error *err) {
  char name[NX_CHANNEL_NAME_SIZE * 4];
  const char *slash = strrchr(recording->path, '/');
  const char *base = slash ? slash + 1 : recording->path, *dot = strrchr(base, '.');
  int n = dot ? (int)(dot - base) : (int)strlen(base);
  _cleanup_fd_ int fd = -1;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_error why = {0};
  memset(out, 0, sizeof *out);
  if (snprintf(name, sizeof name, "%.*s.json", n, base) >= (int)sizeof name)
    return 0;
  int r = nx_recording_sibling(recording, name, &fd, &why);
  if (r == NX_E_NOT_FOUND)
    return 0;
  if (r < 0)
    return nx_fail(err, r, "%s", why.text);
  r = nx_recording_slurp(fd, SIDECAR_CAP, &bytes, err);
  if (r < 0)
    return r;
  cJSON *json = cJSON_ParseWithLength((const char *)bytes.data, bytes.size);
  out->found = true;
  r = parse(json, name, out, err);
  cJSON_Delete(json);
  if (!r)
    nx_unit_normalise(out->unit);
  return r;
}
