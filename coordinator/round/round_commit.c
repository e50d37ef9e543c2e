/* M5..M8: uploads, the commit request, votes and their certificate. */
#include <stdio.h>

#include "coordinator/round/round_internal.h"

/* --- M5 ----------------------------------------------------------------------------- */

static int decode_header(const struct nx_round *round, uint32_t member, struct nx_bytes bytes,
                         struct nx_arena *arena, struct nx_signed_message *message,
                         struct nx_upload_header *header, struct nx_error *err) {
  int r = nx_signed_message_decode(bytes, arena, message, err);
  if (r < 0)
    return r;
  if (message->type != NX_M5_UPLOAD || message->signer != member)
    return nx_fail(err, NX_E_PROTOCOL, "an upload of member %u begins with %s of member %u", member,
                   nx_message_name(message->type), message->signer);
  struct nx_signed_body entry = {member, message->body, message->signature};
  return nx_check_upload(nx_check_member(round->members, round->cfg.n_members, member),
                         &round->invite, &round->t2, &entry, arena, header, err);
}

int nx_round_check_upload(const struct nx_round *round, uint32_t member, struct nx_bytes header,
                          struct nx_upload_header *header_out, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_signed_message message;
  if (member >= NX_ID_END || !round->u2[member])
    return nx_fail(err, NX_E_STATE, "member %u gave no shares in this attempt", member);
  const struct round_peer *peer = &round->peers[member];
  int r = nx_arena_create((size_t)1 << 20, &arena, err);
  if (r < 0 || (r = decode_header(round, member, header, arena, &message, header_out, err)) < 0)
    return r;
  if (peer->has_upload)
    return nx_hash_equal(&peer->root, &header_out->root) ? NX_ROUND_UPLOAD_HELD
                                                         : NX_ROUND_UPLOAD_OTHER;
  if (round->state != STATE_UPLOADS)
    return nx_fail(err, NX_E_STATE, "the uploads of this attempt are closed");
  return 0;
}

int round_take_upload(struct turn *t, uint32_t id, const struct nx_signed_message *message,
                      struct nx_error *why) {
  struct round_peer *peer = &t->round->peers[id];
  struct nx_upload_header header;
  int r = nx_upload_header_decode(message->body, t->round->scratch, &header, why);
  if (r < 0)
    return r;
  peer->upload = (struct nx_signed_body){.id = id, .signature = message->signature};
  if ((r = round_keep(t, message->body, &peer->upload.body)) < 0)
    return r;
  peer->root = header.root;
  peer->has_upload = true;
  return 0;
}

int round_on_uploaded(struct turn *t) {
  struct nx_round *round = t->round;
  uint32_t id = t->event->member;
  struct round_peer *peer = &round->peers[id];
  struct nx_error why = {0};
  struct nx_signed_message message;
  struct nx_upload_header header;
  if (!round->u2[id])
    return round_note(t, "uninvited", id, "an upload of a member that gave no shares");
  int r = decode_header(round, id, t->event->message, round->scratch, &message, &header, &why);
  if (r < 0)
    return round_note(t, "bad-upload", id, why.text);
  if (header.bytes != t->event->bytes || !nx_hash_equal(&header.root, &t->event->root))
    return round_note(t, "bad-upload", id, "the bytes that came are not those of the signed root");
  if (peer->has_upload)
    return nx_hash_equal(&header.root, &peer->root)
               ? 0
               : round_evidence(t, "two-roots", id, "two signed roots under one T2",
                                peer->upload.body, t->event->message);
  if ((r = round_take_upload(t, id, &message, t->err)) < 0 ||
      (r = round_persist(t, RECORD_UPLOAD, t->event->message)) < 0)
    return r;
  return round_note(t, "upload", id, "");
}

/* --- M6 ----------------------------------------------------------------------------- */

/* Given u3: T3. */
int round_set_commit(struct turn *t) {
  struct nx_round *round = t->round;
  struct nx_transcript_entry roots[NX_MEMBERS_MAX];
  size_t n = 0;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    if (round->u3[id])
      roots[n++] = (struct nx_transcript_entry){id, round->peers[id].root};
  return nx_check_t3(&round->t2, roots, n, &round->t3, t->err);
}

int round_close_spool(struct turn *t) {
  uint32_t ids[NX_MEMBERS_MAX];
  struct nx_bytes kept;
  size_t n = 0;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    if (t->round->u3[id])
      ids[n++] = id;
  int r = round_copy(t, nx_bytes(ids, n * sizeof *ids), &kept);
  struct nx_round_action *action = r < 0 ? NULL : round_act(t, NX_ROUND_CLOSE_UPLOADS);
  if (!action)
    return NX_E_NOMEM;
  action->members = (const uint32_t *)(const void *)kept.data;
  action->n_members = n;
  return 0;
}

