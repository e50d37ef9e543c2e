/* Decision: a steward's signed yes or no to one plan, exactly as it is written.
 *
 *   HOME/approvals/<sha256 of the plan>   "neurox-decision-1\nplan HEX\napprove|reject\n
 *                                          at UNIX_NS\nby NAME\nreason TEXT\nsignature HEX\n"
 *
 * The node's identity key signs everything before the last line (as message "plan-decision"),
 * so a file that somebody put there is worth nothing. The newest decision stands: deciding
 * again replaces the file, and the audit log keeps both. */
#pragma once

#include <stdbool.h>

#include "crypto/audit_log.h"

#define NX_DECISION_WORDS 200

struct nx_decision {
  struct nx_hash plan;
  bool approved;
  int64_t at;                     /* Unix ns */
  char by[64];                    /* the account that ran the verb */
  char reason[NX_DECISION_WORDS]; /* may be empty */
};

/* Durable. NX_E_INVALID: control characters in by or reason. */
int nx_decision_save(const char *folder, const struct nx_identity *identity,
                     const struct nx_decision *decision, struct nx_error *err);
/* NX_E_NOT_FOUND: nothing was decided; NX_E_CRYPTO: not signed by this node. */
int nx_decision_load(const char *folder, const struct nx_public_key *key,
                     const struct nx_hash *plan, struct nx_decision *out, struct nx_error *err);
/* Calls `found` for every decision in the folder that is signed by key; one that is not is
 * told through `broken` (may be NULL). A folder that is not there has none. */
int nx_decisions_visit(const char *folder, const struct nx_public_key *key,
                       int (*found)(void *context, const struct nx_decision *decision,
                                    struct nx_error *err),
                       void (*broken)(void *context, const char *file, const char *why),
                       void *context, struct nx_error *err);
/* Every decision that the log does not have yet goes into it (plan.approved, plan.rejected);
 * HOME/approvals/<sha256>.logged remembers which file that was. */
int nx_decisions_log(const char *folder, const struct nx_public_key *key, struct nx_audit_log *log,
                     struct nx_error *err);
