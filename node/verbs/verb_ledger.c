/* Verb ledger: what was spent on the people of this site, for their steward. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "node/node_config.h"
#include "node/node_home.h"
#include "node/policy/budget.h"
#include "node/verbs/verb.h"

#define DATASETS_MAX 64
#define PLANS_MAX 256

struct line { /* one plan on one data set */
  struct nx_hash plan;
  struct nx_ledger_charge last;
  char dataset[NX_LEDGER_DATASET_SIZE];
};

struct ledger_view {
  struct nx_privacy_ledger *ledger;
  const struct nx_site_policy_privacy *policy;
  double delta;
  int64_t now;
  char datasets[DATASETS_MAX][NX_LEDGER_DATASET_SIZE];
  struct line lines[PLANS_MAX];
  size_t n_datasets, n_lines;
};

static int note_dataset(struct ledger_view *view, const char *name, struct nx_error *err) {
  for (size_t i = 0; i < view->n_datasets; i++)
    if (!strcmp(view->datasets[i], name))
      return 0;
  if (view->n_datasets == DATASETS_MAX)
    return nx_fail(err, NX_E_LIMIT, "more than %d data sets", DATASETS_MAX);
  snprintf(view->datasets[view->n_datasets++], NX_LEDGER_DATASET_SIZE, "%s", name);
  return 0;
}

static int note_charge(void *context, const struct nx_ledger_charge *charge, struct nx_error *err) {
  struct ledger_view *view = context;
  int r = note_dataset(view, charge->dataset, err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < view->n_lines; i++)
    if (nx_hash_equal(&view->lines[i].plan, &charge->plan) &&
        !strcmp(view->lines[i].dataset, charge->dataset)) {
      view->lines[i].last = *charge;
      return 0;
    }
  if (view->n_lines == PLANS_MAX)
    return nx_fail(err, NX_E_LIMIT, "more than %d plans", PLANS_MAX);
  struct line *line = &view->lines[view->n_lines++];
  *line = (struct line){.plan = charge->plan, .last = *charge};
  memcpy(line->dataset, charge->dataset, sizeof line->dataset);
  return 0;
}

struct figures {
  struct nx_ledger_spent ever, year;
};

static int dataset_figures(const struct ledger_view *view, const char *dataset, struct figures *out,
                           struct nx_error *err) {
  struct nx_ledger_query query = {
      .dataset = dataset, .unit = NX_UNIT_SUBJECT, .delta = view->delta};
  int r = nx_privacy_ledger_spent(view->ledger, &query, &out->ever, err);
  query.since = view->now - NX_LEDGER_YEAR;
  return r < 0 ? r : nx_privacy_ledger_spent(view->ledger, &query, &out->year, err);
}

static int plan_figures(const struct ledger_view *view, const struct line *line,
                        struct nx_ledger_spent *out, struct nx_error *err) {
  const struct nx_ledger_query query = {.dataset = line->dataset,
                                        .plan = &line->plan,
                                        .unit = line->last.unit,
                                        .delta =
                                            line->last.delta > 0 ? line->last.delta : view->delta};
  return nx_privacy_ledger_spent(view->ledger, &query, out, err);
}

static const char *unit_name(enum nx_privacy_unit unit) {
  return unit == NX_UNIT_NODE ? "node" : "subject";
}

/* ---- for people --------------------------------------------------------------------------- */

static void print_cap(const char *words, double epsilon, double cap) {
  printf("  epsilon %-14s %.4f", words, epsilon);
  if (cap > 0)
    printf("  of at most %g", cap);
  puts("");
}

