/* Verb run: the node itself. */
#include <string.h>

#include "node/node.h"
#include "node/verbs/verb.h"

static const struct {
  const char *name;
  enum nx_drill drill;
  char record;
} drills[] = {{"kill-after-shares", NX_DRILL_KILL_AFTER_SHARES, 0},
              {"kill-after-charge", NX_DRILL_KILL_AFTER_CHARGE, 0},
              {"kill-mid-upload", NX_DRILL_KILL_MID_UPLOAD, 0},
              {"kill-before-join", NX_DRILL_KILL_BEFORE, 'J'},
              {"kill-after-join", NX_DRILL_KILL_AFTER, 'J'},
              {"kill-before-upload", NX_DRILL_KILL_BEFORE, 'U'},
              {"kill-after-upload", NX_DRILL_KILL_AFTER, 'U'},
              {"kill-before-vote", NX_DRILL_KILL_BEFORE, 'V'},
              {"kill-after-vote", NX_DRILL_KILL_AFTER, 'V'},
              {"kill-before-release", NX_DRILL_KILL_BEFORE, 'R'},
              {"kill-after-release", NX_DRILL_KILL_AFTER, 'R'},
              {"kill-before-sealed", NX_DRILL_KILL_BEFORE, 'S'},
              {"kill-after-sealed", NX_DRILL_KILL_AFTER, 'S'}};

/* "kill-after-shares@3" */
static int parse_drill(const char *text, struct nx_node_options *options, struct nx_error *err) {
  const char *at = strchr(text, '@');
  for (size_t i = 0; at && i < NX_ARRAY_LENGTH(drills); i++) {
    size_t n = strlen(drills[i].name);
    if ((size_t)(at - text) != n || strncmp(text, drills[i].name, n))
      continue;
    options->drill = drills[i].drill;
    options->drill_record = drills[i].record;
    return nx_option_number("drill", at + 1, 1, UINT64_MAX, &options->drill_round, err);
  }
  return nx_fail(err, NX_E_INVALID,
                 "--drill: 'kill-after-shares@ROUND', 'kill-after-charge@ROUND', "
                 "'kill-mid-upload@ROUND' or "
                 "'kill-before-WHAT@ROUND', 'kill-after-WHAT@ROUND' with join, upload, vote, "
                 "release or sealed, not '%s'",
                 text);
}

static int run_run(int argc, char *const *argv, struct nx_error *err) {
  const char *drill = NULL;
  struct nx_node_options node = {.home = NX_NODE_HOME};
  const struct nx_option options[] = {{.name = "home", .value = &node.home},
                                      {.name = "drill", .value = &drill}};
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), NULL, 0, &n_words, err) < 0 ||
      (drill && parse_drill(drill, &node, err) < 0))
    return NX_VERB_USAGE;
  return nx_node_run(&node, err);
}

const struct nx_verb nx_verb_run = {
    .name = "run",
    .summary = "take part: connect, train on this site's recordings, check every sum",
    .help =
        "usage: neurox-node run [--home DIR] [--drill WHERE@ROUND]\n\n"
        "Dials the coordinator (nobody dials in), reconnects by itself, and takes part in the\n"
        "rounds of plans that this site's policy allows. One line an event on stderr: what was\n"
        "joined, what was sealed, what was refused and why. Everything that leaves is in the\n"
        "audit log (neurox-audit verify DIR/audit). SIGTERM ends it; a killed node is a tolerated\n"
        "dropout, and catches up when it is started again.\n\n" NX_HELP_HOME
        "  --drill         a fire drill: kill this process (SIGKILL) in a round:\n"
        "                  kill-after-shares@ROUND, kill-after-charge@ROUND (the privacy charge is\n"
        "                  on disk, nothing is sent) or kill-mid-upload@ROUND; or, in that round or\n"
        "                  the first one after it in which it comes about, kill-before-WHAT@ROUND\n"
        "                  or kill-after-WHAT@ROUND: when the journal's record of WHAT (join,\n"
        "                  upload, vote, release, sealed) becomes durable. Rounds are numbered\n"
        "                  from 1, the statistics round included\n",
    .run = run_run,
};
