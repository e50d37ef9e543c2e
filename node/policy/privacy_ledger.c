#include "node/policy/privacy_ledger.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"
#include "crypto/accountant.h"
#include "node/policy/ledger_store.h"

/* All events are in memory too: every question is answered from there. */
struct nx_privacy_ledger {
  pthread_mutex_t lock;
  struct nx_ledger_store *store;
  struct nx_ledger_event *events;
  size_t n, allocated;
};

static void unlock(pthread_mutex_t **lock) {
  pthread_mutex_unlock(*lock);
}
#define HOLD(ledger)                                                                               \
  _cleanup_(unlock) __attribute__((unused)) pthread_mutex_t *hold_ =                               \
      (pthread_mutex_lock(&(ledger)->lock), &(ledger)->lock)

static struct nx_ledger_event *charge_of(struct nx_privacy_ledger *ledger, uint64_t round,
                                         uint32_t attempt) {
  for (size_t i = ledger->n; i-- > 0;) {
    struct nx_ledger_event *event = &ledger->events[i];
    if (!event->is_refund && event->charge.round == round && event->charge.attempt == attempt)
      return event;
  }
  return NULL;
}

static int reserve(struct nx_privacy_ledger *ledger, struct nx_error *err) {
  if (ledger->n < ledger->allocated)
    return 0;
  size_t more = ledger->allocated ? 2 * ledger->allocated : 64;
  struct nx_ledger_event *events = reallocarray(ledger->events, more, sizeof *events);
  if (!events)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  ledger->events = events;
  ledger->allocated = more;
  return 0;
}

static int keep(void *context, const struct nx_ledger_event *event, struct nx_error *err) {
  struct nx_privacy_ledger *ledger = context;
  int r = reserve(ledger, err);
  if (r < 0)
    return r;
  ledger->events[ledger->n++] = *event;
  struct nx_ledger_event *taken_back =
      event->is_refund ? charge_of(ledger, event->charge.round, event->charge.attempt) : NULL;
  if (taken_back)
    taken_back->refunded = true;
  return 0;
}

int nx_privacy_ledger_open(const char *path, bool create, struct nx_privacy_ledger **ledger_out,
                           struct nx_error *err) {
  struct nx_privacy_ledger *ledger = calloc(1, sizeof *ledger);
  if (!ledger)
    return nx_fail(err, NX_E_NOMEM, "privacy ledger: out of memory");
  pthread_mutex_init(&ledger->lock, NULL);
  int r = nx_ledger_store_open(path, create, keep, ledger, &ledger->store, err);
  if (r < 0) {
    nx_privacy_ledger_close(ledger);
    return nx_error_prefix(err, r, "privacy ledger");
  }
  *ledger_out = ledger;
  return 0;
}

void nx_privacy_ledger_close(struct nx_privacy_ledger *ledger) {
  if (!ledger)
    return;
  nx_ledger_store_close(ledger->store);
  pthread_mutex_destroy(&ledger->lock);
  free(ledger->events);
  free(ledger);
}

/* ---- writing ---------------------------------------------------------------------------- */

/* Room first: what is on disk must not be missing in memory. What failed may be on disk or
 * not: memory keeps the larger spending. */
static int append(struct nx_privacy_ledger *ledger, const struct nx_ledger_event *event,
                  struct nx_error *err) {
  int r = reserve(ledger, err);
  if (r < 0)
    return nx_error_prefix(err, r, "privacy ledger");
  r = nx_ledger_store_append(ledger->store, event, err);
  if (r == 0 || !event->is_refund)
    keep(ledger, event, NULL);
  return r < 0 ? nx_error_prefix(err, r, "privacy ledger") : 0;
}

static int check_charge(const struct nx_ledger_charge *charge, struct nx_error *err) {
  _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant = NULL;
  if (!memchr(charge->dataset, 0, sizeof charge->dataset) || !charge->dataset[0])
    return nx_fail(err, NX_E_INVALID, "privacy ledger: a charge without a data set");
  if (!charge->n_steps)
    return 0;
  int r = nx_accountant_create(&accountant, err);
  return r < 0 ? r : nx_accountant_add(accountant, &charge->step, charge->n_steps, err);
}

static bool same_spending(const struct nx_ledger_charge *a, const struct nx_ledger_charge *b) {
  const struct nx_privacy_step *x = &a->step, *y = &b->step;
  return !strcmp(a->dataset, b->dataset) && nx_hash_equal(&a->plan, &b->plan) &&
         a->n_steps == b->n_steps && a->unit == b->unit && x->kind == y->kind && x->q == y->q &&
         x->sigma == y->sigma && x->skellam.mu == y->skellam.mu && x->skellam.l1 == y->skellam.l1 &&
         x->skellam.l2 == y->skellam.l2;
}

