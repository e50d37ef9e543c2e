/* Site retention: what lies in a node's home longer than node.yaml says (keep:) goes, and the
 * node's audit log says what went.
 *
 *   spool/  residual     uploads_days   masked uploads and pieces of sums that a round left behind
 *                                       (one that ended in order takes its own away at once), and
 *                                       what rounding took from the last update
 *   models/              models_days    of past rounds; never the one the node holds now
 *   answers/  subjects/unusable
 *                        answers_days   what the hub was told of whether the data fit, and why a
 *                                       recording could not be used
 *   egress/receipt-N     receipts_days  what left, from the first on; the newest stays. The entry
 *                                       says through which number, and neurox-audit believes it
 *
 *   audit/ subjects/ approvals/ plans/ ledger.db   never by themselves: what a steward answers
 *                                       from, and what a withdrawal and a budget are reckoned with
 *
 * The owner's thread; models and answers may be read beside it (what is gone is fetched anew). */
#pragma once

#include "crypto/audit_log.h"
#include "node/node_config.h"

/* One pass at `now` (Unix ns). model: the one the node holds, which stays; NULL: not known yet, all
 * of them stay. */
int nx_site_retention_pass(const char *home, const struct nx_node_config *config,
                           const struct nx_hash *model, int64_t now, struct nx_audit_log *audit,
                           struct nx_error *err);
