/* Verb preview: a dry run. What a plan would send from here, and whether the policy lets it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/plan_aux.h"
#include "models/outline.h"
#include "node/node_config.h"
#include "node/node_home.h"
#include "node/policy/egress.h"
#include "node/policy/policy.h"
#include "node/policy/preview.h"
#include "node/session/pinned.h"
#include "node/train/step_memory.h"
#include "node/verbs/plan_choice.h"
#include "node/verbs/verb.h"

#define CHANNELS 64 /* of recordings that nobody said anything about */

struct preview_verb {
  const char *home, *which;
  uint64_t n_members, n_channels;
  struct nx_node_config *config;
  struct nx_site_policy *policy;
  struct nx_identity *identity;
  struct nx_plan_choice choice;
  uint64_t all, most; /* bytes: of the whole run, of the largest round */
};

static int path_in(const struct preview_verb *verb, const char *name, char out[NX_PATH_SIZE],
                   struct nx_error *err) {
  return nx_path_join(out, verb->home, name, err);
}

static int open_site(struct preview_verb *verb, struct nx_error *err) {
  _cleanup_(nx_unlock_finish) struct nx_unlock unlock = {0};
  char path[NX_PATH_SIZE];
  int r = path_in(verb, NX_HOME_CONFIG, path, err);
  if (r == 0)
    r = nx_node_config_load(path, &verb->config, err);
  if (r == 0)
    r = nx_home_policy_path(verb->home, verb->config->policy, path, err);
  if (r == 0)
    r = nx_site_policy_load(path, &verb->policy, err);
  if (r == 0)
    r = nx_home_identity(verb->home, NX_HOME_IDENTITY, &unlock, &verb->identity, err);
  if (r == 0)
    r = path_in(verb, NX_HOME_PLANS, path, err);
  return r < 0 ? r : nx_plan_choose(path, verb->which, &verb->choice, err);
}

/* As pinned, or as the plan asks for at least. */
static void count_members(struct preview_verb *verb) {
  _cleanup_(nx_pinned_finish) struct nx_pinned pinned = {0};
  char path[NX_PATH_SIZE];
  if (verb->n_members)
    return;
  if (path_in(verb, NX_HOME_MANIFEST, path, NULL) == 0 && nx_pinned_load(path, &pinned, NULL) == 0)
    verb->n_members = pinned.manifest.n_members;
  else
    verb->n_members = verb->choice.plan->aggregation.minimum_members;
}

/* Recordings are not opened for this. */
static void assume_channels(struct preview_verb *verb) {
  const struct nx_plan_requires *required = verb->choice.plan->requires;
  uint32_t least = required ? required->minimum_channels : 0;
  if (!verb->n_channels)
    verb->n_channels = least ? least : CHANNELS;
}

/* ---- what would leave -------------------------------------------------------------------------
 */

static int show_round(struct preview_verb *verb, const struct nx_model *model,
                      enum nx_round_kind kind, const char *name, uint64_t times,
                      struct nx_error *err) {
  const struct nx_plan *plan = verb->choice.plan;
  struct nx_egress_row rows[NX_PREVIEW_ROWS];
  const struct nx_preview_round round = {
      .kind = kind,
      .n_members = (uint32_t)verb->n_members,
      .spot_checks = plan->aggregation.spot_checks,
      .layout = {.n_lanes = kind == NX_ROUND_TRAIN ? model->n_params : 0,
                 .ring_bits = plan->aggregation.ring_bits,
                 .n_aux = nx_plan_aux_lanes(plan, kind, model->n_features)}};
  uint64_t sum = 0;
  size_t n;
  int r = nx_preview(&round, rows, &n, err);
  if (r < 0)
    return r;
  printf("%s, %" PRIu64 " %s:\n", name, times, times == 1 ? "round" : "rounds");
  for (size_t i = 0; i < n; i++) {
    printf("  %-12s %6" PRIu64 " messages %12" PRIu64 " bytes  %s\n", rows[i].kind,
           rows[i].messages, rows[i].bytes, nx_egress_purpose(rows[i].kind));
    sum += rows[i].bytes;
  }
  printf("  in each: %" PRIu64 " bytes\n", sum);
  verb->all += times * sum;
  verb->most = NX_MAX(verb->most, sum);
  return 0;
}

static int show_rounds(struct preview_verb *verb, struct nx_error *err) {
  _cleanup_(nx_outline_destroyp) struct nx_outline *outline = NULL;
  const struct nx_plan *plan = verb->choice.plan;
  int r = nx_outline_create(plan, &outline, err);
  if (r < 0)
    return r;
  const struct nx_model *model = nx_outline_model(outline);
  if (r == 0)
    r = show_round(verb, model, NX_ROUND_STATISTICS, "statistics", 1, err);
  if (r == 0)
    r = show_round(verb, model, NX_ROUND_TRAIN, "training", plan->training.rounds, err);
  if (r == 0)
    r = show_round(verb, model, NX_ROUND_EVALUATE, "scoring", 1, err);
  if (r == 0)
    printf("the whole run: %.3f MB in a cohort of %" PRIu64 "; not counted: heartbeats, repeats "
           "after a cut line,\nshares of members that vanish, and the framing of HTTP/2 and TLS\n",
           (double)verb->all / 1e6, verb->n_members);
  return r;
}

