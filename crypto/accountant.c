#include "crypto/accountant.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"

/* Steps that differ in nothing, and what one of them costs at each order. */
struct entry {
  struct nx_privacy_step step;
  uint64_t n_steps;
  double *eps; /* [n_orders] */
};

struct nx_accountant {
  uint32_t *orders;
  size_t n_orders, n_entries;
  struct entry entries[NX_ACCOUNTANT_KINDS_MAX];
};

int nx_accountant_create_with_orders(const uint32_t *orders, size_t n_orders,
                                     struct nx_accountant **accountant_out, struct nx_error *err) {
  if (n_orders == 0 || n_orders > NX_RDP_ORDER_MAX)
    return nx_fail(err, NX_E_INVALID, "an accountant needs 1 to %u orders, not %zu",
                   NX_RDP_ORDER_MAX, n_orders);
  for (size_t i = 0; i < n_orders; i++)
    if (orders[i] < NX_RDP_ORDER_MIN || orders[i] > NX_RDP_ORDER_MAX ||
        (i && orders[i] <= orders[i - 1]))
      return nx_fail(err, NX_E_INVALID, "order %u at place %zu: orders ascend from %u to %u",
                     orders[i], i, NX_RDP_ORDER_MIN, NX_RDP_ORDER_MAX);
  _cleanup_(nx_accountant_destroyp) struct nx_accountant *accountant =
      calloc(1, sizeof *accountant);
  if (!accountant)
    return nx_fail(err, NX_E_NOMEM, "no memory for a privacy ledger");
  accountant->orders = malloc(n_orders * sizeof *orders);
  if (!accountant->orders)
    return nx_fail(err, NX_E_NOMEM, "no memory for a privacy ledger");
  memcpy(accountant->orders, orders, n_orders * sizeof *orders);
  accountant->n_orders = n_orders;
  *accountant_out = nx_steal(&accountant);
  return 0;
}

int nx_accountant_create(struct nx_accountant **accountant_out, struct nx_error *err) {
  enum { N_DENSE = 255 };
  static const uint32_t sparse[] = {320, 384, 512, 768, 1024};
  uint32_t orders[N_DENSE + NX_ARRAY_LENGTH(sparse)];
  for (uint32_t i = 0; i < N_DENSE; i++)
    orders[i] = i + NX_RDP_ORDER_MIN;
  memcpy(orders + N_DENSE, sparse, sizeof sparse);
  return nx_accountant_create_with_orders(orders, NX_ARRAY_LENGTH(orders), accountant_out, err);
}

void nx_accountant_destroy(struct nx_accountant *accountant) {
  if (!accountant)
    return;
  for (size_t i = 0; i < accountant->n_entries; i++)
    free(accountant->entries[i].eps);
  free(accountant->orders);
  free(accountant);
}

static int skellam_curve(const struct nx_privacy_step *step, const uint32_t *orders,
                         size_t n_orders, double *eps_out, struct nx_error *err) {
  /* Sampling at order a asks for the curve at every order up to a. */
  uint32_t highest = orders[n_orders - 1];
  _cleanup_free_ double *whole = calloc(highest + 1, sizeof *whole);
  if (!whole)
    return nx_fail(err, NX_E_NOMEM, "no memory for %u Rényi orders", highest);
  int r = 0;
  for (uint32_t order = NX_RDP_ORDER_MIN; order <= highest && !r; order++)
    r = nx_rdp_skellam(order, &step->skellam, &whole[order], err);
  for (size_t i = 0; i < n_orders && !r; i++)
    r = nx_rdp_subsampled(orders[i], step->q, whole, &eps_out[i], err);
  return r;
}

static int step_curve(const struct nx_privacy_step *step, const uint32_t *orders, size_t n_orders,
                      double *eps_out, struct nx_error *err) {
  int r = 0;
  switch (step->kind) {
  case NX_STEP_GAUSSIAN:
    for (size_t i = 0; i < n_orders && !r; i++)
      r = nx_rdp_sampled_gaussian(orders[i], step->q, step->sigma, &eps_out[i], err);
    return r;
  case NX_STEP_SKELLAM:
    return skellam_curve(step, orders, n_orders, eps_out, err);
  }
  return nx_fail(err, NX_E_INVALID, "privacy step of unknown kind %d", (int)step->kind);
}

static bool same_step(const struct nx_privacy_step *a, const struct nx_privacy_step *b) {
  if (a->kind != b->kind || a->q != b->q)
    return false;
  return a->kind == NX_STEP_GAUSSIAN
             ? a->sigma == b->sigma
             : a->skellam.mu == b->skellam.mu && a->skellam.l1 == b->skellam.l1 &&
                   a->skellam.l2 == b->skellam.l2;
}

static struct entry *find_entry(const struct nx_accountant *accountant,
                                const struct nx_privacy_step *step) {
  for (size_t i = 0; i < accountant->n_entries; i++)
    if (same_step(&accountant->entries[i].step, step))
      return (struct entry *)&accountant->entries[i];
  return NULL;
}

