#include "node/policy/site_audit.h"

#include <stdio.h>

#define ROUND(r) NX_AUDIT_UINT("round", (r)->round), NX_AUDIT_UINT("attempt", (r)->attempt)

static const char *kind_name(enum nx_round_kind kind) {
  switch (kind) {
  case NX_ROUND_STATISTICS:
    return "statistics";
  case NX_ROUND_TRAIN:
    return "train";
  case NX_ROUND_EVALUATE:
    return "evaluate";
  }
  return "unknown";
}

int nx_site_audit_enrolled(struct nx_audit_log *log, const char *federation, const char *name,
                           const struct nx_hash *ca, const struct nx_hash *spki,
                           const struct nx_public_key *identity, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "node.enrolled", NX_AUDIT_STR("federation", federation),
                         NX_AUDIT_STR("name", name), NX_AUDIT_HASH("ca", ca),
                         NX_AUDIT_HASH("spki", spki), NX_AUDIT_HASH("identity", identity));
}

int nx_site_audit_renewed(struct nx_audit_log *log, const struct nx_hash *spki,
                          const struct nx_hash *roots, int64_t ends, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "certificate.renewed", NX_AUDIT_HASH("spki", spki),
                         NX_AUDIT_HASH("roots", roots), NX_AUDIT_INT("ends", ends));
}

int nx_site_audit_pinned(struct nx_audit_log *log, const struct nx_hash *manifest, size_t n_members,
                         struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "manifest.pinned", NX_AUDIT_HASH("manifest", manifest),
                         NX_AUDIT_UINT("members", n_members));
}

int nx_site_audit_plan(struct nx_audit_log *log, const struct nx_hash *plan, const char *name,
                       const char *reason, struct nx_error *err) {
  if (reason)
    return NX_AUDIT_APPEND(log, err, "plan.refused", NX_AUDIT_HASH("plan", plan),
                           NX_AUDIT_STR("name", name), NX_AUDIT_STR("reason", reason));
  return NX_AUDIT_APPEND(log, err, "plan.accepted", NX_AUDIT_HASH("plan", plan),
                         NX_AUDIT_STR("name", name));
}

int nx_site_audit_decision(struct nx_audit_log *log, const struct nx_decision *decision,
                           const struct nx_hash *file, struct nx_error *err) {
  if (decision->approved)
    return NX_AUDIT_APPEND(log, err, "plan.approved", NX_AUDIT_HASH("plan", &decision->plan),
                           NX_AUDIT_STR("by", decision->by), NX_AUDIT_INT("at", decision->at),
                           NX_AUDIT_HASH("decision", file));
  return NX_AUDIT_APPEND(log, err, "plan.rejected", NX_AUDIT_HASH("plan", &decision->plan),
                         NX_AUDIT_STR("by", decision->by), NX_AUDIT_INT("at", decision->at),
                         NX_AUDIT_HASH("decision", file), NX_AUDIT_STR("reason", decision->reason));
}

int nx_site_audit_policy(struct nx_audit_log *log, const struct nx_hash *policy,
                         const char *approval, struct nx_error *err) {
  if (!approval)
    return NX_AUDIT_APPEND(log, err, "policy.broken", NX_AUDIT_HASH("policy", policy));
  return NX_AUDIT_APPEND(log, err, "policy.read", NX_AUDIT_HASH("policy", policy),
                         NX_AUDIT_STR("approval", approval));
}

int nx_site_audit_refused(struct nx_audit_log *log, const struct nx_site_round *round,
                          const char *reason, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "round.refused", ROUND(round),
                         NX_AUDIT_HASH("plan", &round->plan), NX_AUDIT_STR("reason", reason));
}

int nx_site_audit_stopped(struct nx_audit_log *log, const char *reason, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "egress.stopped", NX_AUDIT_STR("reason", reason));
}

int nx_site_audit_joined(struct nx_audit_log *log, const struct nx_site_round *round,
                         size_t n_members, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "round.joined", ROUND(round),
                         NX_AUDIT_STR("kind", kind_name(round->kind)),
                         NX_AUDIT_HASH("plan", &round->plan), NX_AUDIT_HASH("model", &round->model),
                         NX_AUDIT_UINT("members", n_members));
}

int nx_site_audit_data(struct nx_audit_log *log, const struct nx_site_round *round,
                       const struct nx_dataset_summary *summary, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "data.used", ROUND(round),
                         NX_AUDIT_HASH("manifest", &summary->manifest),
                         NX_AUDIT_UINT("subjects", summary->n_subjects),
                         NX_AUDIT_UINT("held_out", summary->n_held_out_subjects),
                         NX_AUDIT_UINT("recordings", summary->n_recordings),
                         NX_AUDIT_UINT("windows", summary->n_train_windows),
                         NX_AUDIT_UINT("synthetic", summary->synthetic));
}

int nx_site_audit_subjects(struct nx_audit_log *log, const struct nx_site_round *round,
                           size_t n_withdrawn, size_t n_before, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "subjects.changed", ROUND(round),
                         NX_AUDIT_UINT("withdrawn", n_withdrawn),
                         NX_AUDIT_UINT("before", n_before));
}

int nx_site_audit_upload(struct nx_audit_log *log, const struct nx_site_round *round,
                         uint64_t bytes, const struct nx_hash *root,
                         const struct nx_hash *destination, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "upload.sent", ROUND(round), NX_AUDIT_UINT("bytes", bytes),
                         NX_AUDIT_HASH("root", root), NX_AUDIT_HASH("plan", &round->plan),
                         NX_AUDIT_HASH("model", &round->model),
                         NX_AUDIT_HASH("destination", destination));
}

