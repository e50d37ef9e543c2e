/* Site work: what a node computes for a round, with everything heavy that it needs: the
 * plan, the model, the recordings, the update. Owned by the worker's thread; an idle node
 * has released it all. Functions block. */
#pragma once

#include "common/pool.h"
#include "crypto/audit_log.h"
#include "node/node_config.h"
#include "node/policy/policy.h"
#include "node/policy/site_audit.h"
#include "node/session/protect.h"
#include "node/session/spot_check.h"
#include "node/session/transfer.h"
#include "proto/codec/codec_round.h"

struct nx_site_work_config {
  const char *home;
  const struct nx_node_config *node;
  uint32_t member; /* this node's id */
  struct nx_rpc_client *client;
  struct nx_audit_log *audit;
  struct nx_stop stop; /* asked during long work */
};

struct nx_site_work;

/* cfg's pointers outlive it. */
int nx_site_work_create(const struct nx_site_work_config *cfg, struct nx_site_work **work_out,
                        struct nx_error *err);
void nx_site_work_destroy(struct nx_site_work *work); /* wipes the update; NULL is fine */
NX_DEFINE_CLEANUP(struct nx_site_work *, nx_site_work_destroy)
/* Lets go of plan, model, recordings and update, and gives the memory back. */
void nx_site_work_release(struct nx_site_work *work);

/* Has the plan with this hash, from HOME/plans or fetched, and model 0 of it. */
int nx_site_work_plan(struct nx_site_work *work, const struct nx_hash *plan,
                      struct nx_hash *first_model_out, struct nx_error *err);
const struct nx_plan *nx_site_work_current_plan(const struct nx_site_work *work);
/* The run of the current plan began with this round (its statistics round), from which the
 * learning-rate schedule counts. Durable. */
int nx_site_work_begins(struct nx_site_work *work, uint64_t round, struct nx_error *err);

/* May this round run on these recordings? The plan is there already. The round's numbers
 * must be those of the plan; the data set must open. charge_out: what the round will charge the
 * privacy ledger, unless charges_out is false. NX_E_* with a sentence. */
int nx_site_work_consider(struct nx_site_work *work, const struct nx_site_round *round,
                          const struct nx_transcript_parameters *parameters,
                          struct nx_ledger_charge *charge_out, bool *charges_out,
                          struct nx_error *err);
/* Any plan, from HOME/plans or fetched; the current one stays. NX_E_LIMIT: HOME/plans is full. */
int nx_site_work_read_plan(struct nx_site_work *work, const struct nx_hash *hash,
                           struct nx_plan **plan_out, struct nx_error *err);
/* The text of a plan that was submitted, into HOME/plans; its name. */
int nx_site_work_fetch_plan(struct nx_site_work *work, const struct nx_hash *plan,
                            char name_out[NX_POLICY_NAME_SIZE], struct nx_error *err);
/* Bytes of a model that others vouched for, into HOME/models. */
int nx_site_work_fetch_model(struct nx_site_work *work, const struct nx_hash *model,
                             struct nx_error *err);

/* Makes x for the round, unless the x of the same (round, model, variant) is still there.
 * n_members: of the cohort; where sites share the noise, another cohort is another x. */
int nx_site_work_make(struct nx_site_work *work, const struct nx_site_round *round,
                      uint32_t variant, uint32_t n_members, struct nx_error *err);
/* y = x + masks, spooled at `spool`. */
int nx_site_work_mask(struct nx_site_work *work, const struct nx_site_round *round,
                      uint32_t ring_bits, const struct nx_mask *mask, const char *spool,
                      struct nx_protected *protected_out, struct nx_error *err);

struct nx_site_check {
  struct nx_site_round round;
  struct nx_transcript_parameters parameters;
  struct nx_hash t3, sum;
  uint64_t sum_bytes;
  const struct nx_spot_member *uploads; /* U3 */
  size_t n_uploads;
  const uint64_t *tiles;
  size_t n_tiles;
  const struct nx_mask *mask; /* takes off the sum of uploads what the sum does not have */
};
/* What the opened sum says, for people: of the whole cohort. */
struct nx_site_sum {
  uint64_t contributors;
  double train_loss, held_out_loss; /* means; NaN where there were no windows */
  /* Under a privacy mechanism no losses and scores leave a site: all three are NaN then. */
  double auroc; /* from the histograms; NaN when a class is empty */
  double r_squared; /* of a regression, mean over its targets; or NaN */
};
/* Fetches the sum and the tiles, compares, computes the next model and stores it durably. */
int nx_site_work_check(struct nx_site_work *work, const struct nx_site_check *check,
                       struct nx_hash *model_out, struct nx_site_sum *sum_out,
                       struct nx_error *err);
/* The next model becomes the model; files of models before the last two are removed. */
void nx_site_work_adopt(struct nx_site_work *work, const struct nx_hash *model);
