#include "common/plan.h"

#include <math.h>

#include "common/config.h"
#include "common/plan_adapters.h"
#include "common/plan_cleaning.h"
#include "common/plan_initial_model.h"
#include "common/plan_labels.h"
#include "common/plan_pipelines.h"
#include "common/plan_prototypes.h"
#include "common/plan_regression.h"
#include "common/size.h"

static const cyaml_strval_t references[] = {
    {"as-recorded", NX_REFERENCE_AS_RECORDED},
    {"average", NX_REFERENCE_AVERAGE},
};
static const cyaml_strval_t scales[] = {
    {"recording", NX_SCALE_RECORDING},
    {"channel", NX_SCALE_CHANNEL},
};
static const cyaml_strval_t objectives[] = {
    {"classification", NX_OBJECTIVE_CLASSIFICATION},
    {"reconstruction", NX_OBJECTIVE_RECONSTRUCTION},
    {"next-patch", NX_OBJECTIVE_NEXT_PATCH},
    {"regression", NX_OBJECTIVE_REGRESSION},
};
static const cyaml_strval_t networks[] = {
    {"nano", NX_NETWORK_NANO},
    {"general", NX_NETWORK_GENERAL},
};
static const cyaml_strval_t mask_ciphers[] = {{"aes-256-ctr", 0}, {"aegis-256", 1}};
static const cyaml_strval_t switches[] = {{"false", false}, {"true", true}};

#define TEXT(part, key) CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_POINTER, part, key, 1, 64)
#define WHOLE(part, key) CYAML_FIELD_UINT(#key, CYAML_FLAG_DEFAULT, part, key)
#define REAL(part, key) CYAML_FIELD_FLOAT(#key, CYAML_FLAG_DEFAULT, part, key)
/* Words, since libcyaml's own booleans take any word for true. */
#define SWITCH(part, key)                                                                          \
  CYAML_FIELD_ENUM(#key, CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL, part, key, switches,             \
                   NX_ARRAY_LENGTH(switches))
