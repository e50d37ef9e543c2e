#include "node/site_gate.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "crypto/certificate.h"
#include "crypto/threshold.h"
#include "node/node_home.h"
#include "node/policy/budget.h"
#include "node/policy/calendar.h"
#include "node/policy/round_count.h"
#include "node/policy/tell.h"

#define DAY (86400 * NX_SECOND)
#define DAYS_BEFORE 30u
#define WORDS_MOST NX_ERROR_TEXT_SIZE

struct nx_site_gate {
  struct nx_site_gate_config cfg;
  char policy_path[NX_PATH_SIZE], approvals[NX_PATH_SIZE];
  struct nx_teller *teller;
  pthread_mutex_t lock;          /* guards what follows */
  struct nx_site_policy *policy; /* the last that was understood */
  struct nx_hash policy_hash;    /* of the file as it was last seen, understood or not */
  bool broken;
  struct nx_round_count *count;
  struct timespec approvals_seen;
  struct nx_now began;                 /* the wall clock against the monotonic one */
  int64_t next_look_at_ends, next_day; /* monotonic */
  struct nx_budget_near near; /* the last that was told */
  int64_t next_near;          /* monotonic: when the same may be told again */
  struct nx_hash told_plan;            /* the last plan that was judged, and how, by its words */
  char told_plan_words[WORDS_MOST];
  uint64_t told_round;
  char told_round_words[WORDS_MOST];
};

/* ---- policy.yaml ---------------------------------------------------------------------------- */

static void tell(struct nx_site_gate *gate, const char *event, const char *text) {
  nx_tell(gate->teller, gate->policy ? gate->policy->tell : NULL, event, text);
}

static int take_policy(struct nx_site_gate *gate, struct nx_site_policy *policy,
                       const struct nx_hash *hash, struct nx_error *err) {
  nx_site_policy_destroy(gate->policy);
  gate->policy = policy;
  gate->policy_hash = *hash;
  gate->broken = false;
  nx_egress_caps(gate->cfg.egress, (uint64_t)(policy->limits.round_mb * 1e6),
                 (uint64_t)(policy->limits.day_mb * 1e6));
  NX_LOG(NX_LOG_INFO, "policy.read", NX_STR("approval", policy->approval ? "ask" : "auto"),
         NX_HASH("sha256", hash->bytes));
  return nx_site_audit_policy(gate->cfg.audit, hash, policy->approval ? "ask" : "auto", err);
}

static int refuse_broken(struct nx_error *err) {
  return nx_fail(
      err, NX_E_DENIED,
      "this site's policy cannot be read at the moment: no round runs here until it can");
}

static int break_policy(struct nx_site_gate *gate, const struct nx_hash *hash,
                        const struct nx_error *why, struct nx_error *err) {
  gate->broken = true;
  gate->policy_hash = *hash;
  NX_LOG(NX_LOG_ERROR, "policy.broken", NX_STR("why", why->text),
         NX_STR("effect", "no round runs here until it is mended"));
  tell(gate, "policy.broken", why->text);
  int r = nx_site_audit_policy(gate->cfg.audit, hash, NULL, err);
  return r < 0 ? r : refuse_broken(err);
}

/* Reads the file when its bytes are others than last time. NX_E_DENIED while it is broken. */
static int read_policy(struct nx_site_gate *gate, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  struct nx_site_policy *policy = NULL;
  struct nx_error why = {0};
  struct nx_hash hash = {0};
  int r = nx_file_read(gate->policy_path, NX_CONFIG_CAP, &text, &why);
  if (r == 0) {
    hash = nx_sha256(text.data, text.size);
    if (nx_hash_equal(&hash, &gate->policy_hash))
      return gate->broken ? refuse_broken(err) : 0;
    r = nx_site_policy_load(gate->policy_path, &policy, &why);
  } else if (gate->broken && nx_hash_is_zero(&gate->policy_hash)) {
    return refuse_broken(err);
  }
  return r < 0 ? break_policy(gate, &hash, &why, err) : take_policy(gate, policy, &hash, err);
}

/* ---- judging --------------------------------------------------------------------------------- */

