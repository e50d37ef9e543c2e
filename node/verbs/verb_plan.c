/* Verb plan: what researchers ask of this site, in plain words, and the steward's answer. */
#include <dirent.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/file.h"
#include "node/node_config.h"
#include "node/node_home.h"
#include "node/policy/decision.h"
#include "node/policy/plan_words.h"
#include "node/verbs/plan_choice.h"
#include "node/verbs/verb.h"

struct plan_verb {
  const char *home, *reason, *what, *which;
  bool text;
  char approvals[NX_PATH_SIZE], plans[NX_PATH_SIZE];
  struct nx_identity *identity;
};

static int open_home(struct plan_verb *verb, struct nx_error *err) {
  _cleanup_(nx_unlock_finish) struct nx_unlock unlock = {0};
  int r = nx_path_join(verb->approvals, verb->home, NX_HOME_APPROVALS, err);
  if (r == 0)
    r = nx_path_join(verb->plans, verb->home, NX_HOME_PLANS, err);
  if (r == 0)
    r = nx_home_identity(verb->home, NX_HOME_IDENTITY, &unlock, &verb->identity, err);
  if (r == NX_E_NOT_FOUND)
    return nx_fail(err, r,
                   "%s is no node's folder: run neurox-node init first, or name it with "
                   "--home",
                   verb->home);
  return r;
}

/* ---- list ----------------------------------------------------------------------------------- */

static void close_folder(DIR **folder) {
  if (*folder)
    closedir(*folder);
}

static void print_line(const struct plan_verb *verb, const struct nx_hash *hash) {
  _cleanup_(nx_plan_choice_finish) struct nx_plan_choice choice = {0};
  struct nx_decision decision;
  struct nx_error why = {0};
  char hex[NX_HASH_HEX_SIZE], at[21] = "";
  nx_hash_hex(hash, hex);
  if (nx_plan_choose(verb->plans, hex, &choice, NULL) < 0)
    return;
  int r =
      nx_decision_load(verb->approvals, nx_identity_public(verb->identity), hash, &decision, &why);
  if (r == 0)
    nx_clock_format(decision.at, at);
  printf("%.12s  %-9s %-20s %s\n", hex,
         r == NX_E_NOT_FOUND ? "waits"
         : r < 0             ? "NOT OURS"
         : decision.approved ? "approved"
                             : "rejected",
         at, choice.plan->name);
}

static int list(const struct plan_verb *verb, struct nx_error *err) {
  _cleanup_(close_folder) DIR *folder = opendir(verb->plans);
  size_t n = 0;
  (void)err;
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    struct nx_hash hash;
    if (strlen(entry->d_name) == NX_HASH_HEX_SIZE - 1 &&
        nx_hash_from_hex(entry->d_name, &hash, NULL) == 0) {
      print_line(verb, &hash);
      n++;
    }
  }
  if (!n)
    puts("no plan has come yet: they come while neurox-node run is connected");
  return 0;
}

/* ---- show ----------------------------------------------------------------------------------- */

struct newest {
  struct nx_decision decision;
  const struct nx_hash *but;
};

static int keep_newest(void *context, const struct nx_decision *decision, struct nx_error *err) {
  struct newest *newest = context;
  (void)err;
  if (decision->approved && decision->at > newest->decision.at &&
      !nx_hash_equal(&decision->plan, newest->but))
    newest->decision = *decision;
  return 0;
}

/* What is other than in the plan that was approved last. */
static int show_diff(const struct plan_verb *verb, const struct nx_plan_choice *choice,
                     struct nx_error *err) {
  _cleanup_(nx_plan_choice_finish) struct nx_plan_choice before = {0};
  struct newest newest = {.but = &choice->hash};
  char hex[NX_HASH_HEX_SIZE];
  int r = nx_decisions_visit(verb->approvals, nx_identity_public(verb->identity), keep_newest, NULL,
                             &newest, err);
  if (r < 0)
    return r;
  if (!newest.decision.at) {
    puts("\nno other plan was approved here before: there is nothing to compare it with");
    return 0;
  }
  nx_hash_hex(&newest.decision.plan, hex);
  if (nx_plan_choose(verb->plans, hex, &before, NULL) < 0) {
    printf("\nthe plan approved last, %.12s, is not here any more\n", hex);
    return 0;
  }
  printf("\nother than in plan %.12s (%s), approved last:\n", hex, before.plan->name);
  if (!nx_plan_diff(&before.keys, &choice->keys, stdout))
    puts("  no key; spaces, comments or order only");
  return 0;
}

