#include "common/plan_cleaning.h"

#include "common/plan.h"
#include "common/size.h"

static const cyaml_strval_t choices[] = {
    {"keep", NX_BAD_CHANNELS_KEEP},
    {"drop", NX_BAD_CHANNELS_DROP},
    {"interpolate", NX_BAD_CHANNELS_INTERPOLATE},
};

#define REAL(key) CYAML_FIELD_FLOAT(#key, CYAML_FLAG_DEFAULT, struct nx_plan_cleaning, key)

const cyaml_schema_field_t nx_plan_cleaning_fields[] = {
    CYAML_FIELD_ENUM("bad_channels", CYAML_FLAG_STRICT, struct nx_plan_cleaning, bad_channels,
                     choices, NX_ARRAY_LENGTH(choices)),
    REAL(most_bad_share), REAL(artefact_z), REAL(artefact_share), CYAML_FIELD_END};

int nx_plan_cleaning_check(const struct nx_plan *plan, const char **key_out, struct nx_error *err) {
  const struct nx_plan_cleaning *c = plan->cleaning;
  if (!c)
    return 0;
  const struct {
    const char *key;
    double value, low, high;
  } ranges[] = {
      {"cleaning.most_bad_share", c->most_bad_share, 0, 1},
      {"cleaning.artefact_z", c->artefact_z, 0, 1e3},
      {"cleaning.artefact_share", c->artefact_share, 0, 1},
  };
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ranges); i++)
    if (!(ranges[i].value >= ranges[i].low && ranges[i].value <= ranges[i].high)) {
      *key_out = ranges[i].key;
      return nx_fail(err, NX_E_FORMAT, "%s is %g: use %g to %g", ranges[i].key, ranges[i].value,
                     ranges[i].low, ranges[i].high);
    }
  *key_out = "cleaning.artefact_z";
  if ((c->artefact_z > 0) != (c->artefact_share > 0))
    return nx_fail(err, NX_E_FORMAT,
                   "cleaning.artefact_z and artefact_share are both above 0, or both 0 (off)");
  return 0;
}
