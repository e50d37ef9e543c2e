/* De-identify: a clean copy of an EDF(+), BDF(+) or BrainVision recording. Samples and calibration
 * are the same bit for bit; what tells of a person, a place or a day is not copied:
 *
 *     EDF, BDF      patient "X X X <code>", recording "Startdate X X X X", 01.01.85 00.00.00,
 *                   texts of signals that hold a date or a number of six digits blanked,
 *                   annotations by rule; a record cut off at the end is left out
 *     BrainVision   a .vhdr written anew from what the format defines (no comments, no user
 *                   infos), a .vmrk by rule and without dates, the samples copied
 *
 * Annotations: kept when they hold only words of the list below, or of `keep`; else "event". */
#pragma once

#include <stddef.h>

#include "common/error.h"

enum nx_annotation_rule {
  NX_ANNOTATIONS_SCRUB, /* known words stay, any other text becomes "event" (default) */
  NX_ANNOTATIONS_KEEP,  /* as they are: the steward has read them */
  NX_ANNOTATIONS_DROP   /* none */
};

struct nx_deidentify_options {
  const char *code; /* written for the person; "X" when NULL; letters, digits, - _ up to 24 */
  enum nx_annotation_rule annotations;
  const char *const *keep; /* further texts that may stay */
  size_t n_keep;
};

struct nx_deidentify_counts {
  size_t annotations_kept, annotations_changed, fields_blanked;
};

/* `in` an .edf, .bdf or .vhdr; `out` of the same kind. Files are written under a temporary name,
 * synced and renamed. NX_E_EXISTS: out (or one of its three files) is there already; NX_E_FORMAT,
 * NX_E_UNSUPPORTED: another format. Nothing is left behind on failure. */
int nx_deidentify(const char *in, const char *out, const struct nx_deidentify_options *options,
                  struct nx_deidentify_counts *counts_out, struct nx_error *err);