int nx_accountant_add(struct nx_accountant *accountant, const struct nx_privacy_step *step,
                      uint64_t n_steps, struct nx_error *err) {
  struct entry *entry = find_entry(accountant, step);
  uint64_t total;
  if (__builtin_add_overflow(nx_accountant_steps(accountant), n_steps, &total))
    return nx_fail(err, NX_E_LIMIT, "the privacy ledger cannot count %llu more steps",
                   (unsigned long long)n_steps);
  if (!entry) {
    if (accountant->n_entries == NX_ACCOUNTANT_KINDS_MAX)
      return nx_fail(err, NX_E_LIMIT, "the privacy ledger is full: %u different kinds of step",
                     NX_ACCOUNTANT_KINDS_MAX);
    _cleanup_free_ double *eps = calloc(accountant->n_orders, sizeof *eps);
    if (!eps)
      return nx_fail(err, NX_E_NOMEM, "no memory for a privacy ledger");
    int r = step_curve(step, accountant->orders, accountant->n_orders, eps, err);
    if (r)
      return nx_error_prefix(err, r, "privacy step");
    entry = &accountant->entries[accountant->n_entries++];
    *entry = (struct entry){.step = *step, .eps = nx_steal(&eps)};
  }
  entry->n_steps += n_steps;
  return 0;
}

int nx_accountant_remove(struct nx_accountant *accountant, const struct nx_privacy_step *step,
                         uint64_t n_steps, struct nx_error *err) {
  struct entry *entry = find_entry(accountant, step);
  if (!entry || entry->n_steps < n_steps)
    return nx_fail(err, NX_E_STATE,
                   "cannot take %llu privacy steps back: the ledger holds %llu such steps",
                   (unsigned long long)n_steps, (unsigned long long)(entry ? entry->n_steps : 0));
  entry->n_steps -= n_steps;
  return 0;
}

uint64_t nx_accountant_steps(const struct nx_accountant *accountant) {
  uint64_t n = 0;
  for (size_t i = 0; i < accountant->n_entries; i++)
    n += accountant->entries[i].n_steps;
  return n;
}

/* What is in the ledger and, when extra is not NULL, one entry more. */
static double composed_eps(const struct nx_accountant *accountant, const struct entry *extra,
                           size_t order_index) {
  double eps = 0;
  for (size_t i = 0; i < accountant->n_entries; i++) {
    const struct entry *entry = &accountant->entries[i];
    if (entry->n_steps)
      eps += (double)entry->n_steps * entry->eps[order_index];
  }
  return extra && extra->n_steps ? eps + (double)extra->n_steps * extra->eps[order_index] : eps;
}

/* Adds n / sigma^2 to what m^2 is made of; false when there is no exact curve. */
static bool add_exact(const struct entry *entry, double *m2) {
  if (entry->n_steps == 0 || entry->step.q == 0)
    return true;
  if (entry->step.kind != NX_STEP_GAUSSIAN || entry->step.q != 1)
    return false;
  *m2 += (double)entry->n_steps / entry->step.sigma / entry->step.sigma;
  return true;
}

static bool exact_m(const struct nx_accountant *accountant, const struct entry *extra,
                    double *m_out) {
  double m2 = 0;
  for (size_t i = 0; i < accountant->n_entries; i++)
    if (!add_exact(&accountant->entries[i], &m2))
      return false;
  if (extra && !add_exact(extra, &m2))
    return false;
  *m_out = sqrt(m2);
  return isfinite(m2);
}

static int epsilon_with(const struct nx_accountant *accountant, const struct entry *extra,
                        double delta, double *epsilon_out, struct nx_error *err) {
  double least = INFINITY, m;
  for (size_t i = 0; i < accountant->n_orders; i++) {
    double eps = composed_eps(accountant, extra, i), epsilon;
    int r = nx_rdp_to_epsilon(accountant->orders[i], eps, delta, &epsilon, err);
    if (r)
      return r;
    least = fmin(least, epsilon);
  }
  if (exact_m(accountant, extra, &m)) {
    double epsilon;
    int r = nx_gaussian_epsilon(m, delta, &epsilon, err);
    if (r)
      return r;
    least = fmin(least, epsilon);
  }
  *epsilon_out = least;
  return 0;
}

int nx_accountant_epsilon(const struct nx_accountant *accountant, double delta, double *epsilon_out,
                          struct nx_error *err) {
  return epsilon_with(accountant, NULL, delta, epsilon_out, err);
}

int nx_accountant_preview(const struct nx_accountant *accountant,
                          const struct nx_privacy_step *step, uint64_t n_steps, double delta,
                          double *epsilon_out, struct nx_error *err) {
  const struct entry *known = find_entry(accountant, step);
  _cleanup_free_ double *eps = NULL;
  struct entry extra = {.step = *step, .n_steps = n_steps};
  if (known) {
    extra.eps = known->eps;
  } else {
    extra.eps = eps = calloc(accountant->n_orders, sizeof *eps);
    if (!eps)
      return nx_fail(err, NX_E_NOMEM, "no memory for a privacy ledger");
    int r = step_curve(step, accountant->orders, accountant->n_orders, eps, err);
    if (r)
      return nx_error_prefix(err, r, "privacy step");
  }
  return epsilon_with(accountant, &extra, delta, epsilon_out, err);
}
