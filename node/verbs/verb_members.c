/* Verb members: whom this node has pinned, for a steward to compare by telephone; what change of
 * the list is proposed; the steward's answer; a wish for a new identity key. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "node/node_home.h"
#include "node/session/proposal.h"
#include "node/verbs/verb.h"
#include "proto/codec/codec_round.h"

static void print_member(const char *head, const struct nx_manifest_member *member,
                         const char *tail) {
  char fingerprint[NX_FINGERPRINT_SIZE];
  nx_member_fingerprint(&member->identity, &member->spki, fingerprint);
  printf("%s%3u  %-24s %s%s\n", head, member->id, member->name, fingerprint, tail);
}

static void print_pinned(const struct nx_pinned *pinned, uint32_t me) {
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(&pinned->hash, hex);
  printf("federation: %s\nmanifest:   %s\n", pinned->manifest.name, hex);
  if (pinned->manifest.revision)
    printf("revision:   %llu\n", (unsigned long long)pinned->manifest.revision);
  for (size_t i = 0; i < pinned->manifest.n_members; i++)
    print_member("", &pinned->manifest.members[i],
                 pinned->manifest.members[i].id == me ? "  (this node)" : "");
}

static void print_change(void *context, const char *kind, const struct nx_manifest_member *member) {
  char head[32];
  (void)context;
  snprintf(head, sizeof head, "%-11s", kind);
  print_member(head, member, "");
}

/* ---- reading ------------------------------------------------------------------------------------
 */

struct view {
  const char *home;
  struct nx_home_federation *federation;
  struct nx_pinned pinned;
  struct nx_proposal proposal;
};

static void view_finish(struct view *view) {
  nx_proposal_finish(&view->proposal);
  nx_pinned_finish(&view->pinned);
  if (view->federation)
    nx_home_federation_destroy(view->federation);
}

static int read_pinned(struct view *view, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_home_read_federation(view->home, &view->federation, err);
  if (r == 0)
    r = nx_path_join(path, view->home, NX_HOME_MANIFEST, err);
  if (r < 0)
    return r;
  r = nx_pinned_load(path, &view->pinned, err);
  return r == NX_E_NOT_FOUND
             ? nx_fail(err, r,
                       "no members are pinned yet: start the node (neurox-node run); they are "
                       "shown once the operator has started the first plan, or the members have "
                       "accepted this site")
             : r;
}

static int read_proposal(struct view *view, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, view->home, NX_HOME_PROPOSAL, err);
  return r < 0 ? r : nx_proposal_load(path, &view->pinned, &view->proposal, err);
}

/* ---- members, members --pending
 * -------------------------------------------------------------------- */

static const char *answer_of(const char *home) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_signed_message message;
  char path[NX_PATH_SIZE];
  if (nx_path_join(path, home, NX_HOME_ANSWER, NULL) < 0 ||
      nx_file_read(path, 4096, &bytes, NULL) < 0 ||
      nx_arena_create((size_t)1 << 16, &arena, NULL) < 0 ||
      nx_signed_message_decode(nx_buffer_view(&bytes), arena, &message, NULL) < 0)
    return "none yet";
  return message.type == NX_MESSAGE_MANIFEST_APPROVE ? "approved" : "refused";
}

static int show_pending(struct view *view, struct nx_error *err) {
  char hex[NX_HASH_HEX_SIZE];
  int r = read_proposal(view, err);
  if (r == NX_E_NOT_FOUND) {
    printf("no change of the list of members is proposed\n");
    return 0;
  }
  if (r < 0)
    return r;
  nx_hash_hex(&view->proposal.hash, hex);
  printf("revision %llu of the list of members is proposed:\n\n",
         (unsigned long long)view->proposal.next.revision);
  nx_manifest_compare(&view->pinned.manifest, &view->proposal.next, print_change, NULL);
  printf("\nhash:   %s\nanswer: %s\n\nCompare the fingerprint by telephone with the site itself, "
         "then:\n  neurox-node members approve %.16s\n  neurox-node members refuse %.16s\n",
         hex, answer_of(view->home), hex, hex);
  return 0;
}

/* ---- members approve, members refuse
 * --------------------------------------------------------------- */

#define LEAST_DIGITS 8

static bool names(const char *text, const struct nx_hash *hash) {
  char hex[NX_HASH_HEX_SIZE];
  size_t n = strlen(text);
  nx_hash_hex(hash, hex);
  return n >= LEAST_DIGITS && n < sizeof hex && !strncasecmp(text, hex, n);
}

