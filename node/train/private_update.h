/* Private update: what a node contributes to one round of a plan that names a privacy
 * mechanism (docs/privacy.md, "How a step is made").
 *
 *   site-local-gaussian   local_steps noisy steps here; the update is what they lead to
 *   distributed-skellam   one step's negative sums, and this site's share of the noise
 *   node-level-skellam    the whole update, clipped, and this site's share of the noise
 *
 * The aux lanes carry constants and nothing else: one contributor, weight 1. Statistics and
 * evaluation rounds carry only those; losses and scores stay on this machine. */
#pragma once

#include "common/rng.h"
#include "node/train/update.h"

struct nx_private_options {
  uint64_t training_round; /* from 0 */
  uint32_t member_id;
  uint32_t n_members;               /* of the cohort |U0|: the share of the noise follows from it */
  const struct nx_entropy *entropy; /* the system's */
  bool (*cancelled)(void *context); /* NX_E_CANCELLED; may be NULL */
  void *context;
};

/* update_out->lanes where noise is shared, update_out->delta where it is not. NX_E_STATE for a
 * plan without a mechanism. Free with nx_update_finish(). */
int nx_private_update_compute(enum nx_round_kind kind, const struct nx_model *model,
                              const struct nx_dataset *dataset, const struct nx_plan *plan,
                              const struct nx_private_options *options,
                              struct nx_update *update_out, struct nx_error *err);
