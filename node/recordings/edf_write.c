#include "node/recordings/edf_write.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/file.h"
#include "common/size.h"

static int put_text(struct nx_buffer *out, const char *text, size_t width, struct nx_error *err) {
  size_t n = strlen(text);
  if (n > width)
    return nx_fail(err, NX_E_INVALID, "\"%s\" is longer than the %zu characters EDF has for it",
                   text, width);
  char field[80];
  memset(field, ' ', sizeof field);
  for (size_t i = 0; i < n; i++)
    field[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
  return nx_buffer_append(out, field, width, err);
}

static int put_number(struct nx_buffer *out, double value, struct nx_error *err) {
  char text[32];
  for (int digits = 7; digits > 0; digits--) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strlen(text) <= 8 && !strchr(text, 'e'))
      return put_text(out, text, 8, err);
  }
  return nx_fail(err, NX_E_INVALID, "%g does not fit into EDF's 8 characters", value);
}

static int put_main(struct nx_buffer *out, const struct nx_edf_file *file, struct nx_error *err) {
  char patient[81], recording[81];
  snprintf(patient, sizeof patient, "X X X %s", file->subject_code);
  snprintf(recording, sizeof recording, "Startdate X X X %s", file->recording);
  int r = put_text(out, "0", 8, err);
  if (!r)
    r = put_text(out, patient, 80, err);
  if (!r)
    r = put_text(out, recording, 80, err);
  if (!r)
    r = put_text(out, "01.01.1000.00.00", 16, err);
  if (!r)
    r = put_number(out, 256.0 * (double)(1 + file->n_signals), err);
  if (!r)
    r = put_text(out, "", 44, err);
  if (!r)
    r = put_number(out, file->n_records, err);
  if (!r)
    r = put_number(out, 1, err);
  char signals[8];
  snprintf(signals, sizeof signals, "%zu", file->n_signals);
  return r < 0 ? r : put_text(out, signals, 4, err);
}

enum column {
  LABEL,
  TRANSDUCER,
  UNIT,
  PHYSICAL_MIN,
  PHYSICAL_MAX,
  DIGITAL_MIN,
  DIGITAL_MAX,
  PREFILTER,
  SAMPLES,
  RESERVED,
  COLUMNS
};

static int put_field(struct nx_buffer *out, const struct nx_edf_file *file,
                     const struct nx_edf_signal *signal, enum column column, struct nx_error *err) {
  switch (column) {
  case LABEL:
    return put_text(out, signal->label, 16, err);
  case TRANSDUCER:
    return put_text(out, signal->transducer, 80, err);
  case UNIT:
    return put_text(out, signal->unit, 8, err);
  case PHYSICAL_MIN:
    return put_number(out, signal->physical_min, err);
  case PHYSICAL_MAX:
    return put_number(out, signal->physical_max, err);
  case DIGITAL_MIN:
    return put_number(out, INT16_MIN, err);
  case DIGITAL_MAX:
    return put_number(out, INT16_MAX, err);
  case PREFILTER:
    return put_text(out, signal->prefilter, 80, err);
  case SAMPLES:
    return put_number(out, file->rate_hz, err);
  default:
    return put_text(out, "", 32, err);
  }
}

static int put_record(struct nx_buffer *out, const struct nx_edf_file *file, size_t record,
                      struct nx_error *err) {
  for (size_t s = 0; s < file->n_signals; s++) {
    const int16_t *samples = file->signals[s].samples + record * file->rate_hz;
    int r = nx_buffer_reserve(out, 2 * (size_t)file->rate_hz, err);
    if (r < 0)
      return r;
    for (size_t i = 0; i < file->rate_hz; i++) {
      uint8_t bytes[2] = {(uint8_t)samples[i], (uint8_t)((uint16_t)samples[i] >> 8)};
      r = nx_buffer_append(out, bytes, 2, err);
      if (r < 0)
        return r;
    }
  }
  return 0;
}

int nx_edf_write(const char *path, const struct nx_edf_file *file, struct nx_error *err) {
  if (file->n_signals > 9999 || strlen(file->subject_code) > 24 || strlen(file->recording) > 60)
    return nx_fail(err, NX_E_INVALID, "%s: a field is too long for EDF", path);
  _cleanup_(nx_buffer_finish) struct nx_buffer out = {.cap = (size_t)1 << 31};
  int r = put_main(&out, file, err);
  for (enum column column = LABEL; !r && column < COLUMNS; column++)
    for (size_t s = 0; !r && s < file->n_signals; s++)
      r = put_field(&out, file, &file->signals[s], column, err);
  for (size_t record = 0; !r && record < file->n_records; record++)
    r = put_record(&out, file, record, err);
  if (!r)
    r = nx_file_replace(path, nx_buffer_view(&out), 0644, err);
  return r < 0 ? nx_error_prefix(err, r, "write %s", path) : 0;
}
