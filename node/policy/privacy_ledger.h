/* Privacy ledger: what was ever spent on the people of this site, across plans, runs and
 * restarts. One file a node; it is the institution's, the coordinator never sees it.
 *
 *   ledger.db     SQLite, WAL, synchronous FULL; a table of events that only grows:
 *                   charge  data set, unit, plan, round, attempt, mechanism step, count, delta
 *                   refund  round, attempt: an ABORT certificate says that it opens never
 *                 each with H(chain of the event before | its fields)
 *   ledger.head   number of events and the last chain value, replaced after each event
 *
 * Steps are kept and epsilons are computed from them (crypto/accountant.h), because epsilons
 * do not add up. A charge is on disk before nx_privacy_ledger_charge() returns, and the
 * upload it is for comes after. Whatever an attempt in doubt (a kill, a lost line) has
 * charged stays charged.
 *
 * Fails closed. SQLite drops a damaged tail of its log in silence; here the head remembers:
 * a ledger that ends before its head, or whose chain does not hold, is NX_E_FORMAT and no
 * round that charges is joined until a backup is restored.
 *
 * Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "crypto/hash.h"
#include "crypto/privacy_mechanism.h"

#define NX_LEDGER_FILE "ledger.db" /* in the node's folder */
#define NX_LEDGER_DATASET_SIZE 65  /* bytes of a data set's name, with the final 0 */
#define NX_LEDGER_YEAR (INT64_C(365) * 24 * 3600 * 1000000000) /* ns */
#define NX_LEDGER_NOTHING 1 /* refund: there was nothing to refund */

struct nx_privacy_ledger; /* opaque */

struct nx_ledger_charge {
  char dataset[NX_LEDGER_DATASET_SIZE];
  struct nx_hash plan;
  uint64_t round;
  uint32_t attempt;
  uint64_t n_steps;            /* 0: a round without a mechanism; no epsilon holds for it */
  enum nx_privacy_unit unit;   /* of step */
  struct nx_privacy_step step; /* ignored when n_steps is 0 */
  double delta;                /* the plan's, for what is told about the plan alone */
  int64_t at;                  /* unix ns */
};

/* path: of ledger.db. create: makes an empty one when there is neither ledger nor head;
 * otherwise, and for reading beside a running node, NX_E_NOT_FOUND. NX_E_FORMAT: damaged. */
int nx_privacy_ledger_open(const char *path, bool create, struct nx_privacy_ledger **ledger_out,
                           struct nx_error *err);
void nx_privacy_ledger_close(struct nx_privacy_ledger *ledger); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_privacy_ledger *, nx_privacy_ledger_close)

/* Durable when it returns 0; the same (round, attempt) again is charged once. NX_E_STATE: that
 * attempt was refunded, so it may not be uploaded any more, or was charged with other numbers.
 * After any failure treat it as charged, and do not upload. */
int nx_privacy_ledger_charge(struct nx_privacy_ledger *ledger,
                             const struct nx_ledger_charge *charge, struct nx_error *err);
/* Only with an ABORT certificate in hand. 0 or NX_LEDGER_NOTHING. */
int nx_privacy_ledger_refund(struct nx_privacy_ledger *ledger, uint64_t round, uint32_t attempt,
                             int64_t at, struct nx_error *err);

/* Which charges to add up. */
struct nx_ledger_query {
  const char *dataset;                 /* NULL: all of them, as one */
  const struct nx_hash *plan;          /* NULL: all */
  enum nx_privacy_unit unit;           /* whose epsilon. For a subject a charge whose unit is the
                                          node counts with twice the sensitivity: one person's
                                          absence moves a site's update, it does not remove it */
  int64_t since;                       /* unix ns; 0: ever */
  double delta;                        /* at which epsilon is told */
  const struct nx_ledger_charge *more; /* added in thought; may be NULL */
};
struct nx_ledger_spent {
  double epsilon; /* INFINITY: no promise is left */
  uint64_t n_steps, n_rounds;
  uint64_t n_unprotected; /* rounds without a mechanism, of which epsilon says nothing */
};
int nx_privacy_ledger_spent(struct nx_privacy_ledger *ledger, const struct nx_ledger_query *query,
                            struct nx_ledger_spent *spent_out, struct nx_error *err);

/* For showing: calls visit for every charge that stands, oldest first. visit: 0 goes on. */
int nx_privacy_ledger_visit(struct nx_privacy_ledger *ledger,
                            int (*visit)(void *context, const struct nx_ledger_charge *charge,
                                         struct nx_error *err),
                            void *context, struct nx_error *err);
