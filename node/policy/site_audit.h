/* Site audit: what this node writes into its own log, one function for each kind of entry.
 * Hashes, counts, rounds and the names of sites; never samples, subject names or keys.
 *
 *   kind                fields
 *   node.enrolled       federation, name, ca, spki, identity
 *   manifest.pinned     manifest, members
 *   plan.approved       plan, by, at, decision   plan.rejected  the same, reason
 *   plan.accepted       plan, name         plan.refused   plan, reason
 *   policy.read         policy, approval   policy.broken  policy
 *   round.refused       round, attempt, plan, reason
 *   egress.receipt      receipt, round, messages, bytes, sha256, destination (egress.h)
 *   egress.stopped      reason
 *   round.joined        round, attempt, kind, plan, model, members
 *   data.used           round, manifest, subjects, held_out, recordings, windows, synthetic
 *   subjects.changed    round, withdrawn, before (how many are on the list now, and were)
 *   upload.sent         round, attempt, bytes, root, plan, model, destination
 *   vote.sent           round, attempt, choice, subject
 *   shares.released     round, attempt, self, keys
 *   sum.checked         round, sum, tiles  sum.refused    round, sum, reason
 *   model.sealed        round, model       round.left     round, attempt, reason
 *   certificate.renewed spki, roots, ends
 *   privacy.charged     round, attempt, dataset, mechanism, steps, delta, epsilon
 *   privacy.refunded    round, attempt
 *   privacy.spent       round, dataset, plan_epsilon, plan_delta, plan_steps, epsilon, delta,
 *                       unprotected; epsilons and deltas are strings, "inf": none holds
 *   fit.answered        plan, verdict, met, unmet, subjects, recordings (rounded; "" when not told)
 *   withdrawn.told      models, message (how many model versions the hub was told of; SHA-256)
 *   evidence.kept       round, about, first, second
 *   retention.deleted   kind, files, bytes, before, names (crypto/retention_sweep.h)
 *
 * Every function returns when its entry is on disk. */
#pragma once

#include "common/aux_lanes.h"
#include "crypto/audit_log.h"
#include "node/dataset/dataset.h"
#include "node/policy/budget.h"
#include "node/policy/decision.h"
#include "proto/codec/codec_site.h"

struct nx_site_round {
  uint64_t round;
  uint32_t attempt;
  enum nx_round_kind kind;
  struct nx_hash plan, model; /* the model it starts from */
};

int nx_site_audit_enrolled(struct nx_audit_log *log, const char *federation, const char *name,
                           const struct nx_hash *ca, const struct nx_hash *spki,
                           const struct nx_public_key *identity, struct nx_error *err);
/* roots: SHA-256 of what is believed from now on; ends: Unix ns. */
int nx_site_audit_renewed(struct nx_audit_log *log, const struct nx_hash *spki,
                          const struct nx_hash *roots, int64_t ends, struct nx_error *err);
int nx_site_audit_pinned(struct nx_audit_log *log, const struct nx_hash *manifest, size_t n_members,
                         struct nx_error *err);
/* reason NULL: accepted. */
int nx_site_audit_plan(struct nx_audit_log *log, const struct nx_hash *plan, const char *name,
                       const char *reason, struct nx_error *err);
/* file: SHA-256 of the signed decision. */
int nx_site_audit_decision(struct nx_audit_log *log, const struct nx_decision *decision,
                           const struct nx_hash *file, struct nx_error *err);
/* policy: SHA-256 of the file as it was read; approval NULL: it could not be understood, and
 * no round runs until it can. */
int nx_site_audit_policy(struct nx_audit_log *log, const struct nx_hash *policy,
                         const char *approval, struct nx_error *err);
int nx_site_audit_refused(struct nx_audit_log *log, const struct nx_site_round *round,
                          const char *reason, struct nx_error *err);
/* A cap on what may leave was met. */
int nx_site_audit_stopped(struct nx_audit_log *log, const char *reason, struct nx_error *err);
int nx_site_audit_joined(struct nx_audit_log *log, const struct nx_site_round *round,
                         size_t n_members, struct nx_error *err);
int nx_site_audit_data(struct nx_audit_log *log, const struct nx_site_round *round,
                       const struct nx_dataset_summary *summary, struct nx_error *err);
int nx_site_audit_subjects(struct nx_audit_log *log, const struct nx_site_round *round,
                           size_t n_withdrawn, size_t n_before, struct nx_error *err);
/* destination: SPKI hash of the coordinator's certificate. Written before the first byte
 * leaves. */
int nx_site_audit_upload(struct nx_audit_log *log, const struct nx_site_round *round,
                         uint64_t bytes, const struct nx_hash *root,
                         const struct nx_hash *destination, struct nx_error *err);
int nx_site_audit_vote(struct nx_audit_log *log, const struct nx_site_round *round,
                       const char *choice, const struct nx_hash *subject, struct nx_error *err);
int nx_site_audit_released(struct nx_audit_log *log, const struct nx_site_round *round,
                           size_t n_self, size_t n_keys, struct nx_error *err);
/* reason NULL: it was what it should be. */
int nx_site_audit_sum(struct nx_audit_log *log, const struct nx_site_round *round,
                      const struct nx_hash *sum, size_t n_tiles, const char *reason,
                      struct nx_error *err);
int nx_site_audit_sealed(struct nx_audit_log *log, const struct nx_site_round *round,
                         const struct nx_hash *model, struct nx_error *err);
int nx_site_audit_left(struct nx_audit_log *log, const struct nx_site_round *round,
                       const char *reason, struct nx_error *err);
/* Before the upload. epsilon: of the data set with this charge, at delta; mechanism: "none" for
 * a plan without one, of which epsilon says nothing. */
int nx_site_audit_charged(struct nx_audit_log *log, const struct nx_ledger_charge *charge,
                          const char *mechanism, double delta, double epsilon,
                          struct nx_error *err);
int nx_site_audit_refunded(struct nx_audit_log *log, uint64_t round, uint32_t attempt,
                           struct nx_error *err);
/* After a round: of the plan alone, and of the data set over all plans. */
int nx_site_audit_spent(struct nx_audit_log *log, const struct nx_site_round *round,
                        const struct nx_budget_account *account, struct nx_error *err);
/* What the coordinator is told about this site's data, word for word; before it leaves. */
int nx_site_audit_fit(struct nx_audit_log *log, const struct nx_fit_message *fit,
                      struct nx_error *err);
int nx_site_audit_withdrawn_told(struct nx_audit_log *log, size_t n_models,
                                 const struct nx_hash *message, struct nx_error *err);
/* Two bodies that cannot both be honest, kept whole. */
int nx_site_audit_evidence(struct nx_audit_log *log, const struct nx_site_round *round,
                           const char *about, struct nx_bytes first, struct nx_bytes second,
                           struct nx_error *err);
