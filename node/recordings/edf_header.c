#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/size.h"
#include "node/recordings/edf.h"
#include "node/recordings/edf_parts.h"

#define MAIN_SIZE 256
#define SIGNAL_SIZE 256

/* Where the fields of signal i of n lie behind the main header. */
enum field {
  LABEL,
  TRANSDUCER,
  UNIT,
  PHYSICAL_MIN,
  PHYSICAL_MAX,
  DIGITAL_MIN,
  DIGITAL_MAX,
  PREFILTER,
  SAMPLES,
  RESERVED
};
static const size_t widths[] = {16, 80, 8, 8, 8, 8, 8, 80, 8, 32};

static const char *field_of(const char *signals, size_t n, enum field field, size_t i) {
  size_t offset = 0;
  for (int f = 0; f < (int)field; f++)
    offset += widths[f] * n;
  return signals + offset + widths[field] * i;
}

/* A number in blank-padded ASCII; a decimal comma and stray NULs are forgiven. */
static bool parse_number(const char *text, size_t width, double *out) {
  char copy[81], *end;
  size_t n = NX_MIN(width, sizeof copy - 1);
  for (size_t i = 0; i < n; i++)
    copy[i] = text[i] == ',' ? '.' : text[i] ? text[i] : ' ';
  copy[n] = 0;
  const char *start = copy + strspn(copy, " ");
  if (!isdigit((unsigned char)*start) && !strchr("+-.", *start))
    return false;
  *out = strtod(start, &end);
  return end != start && strspn(end, " ") == strlen(end) && isfinite(*out);
}

static int main_number(const char *main, size_t at, size_t width, const char *what, double low,
                       double high, double *out, struct nx_error *err) {
  if (!parse_number(main + at, width, out) || *out < low || *out > high)
    return nx_fail(err, NX_E_FORMAT,
                   "header byte %zu: %s is \"%.*s\": the header is damaged, copy the file again",
                   at, what, (int)width, main + at);
  return 0;
}

static int parse_main(struct nx_recording *recording, struct edf_file *file, const char *main,
                      double *n_records_out, struct nx_error *err) {
  double n_signals, header_bytes;
  int r = main_number(main, 252, 4, "number of signals", 0, NX_RECORDING_CHANNELS, &n_signals, err);
  if (!r)
    r = main_number(main, 244, 8, "seconds a record", 0, 1e6, &file->record_seconds, err);
  if (!r)
    r = main_number(main, 236, 8, "number of records", -1, 99999999, n_records_out, err);
  if (r < 0)
    return r;
  file->n_signals = (size_t)n_signals;
  file->data_offset = MAIN_SIZE + (uint64_t)SIGNAL_SIZE * file->n_signals;
  if (parse_number(main + 184, 8, &header_bytes) && header_bytes > (double)file->data_offset &&
      header_bytes <= (double)recording->file_size)
    file->data_offset = (uint64_t)header_bytes;
  bool bdf = (unsigned char)main[0] == 0xff, plus = !memcmp(main + 193, "DF+", 3);
  file->width = bdf ? 3 : 2;
  bool gaps = plus && main[196] == 'D';
  recording->info.format = bdf ? (!plus  ? "BDF"
                                  : gaps ? "BDF+D"
                                         : "BDF+C")
                               : (!plus  ? "EDF"
                                  : gaps ? "EDF+D"
                                         : "EDF+C");
  recording->info.synthetic = memmem(main + 88, 80, "SYNTHETIC", 9) != NULL;
  return 0;
}

static int parse_calibration(struct edf_signal *signal, struct nx_channel *channel,
                             const char *signals, size_t n, size_t i) {
  double v[4];
  static const enum field fields[] = {PHYSICAL_MIN, PHYSICAL_MAX, DIGITAL_MIN, DIGITAL_MAX};
  bool good = true;
  for (int k = 0; k < 4; k++)
    good = parse_number(field_of(signals, n, fields[k], i), 8, &v[k]) && good;
  if (good && v[3] != v[2] && v[1] != v[0]) {
    signal->gain = (v[1] - v[0]) / (v[3] - v[2]);
    signal->shift = v[0] - v[2] * signal->gain;
    return 0;
  }
  signal->gain = 1; /* no calibration: integers as they are, and no unit to mistake them for */
  signal->shift = 0;
  channel->unit[0] = 0;
  return 1;
}

