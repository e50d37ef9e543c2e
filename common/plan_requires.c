#include "common/plan_requires.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const cyaml_schema_value_t name = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 64)};

#define OPTIONAL_NUMBER(kind, member)                                                              \
  CYAML_FIELD_##kind(#member, CYAML_FLAG_OPTIONAL, struct nx_plan_requires, member)
#define OPTIONAL_NAMES(member)                                                                     \
  CYAML_FIELD_SEQUENCE_COUNT(#member, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,                    \
                             struct nx_plan_requires, member, n_##member, &name, 1, 256)

const cyaml_schema_field_t nx_plan_requires_fields[] = {
    OPTIONAL_NAMES(data_sets),
    OPTIONAL_NUMBER(UINT, minimum_recordings),
    OPTIONAL_NUMBER(UINT, minimum_channels),
    OPTIONAL_NUMBER(FLOAT, minimum_rate_hz),
    OPTIONAL_NAMES(channels),
    CYAML_FIELD_END};

int nx_plan_requires_check(const struct nx_plan_requires *required, struct nx_error *err) {
  if (required && !(required->minimum_rate_hz >= 0 && required->minimum_rate_hz <= 1e6))
    return nx_fail(err, NX_E_FORMAT, "requires.minimum_rate_hz: %g is outside 0..1e6",
                   required->minimum_rate_hz);
  return 0;
}

int nx_plan_requires_judge(const struct nx_plan_requires *required, const char *data_set,
                           struct nx_error *err) {
  if (!required->n_data_sets)
    return 0;
  if (!data_set)
    return nx_fail(err, NX_E_DENIED,
                   "the plan is for named data sets, and this site's has no name (data.name in "
                   "node.yaml)");
  for (uint32_t i = 0; i < required->n_data_sets; i++)
    if (!strcmp(required->data_sets[i], data_set))
      return 0;
  return nx_fail(err, NX_E_DENIED, "the plan is not for the data set of this site");
}

/* ---- words --------------------------------------------------------------------------------- */

const char *nx_requirement_name(uint32_t requirement) {
  static const char *const names[NX_REQUIREMENTS] = {[NX_REQUIRES_DATA_SET] = "data set",
                                                     [NX_REQUIRES_SPECIES] = "species",
                                                     [NX_REQUIRES_MODALITY] = "modality",
                                                     [NX_REQUIRES_READABLE] = "readable recordings",
                                                     [NX_REQUIRES_RATE] = "sampling rate",
                                                     [NX_REQUIRES_CHANNELS] = "channels",
                                                     [NX_REQUIRES_LABELS] = "labels",
                                                     [NX_REQUIRES_SUBJECTS] = "subjects",
                                                     [NX_REQUIRES_RECORDINGS] = "recordings",
                                                     [NX_REQUIRES_OTHER] =
                                                         "something newer than this software"};
  return requirement < NX_REQUIREMENTS ? names[requirement] : NULL;
}

void nx_requirements_tell(uint32_t set, char *out, size_t size) {
  size_t n = 0;
  out[0] = 0;
  for (uint32_t i = 1; i < NX_REQUIREMENTS && n < size; i++)
    if (set & 1u << i && nx_requirement_name(i)) {
      int written = snprintf(out + n, size - n, "%s%s", n ? ", " : "", nx_requirement_name(i));
      n += written > 0 ? (size_t)written : 0;
    }
}
