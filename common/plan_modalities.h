/* Plan section `modalities`: one network for many kinds of signal. It stands in a plan exactly
 * when model.network is `general`:
 *
 *     modalities:
 *       patches: 16               # of every window, whatever the tokeniser
 *       experts: 0                # half-width experts in every second block; 0: none
 *       expert_balance: 0.01      # optional: pulls the gates away from experts that the
 * federation's # windows crowd (models/nets/general.h); 0 or left out: not mask_fraction: 0.55 # of
 * the tokens of a window, hidden and asked for mask_correlation: 0.8     # channels that go along
 * this much are hidden together mask_radius_mm: 15        # and so are channels nearer than this
 *       tokenisers:
 *         - kind: eeg             # common/modality.h
 *           rate_hz: 128
 *           patch_samples: 64
 *           loss: quadratic       # or poisson: samples are counts
 *           frequency_weight: 0.5 # lambda of M = I + lambda F^T D F, quadratic only
 *           frequency_power: 1    # D proportional to f^alpha, of mean 1
 *
 * preprocessing.rate_hz and window must be those of the first tokeniser. A tokeniser that no
 * site of a federation has costs its parameters and nothing else. */
#pragma once

#include <cyaml/cyaml.h>
#include <stdint.h>

#include "common/error.h"
#include "common/modality.h"

struct nx_plan;

enum nx_token_loss { NX_TOKEN_LOSS_QUADRATIC, NX_TOKEN_LOSS_POISSON };

struct nx_plan_tokeniser {
  enum nx_tokeniser_kind kind;
  double rate_hz;
  uint32_t patch_samples; /* n, even, 4 .. 512 */
  enum nx_token_loss loss;
  double frequency_weight, frequency_power;
};

struct nx_plan_modalities {
  uint32_t patches; /* S */
  uint32_t experts; /* E */
  double expert_balance;
  double mask_fraction, mask_correlation, mask_radius_mm;
  struct nx_plan_tokeniser *tokenisers;
  uint32_t tokenisers_count;
};

extern const cyaml_schema_field_t nx_plan_modalities_fields[];

/* Ranges, and whether the section fits the rest of the plan. NX_E_FORMAT names the key. */
int nx_plan_modalities_check(const struct nx_plan *plan, struct nx_error *err);

/* Whether expert_balance fits the plan. NX_E_FORMAT: key_out is the dotted key that is wrong. */
int nx_plan_balance_check(const struct nx_plan *plan, const char **key_out, struct nx_error *err);

/* Blocks that have experts: every second. */
uint32_t nx_plan_expert_blocks(const struct nx_plan *plan);

/* The plan's tokenisers that read a modality: fills kinds_out, returns how many (0, 1 or 2). */
size_t nx_plan_tokenisers_of(const struct nx_plan *plan, enum nx_modality modality,
                             const struct nx_plan_tokeniser *found_out[2]);
