/* Trodes' video position tracking (SpikeGadgets): a header in words between <Start settings> and
 * <End settings>, then records of a clock and unsigned coordinates in pixels. Frames come when the
 * camera gives them; they are laid on an even grid of the median rate by linear interpolation.
 * Coordinates that are zero throughout (a second diode that was not there) are left out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/format.h"

#define HEADER_CAP 4096
#define FILE_CAP ((size_t)256 << 20)
#define GAPS_MOST 64 /* of the grid's places for each frame */
#define FIELDS 16

struct field {
  char name[32];
  size_t offset, width;
};

struct trodes {
  size_t n_channels;
  float *values; /* [n_channels][n_samples] */
  uint64_t n_samples;
};

static const char start_mark[] = "<Start settings>", end_mark[] = "<End settings>\n";

static bool probe_trodes(const char *path, const uint8_t *head, size_t size) {
  static const char word[] = "Fields: <";
  (void)path;
  return size > sizeof start_mark && !memcmp(head, start_mark, sizeof start_mark - 1) &&
         memmem(head, size, word, sizeof word - 1);
}

/* "<time uint32><xloc uint16>…" */
static size_t parse_fields(const char *text, struct field *fields, size_t *record_out) {
  size_t n = 0, offset = 0;
  char name[32], type[16];
  for (int used = 0; n < FIELDS && sscanf(text, "<%31[^ >] %15[^>]>%n", name, type, &used) == 2;
       text += used, used = 0) {
    size_t width = !strcmp(type, "uint32")   ? 4
                   : !strcmp(type, "uint16") ? 2
                   : !strcmp(type, "uint8")  ? 1
                                             : 0;
    if (!width || !used) /* used stays 0 where the last > is missing */
      return 0;
    fields[n] = (struct field){.offset = offset, .width = width};
    memcpy(fields[n++].name, name, sizeof name);
    offset += width;
  }
  *record_out = offset;
  return n;
}

static double field_at(const uint8_t *record, const struct field *field) {
  uint32_t value = 0;
  for (size_t i = 0; i < field->width; i++)
    value |= (uint32_t)record[field->offset + i] << (8 * i);
  return value;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median step of n times. */
static double median_step(const double *times, size_t n) {
  double *steps = calloc(n, sizeof *steps), median = 0;
  for (size_t i = 0; steps && i + 1 < n; i++)
    steps[i] = times[i + 1] - times[i];
  if (steps) {
    qsort(steps, n - 1, sizeof *steps, by_value);
    median = steps[(n - 1) / 2];
  }
  free(steps);
  return median;
}

static void lay_on_grid(struct trodes *t, size_t c, const double *times, const double *values,
                        size_t n, double rate) {
  for (uint64_t k = 0, i = 0; k < t->n_samples; k++) {
    double at = times[0] + (double)k / rate;
    while (i + 2 < n && times[i + 1] <= at)
      i++;
    double span = times[i + 1] - times[i];
    double part = span > 0 ? fmin(fmax((at - times[i]) / span, 0), 1) : 0;
    t->values[c * t->n_samples + k] = (float)(values[i] + part * (values[i + 1] - values[i]));
  }
}

static int describe(struct nx_recording *recording, const uint8_t *records, size_t size, size_t n,
                    const struct field *fields, size_t n_fields, double clock,
                    struct nx_error *err) {
  struct trodes *t = recording->state;
  _cleanup_free_ double *times = calloc(n, sizeof *times), *values = calloc(n, sizeof *values);
  recording->channels = calloc(n_fields, sizeof *recording->channels);
  if (!times || !values || !recording->channels)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t i = 0; i < n; i++) {
    times[i] = field_at(records + i * size, &fields[0]) / clock;
    if (i && times[i] < times[i - 1])
      return nx_fail(err, NX_E_FORMAT, "its clock goes back at frame %zu: cut the file there", i);
  }
  double step = median_step(times, n), span = times[n - 1] - times[0];
  if (!(step > 0 && step < 60) || !(span / step < (double)(FILE_CAP / sizeof(float))))
    return nx_fail(err, NX_E_FORMAT, "its frames have no rate");
  double rate = 1 / step;
  t->n_samples = (uint64_t)floor(span * rate + 1e-9) + 1;
  if (t->n_samples / GAPS_MOST > n)
    return nx_fail(err, NX_E_FORMAT, "nearly all of it is gaps: cut the file into stretches");
  t->values = calloc(n_fields * t->n_samples, sizeof *t->values);
  if (!t->values)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t f = 1; f < n_fields; f++) {
    bool used = false;
    for (size_t i = 0; i < n; i++) {
      values[i] = field_at(records + i * size, &fields[f]);
      used |= values[i] > 0;
    }
    if (!used)
      continue;
    struct nx_channel *channel = &recording->channels[t->n_channels];
    nx_text_clean(fields[f].name, strlen(fields[f].name), channel->name, sizeof channel->name);
    strcpy(channel->unit, "px");
    channel->type = NX_CHANNEL_BEHAVIOUR;
    channel->rate_hz = rate;
    channel->n_samples = t->n_samples;
    lay_on_grid(t, t->n_channels++, times, values, n, rate);
  }
  recording->info.n_channels = t->n_channels;
  recording->info.duration_s = (double)t->n_samples / rate;
  recording->info.origin_s = times[0];
  return nx_recording_unique_names(recording, err);
}

