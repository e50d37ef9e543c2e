#include "common/plan_labels.h"

#include "common/size.h"

static const cyaml_strval_t sources[] = {
    {"task", NX_LABELS_TASK},
    {"participants", NX_LABELS_PARTICIPANTS},
    {"events", NX_LABELS_EVENTS},
};

const cyaml_schema_field_t nx_plan_labels_fields[] = {
    CYAML_FIELD_ENUM("source", CYAML_FLAG_STRICT, struct nx_plan_labels, source, sources,
                     NX_ARRAY_LENGTH(sources)),
    CYAML_FIELD_STRING_PTR("column", CYAML_FLAG_POINTER, struct nx_plan_labels, column, 1, 64),
    CYAML_FIELD_FLOAT("epoch_start_s", CYAML_FLAG_DEFAULT, struct nx_plan_labels, epoch_start_s),
    CYAML_FIELD_FLOAT("epoch_seconds", CYAML_FLAG_DEFAULT, struct nx_plan_labels, epoch_seconds),
    CYAML_FIELD_END};

int nx_plan_labels_check(const struct nx_plan_labels *labels, struct nx_error *err) {
  if (!labels)
    return 0;
  if (!(labels->epoch_start_s >= -3600 && labels->epoch_start_s <= 3600))
    return nx_fail(err, NX_E_FORMAT, "labels.epoch_start_s is %g: use -3600 to 3600",
                   labels->epoch_start_s);
  if (!(labels->epoch_seconds >= 0 && labels->epoch_seconds <= 86400))
    return nx_fail(err, NX_E_FORMAT, "labels.epoch_seconds is %g: use 0 to 86400",
                   labels->epoch_seconds);
  return 0;
}
