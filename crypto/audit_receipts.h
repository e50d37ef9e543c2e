/* Audit receipts: do a site's egress receipts agree with its log? A receipt is a file
 * receipt-NUMBER.json; the log's entry egress.receipt has its number and SHA-256. */
#pragma once

#include <stdint.h>

#include "common/error.h"

/* 0: every entry's receipt is there, unchanged, and there is no other. NX_E_CRYPTO says which is
 * missing, changed, told of twice, or not told of. One that the log says was deleted because its
 * time was over (retention.deleted) may be missing: *deleted_out (or NULL) says how many are. */
int nx_audit_receipts(const char *log, const char *folder, uint64_t *n_out, uint64_t *deleted_out,
                      struct nx_error *err);
