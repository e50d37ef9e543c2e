/* Time-stamped annotation lists (EDF+ 2.2): "+onset[\x15duration]\x14text\x14…\x14\0". */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/edf_parts.h"

#define DURATION 0x15
#define SEPARATOR 0x14

struct tal {
  double onset, duration;
  const char *texts, *end; /* texts end with SEPARATOR each */
};

static bool number(const char *text, const char *end, double *out) {
  char copy[40];
  size_t n = (size_t)(end - text);
  if (n == 0 || n >= sizeof copy)
    return false;
  memcpy(copy, text, n);
  copy[n] = 0;
  if (strspn(copy, "+-.0123456789") != n)
    return false;
  char *stop;
  *out = strtod(copy, &stop);
  return *stop == 0 && isfinite(*out);
}

/* One list without its closing NUL; false when it is none (skipped: readers must). */
static bool parse_tal(const char *text, const char *end, struct tal *tal) {
  const char *separator = memchr(text, SEPARATOR, (size_t)(end - text));
  if (!separator || (*text != '+' && *text != '-'))
    return false;
  const char *duration = memchr(text, DURATION, (size_t)(separator - text));
  tal->duration = 0;
  if (!number(text, duration ? duration : separator, &tal->onset))
    return false;
  if (duration && duration + 1 < separator && !number(duration + 1, separator, &tal->duration))
    return false;
  tal->texts = separator + 1;
  tal->end = end;
  return true;
}

struct clock {
  double start; /* onset of the first record */
  uint64_t record;
  bool started;
};

/* The first list of a record whose first text is empty says when the record starts. */
static void keep_time(struct nx_recording *recording, const struct edf_file *file,
                      struct clock *clock, double onset) {
  if (!clock->started) {
    clock->start = onset;
    clock->started = true;
  }
  double expected = clock->start + (double)clock->record * file->record_seconds;
  if (fabs(onset - expected) > 0.5 * file->record_seconds && file->record_seconds > 0)
    recording->info.discontinuous = true;
}

static int take_texts(struct nx_recording *recording, const struct tal *tal,
                      const struct clock *clock, struct nx_error *err) {
  for (const char *text = tal->texts; text < tal->end;) {
    const char *stop = memchr(text, SEPARATOR, (size_t)(tal->end - text));
    if (!stop)
      stop = tal->end;
    if (stop > text) {
      int r = nx_recording_add_event(recording, tal->onset - clock->start, tal->duration, text,
                                     (size_t)(stop - text), err);
      if (r < 0)
        return r;
    }
    text = stop + 1;
  }
  return 0;
}

static int parse_record(struct nx_recording *recording, struct edf_file *file, const char *bytes,
                        size_t size, bool first_signal, struct clock *clock, struct nx_error *err) {
  const char *end = bytes + size;
  bool first = first_signal;
  while (bytes < end) {
    const char *stop = memchr(bytes, 0, (size_t)(end - bytes));
    if (!stop)
      stop = end;
    struct tal tal;
    if (stop > bytes && parse_tal(bytes, stop, &tal)) {
      if (first && (tal.texts == tal.end || *tal.texts == SEPARATOR))
        keep_time(recording, file, clock, tal.onset);
      first = false;
      int r = take_texts(recording, &tal, clock, err);
      if (r < 0)
        return r;
    }
    bytes = stop + 1;
  }
  return 0;
}

int nx_edf_read_annotations(struct nx_recording *recording, struct edf_file *file,
                            struct nx_error *err) {
  bool any = false;
  for (size_t s = 0; s < file->n_signals; s++)
    any |= file->signals[s].annotations && file->signals[s].samples;
  struct clock clock = {0};
  for (uint64_t record = 0; any && record < file->n_records; record++) {
    bool first = true;
    clock.record = record;
    for (size_t s = 0; s < file->n_signals; s++) {
      const struct edf_signal *signal = &file->signals[s];
      size_t size = signal->samples * file->width;
      if (!signal->annotations || !size)
        continue;
      int r = nx_edf_buffer(file, size, err);
      if (!r)
        r = nx_recording_pread(recording,
                               file->data_offset + record * file->record_bytes + signal->offset,
                               file->buffer, size, err);
      if (!r)
        r = parse_record(recording, file, (const char *)file->buffer, size, first, &clock, err);
      if (r < 0)
        return nx_error_prefix(err, r, "annotations of record %llu", (unsigned long long)record);
      first = false;
    }
  }
  nx_recording_sort_events(recording);
  return 0;
}
