/* Verb: one thing that neurox-node can be told to do. main.c finds the verb, prints its
 * help or runs it, and turns what it returns into an exit code and one line on stderr. */
#pragma once

#include "common/error.h"
#include "common/file.h"
#include "common/options.h"
#include "common/size.h"

#define NX_VERB_USAGE 2   /* the command line itself was wrong; err says how */
#define NX_VERB_REFUSED 3 /* inspect: a file was refused; exit code 2 */

#define NX_NODE_HOME "./neurox-node"

struct nx_verb {
  const char *name;
  const char *summary; /* one line of `neurox-node --help` */
  const char *help;    /* what `neurox-node NAME --help` teaches */
  /* argv without the verb. 0, NX_VERB_USAGE, NX_VERB_REFUSED or NX_E_*. */
  int (*run)(int argc, char *const *argv, struct nx_error *err);
};

extern const struct nx_verb nx_verb_init, nx_verb_run, nx_verb_members, nx_verb_plan,
    nx_verb_inspect, nx_verb_synth, nx_verb_cut, nx_verb_evaluate, nx_verb_compare, nx_verb_renew;
extern const struct nx_verb nx_verb_check, nx_verb_deidentify, nx_verb_subjects, nx_verb_ledger,
    nx_verb_egress, nx_verb_preview, nx_verb_embed, nx_verb_predict,
    nx_verb_key;

/* Words common to verbs that work on a node's own folder. */
#define NX_HELP_HOME "  --home DIR      the node's folder (default " NX_NODE_HOME ")\n"
