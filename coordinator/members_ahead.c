/* A store that was restored from a backup knows less than the members do: they have sealed rounds
 * that it never heard of, and never go back behind them. Each says so when it connects; what n_C + 1
 * say, an honest one says. */
#include <stdlib.h>

#include "coordinator/coordinator_internal.h"
#include "crypto/threshold.h"

static int downwards(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x < y) - (x > y);
}

uint64_t nx_members_sealed(const struct nx_coordinator *c) {
  uint64_t claims[NX_STORE_MEMBERS];
  for (size_t i = 0; i < c->n_founders; i++)
    claims[i] = c->claimed[c->founders[i].id];
  qsort(claims, c->n_founders, sizeof *claims, downwards);
  return c->n_founders ? claims[nx_threshold_corrupt((uint32_t)c->n_founders)] : 0;
}

int nx_members_ahead(struct nx_coordinator *c, struct nx_error *err) {
  uint64_t sealed = nx_members_sealed(c);
  struct nx_run_status status;
  if (!c->run || nx_training_run_is_over(c->run))
    return 0;
  nx_training_run_status(c->run, &status);
  return sealed > status.round ? nx_training_run_overtaken(c->run, sealed, err) : 0;
}