static void show_decision(const struct plan_verb *verb, const struct nx_plan_choice *choice) {
  struct nx_decision decision;
  struct nx_error why = {0};
  char at[21];
  int r = nx_decision_load(verb->approvals, nx_identity_public(verb->identity), &choice->hash,
                           &decision, &why);
  if (r == NX_E_NOT_FOUND) {
    puts("decision   none yet: neurox-node plan approve, or plan reject");
  } else if (r < 0) {
    printf("decision   worth nothing: %s\n", why.text);
  } else {
    nx_clock_format(decision.at, at);
    printf("decision   %s by %s at %s%s%s\n", decision.approved ? "approved" : "rejected",
           decision.by, at, *decision.reason ? ": " : "", decision.reason);
  }
}

/* Whether the data here fit, as the hub was told, and why: the reasons stayed here. */
static void show_answer(const struct plan_verb *verb, const char *hex) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char folder[NX_PATH_SIZE], path[NX_PATH_SIZE];
  if (nx_path_join(folder, verb->home, NX_HOME_ANSWERS, NULL) < 0 ||
      nx_path_join(path, folder, hex, NULL) < 0 || !nx_path_exists(path) ||
      nx_file_read(path, (size_t)1 << 20, &text, NULL) < 0)
    return;
  printf("\nDo the data here fit it? The coordinator asked.\n%.*s", (int)text.size,
         (const char *)text.data);
}

static int show(const struct plan_verb *verb, struct nx_error *err) {
  _cleanup_(nx_plan_choice_finish) struct nx_plan_choice choice = {0};
  struct nx_plan_facts facts;
  char hex[NX_HASH_HEX_SIZE];
  int r = nx_plan_choose(verb->plans, verb->which, &choice, err);
  if (r < 0)
    return r;
  if (verb->text)
    return fwrite(choice.text.data, 1, choice.text.size, stdout) == choice.text.size
               ? 0
               : nx_fail(err, NX_E_IO, "not all of it could be written");
  if ((r = nx_plan_choice_facts(&choice, &facts, err)) < 0)
    return r;
  nx_hash_hex(&choice.hash, hex);
  printf("plan       %s\nsha256     %s\n", choice.plan->name, hex);
  nx_plan_tell(choice.plan, &facts, &choice.keys, stdout);
  show_decision(verb, &choice);
  show_answer(verb, hex);
  return show_diff(verb, &choice, err);
}

/* ---- approve, reject --------------------------------------------------------------------------
 */

static void who(char out[64]) {
  const struct passwd *user = getpwuid(getuid());
  snprintf(out, 64, "%s", user ? user->pw_name : "?");
}

/* Into the log at once when no node runs here; else the node that runs does it. */
static int log_decision(const struct plan_verb *verb, const char **where, struct nx_error *err) {
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  struct nx_audit_log *log = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, verb->home, NX_HOME_CONFIG, err);
  if (r == 0)
    r = nx_node_config_load(path, &config, err);
  if (r == 0)
    r = nx_path_join(path, verb->home, NX_HOME_AUDIT, err);
  if (r < 0)
    return r;
  r = nx_audit_log_open(path, config->name, verb->identity, &log, err);
  if (r == NX_E_STATE) {
    *where = "the running node puts it into the audit log within seconds";
    return 0;
  }
  if (r == 0)
    r = nx_decisions_log(verb->approvals, nx_identity_public(verb->identity), log, err);
  *where = "it is in the audit log";
  struct nx_error late;
  int closed = nx_audit_log_close(log, r < 0 ? &late : err);
  return r < 0 ? r : closed;
}

