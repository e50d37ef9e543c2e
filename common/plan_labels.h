/* Plan, section labels: where a BIDS data set says which class a recording or a part of it is.
 * Optional: without it the name's task-<label> says it.
 *
 *     labels:
 *       source: events          # task, participants (participants.tsv) or events (events.tsv)
 *       column: trial_type      # of the table; with task: "task"
 *       epoch_start_s: 0        # events: a window of recording begins this long after an onset …
 *       epoch_seconds: 0        # … and lasts so long; 0: as long as the event
 */
#pragma once

#include "common/config.h"

enum nx_plan_label_source { NX_LABELS_TASK, NX_LABELS_PARTICIPANTS, NX_LABELS_EVENTS };

struct nx_plan_labels {
  enum nx_plan_label_source source;
  char *column;
  double epoch_start_s, epoch_seconds;
};

extern const cyaml_schema_field_t nx_plan_labels_fields[];

/* labels may be NULL. NX_E_FORMAT names the key. */
int nx_plan_labels_check(const struct nx_plan_labels *labels, struct nx_error *err);