int round_close_uploads(struct turn *t) {
  struct nx_round *round = t->round;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  struct nx_signed_body list[NX_MEMBERS_MAX];
  struct nx_commit_request request = {.uploads = list};
  uint32_t least = NX_MAX(round->threshold, NX_SUM_MIN);
  for (uint32_t id = 1; id < NX_ID_END; id++) {
    round->u3[id] = round->u2[id] && round->peers[id].has_upload;
    if (round->u3[id])
      list[request.n++] = round->peers[id].upload;
  }
  if (request.n < least ||
      round_count(round->u2) < round_votes(round, NX_VOTE_ABORT) + round->threshold) {
    char reason[NX_REASON_SIZE];
    snprintf(reason, sizeof reason, "%zu uploads came, %zu members voted to abort; %u are needed",
             request.n, round_votes(round, NX_VOTE_ABORT), least);
    memset(round->u3, 0, sizeof round->u3);
    return round_abort(t, reason);
  }
  request.t2 = round->t2;
  int r = nx_commit_request_encode(&request, &body, t->err);
  if (r < 0 || (r = round_make(t, NX_M6_COMMIT_REQUEST, &body, &round->m6)) < 0 ||
      (r = round_set_commit(t)) < 0 || (r = round_persist(t, RECORD_COMMIT, round->m6)) < 0 ||
      (r = round_close_spool(t)) < 0)
    return r;
  round_enter(t, STATE_VOTES, round->cfg.phase_seconds);
  return round_broadcast(t, round->m6);
}

/* --- M7 ----------------------------------------------------------------------------- */

size_t round_votes(const struct nx_round *round, uint32_t choice) {
  size_t n = 0;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    n += round->peers[id].vote == choice &&
         (choice == NX_VOTE_COMMIT ? round->u2[id] : round->peers[id].u0);
  return n;
}

static int check_vote(struct turn *t, struct nx_vote *vote, struct nx_error *why) {
  struct nx_round *round = t->round;
  uint32_t id = t->event->member;
  int r = nx_vote_decode(t->message.body, round->scratch, vote, why);
  if (r < 0 ||
      (r = nx_signed_message_verify(&t->message, &round_member(t, id)->signing_key, why)) < 0)
    return r;
  bool commit = vote->choice == NX_VOTE_COMMIT;
  if (vote->round != round->cfg.round || vote->attempt != round->cfg.attempt)
    return nx_fail(why, NX_E_PROTOCOL, "a vote of another attempt");
  if (commit ? !round->u2[id] || !round->m6.size : !round->peers[id].u0)
    return nx_fail(why, NX_E_PROTOCOL, "a vote of a member that has none now");
  if (!nx_hash_equal(&vote->subject, commit ? &round->t3 : &round->t0))
    return nx_fail(why, NX_E_PROTOCOL, "a vote for something that was not asked");
  return 0;
}

int round_on_vote(struct turn *t) {
  uint32_t id = t->event->member;
  struct round_peer *peer = &t->round->peers[id];
  struct nx_error why = {0};
  struct nx_vote vote;
  if (check_vote(t, &vote, &why) < 0)
    return round_note(t, "bad-vote", id, why.text);
  if (peer->vote)
    return peer->vote == vote.choice
               ? 0
               : round_evidence(t, "two-votes", id, "two different votes in one attempt",
                                peer->vote_message, t->raw);
  int r = round_keep(t, t->raw, &peer->vote_message);
  if (r < 0)
    return r;
  peer->vote = vote.choice;
  peer->vote_signature = t->message.signature;
  return round_note(t, vote.choice == NX_VOTE_COMMIT ? "vote-commit" : "vote-abort", id, "");
}

/* --- M8 ----------------------------------------------------------------------------- */

int round_certify(struct turn *t, uint32_t choice, struct nx_bytes *certificate_out) {
  struct nx_round *round = t->round;
  _cleanup_(nx_buffer_finish) struct nx_buffer vote_body = {0}, body = {0};
  struct nx_voter voters[NX_MEMBERS_MAX];
  struct nx_vote_certificate certificate = {.voters = voters};
  struct nx_vote vote = {choice, round->cfg.round, round->cfg.attempt,
                         choice == NX_VOTE_COMMIT ? round->t3 : round->t0};
  for (uint32_t id = 1; id < NX_ID_END; id++) {
    const struct round_peer *peer = &round->peers[id];
    if (peer->vote == choice && (choice == NX_VOTE_COMMIT ? round->u2[id] : peer->u0))
      voters[certificate.n++] = (struct nx_voter){id, peer->vote_signature};
  }
  int r = nx_vote_encode(&vote, &vote_body, t->err);
  if (r < 0)
    return r;
  certificate.vote = nx_buffer_view(&vote_body);
  if ((r = nx_vote_certificate_encode(&certificate, &body, t->err)) < 0 ||
      (r = round_make(t, NX_M8_CERTIFICATE, &body, certificate_out)) < 0)
    return r;
  return round_persist(t, RECORD_CERTIFICATE, *certificate_out);
}

int round_close_votes(struct turn *t) {
  struct nx_round *round = t->round;
  size_t commits = round_votes(round, NX_VOTE_COMMIT);
  if (commits < round->threshold) {
    char reason[NX_REASON_SIZE];
    snprintf(reason, sizeof reason, "%zu members voted to commit; %u are needed", commits,
             round->threshold);
    return round_abort(t, reason);
  }
  int r = round_certify(t, NX_VOTE_COMMIT, &round->m8);
  if (r < 0 || (r = round_begin_releases(t)) < 0)
    return r;
  return round_broadcast(t, round->m8);
}
