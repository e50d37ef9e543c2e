/* Accountant: what a sequence of noisy steps has cost, as one epsilon at one delta.
 *
 *     step kind        steps     eps at order 2, 3, 4 …           epsilon(delta)
 *     Gaussian q, s  x 200    ->  +  +  +  +   each order    ->   min over orders of
 *     Skellam  q, …  x  50    ->  +  +  +  +   adds up            nx_rdp_to_epsilon()
 *
 * Steps may differ and may come in any order; a charge that was taken back leaves no trace,
 * because counts are kept and not sums. Where every step is a Gaussian without sampling,
 * the exact curve is used if it is lower. An epsilon may be INFINITY: no promise is left.
 *
 * One thread at a time. The ledger is not durable: its owner journals what it adds. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "crypto/rdp.h"

enum nx_privacy_step_kind {
  NX_STEP_GAUSSIAN = 1, /* sampled with q; q = 1: every unit, every step */
  NX_STEP_SKELLAM = 2   /* likewise */
};

/* One step, in units that no longer know about clipping or scale. */
struct nx_privacy_step {
  enum nx_privacy_step_kind kind;
  double q;                      /* chance that a unit takes part in it */
  double sigma;                  /* Gaussian: standard deviation over L2 sensitivity */
  struct nx_rdp_skellam skellam; /* Skellam only */
};

#define NX_ACCOUNTANT_KINDS_MAX 256u /* different steps in one ledger */

struct nx_accountant; /* opaque */

/* Orders 2..256, 320, 384, 512, 768 and 1024. */
int nx_accountant_create(struct nx_accountant **accountant_out, struct nx_error *err);
/* The orders that a published figure was computed with: ascending, each 2..4096. Fewer
 * orders are never wrong, only looser. */
int nx_accountant_create_with_orders(const uint32_t *orders, size_t n_orders,
                                     struct nx_accountant **accountant_out, struct nx_error *err);
void nx_accountant_destroy(struct nx_accountant *accountant); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_accountant *, nx_accountant_destroy)

/* NX_E_INVALID names a value that is not one; NX_E_LIMIT when a count would overflow or the
 * ledger holds too many kinds. The ledger is then as it was. */
int nx_accountant_add(struct nx_accountant *accountant, const struct nx_privacy_step *step,
                      uint64_t n_steps, struct nx_error *err);
/* A refund, exact. NX_E_STATE when the ledger does not hold that many such steps. */
int nx_accountant_remove(struct nx_accountant *accountant, const struct nx_privacy_step *step,
                         uint64_t n_steps, struct nx_error *err);

uint64_t nx_accountant_steps(const struct nx_accountant *accountant); /* all kinds */

/* The least epsilon at 0 < delta < 1; 0 for an empty ledger. */
int nx_accountant_epsilon(const struct nx_accountant *accountant, double delta, double *epsilon_out,
                          struct nx_error *err);
/* What epsilon would be after so many more steps: asked before a round is joined. */
int nx_accountant_preview(const struct nx_accountant *accountant,
                          const struct nx_privacy_step *step, uint64_t n_steps, double delta,
                          double *epsilon_out, struct nx_error *err);
