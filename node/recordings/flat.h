/* Flat: samples of one type in one matrix on disk, the way BrainVision, EEGLAB's .fdt,
 * Persyst and .npy store them. Little-endian. */
#pragma once

#include "node/recordings/format.h"

enum nx_flat_type {
  NX_FLAT_I16,
  NX_FLAT_I32,
  NX_FLAT_F32,
  NX_FLAT_F64,
  NX_FLAT_U8,
  NX_FLAT_I8,
  NX_FLAT_U16,
  NX_FLAT_I64
};

struct nx_flat {
  int fd; /* owned */
  uint64_t offset;
  size_t n_channels;
  uint64_t n_samples;
  enum nx_flat_type type;
  bool by_channel; /* all of channel 0, then all of channel 1; else sample by sample */
  double *gains;   /* [n_channels], owned; NULL: ones */
  uint8_t *buffer;
  size_t buffer_size;
};

size_t nx_flat_width(enum nx_flat_type type);
/* Takes fd; n_samples from the size of the file when it is 0. truncated_out: a matrix cut
 * off in the middle of a sample or shorter than n_samples (which is then corrected). */
int nx_flat_open(struct nx_flat *flat, int fd, bool *truncated_out, struct nx_error *err);
int nx_flat_read(struct nx_flat *flat, const uint32_t *channels, size_t n_channels, uint64_t first,
                 size_t n, float *out, struct nx_error *err);
void nx_flat_finish(struct nx_flat *flat);