int nx_privacy_ledger_charge(struct nx_privacy_ledger *ledger,
                             const struct nx_ledger_charge *charge, struct nx_error *err) {
  HOLD(ledger);
  int r = check_charge(charge, err);
  if (r < 0)
    return r;
  const struct nx_ledger_event *before = charge_of(ledger, charge->round, charge->attempt);
  if (before && before->refunded)
    return nx_fail(err, NX_E_STATE,
                   "privacy ledger: attempt %u of round %llu was refunded and opens never",
                   charge->attempt, (unsigned long long)charge->round);
  if (before && !same_spending(&before->charge, charge))
    return nx_fail(
        err, NX_E_STATE,
        "privacy ledger: attempt %u of round %llu was charged before, with other numbers",
        charge->attempt, (unsigned long long)charge->round);
  if (before)
    return 0;
  return append(ledger, &(struct nx_ledger_event){.charge = *charge}, err);
}

int nx_privacy_ledger_refund(struct nx_privacy_ledger *ledger, uint64_t round, uint32_t attempt,
                             int64_t at, struct nx_error *err) {
  HOLD(ledger);
  const struct nx_ledger_event *before = charge_of(ledger, round, attempt);
  if (!before || before->refunded)
    return NX_LEDGER_NOTHING;
  struct nx_ledger_event event = {.is_refund = true, .charge = before->charge};
  event.charge.at = at;
  return append(ledger, &event, err);
}

/* ---- adding up --------------------------------------------------------------------------- */

static bool stands(const struct nx_privacy_ledger *ledger, size_t i) {
  return !ledger->events[i].is_refund && !ledger->events[i].refunded;
}

static bool asked_for(const struct nx_ledger_query *query, const struct nx_ledger_charge *charge) {
  if (query->dataset && strcmp(query->dataset, charge->dataset))
    return false;
  if (query->plan && !nx_hash_equal(query->plan, &charge->plan))
    return false;
  if (query->unit == NX_UNIT_NODE && charge->unit != NX_UNIT_NODE && charge->n_steps)
    return false;
  return charge->at >= query->since;
}

/* As a subject sees it: without one person a site uploads another vector of norm C, not none. */
static struct nx_privacy_step as_seen_by(enum nx_privacy_unit unit,
                                         const struct nx_ledger_charge *charge) {
  struct nx_privacy_step step = charge->step;
  if (unit == NX_UNIT_SUBJECT && charge->unit == NX_UNIT_NODE) {
    step.sigma /= 2;
    step.skellam.l1 *= 2;
    step.skellam.l2 *= 2;
  }
  return step;
}

static int add(const struct nx_ledger_query *query, const struct nx_ledger_charge *charge,
               struct nx_accountant *accountant, struct nx_ledger_spent *spent,
               struct nx_error *err) {
  spent->n_rounds++;
  if (!charge->n_steps) {
    spent->n_unprotected++;
    return 0;
  }
  struct nx_privacy_step step = as_seen_by(query->unit, charge);
  spent->n_steps += charge->n_steps;
  return nx_accountant_add(accountant, &step, charge->n_steps, err);
}

int nx_privacy_ledger_spent(struct nx_privacy_ledger *ledger, const struct nx_ledger_query *query,
                            struct nx_ledger_spent *spent_out, struct nx_error *err) {
  _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant = NULL;
  *spent_out = (struct nx_ledger_spent){0};
  int r = nx_accountant_create(&accountant, err);
  if (r == 0) {
    HOLD(ledger);
    for (size_t i = 0; r == 0 && i < ledger->n; i++)
      if (asked_for(query, &ledger->events[i].charge) && stands(ledger, i))
        r = add(query, &ledger->events[i].charge, accountant, spent_out, err);
  }
  if (r == 0 && query->more)
    r = add(query, query->more, accountant, spent_out, err);
  if (r == 0)
    r = nx_accountant_epsilon(accountant, query->delta, &spent_out->epsilon, err);
  return r < 0 ? nx_error_prefix(err, r, "privacy ledger") : 0;
}

int nx_privacy_ledger_visit(struct nx_privacy_ledger *ledger,
                            int (*visit)(void *context, const struct nx_ledger_charge *charge,
                                         struct nx_error *err),
                            void *context, struct nx_error *err) {
  HOLD(ledger);
  int r = 0;
  for (size_t i = 0; r == 0 && i < ledger->n; i++)
    if (stands(ledger, i))
      r = visit(context, &ledger->events[i].charge, err);
  return r;
}
