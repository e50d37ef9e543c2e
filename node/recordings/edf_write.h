/* EDF writer: plain EDF (Kemp et al. 1992), 16-bit, one rate, one-second records. Header
 * fields about a person are always written as "X X X X" (nothing), whatever the caller
 * knows. Used by the generator, the PhysioNet cut and de-identified copies. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct nx_edf_signal {
  const char *label;      /* at most 16 ASCII characters */
  const char *transducer; /* at most 80, may be "" */
  const char *unit;       /* at most 8: "uV" */
  const char *prefilter;  /* at most 80, may be "" */
  double physical_min, physical_max;
  const int16_t *samples; /* n_records * rate of them; not owned */
};

struct nx_edf_file {
  const char *subject_code; /* at most 24 characters, no spaces: a local code */
  const char *recording;    /* at most 60 characters, e.g. "SYNTHETIC" */
  uint32_t rate_hz, n_records;
  size_t n_signals;
  const struct nx_edf_signal *signals;
};

/* Writes path atomically (0644). Digital range is -32768..32767. */
int nx_edf_write(const char *path, const struct nx_edf_file *file, struct nx_error *err);
