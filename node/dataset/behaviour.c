#include "node/dataset/behaviour.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/config.h"
#include "common/file.h"
#include "common/size.h"

#define VERSION 1

enum kind { KIND_POSITION, KIND_VELOCITY };

struct state {
  char *name;
  char **words;
  uint32_t n_words;
};

struct speed {
  char *species, *unit;
  enum kind is;
  double smooth_s, still_below, moving_above;
};

struct nx_behaviour {
  uint32_t neurox_behaviour;
  struct state *states;
  uint32_t n_states;
  char *still, *moving; /* states that speeds tell apart */
  struct speed *speeds;
  uint32_t n_speeds;
  struct nx_hash hash;
};

static const cyaml_strval_t kinds[] = {{"position", KIND_POSITION}, {"velocity", KIND_VELOCITY}};

static const cyaml_schema_value_t word = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 64)};

#define TEXT(part, key) CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_POINTER, part, key, 1, 64)
#define REAL(part, key) CYAML_FIELD_FLOAT(#key, CYAML_FLAG_DEFAULT, part, key)

static const cyaml_schema_field_t state_fields[] = {
    TEXT(struct state, name),
    CYAML_FIELD_SEQUENCE_COUNT("words", CYAML_FLAG_POINTER, struct state, words, n_words, &word, 0,
                               1000),
    CYAML_FIELD_END};
static const cyaml_schema_value_t state = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct state, state_fields)};

static const cyaml_schema_field_t speed_fields[] = {
    TEXT(struct speed, species),
    TEXT(struct speed, unit),
    CYAML_FIELD_ENUM("is", CYAML_FLAG_STRICT, struct speed, is, kinds, NX_ARRAY_LENGTH(kinds)),
    REAL(struct speed, smooth_s),
    REAL(struct speed, still_below),
    REAL(struct speed, moving_above),
    CYAML_FIELD_END};
static const cyaml_schema_value_t speed = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct speed, speed_fields)};

static const cyaml_schema_field_t fields[] = {
    CYAML_FIELD_UINT("neurox_behaviour", CYAML_FLAG_DEFAULT, struct nx_behaviour, neurox_behaviour),
    CYAML_FIELD_SEQUENCE_COUNT("states", CYAML_FLAG_POINTER, struct nx_behaviour, states, n_states,
                               &state, 1, 256),
    TEXT(struct nx_behaviour, still),
    TEXT(struct nx_behaviour, moving),
    CYAML_FIELD_SEQUENCE_COUNT("speeds", CYAML_FLAG_POINTER, struct nx_behaviour, speeds, n_speeds,
                               &speed, 0, 256),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct nx_behaviour, fields)};

/* A word may belong to one state only. */
static int check_words(const char *path, const struct nx_behaviour *b, struct nx_error *err) {
  for (uint32_t i = 0; i < b->n_states; i++)
    for (uint32_t k = 0; k < b->states[i].n_words; k++) {
      int found = nx_behaviour_state(b, b->states[i].words[k]);
      if (found != (int)i)
        return nx_fail(err, NX_E_FORMAT, "%s: '%s' is a word of %s and of %s: keep one", path,
                       b->states[i].words[k], nx_behaviour_name(b, found), b->states[i].name);
    }
  return 0;
}

static int check(const char *path, const struct nx_behaviour *b, struct nx_error *err) {
  if (b->neurox_behaviour != VERSION)
    return nx_fail(err, NX_E_FORMAT, "%s: neurox_behaviour is %u: this program reads version %d",
                   path, b->neurox_behaviour, VERSION);
  if (nx_behaviour_state(b, b->still) < 0 || nx_behaviour_state(b, b->moving) < 0)
    return nx_fail(err, NX_E_FORMAT, "%s: still and moving must each be one of the states", path);
  for (uint32_t i = 0; i < b->n_speeds; i++) {
    const struct speed *s = &b->speeds[i];
    if (!(s->smooth_s >= 0 && s->smooth_s <= 60 && s->still_below > 0 &&
          s->moving_above >= s->still_below && isfinite(s->moving_above)))
      return nx_fail(err, NX_E_FORMAT,
                     "%s: speeds of %s in %s: smooth_s is 0 to 60, still_below above 0, "
                     "moving_above not below it",
                     path, s->species, s->unit);
  }
  return check_words(path, b, err);
}

int nx_behaviour_load(const char *path, struct nx_behaviour **behaviour_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  void *value = NULL;
  int r = nx_file_read(path, NX_CONFIG_CAP, &text, err);
  if (!r)
    r = nx_config_parse(path, nx_buffer_view(&text), &schema, &value, err);
  if (r < 0)
    return r;
  _cleanup_(nx_behaviour_destroyp) struct nx_behaviour *behaviour = value;
  behaviour->hash = nx_sha256(text.data, text.size);
  r = check(path, behaviour, err);
  if (!r)
    *behaviour_out = nx_steal(&behaviour);
  return r;
}

void nx_behaviour_destroy(struct nx_behaviour *behaviour) {
  nx_config_free(&schema, behaviour);
}

int nx_behaviour_state(const struct nx_behaviour *behaviour, const char *text) {
  for (uint32_t i = 0; i < behaviour->n_states; i++) {
    const struct state *s = &behaviour->states[i];
    if (!strcasecmp(s->name, text))
      return (int)i;
    for (uint32_t k = 0; k < s->n_words; k++)
      if (!strcasecmp(s->words[k], text))
        return (int)i;
  }
  return NX_BEHAVIOUR_NONE;
}