/* Once for every plan and answer; a run asks the same many times. */
static int keep_plan_answer(struct nx_site_gate *gate, const struct nx_site_round *round,
                            const char *name, int answer, struct nx_error *err) {
  const char *words = answer < 0 ? err->text : "";
  if (nx_hash_equal(&gate->told_plan, &round->plan) && !strcmp(gate->told_plan_words, words))
    return answer;
  snprintf(gate->told_plan_words, sizeof gate->told_plan_words, "%s", words);
  gate->told_plan = round->plan;
  struct nx_error late;
  int r = nx_site_audit_plan(gate->cfg.audit, &round->plan, name, answer < 0 ? words : NULL,
                             answer < 0 ? &late : err);
  if (answer < 0)
    tell(gate, !strncmp(words, "approval:", 9) ? "plan.waits" : "round.refused", words);
  return answer < 0 ? answer : r;
}

static int keep_round_refusal(struct nx_site_gate *gate, const struct nx_site_round *round,
                              int answer, struct nx_error *err) {
  if (gate->told_round == round->round && !strcmp(gate->told_round_words, err->text))
    return answer;
  snprintf(gate->told_round_words, sizeof gate->told_round_words, "%s", err->text);
  gate->told_round = round->round;
  NX_LOG(NX_LOG_WARNING, "round.refused", NX_U64("round", round->round), NX_STR("why", err->text));
  tell(gate, "round.refused", err->text);
  struct nx_error late;
  nx_site_audit_refused(gate->cfg.audit, round, err->text, &late);
  return answer;
}

static int judge_plan(struct nx_site_gate *gate, const struct nx_site_round *round,
                      const struct nx_plan *plan, uint32_t n_members, struct nx_error *err) {
  struct nx_decision decision;
  struct nx_error why = {0};
  int r = read_policy(gate, err);
  if (r < 0)
    return r;
  int decided = nx_decision_load(gate->approvals, gate->cfg.key, &round->plan, &decision, &why);
  if (decided < 0 && decided != NX_E_NOT_FOUND)
    NX_LOG(NX_LOG_WARNING, "approval.ignored", NX_STR("why", why.text));
  r = nx_decisions_log(gate->approvals, gate->cfg.key, gate->cfg.audit, err);
  if (r < 0)
    return r;
  const struct nx_policy_plan asked = {.plan = plan,
                                       .hash = round->plan,
                                       .data_set = gate->cfg.node->data.name,
                                       .decision = decided == 0 ? &decision : NULL,
                                       .n_members = n_members,
                                       .now = nx_clock_unix()};
  return keep_plan_answer(gate, round, plan->name, nx_policy_judge_plan(gate->policy, &asked, err),
                          err);
}

/* A wall clock that was moved under a running node is told; what it could be used for is
 * met by round_count.h (rounds) and by asking anew before every round (hours, last days). */
static void watch_clock(struct nx_site_gate *gate, struct nx_now now) {
  int64_t moved = (now.wall - gate->began.wall) - (now.monotonic - gate->began.monotonic);
  if (moved < 120 * NX_SECOND && moved > -120 * NX_SECOND)
    return;
  NX_LOG(NX_LOG_WARNING, "clock.moved", NX_I64("seconds", moved / NX_SECOND));
  gate->began = now;
}

/* Once a day for one rule and its cap; a restart says it again. */
static void tell_near(struct nx_site_gate *gate, const struct nx_budget_near *near,
                      const char *data_set, struct nx_now now) {
  char text[256];
  if (!near->rule || (near->rule == gate->near.rule && near->cap == gate->near.cap &&
                      now.monotonic < gate->next_near))
    return;
  gate->near = *near;
  gate->next_near = now.monotonic + DAY;
  snprintf(text, sizeof text, "%s: epsilon of %.64s is %.3f of the %g that are allowed",
           near->rule, data_set, near->epsilon, near->cap);
  NX_LOG(NX_LOG_WARNING, "budget.near", NX_STR("what", text));
  tell(gate, "budget.near", text);
}

static int judge_round(struct nx_site_gate *gate, const struct nx_site_round *round,
                       const struct nx_site_gate_round *asked, struct nx_error *err) {
  struct nx_now now = nx_now();
  watch_clock(gate, now);
  int r = nx_round_count_check_clock(gate->count, now, err);
  if (r < 0)
    return r;
  const struct nx_policy_round question = {
      .cohort = asked->cohort,
      .n_cohort = asked->n_cohort,
      .threshold = nx_threshold_quorum((uint32_t)asked->n_cohort),
      .bytes = asked->bytes,
      .day_bytes = nx_egress_day_bytes(gate->cfg.egress),
      .day_rounds = nx_round_count_recent(gate->count, round->round, now),
      .now = now.wall};
  r = nx_policy_judge_round(gate->policy, &question, err);
  if (r == 0 && asked->charge) {
    struct nx_budget_near near;
    r = nx_budget_allows(gate->cfg.ledger, &gate->policy->privacy, asked->charge, now.wall, &near,
                         err);
    tell_near(gate, &near, asked->charge->dataset, now);
  }
  return r < 0 ? r : nx_round_count_add(gate->count, round->round, now, err);
}