static int answer(struct view *view, bool approve, const char *text, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  _cleanup_(nx_identity_destroyp) struct nx_identity *identity = NULL;
  _cleanup_(nx_unlock_finish) struct nx_unlock unlock = {0};
  char path[NX_PATH_SIZE];
  int r = read_proposal(view, err);
  if (r < 0)
    return r == NX_E_NOT_FOUND ? nx_fail(err, r, "no change of the list of members is proposed")
                               : r;
  if (!names(text, &view->proposal.hash))
    return nx_fail(err, NX_E_INVALID,
                   "%.64s is not the hash of what is proposed (at least %d digits of it): see "
                   "neurox-node members --pending",
                   text, LEAST_DIGITS);
  r = nx_home_identity(view->home, NX_HOME_IDENTITY, &unlock, &identity, err);
  if (r == 0)
    r = nx_proposal_answer(&view->proposal, identity, view->federation->member, approve, &bytes,
                           err);
  if (r == 0)
    r = nx_path_join(path, view->home, NX_HOME_ANSWER, err);
  if (r == 0)
    r = nx_file_replace(path, nx_buffer_view(&bytes), 0600, err);
  if (r == 0)
    printf("%s; the running node tells the coordinator\n", approve ? "approved" : "refused");
  return r;
}

/* ---- members new-key
 * -------------------------------------------------------------------------------- */

/* Under the passphrase of the present one, when that has one. */
static int create_key(const char *home, const char *path, struct nx_unlock *unlock,
                      struct nx_identity **next, struct nx_error *err) {
  _cleanup_(nx_identity_destroyp) struct nx_identity *present = NULL;
  int r = nx_home_identity(home, NX_HOME_IDENTITY, unlock, &present, err);
  if (r == 0)
    r = nx_identity_create(&nx_entropy_system, next, err);
  return r < 0 ? r : nx_identity_save(*next, path, unlock->passphrase, err);
}

static int make_new_key(struct view *view, struct nx_error *err) {
  _cleanup_(nx_unlock_finish) struct nx_unlock unlock = {0};
  _cleanup_(nx_identity_destroyp) struct nx_identity *next = NULL;
  const struct nx_manifest_member *me = nx_pinned_find(&view->pinned, view->federation->member);
  struct nx_manifest_member member;
  char path[NX_PATH_SIZE];
  if (!me)
    return nx_fail(err, NX_E_STATE, "this node is not in the list of members");
  int r = nx_path_join(path, view->home, NX_HOME_NEXT_IDENTITY, err);
  if (r < 0)
    return r;
  r = nx_path_exists(path)
          ? nx_home_identity(view->home, NX_HOME_NEXT_IDENTITY, &unlock, &next, err)
          : create_key(view->home, path, &unlock, &next, err);
  if (r < 0)
    return r;
  member = *me;
  member.identity = *nx_identity_public(next);
  print_member("new key of  ", &member, "");
  printf("\nThe running node asks the coordinator for it. The operator proposes it "
         "(neurox-coordinator\n"
         "revise key %s), the other stewards compare this fingerprint with you by telephone and\n"
         "approve, and the node changes over by itself. Until then the old key is used.\n",
         member.name);
  return 0;
}

static int run_members(int argc, char *const *argv, struct nx_error *err) {
  _cleanup_(view_finish) struct view view = {.home = NX_NODE_HOME};
  const char *words[2] = {"", ""};
  bool pending = false;
  const struct nx_option options[] = {{.name = "home", .value = &view.home},
                                      {.name = "pending", .flag = &pending}};
  size_t n;
  if (nx_options_parse(argc, argv, options, 2, words, 2, &n, err) < 0)
    return NX_VERB_USAGE;
  bool answers = n == 2 && (!strcmp(words[0], "approve") || !strcmp(words[0], "refuse"));
  bool new_key = n == 1 && !strcmp(words[0], "new-key");
  if ((n && !answers && !new_key) || (n && pending)) {
    nx_fail(err, NX_E_INVALID, "say nothing, --pending, approve HASH, refuse HASH or new-key");
    return NX_VERB_USAGE;
  }
  int r = read_pinned(&view, err);
  if (r < 0)
    return r;
  if (answers)
    return answer(&view, !strcmp(words[0], "approve"), words[1], err);
  if (new_key)
    return make_new_key(&view, err);
  if (pending)
    return show_pending(&view, err);
  print_pinned(&view.pinned, view.federation->member);
  return 0;
}

const struct nx_verb nx_verb_members = {
    .name = "members",
    .summary = "who is in this federation, and who shall be: names and fingerprints",
    .help = "usage: neurox-node members [--pending] [--home DIR]\n"
            "       neurox-node members approve HASH | refuse HASH [--home DIR]\n"
            "       neurox-node members new-key [--home DIR]\n\n"
            "Prints the members that this node pinned at first sight. Compare the fingerprints\n"
            "with the other stewards by telephone: a member that nobody knows has no business in\n"
            "a sum with you. A coordinator that shows another list later is refused, unless at\n"
            "least t of the members signed for the change (3 of 3, 3 of 4, 4 of 6, 5 of 7).\n\n"
            "  --pending       the change that is proposed, if any, by name and fingerprint\n"
            "  approve HASH    sign for it: the hash as --pending prints it, or its first digits\n"
            "  refuse HASH     say no; either answer can be changed until the list is revised\n"
            "  new-key         make a new identity key for this node and ask for it to be listed\n"
            "                  (the old one may be known to others); when the old key is lost, be\n"
            "                  removed and enrol anew\n\n" NX_HELP_HOME,
    .run = run_members,
};
