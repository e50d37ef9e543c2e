/* Retention: what lies in the home folder longer than coordinator.yaml says goes, and the audit
 * log says what went.
 *
 *   uploads/RUN-ROUND   masked uploads, keep_uploads_days after they were written (and sooner by
 *                       keep_uploads): the key agreement under the masks will not stand for ever
 *   blobs/SHA-256       models and opened sums, keep_models_days after; never the model that a
 *                       run ended with or goes on from, nor a plan
 *   audit/              never: it is what everything else is checked against
 *
 * Main thread. */
#pragma once

#include "coordinator/admin/federation.h"
#include "crypto/audit_log.h"

/* One pass. Each kind that loses something is one entry, retention.deleted, before it does
 * (crypto/retention_sweep.h). */
int nx_retention_pass(struct nx_federation *federation, struct nx_audit_log *audit, int64_t now,
                      struct nx_error *err);