static int print_plans(const struct ledger_view *view, const char *dataset, struct nx_error *err) {
  char hex[NX_HASH_HEX_SIZE];
  for (size_t i = 0; i < view->n_lines; i++) {
    const struct line *line = &view->lines[i];
    struct nx_ledger_spent spent;
    if (strcmp(line->dataset, dataset))
      continue;
    int r = plan_figures(view, line, &spent, err);
    if (r < 0)
      return r;
    nx_hash_hex(&line->plan, hex);
    if (spent.n_unprotected)
      printf("  plan %.12s  %" PRIu64 " rounds without a mechanism: no epsilon holds\n", hex,
             spent.n_unprotected);
    else
      printf("  plan %.12s  %" PRIu64 " rounds, %" PRIu64
             " noisy steps, unit %s: epsilon %.4f at delta %g\n",
             hex, spent.n_rounds, spent.n_steps, unit_name(line->last.unit), spent.epsilon,
             line->last.delta);
  }
  return 0;
}

static int print_view(const struct ledger_view *view, struct nx_error *err) {
  const struct nx_site_policy_privacy *policy = view->policy;
  if (!view->n_datasets)
    puts("nothing was ever charged here");
  for (size_t i = 0; i < view->n_datasets; i++) {
    struct figures figures;
    int r = dataset_figures(view, view->datasets[i], &figures, err);
    if (r < 0)
      return r;
    printf("data set %s: of one subject, at delta %g\n", view->datasets[i], view->delta);
    print_cap("in all", figures.ever.epsilon, policy->epsilon_per_data_set);
    print_cap("in 365 days", figures.year.epsilon, policy->epsilon_per_year);
    if (figures.ever.n_unprotected)
      printf("  and %" PRIu64 " rounds ran without a mechanism: for them nothing is promised\n",
             figures.ever.n_unprotected);
    r = print_plans(view, view->datasets[i], err);
    if (r < 0)
      return r;
  }
  return 0;
}

/* ---- for programs -------------------------------------------------------------------------- */

/* JSON has no infinity: null says that no promise is left. */
static void add_epsilon(cJSON *json, const char *key, double epsilon) {
  if (isfinite(epsilon))
    cJSON_AddNumberToObject(json, key, epsilon);
  else
    cJSON_AddNullToObject(json, key);
}

static void add_cap(cJSON *json, const char *key, double value) {
  if (value > 0)
    cJSON_AddNumberToObject(json, key, value);
  else
    cJSON_AddNullToObject(json, key);
}

static int add_plans(const struct ledger_view *view, const char *dataset, cJSON *array,
                     struct nx_error *err) {
  char hex[NX_HASH_HEX_SIZE];
  for (size_t i = 0; i < view->n_lines; i++) {
    const struct line *line = &view->lines[i];
    struct nx_ledger_spent spent;
    if (strcmp(line->dataset, dataset))
      continue;
    int r = plan_figures(view, line, &spent, err);
    if (r < 0)
      return r;
    cJSON *item = cJSON_CreateObject();
    nx_hash_hex(&line->plan, hex);
    cJSON_AddStringToObject(item, "plan", hex);
    cJSON_AddStringToObject(item, "unit", unit_name(line->last.unit));
    cJSON_AddNumberToObject(item, "rounds", (double)spent.n_rounds);
    cJSON_AddNumberToObject(item, "steps", (double)spent.n_steps);
    cJSON_AddNumberToObject(item, "rounds_without_mechanism", (double)spent.n_unprotected);
    cJSON_AddNumberToObject(item, "delta", line->last.delta);
    add_epsilon(item, "epsilon", spent.n_unprotected ? INFINITY : spent.epsilon);
    cJSON_AddItemToArray(array, item);
  }
  return 0;
}

static int add_dataset(const struct ledger_view *view, const char *dataset, cJSON *array,
                       struct nx_error *err) {
  const struct nx_site_policy_privacy *policy = view->policy;
  struct figures figures;
  int r = dataset_figures(view, dataset, &figures, err);
  if (r < 0)
    return r;
  cJSON *item = cJSON_CreateObject();
  cJSON_AddItemToArray(array, item);
  cJSON_AddStringToObject(item, "dataset", dataset);
  cJSON_AddStringToObject(item, "unit", "subject");
  cJSON_AddNumberToObject(item, "delta", view->delta);
  add_epsilon(item, "epsilon", figures.ever.epsilon);
  add_epsilon(item, "epsilon_365_days", figures.year.epsilon);
  add_cap(item, "epsilon_per_data_set", policy->epsilon_per_data_set);
  add_cap(item, "epsilon_per_year", policy->epsilon_per_year);
  cJSON_AddNumberToObject(item, "rounds_without_mechanism", (double)figures.ever.n_unprotected);
  return add_plans(view, dataset, cJSON_AddArrayToObject(item, "plans"), err);
}

