/* Policy: what this institution lets its node do, whatever the coordinator says. Answers
 * depend on the arguments alone. A refusal is a sentence that an operator elsewhere may
 * read: it names the rule, never data. One thread. */
#pragma once

#include "common/plan.h"
#include "crypto/hash.h"
#include "node/node_config.h"

struct nx_policy {
  uint32_t minimum_members;
  enum nx_approval approval;
  struct nx_hash *plans; /* approved here */
  size_t n_plans;
};

/* From node.yaml and from `approvals`, a folder of files named by plan hash (what
 * `neurox-node approve` writes; it need not exist). Free with nx_policy_finish(). */
int nx_policy_load(const struct nx_node_config *config, const char *approvals,
                   struct nx_policy *policy_out, struct nx_error *err);
void nx_policy_finish(struct nx_policy *policy); /* zeroed is fine */

/* Reads the approvals again, so that a plan approved while the node runs is seen. */
int nx_policy_reload(struct nx_policy *policy, const struct nx_node_config *config,
                     const char *approvals, struct nx_error *err);

/* n_members: of the whole federation. 0, or NX_E_DENIED: the plan is not approved here, or
 * asks for less than this node does (members, spot checks); NX_E_LIMIT: a sum over so many
 * members does not fit its ring. */
int nx_policy_judge_plan(const struct nx_policy *policy, const struct nx_plan *plan,
                         const struct nx_hash *plan_hash, uint32_t n_members, struct nx_error *err);

/* Puts the plan's text into `approvals` under its hash, after it parsed. Approving twice is
 * fine. */
int nx_policy_approve(const char *approvals, const char *plan_path, struct nx_hash *hash_out,
                      struct nx_error *err);
