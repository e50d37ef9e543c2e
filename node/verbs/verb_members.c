/* Verb members: whom this node has pinned, for a steward to compare by telephone. */
#include <stdio.h>

#include "node/node_home.h"
#include "node/session/pinned.h"
#include "node/verbs/verb.h"

static void print(const struct nx_pinned *pinned, uint32_t me) {
  char fingerprint[NX_FINGERPRINT_SIZE], hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(&pinned->hash, hex);
  printf("federation: %s\nmanifest:   %s\n", pinned->manifest.name, hex);
  for (size_t i = 0; i < pinned->manifest.n_members; i++) {
    const struct nx_manifest_member *member = &pinned->manifest.members[i];
    nx_member_fingerprint(&member->identity, &member->spki, fingerprint);
    printf("%3u  %-24s %s%s\n", member->id, member->name, fingerprint,
           member->id == me ? "  (this node)" : "");
  }
}

static int run_members(int argc, char *const *argv, struct nx_error *err) {
  const char *home = NX_NODE_HOME;
  const struct nx_option options[] = {{.name = "home", .value = &home}};
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 1, NULL, 0, &n_words, err) < 0)
    return NX_VERB_USAGE;
  _cleanup_(nx_home_federation_destroyp) struct nx_home_federation *federation = NULL;
  _cleanup_(nx_pinned_finish) struct nx_pinned pinned = {0};
  char path[NX_PATH_SIZE];
  int r = nx_home_read_federation(home, &federation, err);
  if (r == 0)
    r = nx_path_join(path, home, NX_HOME_MANIFEST, err);
  if (r < 0)
    return r;
  r = nx_pinned_load(path, &pinned, err);
  if (r == NX_E_NOT_FOUND)
    return nx_fail(err, r,
                   "no members are pinned yet: start the node (neurox-node run); the founders are "
                   "shown once the operator has started the first plan");
  if (r == 0)
    print(&pinned, federation->member);
  return r;
}

const struct nx_verb nx_verb_members = {
    .name = "members",
    .summary = "who is in this federation: names and fingerprints, as pinned here",
    .help = "usage: neurox-node members [--home DIR]\n\n"
            "Prints the founding members that this node pinned at first sight. Compare the\n"
            "fingerprints with the other stewards by telephone: a member that nobody knows has no\n"
            "business in a sum with you. A coordinator that shows another list later is "
            "refused.\n\n" NX_HELP_HOME,
    .run = run_members,
};
