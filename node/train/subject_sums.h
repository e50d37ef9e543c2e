/* Subject sums: one step of subject-level DP-SGD up to the noise (Abadi et al., CCS 2016, with
 * the subject as unit: McMahan et al., ICLR 2018).
 *
 *   each subject drawn with probability q ─► its windows ─► mean gradient ─► clip C
 *     ─► whole numbers, norm at most the bound (nx_dp_round) ──┐
 *   next subject … ────────────────────────────────────────────┴─► sums i64[n_params]
 *
 * Who is drawn, which of a subject's windows, dropout and rounding come from the entropy
 * source, anew for each subject: nothing of one subject's vector depends on whether another
 * is there. The sums are not private before noise is added. Used by one thread. */
#pragma once

#include "common/rng.h"
#include "crypto/dp_noise.h"
#include "node/train/trainer.h"

struct nx_subject_sums; /* opaque */

/* model is only a shape here. Arguments outlive it. NX_E_STATE: nobody to train on. */
int nx_subject_sums_create(const struct nx_model *model, const struct nx_dataset *dataset,
                           const struct nx_plan *plan, const struct nx_dp_rounding *rounding,
                           const struct nx_entropy *entropy, struct nx_subject_sums **sums_out,
                           struct nx_error *err);
void nx_subject_sums_destroy(struct nx_subject_sums *sums); /* wipes; NULL is fine */
NX_DEFINE_CLEANUP(struct nx_subject_sums *, nx_subject_sums_destroy)

/* Adds one step's vectors at `model` up into out[n_params], which begins at zero. loss_out: mean
 * over the subjects drawn, NaN when nobody was: for this site's own eyes. NX_E_INVALID: a
 * gradient that is not finite. NX_E_CANCELLED when cancelled(context) says so, asked before
 * each subject; it may be NULL. */
int nx_subject_sums_step(struct nx_subject_sums *sums, const struct nx_model *model,
                         bool (*cancelled)(void *context), void *context, int64_t *out,
                         double *loss_out, struct nx_error *err);