#define CHOICE(part, key, words)                                                                   \
  CYAML_FIELD_ENUM(#key, CYAML_FLAG_STRICT, part, key, words, NX_ARRAY_LENGTH(words))
#define EXTRA(key)                                                                                 \
  CYAML_FIELD_MAPPING_PTR(#key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct nx_plan, key,     \
                          nx_plan_##key##_fields)
#define PART(key, fields) CYAML_FIELD_MAPPING(#key, CYAML_FLAG_DEFAULT, struct nx_plan, key, fields)

static const cyaml_schema_field_t data_fields[] = {
    TEXT(struct nx_plan_data, species),           TEXT(struct nx_plan_data, modality),
    TEXT(struct nx_plan_data, negative_label),    TEXT(struct nx_plan_data, positive_label),
    WHOLE(struct nx_plan_data, minimum_subjects), CYAML_FIELD_END};

static const cyaml_schema_field_t preprocessing_fields[] = {
    CHOICE(struct nx_plan_preprocessing, reference, references),
    REAL(struct nx_plan_preprocessing, high_pass_hz),
    REAL(struct nx_plan_preprocessing, low_pass_hz),
    REAL(struct nx_plan_preprocessing, notch_hz),
    REAL(struct nx_plan_preprocessing, rate_hz),
    CHOICE(struct nx_plan_preprocessing, scale, scales),
    REAL(struct nx_plan_preprocessing, clamp),
    CYAML_FIELD_END};

static const cyaml_schema_field_t window_fields[] = {REAL(struct nx_plan_window, seconds),
                                                     REAL(struct nx_plan_window, patch_seconds),
                                                     CYAML_FIELD_END};

static const cyaml_schema_field_t model_fields[] = {CHOICE(struct nx_plan_model, network, networks),
                                                    WHOLE(struct nx_plan_model, width),
                                                    WHOLE(struct nx_plan_model, blocks),
                                                    WHOLE(struct nx_plan_model, queries),
                                                    WHOLE(struct nx_plan_model, heads),
                                                    WHOLE(struct nx_plan_model, feed_forward),
                                                    REAL(struct nx_plan_model, dropout),
                                                    CYAML_FIELD_END};

static const cyaml_schema_field_t training_fields[] = {
    CHOICE(struct nx_plan_training, objective, objectives),
    WHOLE(struct nx_plan_training, rounds),
    WHOLE(struct nx_plan_training, local_steps),
    WHOLE(struct nx_plan_training, batch),
    WHOLE(struct nx_plan_training, warmup_steps),
    REAL(struct nx_plan_training, learning_rate),
    REAL(struct nx_plan_training, final_learning_rate_fraction),
    REAL(struct nx_plan_training, weight_decay),
    REAL(struct nx_plan_training, beta1),
    REAL(struct nx_plan_training, beta2),
    REAL(struct nx_plan_training, gradient_clip_norm),
    REAL(struct nx_plan_training, label_smoothing),
    SWITCH(struct nx_plan_training, checkpoint_activations),
    CYAML_FIELD_END};

static const cyaml_schema_field_t aggregation_fields[] = {
    WHOLE(struct nx_plan_aggregation, ring_bits),
    WHOLE(struct nx_plan_aggregation, value_bits),
    REAL(struct nx_plan_aggregation, value_range),
    REAL(struct nx_plan_aggregation, update_clip_norm),
    WHOLE(struct nx_plan_aggregation, weight_cap),
    WHOLE(struct nx_plan_aggregation, minimum_members),
    WHOLE(struct nx_plan_aggregation, spot_checks),
    SWITCH(struct nx_plan_aggregation, rotation),
    SWITCH(struct nx_plan_aggregation, error_feedback),
    SWITCH(struct nx_plan_aggregation, narrow_keystream),
    CYAML_FIELD_ENUM("mask_cipher", CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL,
                     struct nx_plan_aggregation, mask_cipher, mask_ciphers,
                     NX_ARRAY_LENGTH(mask_ciphers)),
    CYAML_FIELD_END};

static const cyaml_schema_field_t deadline_fields[] = {
    WHOLE(struct nx_plan_deadlines, phase_seconds),
    WHOLE(struct nx_plan_deadlines, training_seconds), CYAML_FIELD_END};

static const cyaml_schema_field_t plan_fields[] = {
    WHOLE(struct nx_plan, neurox_plan),
    TEXT(struct nx_plan, name),
    WHOLE(struct nx_plan, seed),
    PART(data, data_fields),
    PART(preprocessing, preprocessing_fields),
    PART(window, window_fields),
    PART(model, model_fields),
    PART(training, training_fields),
    PART(aggregation, aggregation_fields),
    PART(deadlines, deadline_fields),
    CYAML_FIELD_ENUM("privacy", CYAML_FLAG_STRICT, struct nx_plan, privacy, nx_plan_privacy_words,
                     NX_PLAN_PRIVACY_WORDS),
    EXTRA(differential_privacy),
    EXTRA(irb),
    EXTRA(requires),
    EXTRA(modalities),
    EXTRA(labels),
    EXTRA(cleaning),
    EXTRA(pipelines),
    EXTRA(regression),
    EXTRA(prototypes),
    EXTRA(initial_model),
    EXTRA(adapters),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct nx_plan, plan_fields)};

struct range {
  const char *key;
  double value, low, high;
};

static int check_ranges(const struct nx_plan *p, const char **key_out, struct nx_error *err) {
  const struct range ranges[] = {
      {"data.minimum_subjects", p->data.minimum_subjects, 1, 1e6},
      {"preprocessing.high_pass_hz", p->preprocessing.high_pass_hz, 0, 1e4},
      {"preprocessing.low_pass_hz", p->preprocessing.low_pass_hz, 0, 1e4},
      {"preprocessing.notch_hz", p->preprocessing.notch_hz, 0, 1e4},
      {"preprocessing.rate_hz", p->preprocessing.rate_hz, 0.01, 1e5},
      {"preprocessing.clamp", p->preprocessing.clamp, 1, 1e3},
      {"window.seconds", p->window.seconds, 0.01, 3600},
      {"window.patch_seconds", p->window.patch_seconds, 0.005, p->window.seconds},
      {"model.width", p->model.width, 16, 4096},
      {"model.blocks", p->model.blocks, 1, 128},
      {"model.queries", p->model.queries, 1, 256},
      {"model.heads", p->model.heads, 1, 128},
      {"model.feed_forward", p->model.feed_forward, 16, 65536},
      {"model.dropout", p->model.dropout, 0, 0.9},
      {"training.rounds", p->training.rounds, 1, 1e6},
      {"training.local_steps", p->training.local_steps, 1, 1e6},
      {"training.batch", p->training.batch, 1, 65536},
      {"training.learning_rate", p->training.learning_rate, 1e-8, 10},
      {"training.final_learning_rate_fraction", p->training.final_learning_rate_fraction, 0, 1},
      {"training.weight_decay", p->training.weight_decay, 0, 10},
      {"training.beta1", p->training.beta1, 0, 0.99999},
      {"training.beta2", p->training.beta2, 0, 0.99999},
      {"training.gradient_clip_norm", p->training.gradient_clip_norm, 1e-6, 1e6},
      {"training.label_smoothing", p->training.label_smoothing, 0, 0.9},
      {"aggregation.ring_bits", p->aggregation.ring_bits, 12, 32},
      {"aggregation.value_bits", p->aggregation.value_bits, 4, p->aggregation.ring_bits},
      {"aggregation.value_range", p->aggregation.value_range, 1e-6, 1e6},
      {"aggregation.update_clip_norm", p->aggregation.update_clip_norm, 1e-6, 1e6},
      {"aggregation.weight_cap", p->aggregation.weight_cap, 1, 1e9},
      {"aggregation.minimum_members", p->aggregation.minimum_members, 3, 255},
      {"aggregation.spot_checks", p->aggregation.spot_checks, 1, 65536},
      {"deadlines.phase_seconds", p->deadlines.phase_seconds, 1, 1e6},
      {"deadlines.training_seconds", p->deadlines.training_seconds, 1, 1e7},
  };
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ranges); i++)
    if (!(ranges[i].value >= ranges[i].low && ranges[i].value <= ranges[i].high)) {
      *key_out = ranges[i].key;
      return nx_fail(err, NX_E_FORMAT, "%s is %g: use %g to %g", ranges[i].key, ranges[i].value,
                     ranges[i].low, ranges[i].high);
    }
  if (p->aggregation.narrow_keystream && p->aggregation.ring_bits > 16) {
    *key_out = "aggregation.narrow_keystream";
    return nx_fail(err, NX_E_FORMAT,
                   "aggregation.narrow_keystream is for rings of at most 16 bits; ring_bits is %u",
                   p->aggregation.ring_bits);
  }
  return 0;
}