static int print_json(const struct ledger_view *view, struct nx_error *err) {
  cJSON *json = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(json, "datasets");
  int r = 0;
  for (size_t i = 0; r == 0 && i < view->n_datasets; i++)
    r = add_dataset(view, view->datasets[i], array, err);
  char *text = r == 0 ? cJSON_PrintUnformatted(json) : NULL;
  cJSON_Delete(json);
  if (r == 0 && !text)
    return nx_fail(err, NX_E_NOMEM, "ledger: out of memory");
  if (text)
    puts(text);
  free(text);
  return r;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static int open_view(const char *home, struct nx_site_policy **policy,
                     struct nx_privacy_ledger **ledger, struct nx_error *err) {
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, NX_HOME_CONFIG, err);
  if (r == 0)
    r = nx_node_config_load(path, &config, err);
  if (r == 0)
    r = nx_home_policy_path(home, config->policy, path, err);
  if (r == 0)
    r = nx_site_policy_load(path, policy, err);
  if (r == 0)
    r = nx_path_join(path, home, NX_LEDGER_FILE, err);
  if (r == 0)
    r = nx_privacy_ledger_open(path, false, ledger, err);
  return r == NX_E_NOT_FOUND ? nx_error_prefix(err, r, "no node has run here yet") : r;
}

static int run_ledger(int argc, char *const *argv, struct nx_error *err) {
  const char *home = NX_NODE_HOME;
  bool json = false;
  const struct nx_option options[] = {{.name = "home", .value = &home},
                                      {.name = "json", .flag = &json}};
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), NULL, 0, &n_words, err) < 0)
    return NX_VERB_USAGE;
  _cleanup_(nx_site_policy_destroyp) struct nx_site_policy *policy = NULL;
  _cleanup_(nx_privacy_ledger_closep) struct nx_privacy_ledger *ledger = NULL;
  _cleanup_free_ struct ledger_view *view = calloc(1, sizeof *view);
  if (!view)
    return nx_fail(err, NX_E_NOMEM, "ledger: out of memory");
  int r = open_view(home, &policy, &ledger, err);
  if (r < 0)
    return r;
  view->ledger = ledger;
  view->policy = &policy->privacy;
  view->now = nx_clock_unix();
  view->delta = nx_budget_delta(&policy->privacy);
  r = nx_privacy_ledger_visit(ledger, note_charge, view, err);
  if (r < 0)
    return r;
  return json ? print_json(view, err) : print_view(view, err);
}

const struct nx_verb nx_verb_ledger = {
    .name = "ledger",
    .summary = "what training has cost the people of this site in privacy: epsilon, and the caps",
    .help = "usage: neurox-node ledger [--home DIR] [--json]\n\n"
            "Prints, for each data set, the epsilon spent on one subject over all plans, ever and\n"
            "in the last 365 days, beside the caps of policy.yaml\n"
            "(privacy.epsilon_per_data_set and epsilon_per_year, at privacy.epsilon_delta), and "
            "what each plan cost by itself\n"
            "at its own delta. Computed here, from this node's own count of noisy steps; works\n"
            "beside a running node. A round whose upload is in doubt stays charged; one that was\n"
            "aborted with a certificate is taken back. docs/privacy.md says what an epsilon\n"
            "means.\n\n" NX_HELP_HOME
            "  --json          one JSON object; null where no epsilon holds\n",
    .run = run_ledger,
};