static int open_trodes(struct nx_recording *recording, struct nx_error *err) {
  struct field fields[FIELDS];
  size_t size = 0;
  double clock = 0;
  char head[HEADER_CAP + 1] = "";
  struct trodes *t = calloc(1, sizeof *t);
  recording->state = t;
  if (!t)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  if (recording->file_size > FILE_CAP)
    return nx_fail(err, NX_E_LIMIT, "larger than %zu MiB: cut it into parts", FILE_CAP >> 20);
  size_t n_head = (size_t)NX_MIN(recording->file_size, (uint64_t)HEADER_CAP);
  int r = nx_recording_pread(recording, 0, head, n_head, err);
  if (r < 0)
    return r;
  const char *end = memmem(head, n_head, end_mark, sizeof end_mark - 1);
  const char *rate = strstr(head, "clockrate:"), *names = strstr(head, "Fields: <");
  if (rate)
    clock = strtod(rate + 10, NULL);
  size_t n_fields = names ? parse_fields(names + 8, fields, &size) : 0;
  if (!end || n_fields < 2 || strcmp(fields[0].name, "time") || !(clock > 0 && clock < 1e9))
    return nx_fail(err, NX_E_FORMAT,
                   "its settings name no clockrate, or no fields of time and places: export it "
                   "again");
  size_t start = (size_t)(end - head) + sizeof end_mark - 1;
  size_t bytes = (size_t)recording->file_size - start, n = bytes / size;
  if (n < 2)
    return nx_fail(err, NX_E_FORMAT, "has no frames: copy it again");
  recording->info.truncated = bytes % size != 0;
  _cleanup_free_ uint8_t *records = malloc(bytes);
  if (!records)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  r = nx_recording_pread(recording, start, records, bytes, err);
  return r < 0 ? r : describe(recording, records, size, n, fields, n_fields, clock, err);
}

static int read_trodes(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                       uint64_t first, size_t n, float *out, struct nx_error *err) {
  const struct trodes *t = recording->state;
  (void)err;
  for (size_t c = 0; c < n_channels; c++)
    memcpy(out + c * n, t->values + channels[c] * t->n_samples + first, n * sizeof *out);
  return 0;
}

static void close_trodes(struct nx_recording *recording) {
  struct trodes *t = recording->state;
  if (t)
    free(t->values);
  free(t);
}

const struct nx_format nx_format_trodes = {
    .name = "Trodes position",
    .probe = probe_trodes,
    .open = open_trodes,
    .read = read_trodes,
    .close = close_trodes,
};
