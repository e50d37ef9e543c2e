/* Verb approve: lets a plan run here, whatever node.yaml's approval says to others. */
#include <stdio.h>

#include "node/policy/policy.h"
#include "node/verbs/verb.h"

static int run_approve(int argc, char *const *argv, struct nx_error *err) {
  const char *home = NX_NODE_HOME, *plan;
  const struct nx_option options[] = {{.name = "home", .value = &home}};
  char approvals[NX_PATH_SIZE], hex[NX_HASH_HEX_SIZE];
  struct nx_hash hash;
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 1, &plan, 1, &n_words, err) < 0)
    return NX_VERB_USAGE;
  if (!n_words) {
    nx_fail(err, NX_E_INVALID, "name the plan's file");
    return NX_VERB_USAGE;
  }
  int r = nx_path_join(approvals, home, "approvals", err);
  if (r == 0)
    r = nx_policy_approve(approvals, plan, &hash, err);
  if (r < 0)
    return nx_error_prefix(err, r, "approve");
  nx_hash_hex(&hash, hex);
  printf("approved: %s\n", hex);
  return 0;
}

const struct nx_verb nx_verb_approve = {
    .name = "approve",
    .summary = "let a plan run here, exactly as it is written",
    .help = "usage: neurox-node approve PLAN [--home DIR]\n\n"
            "Puts the plan's SHA-256 on this site's list. With `approval: ask` in node.yaml only\n"
            "listed plans run; one changed byte makes it another plan. Read the plan first: every\n"
            "key is spelt out in it. A running node sees the approval at the next "
            "round.\n\n" NX_HELP_HOME,
    .run = run_approve,
};
