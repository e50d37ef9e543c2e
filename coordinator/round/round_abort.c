/* What ends an attempt early: complaints, refusals, an operator; ABORT votes; and the end. */
#include <stdio.h>

#include "coordinator/round/round_internal.h"

/* Before any M4 nothing can have been uploaded, and no votes are needed. After that the
 * nodes are asked to certify that this attempt opens never. */
int round_abort(struct turn *t, const char *reason) {
  struct nx_round *round = t->round;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  struct nx_abort_request request = {
      .t0 = round->t0, .round = round->cfg.round, .attempt = round->cfg.attempt};
  if (round->state == STATE_ABORTING)
    return 0;
  if (!round->bundled)
    return round_finish(t, NX_ROUND_NOT_UPLOADED, reason);
  snprintf(request.reason, sizeof request.reason, "%s", reason);
  snprintf(round->reason, sizeof round->reason, "%s", reason);
  int r = nx_abort_request_encode(&request, &body, t->err);
  if (r < 0 || (r = round_make(t, NX_MESSAGE_ABORT_REQUEST, &body, &round->abort_request)) < 0 ||
      (r = round_persist(t, RECORD_ABORTING, round->abort_request)) < 0)
    return r;
  round_enter(t, STATE_ABORTING, round->cfg.phase_seconds);
  return round_broadcast(t, round->abort_request);
}

/* Late COMMIT votes may still make the other certificate: then the round goes on. */
int round_close_abort(struct turn *t) {
  struct nx_round *round = t->round;
  if (round->m6.size && round_votes(round, NX_VOTE_COMMIT) >= round->threshold) {
    round->abort_request = nx_bytes("", 0);
    round->state = STATE_VOTES;
    return round_close_votes(t);
  }
  if (round_votes(round, NX_VOTE_ABORT) < round->threshold)
    return round_finish(t, NX_ROUND_LOST_ATTEMPT, round->reason);
  int r = round_certify(t, NX_VOTE_ABORT, &round->m8);
  if (r < 0 || (r = round_broadcast(t, round->m8)) < 0)
    return r;
  return round_finish(t, NX_ROUND_ABORTED, round->reason);
}

int round_on_abort(struct turn *t) {
  const char *reason = t->event->reason ? t->event->reason : "stopped by an operator";
  switch (t->round->state) {
  case STATE_RELEASES:
  case STATE_UNMASK:
  case STATE_SEALS:
    /* Certified: it may be opened already, so it is finished, not undone. */
    return round_note(t, "abort", NX_COORDINATOR, "the sum is certified: the round is finished");
  default:
    return round_abort(t, reason);
  }
}

/* --- complaints --------------------------------------------------------------------- */

static int judge(struct turn *t, const struct nx_complaint *complaint) {
  struct nx_round *round = t->round;
  const struct round_peer *dealer = &round->peers[complaint->dealer];
  uint32_t holder = t->event->member;
  struct nx_secret b, s;
  int verdict = NX_CHECK_BOX_SHUT;
  for (size_t i = 0; i < dealer->n_boxes; i++)
    for (size_t k = 0; k < dealer->n_commitments && dealer->boxes[i].id == holder; k++)
      if (dealer->commitments[k].to == holder)
        verdict = nx_check_box(&complaint->share_key, &round->t1, complaint->dealer, holder,
                               &dealer->commitments[k], dealer->boxes[i].bytes, &b, &s, t->err);
  nx_secret_wipe(&b);
  nx_secret_wipe(&s);
  return verdict;
}

/* 0: the box is as it should be. SHUT: either of the two lies, and nobody can tell which. */
static int act_on_complaint(struct turn *t, uint32_t dealer, int verdict) {
  struct nx_round *round = t->round;
  uint32_t holder = t->event->member;
  char reason[NX_REASON_SIZE];
  struct nx_bytes proof = round->peers[dealer].shares.body;
  if (verdict == 0) {
    round->peers[holder].accused = true;
    return round_evidence(t, "false-complaint", holder, "the share complained of is good", t->raw,
                          proof);
  }
  round->peers[dealer].accused = true;
  round->peers[holder].accused |= verdict == NX_CHECK_BOX_SHUT;
  snprintf(reason, sizeof reason, "member %u complains of the share that member %u dealt", holder,
           dealer);
  int r = round_evidence(t, verdict == NX_CHECK_BOX_SHUT ? "disputed-share" : "bad-share", dealer,
                         reason, t->raw, proof);
  if (r < 0)
    return r;
  return round->state == STATE_UPLOADS || round->state == STATE_SHARES ? round_abort(t, reason) : 0;
}

int round_on_complaint(struct turn *t) {
  struct nx_round *round = t->round;
  uint32_t id = t->event->member;
  struct nx_error why = {0};
  struct nx_complaint complaint;
  int r = nx_complaint_decode(t->message.body, round->scratch, &complaint, &why);
  if (r >= 0)
    r = nx_signed_message_verify(&t->message, &round_member(t, id)->signing_key, &why);
  if (r >= 0 && (!nx_hash_equal(&complaint.t1, &round->t1) || !round->u2[id] ||
                 !round->u2[complaint.dealer] || complaint.dealer == id))
    r = nx_fail(&why, NX_E_PROTOCOL, "a complaint about nothing of this attempt");
  if (r < 0)
    return round_note(t, "bad-complaint", id, why.text);
  int verdict = judge(t, &complaint);
  return verdict < 0 ? verdict : act_on_complaint(t, complaint.dealer, verdict);
}

