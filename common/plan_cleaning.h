/* Plan, section cleaning: what is done about bad channels and artefacts, before the section
 * preprocessing and behind it. Optional: without it recordings are used as they are, and one with a
 * flat channel is refused.
 *
 *     cleaning:
 *       bad_channels: interpolate  # keep, drop, or interpolate: by PREP's criteria (quality.h),
 *                                  # judged on the first ten minutes, high-passed at 0.5 Hz
 *       most_bad_share: 0.25       # a recording with a larger share of bad channels is refused
 *       artefact_z: 12             # a window is left out in which this many robust SDs …
 *       artefact_share: 0.1        # … are passed in at least this share of channels; 0 and 0: off
 *
 * interpolate: by spherical splines (Perrin et al. 1989) over the electrodes that are not bad,
 * those without a known place are dropped. Bad channels count for nothing in the average reference.
 * In a plan of many modalities it is for EEG; bad channels of other continuous signals are dropped
 * then. Artefacts are looked for in all continuous signals, windows being each tokeniser's; spikes
 * and calcium are not judged.
 */
#pragma once

#include "common/config.h"

struct nx_plan;

enum nx_plan_bad_channels {
  NX_BAD_CHANNELS_KEEP,
  NX_BAD_CHANNELS_DROP,
  NX_BAD_CHANNELS_INTERPOLATE
};

struct nx_plan_cleaning {
  enum nx_plan_bad_channels bad_channels;
  double most_bad_share;
  double artefact_z, artefact_share;
};

extern const cyaml_schema_field_t nx_plan_cleaning_fields[];

/* plan->cleaning may be NULL. NX_E_FORMAT; *key_out is the key at fault. */
int nx_plan_cleaning_check(const struct nx_plan *plan, const char **key_out, struct nx_error *err);