static int parse_signal(struct edf_file *file, const char *signals, size_t i,
                        struct nx_channel *channel, struct nx_error *err) {
  size_t n = file->n_signals, bytes;
  struct edf_signal *signal = &file->signals[i];
  const char *label = field_of(signals, n, LABEL, i);
  double samples;
  nx_text_clean(label, 16, channel->name, sizeof channel->name);
  if (!parse_number(field_of(signals, n, SAMPLES, i), 8, &samples) || samples < 0)
    return nx_fail(err, NX_E_FORMAT,
                   "signal %zu (%s): samples a record are \"%.8s\": copy the file again", i + 1,
                   channel->name, field_of(signals, n, SAMPLES, i));
  signal->samples = (size_t)samples;
  signal->offset = file->record_bytes;
  if (!nx_size_mul(signal->samples, file->width, &bytes) ||
      !nx_size_add(file->record_bytes, bytes, &file->record_bytes) ||
      file->record_bytes > NX_EDF_RECORD_CAP)
    return nx_fail(err, NX_E_LIMIT, "a data record is larger than %zu MiB: write shorter records",
                   NX_EDF_RECORD_CAP >> 20);
  signal->annotations =
      !strcmp(channel->name, "EDF Annotations") || !strcmp(channel->name, "BDF Annotations");
  if (signal->annotations)
    return 0;
  if (!(file->record_seconds > 0) && signal->samples)
    return nx_fail(err, NX_E_FORMAT, "signal %zu (%s) has samples, but a record lasts 0 s", i + 1,
                   channel->name);
  nx_text_clean(field_of(signals, n, UNIT, i), 8, channel->unit, sizeof channel->unit);
  nx_unit_normalise(channel->unit);
  parse_calibration(signal, channel, signals, n, i);
  channel->type = nx_channel_guess_type(channel->name, channel->unit);
  channel->rate_hz = file->record_seconds > 0 ? samples / file->record_seconds : 0;
  return 0;
}

static int parse_signals(struct nx_recording *recording, struct edf_file *file, const char *signals,
                         struct nx_error *err) {
  size_t n = file->n_signals;
  file->signals = calloc(n + 1, sizeof *file->signals);
  file->of_channel = calloc(n + 1, sizeof *file->of_channel);
  recording->channels = calloc(n + 1, sizeof *recording->channels);
  if (!file->signals || !file->of_channel || !recording->channels)
    return nx_fail(err, NX_E_NOMEM, "header: out of memory");
  for (size_t i = 0; i < n; i++) {
    size_t *used = &recording->info.n_channels;
    struct nx_channel channel = {0};
    int r = parse_signal(file, signals, i, &channel, err);
    if (r < 0)
      return r;
    if (file->signals[i].annotations)
      continue;
    file->of_channel[*used] = (uint32_t)i;
    recording->channels[(*used)++] = channel;
  }
  return nx_recording_unique_names(recording, err);
}

/* The whole records that the file really holds. */
static void count_records(struct nx_recording *recording, struct edf_file *file, double promised) {
  uint64_t there = 0;
  if (file->record_bytes && recording->file_size > file->data_offset)
    there = (recording->file_size - file->data_offset) / file->record_bytes;
  recording->info.truncated = promised >= 0 && file->record_bytes && promised > (double)there;
  file->n_records = promised >= 0 && promised < (double)there ? (uint64_t)promised : there;
  recording->info.duration_s = (double)file->n_records * file->record_seconds;
  for (size_t c = 0; c < recording->info.n_channels; c++)
    recording->channels[c].n_samples = file->n_records * file->signals[file->of_channel[c]].samples;
}

int nx_edf_read_header(struct nx_recording *recording, struct edf_file *file,
                       struct nx_error *err) {
  char main[MAIN_SIZE];
  double n_records;
  int r = nx_recording_pread(recording, 0, main, sizeof main, err);
  if (!r)
    r = parse_main(recording, file, main, &n_records, err);
  if (r < 0)
    return r;
  size_t size = SIGNAL_SIZE * file->n_signals;
  if (MAIN_SIZE + size > recording->file_size)
    return nx_fail(err, NX_E_FORMAT,
                   "the header of %zu signals needs %zu bytes, the file has %llu: copy it again",
                   file->n_signals, MAIN_SIZE + size, (unsigned long long)recording->file_size);
  _cleanup_free_ char *signals = malloc(size + 1);
  if (!signals)
    return nx_fail(err, NX_E_NOMEM, "header: out of memory");
  r = nx_recording_pread(recording, MAIN_SIZE, signals, size, err);
  if (!r)
    r = parse_signals(recording, file, signals, err);
  if (r < 0)
    return r;
  count_records(recording, file, n_records);
  return 0;
}
