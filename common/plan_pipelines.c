#include "common/plan_pipelines.h"

#include "common/size.h"

static const cyaml_strval_t references[] = {
    {"average", NX_REFERENCE_AVERAGE},
    {"as-recorded", NX_REFERENCE_AS_RECORDED},
};

#define REAL(key) CYAML_FIELD_FLOAT(#key, CYAML_FLAG_DEFAULT, struct nx_pipeline, key)

static const cyaml_schema_field_t pipeline_fields[] = {
    CYAML_FIELD_ENUM("reference", CYAML_FLAG_STRICT, struct nx_pipeline, reference, references,
                     NX_ARRAY_LENGTH(references)),
    REAL(high_pass_hz), REAL(low_pass_hz), REAL(notch_hz), CYAML_FIELD_END};

#define MODALITY(name)                                                                             \
  CYAML_FIELD_MAPPING_PTR(#name, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,                         \
                          struct nx_plan_pipelines, name, pipeline_fields)

const cyaml_schema_field_t nx_plan_pipelines_fields[] = {
    MODALITY(eeg), MODALITY(meg), MODALITY(ieeg), MODALITY(lfp), MODALITY(fmri), CYAML_FIELD_END};

static const struct nx_pipeline *own_of(const struct nx_plan_pipelines *p,
                                        enum nx_modality modality) {
  switch (modality) {
  case NX_MODALITY_EEG:
    return p->eeg;
  case NX_MODALITY_MEG:
    return p->meg;
  case NX_MODALITY_IEEG:
    return p->ieeg;
  case NX_MODALITY_LFP:
    return p->lfp;
  case NX_MODALITY_FMRI:
    return p->fmri;
  default:
    return NULL;
  }
}

/* Keys as nx_config_line_of() looks for them, and values within reach. */
static int check_one(enum nx_modality modality, const struct nx_pipeline *p, const char **key_out,
                     struct nx_error *err) {
  static const char *const keys[NX_MODALITIES][4] = {
#define KEYS(name)                                                                                 \
  {"pipelines." #name ".reference", "pipelines." #name ".high_pass_hz",                            \
   "pipelines." #name ".low_pass_hz", "pipelines." #name ".notch_hz"}
      [NX_MODALITY_EEG] = KEYS(eeg), [NX_MODALITY_MEG] = KEYS(meg), [NX_MODALITY_IEEG] = KEYS(ieeg),
      [NX_MODALITY_LFP] = KEYS(lfp), [NX_MODALITY_FMRI] = KEYS(fmri)};
  const double values[] = {0, p->high_pass_hz, p->low_pass_hz, p->notch_hz};
  bool absolute = modality == NX_MODALITY_MEG || modality == NX_MODALITY_FMRI;
  *key_out = keys[modality][0];
  if (absolute && p->reference == NX_REFERENCE_AVERAGE)
    return nx_fail(err, NX_E_FORMAT, "%s: %s has no reference to change; write as-recorded",
                   *key_out, nx_modality_name(modality));
  for (size_t i = 1; i < NX_ARRAY_LENGTH(values); i++) {
    *key_out = keys[modality][i];
    if (!(values[i] >= 0 && values[i] <= 1e4))
      return nx_fail(err, NX_E_FORMAT, "%s is %g: use 0 (off) to 10000", *key_out, values[i]);
  }
  *key_out = keys[modality][2];
  if (p->low_pass_hz > 0 && p->high_pass_hz >= p->low_pass_hz)
    return nx_fail(err, NX_E_FORMAT, "%s is %g, not above high_pass_hz, %g", *key_out,
                   p->low_pass_hz, p->high_pass_hz);
  return 0;
}

int nx_plan_pipelines_check(const struct nx_plan *plan, const char **key_out,
                            struct nx_error *err) {
  *key_out = "pipelines";
  if (!plan->pipelines)
    return 0;
  if (!plan->modalities)
    return nx_fail(err, NX_E_FORMAT,
                   "pipelines is for model.network: general; else preprocessing says it all");
  for (int m = 0; m < NX_MODALITIES; m++) {
    const struct nx_pipeline *own = own_of(plan->pipelines, (enum nx_modality)m);
    int r = own ? check_one((enum nx_modality)m, own, key_out, err) : 0;
    if (r < 0)
      return r;
  }
  return 0;
}

struct nx_pipeline nx_plan_pipeline_of(const struct nx_plan *plan, enum nx_modality modality) {
  const struct nx_plan_preprocessing *p = &plan->preprocessing;
  const struct nx_pipeline *own = plan->pipelines ? own_of(plan->pipelines, modality) : NULL;
  struct nx_pipeline out = {p->reference, p->high_pass_hz, p->low_pass_hz, p->notch_hz};
  if (own)
    return *own;
  if (modality == NX_MODALITY_FMRI)
    out = (struct nx_pipeline){.reference = NX_REFERENCE_AS_RECORDED};
  if (modality == NX_MODALITY_MEG)
    out.reference = NX_REFERENCE_AS_RECORDED;
  return out;
}