const char *nx_behaviour_name(const struct nx_behaviour *behaviour, int which) {
  return which >= 0 && (uint32_t)which < behaviour->n_states ? behaviour->states[which].name : "?";
}

struct nx_hash nx_behaviour_hash(const struct nx_behaviour *behaviour) {
  return behaviour->hash;
}

/* ---- speed ----------------------------------------------------------------------------------- */

/* Centred moving average over 2 half + 1 samples, shorter at the ends, of those that are known. */
static void smooth(const double *x, size_t n, size_t half, double *out) {
  double sum = 0;
  size_t known = 0;
  size_t low = 0, high = 0; /* x[low] .. x[high - 1] */
  for (size_t i = 0; i < n; i++) {
    size_t from = i > half ? i - half : 0, to = NX_MIN(n, i + half + 1);
    for (; high < to; high++)
      if (isfinite(x[high]))
        sum += x[high], known++;
    for (; low < from; low++)
      if (isfinite(x[low]))
        sum -= x[low], known--;
    out[i] = known ? sum / (double)known : NAN;
  }
}

static int speed_of(const struct speed *entry, double rate, const float *x, size_t n_channels,
                    size_t n, double *out, struct nx_error *err) {
  size_t half = (size_t)(entry->smooth_s * rate / 2);
  _cleanup_free_ double *row = calloc(n, sizeof *row), *even = calloc(n, sizeof *even);
  if (!row || !even)
    return nx_fail(err, NX_E_NOMEM, "behaviour: out of memory");
  memset(out, 0, n * sizeof *out);
  for (size_t c = 0; c < n_channels; c++) {
    for (size_t i = 0; i < n; i++)
      row[i] = (double)x[c * n + i];
    smooth(row, n, half, even);
    for (size_t i = 0; i < n; i++) {
      size_t before = i ? i - 1 : 0, after = i + 1 < n ? i + 1 : i;
      double v = even[i];
      if (entry->is == KIND_POSITION)
        v = after > before ? (even[after] - even[before]) * rate / (double)(after - before) : 0;
      out[i] += v * v;
    }
  }
  for (size_t i = 0; i < n; i++)
    out[i] = sqrt(out[i]);
  return 0;
}

static const struct speed *find(const struct nx_behaviour *b, const char *species,
                                const char *unit) {
  for (uint32_t i = 0; i < b->n_speeds; i++)
    if (!strcmp(b->speeds[i].species, species) && !strcmp(b->speeds[i].unit, unit))
      return &b->speeds[i];
  return NULL;
}

static int add_run(struct nx_behaviour_runs *runs, double from_s, double to_s, int which,
                   struct nx_error *err) {
  if ((runs->n & (runs->n - 1)) == 0) { /* grow at powers of two */
    struct nx_behaviour_run *grown =
        reallocarray(runs->runs, runs->n ? 2 * runs->n : 1, sizeof *grown);
    if (!grown)
      return nx_fail(err, NX_E_NOMEM, "behaviour: out of memory");
    runs->runs = grown;
  }
  runs->runs[runs->n++] = (struct nx_behaviour_run){from_s, to_s, which};
  return 0;
}

int nx_behaviour_speed(const struct nx_behaviour *behaviour, const char *species, const char *unit,
                       double rate_hz, const float *x, size_t n_channels, size_t n,
                       double *speed_out, struct nx_error *err) {
  const struct speed *entry = find(behaviour, species, unit);
  if (!entry)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "behaviour of %s in \"%s\": add a line to speeds of the vocabulary", species,
                   unit);
  return speed_of(entry, rate_hz, x, n_channels, n, speed_out, err);
}

int nx_behaviour_runs(const struct nx_behaviour *behaviour, const char *species, const char *unit,
                      double rate_hz, const float *x, size_t n_channels, size_t n,
                      struct nx_behaviour_runs *runs_out, struct nx_error *err) {
  const struct speed *entry = find(behaviour, species, unit);
  memset(runs_out, 0, sizeof *runs_out);
  _cleanup_free_ double *speeds = calloc(n + 1, sizeof *speeds);
  int r = speeds
              ? nx_behaviour_speed(behaviour, species, unit, rate_hz, x, n_channels, n, speeds, err)
              : nx_fail(err, NX_E_NOMEM, "behaviour: out of memory");
  int still = nx_behaviour_state(behaviour, behaviour->still);
  int moving = nx_behaviour_state(behaviour, behaviour->moving), now = NX_BEHAVIOUR_NONE;
  size_t since = 0;
  for (size_t i = 0; !r && i <= n; i++) {
    int next = i == n                            ? NX_BEHAVIOUR_NONE
               : speeds[i] < entry->still_below  ? still
               : speeds[i] > entry->moving_above ? moving
                                                 : NX_BEHAVIOUR_NONE;
    if (next == now && i < n)
      continue;
    if (now != NX_BEHAVIOUR_NONE)
      r = add_run(runs_out, (double)since / rate_hz, (double)i / rate_hz, now, err);
    now = next;
    since = i;
  }
  if (r < 0)
    nx_behaviour_runs_finish(runs_out);
  return r;
}

void nx_behaviour_runs_finish(struct nx_behaviour_runs *runs) {
  free(runs->runs);
  memset(runs, 0, sizeof *runs);
}
