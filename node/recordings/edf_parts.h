/* EDF parts: what edf.c, edf_header.c and edf_annotations.c share. */
#pragma once

#include "node/recordings/format.h"

struct edf_signal {
  size_t samples;     /* a record */
  size_t offset;      /* bytes into the record */
  double gain, shift; /* physical = digital * gain + shift */
  bool annotations;
};

struct edf_file {
  size_t n_signals;
  struct edf_signal *signals;
  uint32_t *of_channel; /* channel index → signal index */
  size_t width;         /* bytes a sample, 2 or 3 */
  size_t record_bytes;
  uint64_t data_offset, n_records;
  double record_seconds;
  uint8_t *buffer;
  size_t buffer_size;
};

/* Reads the header into recording->info, channels and file. */
int nx_edf_read_header(struct nx_recording *recording, struct edf_file *file, struct nx_error *err);
/* Reads the annotation signals of all records into events. */
int nx_edf_read_annotations(struct nx_recording *recording, struct edf_file *file,
                            struct nx_error *err);
/* At least size bytes of scratch, kept in file. */
int nx_edf_buffer(struct edf_file *file, size_t size, struct nx_error *err);