int nx_site_gate_plan(struct nx_site_gate *gate, const struct nx_site_round *round,
                      const struct nx_plan *plan, uint32_t n_members, struct nx_error *err) {
  pthread_mutex_lock(&gate->lock);
  int r = judge_plan(gate, round, plan, n_members, err);
  pthread_mutex_unlock(&gate->lock);
  return r;
}

int nx_site_gate_round(struct nx_site_gate *gate, const struct nx_site_round *round,
                       const struct nx_site_gate_round *asked, struct nx_error *err) {
  pthread_mutex_lock(&gate->lock);
  int r = judge_plan(gate, round, asked->plan, asked->n_members, err);
  if (r == 0)
    r = judge_round(gate, round, asked, err);
  if (r < 0)
    r = keep_round_refusal(gate, round, r, err);
  pthread_mutex_unlock(&gate->lock);
  return r;
}

struct nx_site_policy_compatibility nx_site_gate_compatibility(struct nx_site_gate *gate) {
  struct nx_site_policy_compatibility rule = {.answer = NX_POLICY_ANSWER_NEVER};
  pthread_mutex_lock(&gate->lock);
  if (read_policy(gate, NULL) == 0 && gate->policy)
    rule = gate->policy->compatibility;
  pthread_mutex_unlock(&gate->lock);
  if (!rule.plans_per_day)
    rule.plans_per_day = NX_PLANS_PER_DAY;
  return rule;
}

double nx_site_gate_delta(struct nx_site_gate *gate) {
  pthread_mutex_lock(&gate->lock);
  double delta = gate->policy ? nx_budget_delta(&gate->policy->privacy) : NX_EPSILON_DELTA;
  pthread_mutex_unlock(&gate->lock);
  return delta;
}

/* ---- now and then -----------------------------------------------------------------------------
 */

static void tell_end(struct nx_site_gate *gate, const char *what, int64_t days_left) {
  char text[256];
  snprintf(text, sizeof text, days_left < 0 ? "%s has ended" : "%s ends in %lld days", what,
           (long long)days_left);
  NX_LOG(NX_LOG_WARNING, "end.near", NX_STR("what", text));
  tell(gate, "end.near", text);
}

static int64_t days_before(const struct nx_site_gate *gate) {
  const struct nx_site_policy_tell *asked = gate->policy->tell;
  return asked && asked->days_before ? asked->days_before : DAYS_BEFORE;
}

/* Once a day; a restart says it again. */
static void look_at_ends(struct nx_site_gate *gate, struct nx_bytes certificate) {
  struct nx_now now = nx_now();
  int64_t issued, end, seconds = now.wall / NX_SECOND;
  char what[128];
  if (now.monotonic < gate->next_look_at_ends)
    return;
  gate->next_look_at_ends = now.monotonic + DAY;
  /* It renews itself when a third is left: less than a quarter means that this fails. */
  if (nx_certificate_validity(certificate, &issued, &end, NULL) == 0 &&
      4 * (end - seconds) < end - issued)
    tell_end(gate, "this node's certificate", (end - seconds) / 86400);
  for (uint32_t i = 0; gate->policy->irb && i < gate->policy->irb->n_protocols; i++) {
    const struct nx_site_policy_protocol *protocol = &gate->policy->irb->protocols[i];
    snprintf(what, sizeof what, "ethics protocol %s", protocol->number);
    if (nx_date_end(protocol->expires, &end, NULL) == 0 &&
        end - seconds <= 86400 * days_before(gate))
      tell_end(gate, what, end <= seconds ? -1 : (end - seconds) / 86400);
  }
}

/* The folder's time moves when a decision is put into it. */
static bool approvals_moved(struct nx_site_gate *gate) {
  struct stat status;
  if (stat(gate->approvals, &status))
    return false;
  bool moved = status.st_mtim.tv_sec != gate->approvals_seen.tv_sec ||
               status.st_mtim.tv_nsec != gate->approvals_seen.tv_nsec;
  gate->approvals_seen = status.st_mtim;
  return moved;
}