/* --- refusals ----------------------------------------------------------------------- */

int round_on_refusal(struct turn *t) {
  struct nx_round *round = t->round;
  uint32_t id = t->event->member;
  struct round_peer *peer = &round->peers[id];
  struct nx_error why = {0};
  struct nx_refusal refusal;
  int r = nx_refusal_decode(t->message.body, round->scratch, &refusal, &why);
  if (r >= 0)
    r = nx_signed_message_verify(&t->message, &round_member(t, id)->signing_key, &why);
  if (r >= 0 && (refusal.round != round->cfg.round || refusal.attempt != round->cfg.attempt))
    r = nx_fail(&why, NX_E_PROTOCOL, "a refusal of another attempt");
  if (r < 0)
    return round_note(t, "bad-refusal", id, why.text);
  if (refusal.code != NX_REFUSAL_RESULT) {
    /* Who has joined or uploaded already cannot take that back. */
    if (refusal.code == NX_REFUSAL_INVITE)
      peer->refused |= !peer->has_advert;
    else
      peer->no_update |= !peer->has_upload;
    return round_note(t, "refused", id, refusal.reason);
  }
  if (round->state != STATE_SEALS || peer->has_seal)
    return round_note(t, "refused", id, refusal.reason);
  peer->refused_result = true;
  return round_evidence(t, "result-refused", id, refusal.reason, t->raw, round->m10);
}

/* --- the end ------------------------------------------------------------------------ */

static int list_ids(struct turn *t, const uint32_t *ids, size_t n, const uint32_t **out) {
  struct nx_bytes kept;
  int r = round_copy(t, nx_bytes(ids, n * sizeof *ids), &kept);
  *out = (const uint32_t *)(const void *)kept.data;
  return r;
}

struct ending {
  uint32_t u3[NX_MEMBERS_MAX], dropped[NX_MEMBERS_MAX], accused[NX_MEMBERS_MAX];
  struct nx_bytes seals[NX_MEMBERS_MAX];
  size_t n_u3, n_dropped, n_accused, n_seals;
};

static int gather_ending(struct turn *t, struct ending *ending) {
  struct nx_round *round = t->round;
  for (uint32_t id = 1; id < NX_ID_END; id++) {
    const struct round_peer *peer = &round->peers[id];
    if (round->u3[id])
      ending->u3[ending->n_u3++] = id;
    else if (round->u2[id])
      ending->dropped[ending->n_dropped++] = id;
    if (peer->accused)
      ending->accused[ending->n_accused++] = id;
    if (!peer->has_seal)
      continue;
    int r = round_copy(t, peer->seal, &ending->seals[ending->n_seals++]);
    if (r < 0)
      return r;
  }
  return 0;
}

static int fill_finished(struct turn *t, struct nx_round_action *action,
                         const struct ending *ending) {
  struct nx_round *round = t->round;
  struct nx_bytes seals;
  int r = list_ids(t, ending->u3, ending->n_u3, &action->members);
  if (r < 0 || (r = list_ids(t, ending->dropped, ending->n_dropped, &action->dropped)) < 0 ||
      (r = list_ids(t, ending->accused, ending->n_accused, &action->accused)) < 0 ||
      (r = round_copy(t, nx_bytes(ending->seals, ending->n_seals * sizeof *ending->seals),
                      &seals)) < 0 ||
      (r = round_copy(t, action->outcome == NX_ROUND_ABORTED ? round->m8 : nx_bytes("", 0),
                      &action->certificate)) < 0)
    return r;
  action->n_members = ending->n_u3;
  action->n_dropped = ending->n_dropped;
  action->n_accused = ending->n_accused;
  action->seals = (const struct nx_bytes *)(const void *)seals.data;
  action->n_seals = ending->n_seals;
  action->t2 = round->t2;
  action->t3 = round->t3;
  action->sum = round->sum;
  action->model = round->model;
  return 0;
}

int round_finish(struct turn *t, enum nx_round_outcome outcome, const char *reason) {
  struct ending ending = {.n_u3 = 0};
  struct nx_round_action action = {.type = NX_ROUND_FINISHED, .outcome = outcome, .kind = ""};
  struct nx_bytes text;
  int r = gather_ending(t, &ending);
  if (r < 0 || (r = fill_finished(t, &action, &ending)) < 0 ||
      (r = round_copy(t, nx_bytes(reason, strlen(reason)), &text)) < 0)
    return r;
  action.reason = (const char *)text.data;
  nx_secret_free(t->round->released);
  nx_secret_free(t->round->opening);
  t->round->released = NULL;
  t->round->opening = NULL;
  round_enter(t, STATE_FINISHED, 0);
  struct nx_round_action *out = round_act(t, NX_ROUND_FINISHED);
  if (!out)
    return NX_E_NOMEM;
  *out = action;
  return 0;
}