/* ---- what training would take ----------------------------------------------------------------- */

static int show_memory(const struct preview_verb *verb, struct nx_error *err) {
  const struct nx_step_site site = {.plan = verb->choice.plan,
                                    .limit = (size_t)verb->config->memory_mb << 20};
  struct nx_step_memory memory;
  struct nx_error why = {0};
  int r = nx_step_memory_of_channels(verb->choice.plan, verb->n_channels, verb->config->threads,
                                     &memory, err);
  if (r < 0)
    return r;
  nx_step_memory_tell(&memory, stdout);
  r = nx_step_memory_check(&site, &memory, &why);
  if (r < 0 && why.code != NX_E_DENIED)
    return nx_fail(err, r, "%s", why.text);
  if (r < 0)
    printf("memory: would be refused: %s\n", why.text);
  else
    puts("memory: enough now (asked again, with the recordings open, before each round)");
  return 0;
}

/* ---- would it be let ----------------------------------------------------------------------------
 */

static int answer(struct preview_verb *verb, struct nx_error *err) {
  struct nx_decision decision;
  struct nx_error why = {0};
  char approvals[NX_PATH_SIZE];
  int r = path_in(verb, NX_HOME_APPROVALS, approvals, err);
  if (r < 0)
    return r;
  bool decided = nx_decision_load(approvals, nx_identity_public(verb->identity), &verb->choice.hash,
                                  &decision, NULL) == 0;
  const struct nx_policy_plan plan = {.plan = verb->choice.plan,
                                      .hash = verb->choice.hash,
                                      .data_set = verb->config->data.name,
                                      .decision = decided ? &decision : NULL,
                                      .n_members = (uint32_t)verb->n_members,
                                      .now = nx_clock_unix()};
  r = nx_policy_judge_plan(verb->policy, &plan, &why);
  if (r == 0 && verb->policy->limits.round_mb > 0 &&
      (double)verb->most > verb->policy->limits.round_mb * 1e6)
    r = nx_fail(&why, NX_E_DENIED, "limits.round_mb: %.3f MB would leave, this site allows %.3f",
                (double)verb->most / 1e6, verb->policy->limits.round_mb);
  if (r < 0)
    printf("policy: would be refused: %s\n", why.text);
  else
    puts("policy: would be let (hours, rounds of a day, members and budget are asked at each "
         "round)");
  return 0;
}

static void finish(struct preview_verb *verb) {
  nx_plan_choice_finish(&verb->choice);
  nx_identity_destroy(verb->identity);
  nx_site_policy_destroy(verb->policy);
  nx_node_config_destroy(verb->config);
}

static int run_preview(int argc, char *const *argv, struct nx_error *err) {
  _cleanup_(finish) struct preview_verb verb = {.home = NX_NODE_HOME};
  const char *members = NULL, *channels = NULL;
  const struct nx_option options[] = {{.name = "home", .value = &verb.home},
                                      {.name = "members", .value = &members},
                                      {.name = "channels", .value = &channels}};
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), &verb.which, 1, &n_words,
                       err) < 0 ||
      (members && nx_option_number("members", members, 3, 255, &verb.n_members, err) < 0) ||
      (channels && nx_option_number("channels", channels, 1, 65536, &verb.n_channels, err) < 0))
    return NX_VERB_USAGE;
  if (!n_words) {
    nx_fail(err, NX_E_INVALID, "name a plan: a file, or the beginning of its SHA-256");
    return NX_VERB_USAGE;
  }
  int r = open_site(&verb, err);
  if (r < 0)
    return nx_error_prefix(err, r, "preview");
  count_members(&verb);
  assume_channels(&verb);
  if ((r = show_rounds(&verb, err)) < 0)
    return r;
  if ((r = show_memory(&verb, err)) < 0)
    return r;
  return answer(&verb, err);
}

const struct nx_verb nx_verb_preview = {
    .name = "preview",
    .summary = "a dry run: what a plan would send from here, and whether the policy lets it",
    .help =
        "usage: neurox-node preview PLAN [--members N] [--channels N]\n\n"
        "Needs no coordinator and sends nothing. Makes and measures the messages of each kind of\n"
        "round, says how much memory a training step takes here, and asks policy.yaml about the\n"
        "plan.\n\n" NX_HELP_HOME
        "  --members N     of the cohort (default: all that are pinned, else the plan's minimum)\n"
        "  --channels N    of this site's recordings, at most (default: the channels that the plan\n"
        "                  requires, else 64)\n",
    .run = run_preview,
};