/* A cap was met while something was being sent: it stopped there. */
static int look_at_caps(struct nx_site_gate *gate, struct nx_error *err) {
  char words[NX_ERROR_TEXT_SIZE];
  if (!nx_egress_was_stopped(gate->cfg.egress, words))
    return 0;
  NX_LOG(NX_LOG_WARNING, "egress.stopped", NX_STR("why", words));
  tell(gate, "round.refused", words);
  return nx_site_audit_stopped(gate->cfg.audit, words, err);
}

/* What left outside of rounds gets its receipt once a day. */
static int close_day(struct nx_site_gate *gate, struct nx_error *err) {
  int64_t now = nx_clock_monotonic();
  if (now < gate->next_day)
    return 0;
  bool first = !gate->next_day;
  gate->next_day = now + DAY;
  return first ? 0 : nx_egress_close(gate->cfg.egress, 0, true, gate->cfg.audit, err);
}

int nx_site_gate_look(struct nx_site_gate *gate, bool told, struct nx_bytes certificate,
                      struct nx_error *err) {
  struct nx_error why = {0};
  int r = 0;
  pthread_mutex_lock(&gate->lock);
  if (told && (r = read_policy(gate, &why)) == 0)
    NX_LOG(NX_LOG_INFO, "policy.holds", NX_HASH("sha256", gate->policy_hash.bytes));
  r = approvals_moved(gate) || told
          ? nx_decisions_log(gate->approvals, gate->cfg.key, gate->cfg.audit, err)
          : 0;
  look_at_ends(gate, certificate);
  if (r == 0)
    r = look_at_caps(gate, err);
  if (r == 0)
    r = close_day(gate, err);
  pthread_mutex_unlock(&gate->lock);
  return r;
}

void nx_site_gate_plan_came(struct nx_site_gate *gate, const struct nx_hash *plan,
                            const char *name) {
  struct nx_decision decision;
  char text[256], hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(plan, hex);
  pthread_mutex_lock(&gate->lock);
  if (gate->policy->approval == NX_APPROVAL_ASK &&
      nx_decision_load(gate->approvals, gate->cfg.key, plan, &decision, NULL) < 0) {
    snprintf(text, sizeof text,
             "plan %.12s (%.64s) waits for approval: neurox-node plan show %.12s", hex, name, hex);
    NX_LOG(NX_LOG_WARNING, "plan.waits", NX_STR("name", name), NX_STR("plan", hex));
    tell(gate, "plan.waits", text);
  }
  pthread_mutex_unlock(&gate->lock);
}

/* ---- life
 * ---------------------------------------------------------------------------------------- */

static int open_gate(struct nx_site_gate *gate, struct nx_error *err) {
  const char *home = gate->cfg.home;
  char path[NX_PATH_SIZE];
  struct nx_error why = {0};
  int r = nx_home_policy_path(home, gate->cfg.node->policy, gate->policy_path, err);
  if (r == 0)
    r = nx_path_join(gate->approvals, home, NX_HOME_APPROVALS, err);
  if (r == 0)
    r = nx_path_join(path, home, NX_HOME_COUNTS, err);
  if (r == 0)
    r = nx_folder_create(path, 0700, err);
  if (r == 0)
    r = nx_path_join(path, home, NX_HOME_ROUND_COUNT, err);
  if (r == 0)
    r = nx_round_count_open(path, &gate->count, err);
  if (r == 0)
    r = nx_teller_create(gate->cfg.node->name, &gate->teller, err);
  if (r < 0)
    return r;
  gate->began = nx_now();
  r = read_policy(gate, &why);
  if (r == NX_E_DENIED) /* with the line, here where its steward reads it */
    return nx_site_policy_load(gate->policy_path, &gate->policy, err);
  if (r < 0)
    *err = why;
  return r;
}

int nx_site_gate_create(const struct nx_site_gate_config *cfg, struct nx_site_gate **gate_out,
                        struct nx_error *err) {
  struct nx_site_gate *gate = calloc(1, sizeof *gate);
  if (!gate)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  gate->cfg = *cfg;
  pthread_mutex_init(&gate->lock, NULL);
  int r = open_gate(gate, err);
  if (r < 0) {
    nx_site_gate_destroy(gate);
    return nx_error_prefix(err, r, "site policy");
  }
  *gate_out = gate;
  return 0;
}

void nx_site_gate_destroy(struct nx_site_gate *gate) {
  if (!gate)
    return;
  nx_teller_destroy(gate->teller);
  nx_round_count_destroy(gate->count);
  nx_site_policy_destroy(gate->policy);
  pthread_mutex_destroy(&gate->lock);
  free(gate);
}
