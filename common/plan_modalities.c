#include "common/plan_modalities.h"

#include <math.h>

#include "common/plan.h"
#include "common/size.h"

static const cyaml_strval_t kinds[] = {
    {"eeg", NX_TOKENISER_EEG},
    {"ieeg", NX_TOKENISER_IEEG},
    {"ieeg-fast", NX_TOKENISER_IEEG_FAST},
    {"spikes", NX_TOKENISER_SPIKES},
    {"calcium", NX_TOKENISER_CALCIUM},
    {"fmri", NX_TOKENISER_FMRI},
};
static const cyaml_strval_t losses[] = {
    {"quadratic", NX_TOKEN_LOSS_QUADRATIC},
    {"poisson", NX_TOKEN_LOSS_POISSON},
};

static const cyaml_schema_field_t tokeniser_fields[] = {
    CYAML_FIELD_ENUM("kind", CYAML_FLAG_STRICT, struct nx_plan_tokeniser, kind, kinds,
                     NX_ARRAY_LENGTH(kinds)),
    CYAML_FIELD_FLOAT("rate_hz", CYAML_FLAG_DEFAULT, struct nx_plan_tokeniser, rate_hz),
    CYAML_FIELD_UINT("patch_samples", CYAML_FLAG_DEFAULT, struct nx_plan_tokeniser, patch_samples),
    CYAML_FIELD_ENUM("loss", CYAML_FLAG_STRICT, struct nx_plan_tokeniser, loss, losses,
                     NX_ARRAY_LENGTH(losses)),
    CYAML_FIELD_FLOAT("frequency_weight", CYAML_FLAG_DEFAULT, struct nx_plan_tokeniser,
                      frequency_weight),
    CYAML_FIELD_FLOAT("frequency_power", CYAML_FLAG_DEFAULT, struct nx_plan_tokeniser,
                      frequency_power),
    CYAML_FIELD_END};

static const cyaml_schema_value_t tokeniser = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct nx_plan_tokeniser, tokeniser_fields)};

const cyaml_schema_field_t nx_plan_modalities_fields[] = {
    CYAML_FIELD_UINT("patches", CYAML_FLAG_DEFAULT, struct nx_plan_modalities, patches),
    CYAML_FIELD_UINT("experts", CYAML_FLAG_DEFAULT, struct nx_plan_modalities, experts),
    CYAML_FIELD_FLOAT("expert_balance", CYAML_FLAG_OPTIONAL, struct nx_plan_modalities,
                      expert_balance),
    CYAML_FIELD_FLOAT("mask_fraction", CYAML_FLAG_DEFAULT, struct nx_plan_modalities,
                      mask_fraction),
    CYAML_FIELD_FLOAT("mask_correlation", CYAML_FLAG_DEFAULT, struct nx_plan_modalities,
                      mask_correlation),
    CYAML_FIELD_FLOAT("mask_radius_mm", CYAML_FLAG_DEFAULT, struct nx_plan_modalities,
                      mask_radius_mm),
    CYAML_FIELD_SEQUENCE("tokenisers", CYAML_FLAG_POINTER, struct nx_plan_modalities, tokenisers,
                         &tokeniser, 1, NX_TOKENISERS),
    CYAML_FIELD_END};

struct range {
  const char *key;
  double value, low, high;
};

static int check_range(const char *where, const struct range *range, struct nx_error *err) {
  if (range->value >= range->low && range->value <= range->high)
    return 0;
  return nx_fail(err, NX_E_FORMAT, "modalities.%s%s is %g: use %g to %g", where, range->key,
                 range->value, range->low, range->high);
}

static int check_tokeniser(const struct nx_plan_tokeniser *t, struct nx_error *err) {
  const struct range ranges[] = {
      {"rate_hz", t->rate_hz, 0.01, 1e5},
      {"patch_samples", t->patch_samples, 4, 512},
      {"frequency_weight", t->frequency_weight, 0, 100},
      {"frequency_power", t->frequency_power, -4, 4},
  };
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ranges); i++) {
    int r = check_range("tokenisers.", &ranges[i], err);
    if (r < 0)
      return nx_error_prefix(err, r, "tokeniser %s", nx_tokeniser_name(t->kind));
  }
  if (t->patch_samples % 2)
    return nx_fail(err, NX_E_FORMAT, "tokeniser %s: patch_samples must be even",
                   nx_tokeniser_name(t->kind));
  if (t->loss == NX_TOKEN_LOSS_POISSON && t->frequency_weight != 0)
    return nx_fail(err, NX_E_FORMAT,
                   "tokeniser %s: frequency_weight is for a quadratic loss, write 0 with poisson",
                   nx_tokeniser_name(t->kind));
  return 0;
}

