/* Verb revise: proposes one change of the sealed list of members, and tells how it stands. */
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/admin/revision.h"
#include "coordinator/verbs/coordinator_verb.h"

static const char *name_of(const struct nx_store_member *rows, size_t n, uint32_t id) {
  for (size_t i = 0; i < n; i++)
    if (rows[i].id == id)
      return rows[i].name;
  return "?";
}

static void print_answers(const struct nx_revision_state *state, const struct nx_store_member *rows,
                          size_t n, bool approve) {
  for (size_t i = 0; i < state->n_answers; i++)
    if (state->answers[i].approve == approve)
      printf("  %s by %s\n", approve ? "approved" : "refused",
             name_of(rows, n, state->answers[i].member));
}

static const char *change_words(enum nx_store_change kind) {
  return kind == NX_CHANGE_ADD ? "add" : kind == NX_CHANGE_REMOVE ? "remove" : "new key of";
}

static int print_state(struct nx_federation *f, struct nx_error *err) {
  static struct nx_revision_state state;
  static struct nx_store_member rows[NX_STORE_MEMBERS];
  char hex[NX_HASH_HEX_SIZE];
  size_t n = 0;
  int r = nx_revision_state(f, &state, err);
  if (r == NX_E_NOT_FOUND) {
    printf("no revision of the members' list is proposed\n");
    return 0;
  }
  if (r < 0 || (r = nx_run_store_members(f->store, rows, &n, err)) < 0)
    return r;
  nx_hash_hex(&state.proposal.hash, hex);
  printf("proposed: %s %s\nhash:     %s\nanswers:  %u of %u members approved, %u are needed; %u "
         "refused\n",
         change_words(state.proposal.kind), state.name, hex, state.n_approved, state.n_members,
         state.n_needed, state.n_refused);
  print_answers(&state, rows, n, true);
  print_answers(&state, rows, n, false);
  if (state.n_approved >= state.n_needed)
    printf("It takes effect as soon as no run is under way (finished, stopped or paused).\n");
  else if (!state.can_pass)
    printf("It cannot pass any more: neurox-coordinator revise --withdraw\n");
  return 0;
}

static int propose(struct nx_federation *f, const char *change, const char *name,
                   struct nx_error *err) {
  enum nx_store_change kind = !strcmp(change, "add")      ? NX_CHANGE_ADD
                              : !strcmp(change, "remove") ? NX_CHANGE_REMOVE
                                                          : NX_CHANGE_KEY;
  struct nx_hash hash;
  int r = nx_federation_unlock(f, err); /* it is signed */
  if (r == 0)
    r = nx_revision_propose(f, kind, name, &hash, err);
  if (r < 0)
    return nx_error_prefix(err, r, "revise: %s %.64s", change, name);
  r = print_state(f, err);
  printf("\nEvery steward is shown it: neurox-node members --pending\n");
  return r;
}

static bool is_change(const char *word) {
  return !strcmp(word, "add") || !strcmp(word, "remove") || !strcmp(word, "key");
}

static int run_revise(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *words[2];
  bool status = false, withdraw = false;
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "status", .flag = &status},
                                      {.name = "withdraw", .flag = &withdraw}};
  _cleanup_(nx_federation_closep) struct nx_federation *federation = NULL;
  char home[NX_PATH_SIZE];
  size_t n;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), words, 2, &n, err) < 0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  if (status + withdraw + (n == 2 && is_change(words[0])) != 1 || (n && (status || withdraw))) {
    nx_fail(err, NX_E_INVALID, "say add NAME, remove NAME, key NAME, --status or --withdraw");
    return NX_VERB_USAGE;
  }
  int r = nx_federation_open(home, &federation, err);
  if (r < 0)
    return nx_error_prefix(err, r, "revise");
  if (status)
    return print_state(federation, err);
  if (!withdraw)
    return propose(federation, words[0], words[1], err);
  if ((r = nx_run_store_withdraw_proposal(federation->store, err)) == 0)
    printf("taken back\n");
  return r;
}

const struct nx_coordinator_verb nx_coordinator_revise = {
    .name = "revise",
    .summary = "propose to add or remove a member, or a member's new key",
    .help =
        "usage: neurox-coordinator revise add NAME | remove NAME | key NAME\n"
        "       neurox-coordinator revise --status | --withdraw\n\n"
        "The list of members was sealed at the first start, and every node holds it. It changes\n"
        "only with the signatures of at least t of its members (3 of 3, 3 of 4, 4 of 6, 5 of 7, 7\n"
        "of 10), so this verb proposes: every steward is shown the change by name and fingerprint\n"
        "and answers with neurox-node members approve or refuse. With enough approvals it takes\n"
        "effect as soon as no run is under way (finished, stopped, or paused between rounds), and\n"
        "a paused run goes on with the new list.\n\n"
        "  add NAME        a site that has enrolled (invite NAME works after the start, too)\n"
        "  remove NAME     its certificate is worth nothing from then on; what it contributed to\n"
        "                  earlier models stays in them\n"
        "  key NAME        the identity key that the site asked for (neurox-node members new-key)\n"
        "  --status        who has answered what\n"
        "  --withdraw      take the proposal back\n\n" NX_HELP_COORDINATOR_HOME,
    .run = run_revise,
};