int nx_site_audit_vote(struct nx_audit_log *log, const struct nx_site_round *round,
                       const char *choice, const struct nx_hash *subject, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "vote.sent", ROUND(round), NX_AUDIT_STR("choice", choice),
                         NX_AUDIT_HASH("subject", subject));
}

int nx_site_audit_released(struct nx_audit_log *log, const struct nx_site_round *round,
                           size_t n_self, size_t n_keys, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "shares.released", ROUND(round), NX_AUDIT_UINT("self", n_self),
                         NX_AUDIT_UINT("keys", n_keys));
}

int nx_site_audit_sum(struct nx_audit_log *log, const struct nx_site_round *round,
                      const struct nx_hash *sum, size_t n_tiles, const char *reason,
                      struct nx_error *err) {
  if (reason)
    return NX_AUDIT_APPEND(log, err, "sum.refused", ROUND(round), NX_AUDIT_HASH("sum", sum),
                           NX_AUDIT_STR("reason", reason));
  return NX_AUDIT_APPEND(log, err, "sum.checked", ROUND(round), NX_AUDIT_HASH("sum", sum),
                         NX_AUDIT_UINT("tiles", n_tiles));
}

int nx_site_audit_sealed(struct nx_audit_log *log, const struct nx_site_round *round,
                         const struct nx_hash *model, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "model.sealed", ROUND(round), NX_AUDIT_HASH("model", model));
}

int nx_site_audit_left(struct nx_audit_log *log, const struct nx_site_round *round,
                       const char *reason, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "round.left", ROUND(round), NX_AUDIT_STR("reason", reason));
}

/* Shortest digits that read back, "inf" when no promise is left. */
struct real {
  char text[32];
};
static struct real real(double value) {
  struct real out;
  snprintf(out.text, sizeof out.text, "%.9g", value);
  return out;
}

int nx_site_audit_charged(struct nx_audit_log *log, const struct nx_ledger_charge *charge,
                          const char *mechanism, double delta, double epsilon,
                          struct nx_error *err) {
  return NX_AUDIT_APPEND(
      log, err, "privacy.charged", NX_AUDIT_UINT("round", charge->round),
      NX_AUDIT_UINT("attempt", charge->attempt), NX_AUDIT_STR("dataset", charge->dataset),
      NX_AUDIT_STR("mechanism", mechanism), NX_AUDIT_UINT("steps", charge->n_steps),
      NX_AUDIT_STR("delta", real(delta).text), NX_AUDIT_STR("epsilon", real(epsilon).text));
}

int nx_site_audit_refunded(struct nx_audit_log *log, uint64_t round, uint32_t attempt,
                           struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "privacy.refunded", NX_AUDIT_UINT("round", round),
                         NX_AUDIT_UINT("attempt", attempt));
}

int nx_site_audit_spent(struct nx_audit_log *log, const struct nx_site_round *round,
                        const struct nx_budget_account *account, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "privacy.spent", NX_AUDIT_UINT("round", round->round),
                         NX_AUDIT_STR("dataset", account->dataset),
                         NX_AUDIT_STR("plan_epsilon", real(account->plan.epsilon).text),
                         NX_AUDIT_STR("plan_delta", real(account->plan_delta).text),
                         NX_AUDIT_UINT("plan_steps", account->plan.n_steps),
                         NX_AUDIT_STR("epsilon", real(account->all.epsilon).text),
                         NX_AUDIT_STR("delta", real(account->delta).text),
                         NX_AUDIT_UINT("unprotected", account->all.n_unprotected));
}

int nx_site_audit_evidence(struct nx_audit_log *log, const struct nx_site_round *round,
                           const char *about, struct nx_bytes first, struct nx_bytes second,
                           struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "evidence.kept", ROUND(round), NX_AUDIT_STR("about", about),
                         NX_AUDIT_DATA("first", first.data, first.size),
                         NX_AUDIT_DATA("second", second.data, second.size));
}

int nx_site_audit_fit(struct nx_audit_log *log, const struct nx_fit_message *fit,
                      struct nx_error *err) {
  static const char *const verdicts[] = {
      [NX_FIT_YES] = "yes", [NX_FIT_NO] = "no", [NX_FIT_UNSAID] = "unsaid"};
  char met[256], unmet[256], subjects[24] = "", recordings[24] = "";
  nx_requirements_tell(fit->met, met, sizeof met);
  nx_requirements_tell(fit->unmet, unmet, sizeof unmet);
  if (fit->counted) {
    nx_fit_bucket_tell(fit->subjects, subjects);
    nx_fit_bucket_tell(fit->recordings, recordings);
  }
  return NX_AUDIT_APPEND(log, err, "fit.answered", NX_AUDIT_HASH("plan", &fit->plan),
                         NX_AUDIT_STR("verdict", verdicts[fit->verdict]), NX_AUDIT_STR("met", met),
                         NX_AUDIT_STR("unmet", unmet), NX_AUDIT_STR("subjects", subjects),
                         NX_AUDIT_STR("recordings", recordings));
}

int nx_site_audit_withdrawn_told(struct nx_audit_log *log, size_t n_models,
                                 const struct nx_hash *message, struct nx_error *err) {
  return NX_AUDIT_APPEND(log, err, "withdrawn.told", NX_AUDIT_UINT("models", n_models),
                         NX_AUDIT_HASH("message", message));
}
