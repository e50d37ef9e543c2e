/* Ledger store: the events of the privacy ledger on disk. Private to node/policy;
 * privacy_ledger.h says what the files are and what "fails closed" means. One thread. */
#pragma once

#include "node/policy/privacy_ledger.h"

struct nx_ledger_event {
  bool is_refund; /* of charge.round, charge.attempt; the rest repeats the charge */
  struct nx_ledger_charge charge;
  bool refunded; /* a charge: taken back later. In memory only */
};

struct nx_ledger_store; /* opaque */

/* Reads and checks every event, in order, through `event`. */
int nx_ledger_store_open(const char *path, bool create,
                         int (*event)(void *context, const struct nx_ledger_event *event,
                                      struct nx_error *err),
                         void *context, struct nx_ledger_store **store_out, struct nx_error *err);
void nx_ledger_store_close(struct nx_ledger_store *store); /* NULL is fine */
/* On disk when it returns 0: the event, then the head. After a failure it takes no more
 * (NX_E_IO): what is on disk is not known. */
int nx_ledger_store_append(struct nx_ledger_store *store, const struct nx_ledger_event *event,
                           struct nx_error *err);
