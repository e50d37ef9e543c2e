/* Synth: a generated cohort of EDF files, for machines on which no recordings can be had.
 * Each "person" has 1/f background, an alpha rhythm of individual frequency and strength
 * that drops with task load, more frontal theta, 50 Hz line noise, blinks and muscle bursts.
 * Learnable, not trivially (a linear model reaches an AUROC of about .85).
 *
 * Never to be taken for people: every file says SYNTHETIC in its header's recording field,
 * the folder holds a file SYNTHETIC, and nx_dataset_summary.synthetic is true. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct nx_synth_options {
  const char *folder;     /* made when missing */
  size_t n_subjects;      /* SubjectNN_rest.edf and SubjectNN_arith.edf each; 1..1000 */
  uint32_t first_subject; /* number of the first */
  uint32_t seconds;       /* of each file, 10..3600 */
  uint64_t seed;          /* a subject's signal depends on (seed, number) alone */
};

/* NX_E_EXISTS when the folder already holds a file of that name: nothing is overwritten. */
int nx_synth(const struct nx_synth_options *options, struct nx_error *err);
