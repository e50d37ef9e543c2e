/* The list of members, between rounds: proposals of the coordinator are kept for the steward,
 * whose answers (neurox-node members approve) and wish for a new key are files that a running
 * node looks for now and then. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "node/node_private.h"
#include "node/session/proposal.h"

#define LOOK_EVERY (2 * NX_SECOND)
#define ANSWER_CAP ((size_t)4096)

static bool path_of(const struct nx_node *node, const char *name, char out[NX_PATH_SIZE]) {
  return nx_path_join(out, node->options.home, name, NULL) == 0;
}

static void forget(const struct nx_node *node, const char *name) {
  char path[NX_PATH_SIZE];
  if (path_of(node, name, path))
    unlink(path);
}

void nx_node_forget_proposal(struct nx_node *node) {
  forget(node, NX_HOME_ANSWER);
  forget(node, NX_HOME_PROPOSAL);
}

/* ---- a proposal -------------------------------------------------------------------------------
 */

static void log_change(void *context, const char *kind, const struct nx_manifest_member *member) {
  char fingerprint[NX_FINGERPRINT_SIZE];
  (void)context;
  nx_member_fingerprint(&member->identity, &member->spki, fingerprint);
  NX_LOG(NX_LOG_WARNING, "members.proposed", NX_STR("change", kind), NX_U64("id", member->id),
         NX_STR("name", member->name), NX_STR("fingerprint", fingerprint),
         NX_STR("next", "neurox-node members --pending"));
}

static bool is_kept(const char *path, struct nx_bytes bytes) {
  _cleanup_(nx_buffer_finish) struct nx_buffer kept = {0};
  return nx_file_read(path, 2 * NX_MANIFEST_CAP, &kept, NULL) == 0 && kept.size == bytes.size &&
         !memcmp(kept.data, bytes.data, bytes.size);
}

static int keep_proposal(struct nx_node *node, struct nx_bytes bytes, struct nx_error *err) {
  struct nx_proposal proposal;
  char path[NX_PATH_SIZE];
  struct nx_error why = {0};
  if (!path_of(node, NX_HOME_PROPOSAL, path) || is_kept(path, bytes))
    return 0;
  if (nx_proposal_check(&node->pinned, bytes, &proposal, &why) < 0) {
    NX_LOG(NX_LOG_WARNING, "members.bad_proposal", NX_STR("why", why.text));
    return 0;
  }
  nx_manifest_compare(&node->pinned.manifest, &proposal.next, log_change, NULL);
  forget(node, NX_HOME_ANSWER);
  int r = NX_AUDIT_APPEND(node->audit, err, "manifest.proposed",
                          NX_AUDIT_HASH("manifest", &proposal.hash),
                          NX_AUDIT_UINT("revision", proposal.next.revision),
                          NX_AUDIT_UINT("members", proposal.next.n_members));
  nx_proposal_finish(&proposal);
  return r < 0 ? r : nx_file_replace(path, bytes, 0600, err);
}

int nx_node_hear_members(struct nx_node *node, const struct node_message *message,
                         struct nx_error *err) {
  struct nx_signed_message signed_message;
  if (nx_signed_message_decode(nx_buffer_view(&message->bytes), node->arena, &signed_message,
                               NULL) < 0 ||
      signed_message.type < NX_MESSAGE_MANIFEST_PROPOSAL ||
      signed_message.type > NX_MESSAGE_NEW_KEY)
    return 0;
  int r = 0;
  if (signed_message.type == NX_MESSAGE_MANIFEST_PROPOSAL && node->pinned.arena &&
      signed_message.signer == NX_COORDINATOR &&
      nx_signed_message_verify(&signed_message, &node->coordinator, NULL) == 0)
    r = keep_proposal(node, signed_message.body, err);
  node->next_members = 0;
  return r < 0 ? r : NODE_MEMBERS_HEARD;
}

/* ---- what the steward left for us
 * ---------------------------------------------------------------- */

static int send_answer(struct nx_node *node, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_signed_message answer;
  char path[NX_PATH_SIZE];
  if (!path_of(node, NX_HOME_ANSWER, path) || nx_file_read(path, ANSWER_CAP, &bytes, NULL) < 0)
    return 0;
  struct nx_hash hash = nx_sha256(bytes.data, bytes.size);
  if (nx_hash_equal(&hash, &node->sent_answer) ||
      nx_signed_message_decode(nx_buffer_view(&bytes), node->arena, &answer, NULL) < 0 ||
      nx_session_send(node->session, nx_buffer_view(&bytes), NULL) < 0)
    return 0;
  bool approve = answer.type == NX_MESSAGE_MANIFEST_APPROVE;
  node->sent_answer = hash;
  NX_LOG(NX_LOG_INFO, "members.answered", NX_STR("answer", approve ? "approve" : "refuse"));
  return NX_AUDIT_APPEND(node->audit, err, approve ? "manifest.approval" : "manifest.refusal",
                         NX_AUDIT_DATA("statement", answer.body.data, answer.body.size),
                         NX_AUDIT_HASH("signature", &answer.signature));
}

static int send_new_key(struct nx_node *node, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, message = {0};
  _cleanup_(nx_identity_destroyp) struct nx_identity *next = NULL;
  char path[NX_PATH_SIZE];
  struct nx_error why = {0};
  if (node->sent_new_key || !path_of(node, NX_HOME_NEXT_IDENTITY, path) || !nx_path_exists(path))
    return 0;
  node->sent_new_key = true;
  if (nx_home_identity(node->options.home, NX_HOME_NEXT_IDENTITY, &node->unlock, &next, &why) < 0) {
    NX_LOG(NX_LOG_WARNING, "members.no_new_key", NX_STR("why", why.text));
    return 0;
  }
  const struct nx_public_key *present = nx_identity_public(node->identity);
  int r = nx_new_key_make(next, node->federation->member, present, &body, err);
  if (r == 0)
    r = nx_signed_message_make(node->identity, node->federation->member, NX_MESSAGE_NEW_KEY,
                               nx_buffer_view(&body), nx_bytes("", 0), &message, err);
  if (r < 0)
    return r;
  node->sent_new_key = nx_session_send(node->session, nx_buffer_view(&message), NULL) == 0;
  if (!node->sent_new_key)
    return 0;
  NX_LOG(NX_LOG_INFO, "members.new_key_asked");
  return NX_AUDIT_APPEND(node->audit, err, "member.new_key",
                         NX_AUDIT_HASH("identity", nx_identity_public(next)));
}

int nx_node_look_at_members(struct nx_node *node, struct nx_error *err) {
  int64_t now = nx_clock_monotonic();
  if (now < node->next_members || !node->pinned.arena)
    return 0;
  node->next_members = now + LOOK_EVERY;
  int r = send_answer(node, err);
  return r < 0 ? r : send_new_key(node, err);
}
