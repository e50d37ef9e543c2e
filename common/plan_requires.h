/* Plan section `requires:` (optional): what a site's data must be for it to take part, beside what
 * the section data says (species, modality, labels, minimum_subjects).
 *
 *   requires:                           # every key may be left out
 *     data_sets: [charite-eeg, ucl-eeg] # names as in the sites' own node.yaml (data.name)
 *     minimum_recordings: 4             # of a site, held-out ones not counted
 *     minimum_rate_hz: 200              # of every recording, as recorded
 *     minimum_channels: 16              # that every recording has (of each, where channels are cells)
 *     channels: [Fz, Cz, Pz]            # in every recording
 *
 * A site that does not meet them takes part in no round, and answers so before the first one
 * (node/dataset/fit.h). */
#pragma once

#include <cyaml/cyaml.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct nx_plan_requires {
  char **data_sets;
  uint32_t n_data_sets;
  uint32_t minimum_recordings, minimum_channels; /* 0: no such demand */
  double minimum_rate_hz;
  char **channels;
  uint32_t n_channels;
};

extern const cyaml_schema_field_t nx_plan_requires_fields[];

/* requires may be NULL. NX_E_FORMAT names the key that is out of range. */
int nx_plan_requires_check(const struct nx_plan_requires *required, struct nx_error *err);

/* 0, or NX_E_DENIED: `data_set` (NULL: it has no name) is not one the plan is for. */
int nx_plan_requires_judge(const struct nx_plan_requires *required, const char *data_set,
                           struct nx_error *err);

/* What a plan can ask of a site's data, in the order in which it is told. */
enum nx_requirement {
  NX_REQUIRES_DATA_SET = 1, /* one of those named */
  NX_REQUIRES_SPECIES,
  NX_REQUIRES_MODALITY,
  NX_REQUIRES_READABLE, /* every recording opens, is whole, long enough and names nobody */
  NX_REQUIRES_RATE,     /* sampled fast enough */
  NX_REQUIRES_CHANNELS, /* montage: the electrodes, or as many channels */
  NX_REQUIRES_LABELS,   /* some recording has one of the plan's labels */
  NX_REQUIRES_SUBJECTS,
  NX_REQUIRES_RECORDINGS,
  NX_REQUIRES_OTHER = 31, /* decoded: one that only a newer peer knows */
  NX_REQUIREMENTS = 32
};
/* "labels"; NULL: there is no such requirement. */
const char *nx_requirement_name(uint32_t requirement);
/* "labels, subjects" of a set; "" when it is empty. Cut to size. */
void nx_requirements_tell(uint32_t set, char *out, size_t size);
