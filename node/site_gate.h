/* Site gate: what stands between an invitation and this site's recordings. Reads policy.yaml
 * and the steward's decisions anew before every plan and round, judges (policy.h), counts, and
 * sees to it that every refusal is in the audit log and, once, told to people.
 *
 * While policy.yaml cannot be read or understood no round runs (fail closed): whoever was
 * tightening it must not find that the old one went on. The log has the line, the coordinator
 * is told no more than that. Any thread. */
#pragma once

#include "crypto/audit_log.h"
#include "node/node_config.h"
#include "node/policy/budget.h"
#include "node/policy/egress.h"
#include "node/policy/policy.h"
#include "node/policy/site_audit.h"

struct nx_site_gate;

struct nx_site_gate_config {
  const char *home;
  const struct nx_node_config *node;
  const struct nx_public_key *key; /* of this node: its decisions are signed with it */
  struct nx_audit_log *audit;
  struct nx_privacy_ledger *ledger;
  struct nx_egress *egress; /* held to the caps of the policy */
};

/* Fails when policy.yaml is broken. cfg's pointers outlive it. */
int nx_site_gate_create(const struct nx_site_gate_config *cfg, struct nx_site_gate **gate_out,
                        struct nx_error *err);
void nx_site_gate_destroy(struct nx_site_gate *gate); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_site_gate *, nx_site_gate_destroy)

/* May the plan run here? n_members: of the federation. */
int nx_site_gate_plan(struct nx_site_gate *gate, const struct nx_site_round *round,
                      const struct nx_plan *plan, uint32_t n_members, struct nx_error *err);

/* May this round of it? Counts the round as joined when it may. */
struct nx_site_gate_round {
  const struct nx_plan *plan;
  uint32_t n_members;                        /* of the federation */
  const char (*cohort)[NX_POLICY_NAME_SIZE]; /* those invited */
  size_t n_cohort;
  uint64_t bytes;                        /* of the upload */
  const struct nx_ledger_charge *charge; /* of the privacy ledger; NULL: none */
};
int nx_site_gate_round(struct nx_site_gate *gate, const struct nx_site_round *round,
                       const struct nx_site_gate_round *asked, struct nx_error *err);

/* What the coordinator may be told about this site's data; as policy.yaml says now, and nothing while
 * it is broken. */
struct nx_site_policy_compatibility nx_site_gate_compatibility(struct nx_site_gate *gate);

/* The delta at which this site tells epsilon. */
double nx_site_gate_delta(struct nx_site_gate *gate);

/* Now and then, and on SIGHUP (then `told`: says in the log how policy.yaml reads): puts new
 * decisions into the audit log, tells of what nears its end. certificate: this node's, PEM. */
int nx_site_gate_look(struct nx_site_gate *gate, bool told, struct nx_bytes certificate,
                      struct nx_error *err);

/* A plan was submitted and is here: told to people if it must be approved. */
void nx_site_gate_plan_came(struct nx_site_gate *gate, const struct nx_hash *plan,
                            const char *name);
