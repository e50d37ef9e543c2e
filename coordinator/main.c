/* neurox-coordinator: finds the verb, prints help, turns errors into one line and an exit
 * code. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/verbs/coordinator_verb.h"

static const struct nx_coordinator_verb *const verbs[] = {
    &nx_coordinator_init,    &nx_coordinator_invite, &nx_coordinator_serve_verb,
    &nx_coordinator_submit,  &nx_coordinator_start,  &nx_coordinator_pause,
    &nx_coordinator_stop,    &nx_coordinator_status, &nx_coordinator_watch,
    &nx_coordinator_members, &nx_coordinator_export, &nx_coordinator_grant,
    &nx_coordinator_people,  &nx_coordinator_revoke, &nx_coordinator_ca,
    &nx_coordinator_log,     &nx_coordinator_revise, &nx_coordinator_backup,
    &nx_coordinator_import,
    &nx_coordinator_key,
};

static void print_help(FILE *out) {
  fputs("neurox-coordinator: lets institutions train one model together. It adds what they\n"
        "send, all of it masked, and opens only the sum.\n\n"
        "usage: neurox-coordinator VERB [OPTION…]   neurox-coordinator VERB --help teaches it\n\n",
        out);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(verbs); i++)
    fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
  fputs("\nA new federation: init, serve, invite (each institution), start PLAN, watch.\n"
        "Exit codes: 0 done, 1 failed (one line says why), 2 usage.\n",
        out);
}

static const struct nx_coordinator_verb *find(const char *name) {
  for (size_t i = 0; i < NX_ARRAY_LENGTH(verbs); i++)
    if (!strcmp(verbs[i]->name, name))
      return verbs[i];
  return NULL;
}

static int run(const struct nx_coordinator_verb *verb, int argc, char *const *argv) {
  struct nx_error err = {0};
  for (int i = 0; i < argc; i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
      return fputs(verb->help, stdout) < 0;
  int r = verb->run(argc, argv, &err);
  if (r == 0)
    return 0;
  if (r != NX_VERB_USAGE) {
    fprintf(stderr, "neurox-coordinator: %s\n", err.text);
    return 1;
  }
  fprintf(stderr, "neurox-coordinator %s: %s\nneurox-coordinator %s --help explains it\n",
          verb->name, err.text, verb->name);
  return 2;
}

int main(int argc, char **argv) {
  signal(SIGXFSZ, SIG_IGN); /* a full quota is an error to tell and clean up after, no death */
  const char *name = argc > 1 ? argv[1] : NULL;
  if (name && (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))) {
    print_help(stdout);
    return 0;
  }
  const struct nx_coordinator_verb *verb = name ? find(name) : NULL;
  if (!verb) {
    if (name)
      fprintf(stderr, "neurox-coordinator: there is no verb '%s'\n", name);
    print_help(stderr);
    return 2;
  }
  return run(verb, argc - 2, argv + 2);
}
