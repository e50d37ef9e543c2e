/* Verb: one thing that neurox-coordinator can be told to do. main.c finds the verb, prints its
 * help or runs it, and turns what it returns into an exit code and one line on stderr. */
#pragma once

#include <stdbool.h>

#include "common/error.h"
#include "common/file.h"
#include "common/options.h"
#include "common/size.h"

#define NX_VERB_USAGE 2 /* the command line itself was wrong; err says how */

#define NX_COORDINATOR_HOME "./neurox-coordinator"

struct nx_coordinator_verb {
  const char *name;
  const char *summary; /* one line of `neurox-coordinator --help` */
  const char *help;    /* what `neurox-coordinator NAME --help` teaches */
  /* argv without the verb. 0, NX_VERB_USAGE or NX_E_*. */
  int (*run)(int argc, char *const *argv, struct nx_error *err);
};

extern const struct nx_coordinator_verb nx_coordinator_init, nx_coordinator_invite,
    nx_coordinator_serve_verb, nx_coordinator_submit, nx_coordinator_start, nx_coordinator_pause,
    nx_coordinator_stop, nx_coordinator_status, nx_coordinator_watch, nx_coordinator_members,
    nx_coordinator_export, nx_coordinator_revoke, nx_coordinator_grant, nx_coordinator_people,
    nx_coordinator_ca, nx_coordinator_log, nx_coordinator_revise, nx_coordinator_backup,
    nx_coordinator_import, nx_coordinator_key;

#define NX_HELP_COORDINATOR_HOME                                                                   \
  "  --home DIR      the federation's folder (default " NX_COORDINATOR_HOME ")\n"

/* Somebody serves this folder: then its lock is held. */
bool nx_verb_is_served(const char *home);
/* --home without slashes at its end. */
int nx_verb_home(const char *given, char out[NX_PATH_SIZE], struct nx_error *err);
