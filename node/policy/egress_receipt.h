/* Egress receipt: the rows of one round as a file for people and programs, tied to the log. */
#pragma once

#include "common/file.h"
#include "crypto/audit_log.h"

#define NX_EGRESS_KIND_SIZE 16
#define NX_EGRESS_ROW_SIZE 112

struct nx_egress_row {
  uint64_t round; /* 0: outside of rounds */
  uint32_t attempt;
  char kind[NX_EGRESS_KIND_SIZE];
  uint64_t messages, bytes;
  struct nx_hash digest;
  int64_t first, last; /* Unix ns */
};

void nx_egress_row_add(struct nx_egress_row *row, struct nx_bytes message, int64_t now);
void nx_egress_row_pack(const struct nx_egress_row *row, uint8_t out[NX_EGRESS_ROW_SIZE]);
/* False: it is torn. */
bool nx_egress_row_unpack(const uint8_t bytes[NX_EGRESS_ROW_SIZE], struct nx_egress_row *out);

struct nx_egress_receipt {
  uint64_t number; /* from 1, without a gap */
  const char *site;
  struct nx_hash destination;
  uint64_t round;
  const struct nx_egress_row *rows;
  size_t n;
};

/* Writes folder/receipt-NUMBER.json.draft, durable, then the log's entry egress.receipt. */
int nx_egress_receipt_draft(const char *folder, const struct nx_egress_receipt *receipt,
                            struct nx_audit_log *log, struct nx_error *err);
/* The draft becomes the receipt. */
int nx_egress_receipt_name(const char *folder, uint64_t number, struct nx_error *err);

#define NX_EGRESS_LOGGED 1
/* After a crash: 0, there is no draft of this number (any more: one that the log does not know is
 * removed); NX_EGRESS_LOGGED: there is, and the log has it, as of this round. */
int nx_egress_receipt_find(const char *folder, uint64_t number, const char *audit_folder,
                           uint64_t *round_out, struct nx_error *err);
/* The number in a receipt's file name; 0: it is not one's. */
uint64_t nx_egress_receipt_number(const char *name);
/* The last of the receipts from the first on that are older than `before` (Unix ns), so that those
 * that are left have no gap; never the newest one. 0: there is none. */
int nx_egress_receipt_old(const char *folder, int64_t before, uint64_t *through_out,
                          struct nx_error *err);
/* The number behind the last receipt in the folder. */
int nx_egress_receipt_next(const char *folder, uint64_t *next_out, struct nx_error *err);
