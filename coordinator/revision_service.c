/* Revisions of the list of members: proposals go out, answers come in, and a list that enough
 * members approved takes the old one's place as soon as no round is under way. Round thread. */
#include <stdio.h>

#include "common/plan.h"
#include "coordinator/admin/revision.h"
#include "coordinator/coordinator_internal.h"
#include "coordinator/run_model.h"

bool nx_coordinator_lists(const struct nx_coordinator *c, uint32_t member) {
  for (size_t i = 0; i < c->n_founders; i++)
    if (c->founders[i].id == member)
      return true;
  return false;
}

/* --- the proposal ---------------------------------------------------------------------------- */

static const char *change_name(enum nx_store_change kind) {
  return kind == NX_CHANGE_ADD ? "add" : kind == NX_CHANGE_REMOVE ? "remove" : "new-key";
}

static int send_proposal(struct nx_coordinator *c, uint32_t only, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  int r = nx_revision_message(c->federation, &message, err);
  for (uint32_t id = 1; id < 256 && r == 0; id++)
    if (nx_coordinator_lists(c, id) && (!only || id == only))
      nx_session_send_signed(c, &(struct nx_outgoing){id, nx_buffer_view(&message), NULL});
  return r;
}

void nx_revisions_greet(struct nx_coordinator *c, uint32_t member) {
  struct nx_error err = {0};
  if (!nx_hash_is_zero(&c->proposal) && nx_coordinator_lists(c, member) &&
      send_proposal(c, member, &err) < 0)
    NX_LOG(NX_LOG_WARNING, "manifest.unsent", NX_STR("why", err.text));
}

static int see_proposal(struct nx_coordinator *c, struct nx_error *err) {
  struct nx_revision_state state;
  int r = nx_revision_state(c->federation, &state, err);
  if (r < 0)
    return r;
  c->proposal = state.proposal.hash;
  c->proposal_ready = state.n_approved >= state.n_needed;
  NX_LOG(NX_LOG_INFO, "manifest.proposed", NX_STR("change", change_name(state.proposal.kind)),
         NX_U64("member", state.proposal.member), NX_STR("name", state.name),
         NX_U64("needed", state.n_needed), NX_HASH("hash", state.proposal.hash.bytes));
  r = NX_AUDIT_APPEND(
      c->audit, err, "manifest.proposed", NX_AUDIT_HASH("manifest", &state.proposal.hash),
      NX_AUDIT_STR("change", change_name(state.proposal.kind)),
      NX_AUDIT_UINT("member", state.proposal.member), NX_AUDIT_STR("name", state.name));
  return r < 0 ? r : send_proposal(c, 0, err);
}

static int see_withdrawal(struct nx_coordinator *c, struct nx_error *err) {
  struct nx_hash hash = c->proposal;
  c->proposal = (struct nx_hash){0};
  c->proposal_ready = false;
  NX_LOG(NX_LOG_INFO, "manifest.withdrawn", NX_HASH("hash", hash.bytes));
  return NX_AUDIT_APPEND(c->audit, err, "manifest.withdrawn", NX_AUDIT_HASH("manifest", &hash));
}

/* --- a new list ----------------------------------------------------------------------------------
 */

/* The plan that is paused must be able to go on with so many members. */
static int check_plan(struct nx_coordinator *c, const struct nx_run_status *status,
                      struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  struct nx_store_proposal proposal;
  int r = nx_run_store_proposal(c->federation->store, &proposal, NULL, NULL, err);
  if (r == 0)
    r = nx_run_store_plan(c->federation->store, &status->plan, &text, err);
  if (r == 0)
    r = nx_plan_parse("plan", nx_buffer_view(&text), &plan, err);
  size_t n = c->n_founders + (r == 0 && proposal.kind == NX_CHANGE_ADD) -
             (r == 0 && proposal.kind == NX_CHANGE_REMOVE);
  return r < 0 ? r : nx_plan_check(plan, (uint32_t)n, err);
}

/* 1: a round is under way, or the paused plan could not go on (told once). */
static int must_wait(struct nx_coordinator *c, bool *paused_out) {
  struct nx_run_status status;
  struct nx_error why = {0};
  *paused_out = false;
  if (!c->run || nx_training_run_is_over(c->run))
    return 0;
  nx_training_run_status(c->run, &status);
  if (status.state != NX_RUN_PAUSED)
    return 1;
  *paused_out = true;
  if (check_plan(c, &status, &why) == 0)
    return 0;
  if (!c->proposal_told)
    NX_LOG(NX_LOG_WARNING, "manifest.waits", NX_STR("why", why.text));
  c->proposal_told = true;
  return 1;
}

