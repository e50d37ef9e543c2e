#include "node/recordings/edf.h"

#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/size.h"
#include "node/recordings/edf_parts.h"
#include "node/recordings/identity.h"

#define CHUNK ((size_t)1 << 20) /* bytes a read asks for when records are small */

static bool probe_edf(const char *path, const uint8_t *head, size_t size) {
  (void)path;
  if (size < 8)
    return false;
  return !memcmp(head,
                 "\xff"
                 "BIOSEMI",
                 8) ||
         !memcmp(head, "0       ", 8);
}

static void close_edf(struct nx_recording *recording) {
  struct edf_file *file = recording->state;
  if (!file)
    return;
  free(file->signals);
  free(file->of_channel);
  free(file->buffer);
  free(file);
}

int nx_edf_buffer(struct edf_file *file, size_t size, struct nx_error *err) {
  if (size <= file->buffer_size)
    return 0;
  uint8_t *grown = realloc(file->buffer, size);
  if (!grown)
    return nx_fail(err, NX_E_NOMEM, "a record of %zu bytes: out of memory", size);
  file->buffer = grown;
  file->buffer_size = size;
  return 0;
}

static int open_edf(struct nx_recording *recording, struct nx_error *err) {
  struct edf_file *file = calloc(1, sizeof *file);
  if (!file)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  recording->state = file;
  int r = nx_edf_read_header(recording, file, err);
  return r < 0 ? r : nx_edf_read_annotations(recording, file, err);
}

/* Where decoded samples go: floats in physical units, or the integers themselves. */
struct sink {
  float *physical;
  int32_t *digital;
};

static inline int32_t load24(const uint8_t *p) {
  return (int32_t)((uint32_t)p[0] << 8 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 24) >> 8;
}

static inline int32_t load16(const uint8_t *p) {
  return (int16_t)((unsigned)p[0] | (unsigned)p[1] << 8);
}

static void decode(const struct edf_signal *signal, size_t width, const uint8_t *bytes, size_t n,
                   struct sink out) {
  double gain = signal->gain, shift = signal->shift;
  if (out.digital)
    for (size_t i = 0; i < n; i++)
      out.digital[i] = width == 2 ? load16(bytes + 2 * i) : load24(bytes + 3 * i);
  else if (width == 2)
    for (size_t i = 0; i < n; i++)
      out.physical[i] = (float)(gain * load16(bytes + 2 * i) + shift);
  else
    for (size_t i = 0; i < n; i++)
      out.physical[i] = (float)(gain * load24(bytes + 3 * i) + shift);
}

/* The part of every record that the wanted signals span, and how many records a pread takes. */
struct span {
  size_t low, high, records;
};

static struct span span_of(const struct edf_file *file, const uint32_t *channels, size_t n) {
  struct span span = {SIZE_MAX, 0, 1};
  for (size_t i = 0; i < n; i++) {
    const struct edf_signal *signal = &file->signals[file->of_channel[channels[i]]];
    span.low = NX_MIN(span.low, signal->offset);
    span.high = NX_MAX(span.high, signal->offset + signal->samples * file->width);
  }
  bool dense = 2 * (span.high - span.low) >= file->record_bytes;
  if (dense && file->record_bytes < CHUNK)
    span.records = CHUNK / file->record_bytes;
  return span;
}

static int read_samples(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                        uint64_t first, size_t n, struct sink out, struct nx_error *err) {
  struct edf_file *file = recording->state;
  struct span span = span_of(file, channels, n_channels);
  size_t per_record = file->signals[file->of_channel[channels[0]]].samples;
  uint64_t record = first / per_record, last = (first + n - 1) / per_record;
  while (record <= last) {
    size_t records = (size_t)NX_MIN(span.records, last - record + 1);
    size_t size = (records - 1) * file->record_bytes + span.high - span.low;
    int r = nx_edf_buffer(file, size, err);
    if (!r)
      r = nx_recording_pread(recording, file->data_offset + record * file->record_bytes + span.low,
                             file->buffer, size, err);
    if (r < 0)
      return r;
    for (size_t k = 0; k < records; k++, record++) {
      uint64_t start = record * per_record;
      uint64_t from = NX_MAX(first, start), to = NX_MIN(first + n, start + per_record);
      for (size_t c = 0; c < n_channels; c++) {
        const struct edf_signal *signal = &file->signals[file->of_channel[channels[c]]];
        const uint8_t *bytes = file->buffer + k * file->record_bytes + signal->offset - span.low +
                               (from - start) * file->width;
        size_t at = c * n + (size_t)(from - first);
        struct sink here = {out.physical ? out.physical + at : NULL,
                            out.digital ? out.digital + at : NULL};
        decode(signal, file->width, bytes, (size_t)(to - from), here);
      }
    }
  }
  return 0;
}

static int read_edf(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                    uint64_t first, size_t n, float *out, struct nx_error *err) {
  return read_samples(recording, channels, n_channels, first, n, (struct sink){out, NULL}, err);
}

int nx_edf_read_digital(struct nx_recording *recording, uint32_t channel, uint64_t first, size_t n,
                        int32_t *out, struct nx_error *err) {
  if (recording->format != &nx_format_edf)
    return nx_fail(err, NX_E_UNSUPPORTED, "%s is no EDF", recording->path);
  int r = nx_recording_read(recording, &channel, 1, first, 0, NULL, err); /* checks */
  if (r < 0 || n == 0)
    return r;
  if (n > recording->channels[channel].n_samples - first)
    return nx_fail(err, NX_E_INVALID, "%s: channel %u ends before sample %llu", recording->path,
                   channel, (unsigned long long)(first + n));
  return read_samples(recording, &channel, 1, first, n, (struct sink){NULL, out}, err);
}

int nx_edf_calibration(const struct nx_recording *recording, uint32_t channel, double *gain_out,
                       double *shift_out, struct nx_error *err) {
  if (recording->format != &nx_format_edf)
    return nx_fail(err, NX_E_UNSUPPORTED, "%s is no EDF", recording->path);
  if (channel >= recording->info.n_channels)
    return nx_fail(err, NX_E_INVALID, "%s has no channel %u", recording->path, channel);
  const struct edf_file *file = recording->state;
  const struct edf_signal *signal = &file->signals[file->of_channel[channel]];
  *gain_out = signal->gain;
  *shift_out = signal->shift;
  return 0;
}

const struct nx_format nx_format_edf = {
    .name = "EDF",
    .probe = probe_edf,
    .open = open_edf,
    .read = read_edf,
    .close = close_edf,
    .identify = nx_identify_edf,
};