static int check_shapes(const struct nx_plan *p, struct nx_error *err) {
  double patches = p->window.seconds / p->window.patch_seconds;
  double samples = p->window.patch_seconds * p->preprocessing.rate_hz;
  if (p->neurox_plan != NX_PLAN_VERSION)
    return nx_fail(err, NX_E_FORMAT, "neurox_plan is %u: this program reads version %d",
                   p->neurox_plan, NX_PLAN_VERSION);
  if (fabs(patches - round(patches)) > 1e-9)
    return nx_fail(err, NX_E_FORMAT, "window.seconds must be a whole number of patches");
  if (fabs(samples - round(samples)) > 1e-9)
    return nx_fail(err, NX_E_FORMAT, "window.patch_seconds must be a whole number of samples");
  if (p->model.width % p->model.heads || p->model.width / p->model.heads % 2)
    return nx_fail(err, NX_E_FORMAT, "model.width must be an even multiple of model.heads");
  if (!strcmp(p->data.negative_label, p->data.positive_label))
    return nx_fail(err, NX_E_FORMAT, "data.negative_label and data.positive_label are the same");
  if (p->model.network == NX_NETWORK_NANO && p->training.objective == NX_OBJECTIVE_NEXT_PATCH)
    return nx_fail(err, NX_E_FORMAT,
                   "training.objective: next-patch is for model.network: general");
  return nx_plan_modalities_check(p, err);
}

int nx_plan_parse(const char *name, struct nx_bytes text, struct nx_plan **plan_out,
                  struct nx_error *err) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  int r = nx_config_parse(name, text, &schema, (void **)&plan, err);
  if (r < 0)
    return r;
  const char *key = NULL;
  r = check_ranges(plan, &key, err);
  if (!r)
    r = nx_plan_privacy_check(plan, &key, err);
  if (!r)
    r = nx_plan_cleaning_check(plan, &key, err);
  if (!r)
    r = nx_plan_pipelines_check(plan, &key, err);
  if (!r)
    r = nx_plan_prototypes_check(plan, &key, err);
  if (!r)
    r = nx_plan_balance_check(plan, &key, err);
  if (r < 0)
    return nx_error_prefix(err, r, "%s:%d", name, nx_config_line_of(text, key));
  r = check_shapes(plan, err);
  if (!r && plan->irb)
    r = nx_plan_irb_check(plan->irb, err);
  if (!r)
    r = nx_plan_labels_check(plan->labels, err);
  if (!r)
    r = nx_plan_initial_model_check(plan->initial_model, err);
  if (!r)
    r = nx_plan_requires_check(plan->requires, err);
  if (!r)
    r = nx_plan_adapters_check(plan, err);
  if (!r)
    r = nx_plan_regression_check(plan, err);
  if (r < 0)
    return nx_error_prefix(err, r, "%s", name);
  *plan_out = nx_steal(&plan);
  return 0;
}

void nx_plan_destroy(struct nx_plan *plan) {
  nx_config_free(&schema, plan);
}