/* Everybody comes back for the new list; a paused run goes on with it. */
static int take_newest(struct nx_coordinator *c, bool paused, struct nx_error *err) {
  int64_t now = nx_clock_monotonic();
  nx_training_run_destroy(nx_steal(&c->run));
  int r = nx_coordinator_read_manifest(c, err);
  if (r == 0)
    r = nx_coordinator_read_members(c, err);
  if (r == 0 && paused) {
    struct nx_training_run_config config = nx_coordinator_run_config(c);
    r = nx_training_run_resume(&config, now, &c->run, err);
  }
  if (r < 0)
    return r;
  NX_LOG(NX_LOG_INFO, "manifest.revised", NX_U64("members", c->n_founders),
         NX_HASH("hash", c->manifest_hash.bytes));
  nx_session_close_all(c, "the list of members was revised: come back for it");
  for (uint32_t id = 1; id < 256; id++)
    nx_stream_unref(nx_steal(&c->seats[id]));
  return 0;
}

static int seal_when_possible(struct nx_coordinator *c, struct nx_error *err) {
  bool paused;
  if (!c->proposal_ready || must_wait(c, &paused))
    return 0;
  int r = nx_revision_seal(c->federation, c->audit, err);
  if (r)
    return NX_MIN(r, 0);
  c->proposal = (struct nx_hash){0};
  c->proposal_ready = c->proposal_told = false;
  return take_newest(c, paused, err);
}

/* What another process proposed or took back, and what could not be sealed until now. */
void nx_revisions_look(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  struct nx_store_proposal proposal;
  struct nx_error err = {0};
  (void)stream, (void)bytes;
  int r = nx_run_store_proposal(c->federation->store, &proposal, NULL, NULL, &err);
  bool open = r == 0;
  if (r == NX_E_NOT_FOUND)
    r = 0;
  if (r == 0 && !nx_hash_is_zero(&c->proposal) &&
      (!open || !nx_hash_equal(&proposal.hash, &c->proposal)))
    r = see_withdrawal(c, &err);
  if (r == 0 && open && nx_hash_is_zero(&c->proposal))
    r = see_proposal(c, &err);
  if (r == 0 && open)
    r = seal_when_possible(c, &err);
  atomic_store(&c->proposal_open, open);
  if (r < 0)
    nx_coordinator_fail(c, &err);
}

/* --- what members say ------------------------------------------------------------------------ */

static int hear_answer(struct nx_coordinator *c, uint32_t member,
                       const struct nx_signed_message *message, struct nx_error *err) {
  struct nx_revision_state state;
  struct nx_store_answer answer;
  int r = nx_revision_answer(c->federation, member, message, &answer, err);
  if (r < 0)
    return r;
  const char *kind = answer.approve ? "manifest.approval" : "manifest.refusal";
  r = NX_AUDIT_APPEND(c->audit, err, kind, NX_AUDIT_HASH("manifest", &c->proposal),
                      NX_AUDIT_UINT("member", member),
                      NX_AUDIT_HASH("signature", &answer.signature));
  if (r < 0 || (r = nx_revision_state(c->federation, &state, err)) < 0)
    return r;
  c->proposal_ready = state.n_approved >= state.n_needed;
  NX_LOG(NX_LOG_INFO, kind, NX_U64("member", member), NX_U64("approved", state.n_approved),
         NX_U64("needed", state.n_needed));
  return seal_when_possible(c, err);
}

static int hear_new_key(struct nx_coordinator *c, uint32_t member,
                        const struct nx_signed_message *message, struct nx_error *err) {
  struct nx_public_key key, before;
  bool known = nx_run_store_new_key(c->federation->store, member, &before, NULL) == 0;
  int r = nx_revision_new_key(c->federation, member, message, &key, err);
  if (r < 0 || (known && !memcmp(&before, &key, sizeof key)))
    return r;
  NX_LOG(NX_LOG_INFO, "member.new_key", NX_U64("member", member),
         NX_STR("next", "neurox-coordinator revise key NAME"));
  return NX_AUDIT_APPEND(c->audit, err, "member.new_key", NX_AUDIT_UINT("member", member),
                         NX_AUDIT_HASH("identity", &key));
}

bool nx_revisions_hear(struct nx_coordinator *c, uint32_t member, struct nx_bytes bytes) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_signed_message message;
  struct nx_error err = {0};
  if (nx_arena_create((size_t)16 << 20, &arena, NULL) < 0 ||
      nx_signed_message_decode(bytes, arena, &message, NULL) < 0 ||
      message.type < NX_MESSAGE_MANIFEST_PROPOSAL || message.type > NX_MESSAGE_NEW_KEY)
    return false;
  int r = message.type == NX_MESSAGE_NEW_KEY             ? hear_new_key(c, member, &message, &err)
          : message.type != NX_MESSAGE_MANIFEST_PROPOSAL ? hear_answer(c, member, &message, &err)
                                                         : 0;
  if (r == NX_E_IO || r == NX_E_NOMEM)
    nx_coordinator_fail(c, &err);
  else if (r < 0)
    NX_LOG(NX_LOG_WARNING, "manifest.unheard", NX_U64("member", member), NX_STR("why", err.text));
  return true;
}