static int decide(const struct plan_verb *verb, bool approved, struct nx_error *err) {
  _cleanup_(nx_plan_choice_finish) struct nx_plan_choice choice = {0};
  struct nx_decision decision = {.approved = approved, .at = nx_clock_unix()};
  char path[NX_PATH_SIZE], hex[NX_HASH_HEX_SIZE];
  const char *where = "";
  int r = nx_plan_choose(verb->plans, verb->which, &choice, err);
  if (r < 0)
    return r;
  if (verb->reason && strlen(verb->reason) >= sizeof decision.reason)
    return nx_fail(err, NX_E_LIMIT, "--reason: at most %zu bytes", sizeof decision.reason - 1);
  nx_hash_hex(&choice.hash, hex);
  decision.plan = choice.hash;
  who(decision.by);
  snprintf(decision.reason, sizeof decision.reason, "%s", verb->reason ? verb->reason : "");
  /* Its text stays here: what was decided can be read later, and compared. */
  r = nx_path_join(path, verb->plans, hex, err);
  if (r == 0 && !nx_path_exists(path))
    r = nx_file_replace(path, nx_buffer_view(&choice.text), 0600, err);
  if (r == 0)
    r = nx_decision_save(verb->approvals, verb->identity, &decision, err);
  if (r == 0)
    r = log_decision(verb, &where, err);
  if (r == 0)
    printf("%s: %s (%s)\nsigned with this node's key; %s\n", approved ? "approved" : "rejected",
           hex, choice.plan->name, where);
  return r;
}

static int run(struct plan_verb *verb, struct nx_error *err) {
  int r = open_home(verb, err);
  if (r < 0)
    return r;
  if (!strcmp(verb->what, "list"))
    return list(verb, err);
  if (!strcmp(verb->what, "show"))
    return show(verb, err);
  return decide(verb, !strcmp(verb->what, "approve"), err);
}

static int run_plan(int argc, char *const *argv, struct nx_error *err) {
  static const char *const known[] = {"list", "show", "approve", "reject"};
  struct plan_verb verb = {.home = NX_NODE_HOME};
  const struct nx_option options[] = {{.name = "home", .value = &verb.home},
                                      {.name = "reason", .value = &verb.reason},
                                      {.name = "text", .flag = &verb.text}};
  const char *words[2];
  size_t n;
  bool is_known = false;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), words, 2, &n, err) < 0)
    return NX_VERB_USAGE;
  for (size_t i = 0; n && i < NX_ARRAY_LENGTH(known); i++)
    is_known |= !strcmp(words[0], known[i]);
  if (!is_known || (n < 2) != !strcmp(words[0], "list")) {
    nx_fail(err, NX_E_INVALID, "say list, or show, approve or reject with a plan");
    return NX_VERB_USAGE;
  }
  verb.what = words[0];
  verb.which = n > 1 ? words[1] : NULL;
  int r = run(&verb, err);
  nx_identity_destroy(verb.identity);
  return r < 0 ? nx_error_prefix(err, r, "plan %s", verb.what) : 0;
}

const struct nx_verb nx_verb_plan = {
    .name = "plan",
    .summary = "what researchers ask of this site: list, show, approve, reject",
    .help =
        "usage: neurox-node plan list\n"
        "       neurox-node plan show PLAN [--text]\n"
        "       neurox-node plan approve PLAN [--reason TEXT]\n"
        "       neurox-node plan reject PLAN [--reason TEXT]\n\n"
        "Plans come by themselves once a researcher has submitted them; PLAN is the beginning of\n"
        "a plan's SHA-256 as list prints it (at least 6 digits), or a file. show tells in plain\n"
        "words what would be learnt, what would leave, and what is other than in the plan that\n"
        "was approved last; --text prints the plan as it is written.\n\n"
        "approve binds to the exact bytes: one changed byte makes it another plan. The decision\n"
        "is signed with this node's identity key, takes effect at the next invitation, and goes\n"
        "into the audit log. Deciding again replaces it (the log keeps both).\n\n" NX_HELP_HOME
        "  --reason TEXT   one line for the audit log; nobody else is told\n",
    .run = run_plan,
};
