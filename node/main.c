/* neurox-node: finds the verb, prints help, turns errors into one line and an exit code. */
#include <stdio.h>
#include <string.h>

#include "node/verbs/verb.h"

static const struct nx_verb *const verbs[] = {
    &nx_verb_init,     &nx_verb_run,     &nx_verb_members, &nx_verb_renew,
    &nx_verb_plan,     &nx_verb_inspect, &nx_verb_synth,   &nx_verb_cut,
    &nx_verb_evaluate, &nx_verb_compare, &nx_verb_check,   &nx_verb_deidentify,
    &nx_verb_subjects, &nx_verb_ledger,  &nx_verb_egress,  &nx_verb_preview,
    &nx_verb_embed,    &nx_verb_predict,
    &nx_verb_key,
};

static void print_help(FILE *out) {
  fputs(
      "neurox-node: trains a shared model on this institution's recordings, which never leave.\n\n"
      "usage: neurox-node VERB [OPTION…]      neurox-node VERB --help teaches the verb\n\n",
      out);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(verbs); i++)
    fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
  fputs("\nA new site: init (with the invitation file and the fingerprint you were told on the\n"
        "telephone), members, run, plan approve. Exit codes: 0 done, 1 failed (one line says why), "
        "2 usage.\n",
        out);
}

static const struct nx_verb *find(const char *name) {
  for (size_t i = 0; i < NX_ARRAY_LENGTH(verbs); i++)
    if (!strcmp(verbs[i]->name, name))
      return verbs[i];
  return NULL;
}

static int run(const struct nx_verb *verb, int argc, char *const *argv) {
  struct nx_error err = {0};
  for (int i = 0; i < argc; i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
      return fputs(verb->help, stdout) < 0;
  int r = verb->run(argc, argv, &err);
  if (r == 0)
    return 0;
  fprintf(stderr, "neurox-node%s%s: %s\n", r == NX_VERB_USAGE ? " " : "",
          r == NX_VERB_USAGE ? verb->name : "", err.text);
  if (r == NX_VERB_USAGE)
    fprintf(stderr, "neurox-node %s --help explains it\n", verb->name);
  return r == NX_VERB_USAGE || r == NX_VERB_REFUSED ? 2 : 1;
}

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : NULL;
  if (name && (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))) {
    print_help(stdout);
    return 0;
  }
  const struct nx_verb *verb = name ? find(name) : NULL;
  if (!verb) {
    if (name)
      fprintf(stderr, "neurox-node: there is no verb '%s'\n", name);
    print_help(stderr);
    return 2;
  }
  return run(verb, argc - 2, argv + 2);
}