static int check_first(const struct nx_plan *plan, struct nx_error *err) {
  const struct nx_plan_modalities *m = plan->modalities;
  const struct nx_plan_tokeniser *first = &m->tokenisers[0];
  double patch_seconds = first->patch_samples / first->rate_hz;
  if (fabs(plan->preprocessing.rate_hz - first->rate_hz) > 1e-9)
    return nx_fail(err, NX_E_FORMAT, "preprocessing.rate_hz is %g, the first tokeniser's is %g",
                   plan->preprocessing.rate_hz, first->rate_hz);
  if (fabs(plan->window.patch_seconds - patch_seconds) > 1e-9 ||
      fabs(plan->window.seconds - m->patches * patch_seconds) > 1e-9)
    return nx_fail(err, NX_E_FORMAT,
                   "window does not fit the first tokeniser: write seconds: %.9g and "
                   "patch_seconds: %.9g",
                   m->patches * patch_seconds, patch_seconds);
  return 0;
}

int nx_plan_modalities_check(const struct nx_plan *plan, struct nx_error *err) {
  const struct nx_plan_modalities *m = plan->modalities;
  if (plan->model.network != NX_NETWORK_GENERAL)
    return m ? nx_fail(err, NX_E_FORMAT, "a section modalities is for model.network: general") : 0;
  if (!m)
    return nx_fail(err, NX_E_FORMAT,
                   "model.network is general: say which signals it reads in a section modalities");
  const struct range ranges[] = {
      {"patches", m->patches, 2, 256},
      {"experts", m->experts, 0, 64},
      {"mask_fraction", m->mask_fraction, 0.05, 0.95},
      {"mask_correlation", m->mask_correlation, 0, 1},
      {"mask_radius_mm", m->mask_radius_mm, 0, 1000},
  };
  int r = 0;
  for (size_t i = 0; !r && i < NX_ARRAY_LENGTH(ranges); i++)
    r = check_range("", &ranges[i], err);
  for (size_t i = 0; !r && i < m->tokenisers_count; i++) {
    r = check_tokeniser(&m->tokenisers[i], err);
    for (size_t j = 0; !r && j < i; j++)
      if (m->tokenisers[j].kind == m->tokenisers[i].kind)
        r = nx_fail(err, NX_E_FORMAT, "two tokenisers are %s: one each",
                    nx_tokeniser_name(m->tokenisers[i].kind));
  }
  if (!r && m->experts == 1)
    r = nx_fail(err, NX_E_FORMAT, "modalities.experts is 1: use 0, or 2 and more");
  return r ? r : check_first(plan, err);
}

uint32_t nx_plan_expert_blocks(const struct nx_plan *plan) {
  return plan->modalities && plan->modalities->experts ? plan->model.blocks / 2 : 0;
}

int nx_plan_balance_check(const struct nx_plan *plan, const char **key_out, struct nx_error *err) {
  double balance = plan->modalities ? plan->modalities->expert_balance : 0;
  if (balance == 0)
    return 0;
  *key_out = "modalities.expert_balance";
  if (!(balance >= 1e-6 && balance <= 1))
    return nx_fail(err, NX_E_FORMAT,
                   "modalities.expert_balance is %g: use 1e-06 to 1, or 0 for none", balance);
  if (!nx_plan_expert_blocks(plan))
    return nx_fail(err, NX_E_FORMAT,
                   "modalities.expert_balance is %g, and no block has experts: use experts of 2 or "
                   "more and two blocks, or leave it out",
                   balance);
  if (plan->adapters)
    return nx_fail(err, NX_E_FORMAT,
                   "modalities.expert_balance does not go together with adapters, which leave the "
                   "gates as they are: leave it out");
  return 0;
}

size_t nx_plan_tokenisers_of(const struct nx_plan *plan, enum nx_modality modality,
                             const struct nx_plan_tokeniser *found_out[2]) {
  size_t n = 0;
  for (size_t i = 0; plan->modalities && i < plan->modalities->tokenisers_count && n < 2; i++)
    if (nx_tokeniser_reads(plan->modalities->tokenisers[i].kind, modality))
      found_out[n++] = &plan->modalities->tokenisers[i];
  return n;
}
