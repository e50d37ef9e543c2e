/* Plan section `pipelines` (optional): reference and filters of one kind of signal, where they are
 * not those of the section preprocessing. For plans with a section modalities:
 *
 *     pipelines:            # of eeg, meg, ieeg, lfp, fmri those that differ
 *       ieeg:
 *         reference: average       # or as-recorded, as meg and fmri must be
 *         high_pass_hz: 1          # 0: off, as in preprocessing
 *         low_pass_hz: 150
 *         notch_hz: 50
 *
 * A modality that is not there: as preprocessing says, but that MEG gets no reference and fMRI
 * neither reference nor filters. Spikes and calcium are never filtered. Rates are the tokenisers',
 * clamp is preprocessing's. */
#pragma once

#include "common/config.h"
#include "common/modality.h"
#include "common/plan.h"

/* What is done to a continuous signal before it is resampled. */
struct nx_pipeline {
  enum nx_plan_reference reference;
  double high_pass_hz, low_pass_hz, notch_hz; /* 0: off */
};

struct nx_plan_pipelines {
  struct nx_pipeline *eeg, *meg, *ieeg, *lfp, *fmri; /* NULL: not there */
};

extern const cyaml_schema_field_t nx_plan_pipelines_fields[];

/* NX_E_FORMAT; *key_out is the key at fault. */
int nx_plan_pipelines_check(const struct nx_plan *plan, const char **key_out,
                            struct nx_error *err);
/* Of a modality; NX_MODALITIES: of a plan without the section modalities. */
struct nx_pipeline nx_plan_pipeline_of(const struct nx_plan *plan, enum nx_modality modality);
