/* M6..M9: the one vote of an attempt, certificates, the release of shares; and giving up. */
#include "node/session/participant_internal.h"

/* Durable before it is sent. With anything but a COMMIT the secrets go: nothing that is
 * certified now can make this node release a share. */
int participant_vote(struct turn *t, uint32_t choice, const struct nx_hash *subject) {
  struct nx_participant *p = t->p;
  struct attempt *attempt = p->attempt;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, message = {0};
  int r = 0;
  if (!p->durable.vote_choice) {
    struct nx_vote vote = {choice, attempt->invite.round, attempt->invite.attempt, *subject};
    r = nx_vote_encode(&vote, &body, t->err);
    if (r < 0 ||
        (r = participant_sign(t, NX_M7_VOTE, nx_buffer_view(&body), nx_bytes("", 0), &message)) <
            0 ||
        (r = participant_persist_vote(t, choice, subject, nx_buffer_view(&message))) < 0)
      return r;
  }
  if (p->durable.vote_choice != NX_VOTE_COMMIT) {
    participant_become_witness(t);
    r = participant_stop_upload(t);
  }
  /* A vote whose bytes a torn journal lost is never sent again. */
  return r < 0 || !p->durable.vote.size ? r : participant_send(t, nx_buffer_view(&p->durable.vote));
}

/* --- M6 ----------------------------------------------------------------------------- */

static int check_own_upload(struct turn *t, const struct nx_signed_body *entry,
                            struct nx_error *why) {
  struct nx_signed_message mine;
  if (!t->p->durable.header.size)
    return nx_fail(why, NX_E_PROTOCOL, "M6: an upload of mine that I did not make");
  int r =
      nx_signed_message_decode(nx_buffer_view(&t->p->durable.header), t->p->scratch, &mine, why);
  if (r >= 0 && (mine.body.size != entry->body.size ||
                 memcmp(mine.body.data, entry->body.data, mine.body.size)))
    r = nx_fail(why, NX_E_PROTOCOL, "M6: another root than the one I signed");
  return r;
}

static int check_commit_request(struct turn *t, const struct nx_commit_request *request,
                                struct nx_error *why) {
  struct nx_participant *p = t->p;
  struct attempt *attempt = p->attempt;
  struct nx_transcript_entry roots[NX_MEMBERS_MAX];
  memset(attempt->u3, 0, sizeof attempt->u3);
  attempt->n_uploads = 0;
  uint32_t least = NX_MAX(attempt->threshold, NX_SUM_MIN);
  /* The record of my upload is lost: it is no fault of the coordinator's that I know of none. */
  bool is_forgotten = p->durable.vote_choice == VOTE_UNKNOWN && !p->durable.header.size;
  if (request->n < least)
    return nx_fail(why, NX_E_PROTOCOL, "M6 over %zu members; a sum is opened over %u or more",
                   request->n, least);
  for (size_t i = 0; i < request->n; i++) {
    const struct nx_signed_body *entry = &request->uploads[i];
    struct nx_upload_header header;
    if (!attempt->u2[entry->id])
      return nx_fail(why, NX_E_PROTOCOL, "M6: member %u gave no shares", entry->id);
    int r = nx_check_upload(nx_check_member(p->members, p->cfg.n_members, entry->id),
                            &attempt->invite, &attempt->t2, entry, p->scratch, &header, why);
    if (r >= 0 && entry->id == p->cfg.id && attempt->joined && !is_forgotten)
      r = check_own_upload(t, entry, why);
    if (r < 0)
      return nx_error_prefix(why, r, "M6");
    attempt->u3[entry->id] = true;
    attempt->uploads[i] = (struct nx_participant_upload){entry->id, header.root};
    roots[i] = (struct nx_transcript_entry){entry->id, header.root};
  }
  attempt->n_uploads = request->n;
  return nx_check_t3(&attempt->t2, roots, request->n, &attempt->t3, why);
}

static int on_second_request(struct turn *t, bool same) {
  struct attempt *attempt = t->p->attempt;
  if (!same)
    return participant_evidence(t, "two-commit-requests", NX_COORDINATOR,
                                "the coordinator signed two commit requests for one attempt",
                                attempt->heard[NX_M6_COMMIT_REQUEST - NX_M0_INVITE], t->raw);
  return t->p->state == STATE_CERTIFICATE && attempt->joined && t->p->durable.vote.size
             ? participant_send(t, nx_buffer_view(&t->p->durable.vote))
             : 0;
}

static int end_of_uploads(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  int r = participant_stop_upload(t);
  if (r >= 0 && attempt->working && !attempt->x_ready) {
    attempt->working = false;
    r = participant_simple(t, NX_PARTICIPANT_STOP_WORK);
  }
  return r;
}

int participant_on_commit_request(struct turn *t) {
  struct nx_participant *p = t->p;
  struct attempt *attempt = p->attempt;
  struct nx_error why = {0};
  struct nx_commit_request request;
  bool same;
  int r = nx_commit_request_decode(t->message.body, p->scratch, &request, &why);
  if (r < 0)
    return participant_note(t, "bad-message", why.text);
  if (!nx_hash_equal(&request.t2, &attempt->t2))
    return participant_note(t, "other-attempt", "a commit request of other shares: ignored");
  if (participant_heard(t, &same))
    return on_second_request(t, same);
  if ((r = check_commit_request(t, &request, &why)) < 0)
    return participant_evidence(t, "bad-commit-request", NX_COORDINATOR, why.text, t->raw,
                                nx_bytes("", 0));
  if ((r = participant_accept(t, STATE_CERTIFICATE)) < 0 || (r = end_of_uploads(t)) < 0)
    return r;
  participant_expect(t, attempt->invite.phase_seconds);
  if (attempt->secrets)
    return participant_vote(t, NX_VOTE_COMMIT, &attempt->t3);
  return attempt->joined && attempt->u2[p->cfg.id]
             ? participant_vote(t, NX_VOTE_ABORT, &attempt->t0)
             : 0;
}

/* --- M8 and M9 ---------------------------------------------------------------------- */

static void fill_release(const struct attempt *attempt, struct nx_released *b,
                         struct nx_released *s, struct nx_release *release) {
  for (uint32_t id = 1; id < NX_ID_END; id++) {
    if (attempt->u3[id])
      b[release->n_b++] = (struct nx_released){id, attempt->secrets->b_shares[id]};
    else if (attempt->u2[id])
      s[release->n_s++] = (struct nx_released){id, attempt->secrets->s_shares[id]};
  }
  release->b_shares = b;
  release->s_shares = s;
}

/* For each member of U2 one of its two shares, never both. */
static int release_shares(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  _cleanup_(nx_buffer_wipe) struct nx_buffer body = {0}, message = {0};
  _cleanup_(nx_secret_freep) struct nx_released *lists =
      nx_secret_alloc_bytes(2 * NX_MEMBERS_MAX * sizeof *lists);
  if (!lists)
    return nx_fail(t->err, NX_E_NOMEM, "no guarded memory to release shares");
  struct nx_release release = {.t3 = attempt->t3, .id = t->p->cfg.id};
  fill_release(attempt, lists, lists + NX_MEMBERS_MAX, &release);
  int r = nx_release_encode(&release, &body, t->err);
  if (r < 0 ||
      (r = participant_sign(t, NX_M9_RELEASE, nx_buffer_view(&body), nx_bytes("", 0), &message)) <
          0 ||
      (r = participant_persist_released(t)) < 0)
    return r;
  return participant_send(t, nx_buffer_view(&message));
}

static bool may_release(const struct turn *t) {
  const struct attempt *attempt = t->p->attempt;
  return attempt->secrets && t->p->durable.vote_choice == NX_VOTE_COMMIT &&
         nx_hash_equal(&t->p->durable.vote_subject, &attempt->t3);
}

static int on_commit_certificate(struct turn *t, const struct nx_vote *vote) {
  struct attempt *attempt = t->p->attempt;
  bool same;
  if (participant_heard(t, &same)) {
    if (!same)
      return participant_evidence(t, "two-certificates", NX_COORDINATOR,
                                  "the coordinator signed two certificates for one attempt",
                                  attempt->heard[NX_M8_CERTIFICATE - NX_M0_INVITE], t->raw);
    return t->p->state == STATE_RESULT && may_release(t) ? release_shares(t) : 0;
  }
  if (t->p->state != STATE_CERTIFICATE)
    return participant_note(t, "unexpected", "a certificate before its request: ignored");
  if (!nx_hash_equal(&vote->subject, &attempt->t3))
    return participant_evidence(t, "other-commit", NX_COORDINATOR,
                                "a quorum certified another set of uploads than I was shown",
                                attempt->heard[NX_M6_COMMIT_REQUEST - NX_M0_INVITE], t->raw);
  int r = participant_accept(t, STATE_RESULT);
  participant_expect(t, (uint64_t)attempt->invite.phase_seconds + attempt->invite.training_seconds);
  return r < 0 || !may_release(t) ? r : release_shares(t);
}

/* The attempt opens never: its update may be masked again, its charge is refunded. */
static int on_abort_certificate(struct turn *t, const struct nx_vote *vote) {
  struct durable *durable = &t->p->durable;
  int r = 0;
  if (durable->round == vote->round && durable->attempt == vote->attempt) {
    if (durable->exposed) {
      struct nx_participant_action *refund = participant_act(t, NX_PARTICIPANT_REFUND);
      if (!refund)
        return NX_E_NOMEM;
      refund->round = vote->round;
      refund->attempt = vote->attempt;
    }
    r = participant_persist_closed(t);
  }
  if (r < 0 || !t->p->attempt)
    return r;
  return participant_leave(t, true, "the attempt was aborted, with a certificate");
}

/* A certificate of the attempt that goes on here, or of the one that a restart left. */
struct jury {
  uint64_t round;
  uint32_t attempt, threshold;
  const struct nx_hash *t0;
  const bool *u0, *u2;
};

static bool find_jury(const struct turn *t, struct jury *jury) {
  const struct attempt *attempt = t->p->attempt;
  const struct durable *durable = &t->p->durable;
  if (attempt) {
    *jury = (struct jury){attempt->invite.round, attempt->invite.attempt,
                          attempt->threshold,    &attempt->t0,
                          attempt->u0,           attempt->u2};
    return true;
  }
  uint32_t n = 0;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    n += durable->u0[id];
  *jury = (struct jury){durable->round, durable->attempt, nx_threshold_quorum(n),
                        &durable->t0,   durable->u0,      durable->u0};
  return durable->exposed;
}

int participant_on_certificate(struct turn *t) {
  struct nx_participant *p = t->p;
  struct nx_error why = {0};
  struct nx_vote_certificate certificate;
  struct nx_vote vote;
  struct jury jury;
  int r = nx_vote_certificate_decode(t->message.body, p->scratch, &certificate, &why);
  if (r >= 0)
    r = nx_vote_decode(certificate.vote, p->scratch, &vote, &why);
  if (r < 0)
    return participant_note(t, "bad-message", why.text);
  if (!find_jury(t, &jury) || vote.round != jury.round || vote.attempt != jury.attempt)
    return participant_note(t, "other-attempt", "a certificate of another attempt: ignored");
  bool commit = vote.choice == NX_VOTE_COMMIT;
  if (commit && p->state < STATE_CERTIFICATE)
    return participant_note(t, "unexpected", "a certificate before its request: ignored");
  if (!commit && !nx_hash_equal(&vote.subject, jury.t0))
    return participant_note(t, "other-attempt", "an ABORT of another transcript: ignored");
  r = nx_check_certificate(p->members, p->cfg.n_members, commit ? jury.u2 : jury.u0, jury.threshold,
                           &certificate, p->scratch, &vote, &why);
  if (r < 0)
    return participant_evidence(t, "bad-certificate", NX_COORDINATOR, why.text, t->raw,
                                nx_bytes("", 0));
  return commit ? on_commit_certificate(t, &vote) : on_abort_certificate(t, &vote);
}

/* --- giving up ---------------------------------------------------------------------- */

int participant_on_abort_request(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  struct nx_error why = {0};
  struct nx_abort_request request;
  int r = nx_abort_request_decode(t->message.body, t->p->scratch, &request, &why);
  if (r < 0)
    return participant_note(t, "bad-message", why.text);
  if (!nx_hash_equal(&request.t0, &attempt->t0))
    return participant_note(t, "other-attempt", "an abort of another attempt: ignored");
  if (!attempt->joined)
    return 0;
  if ((r = participant_note(t, "abort-requested", request.reason)) < 0)
    return r;
  return participant_vote(t, NX_VOTE_ABORT, &attempt->t0);
}

int participant_on_deadline(struct turn *t) {
  struct nx_participant *p = t->p;
  struct attempt *attempt = p->attempt;
  if (t->now < p->deadline) {
    p->announced = NX_NEVER; /* came early: say it again */
    return 0;
  }
  p->announced = NX_NEVER;
  if (!attempt || p->state == STATE_CHECKING) {
    p->deadline = NX_NEVER;
    return 0;
  }
  int r = attempt->joined && !p->durable.vote_choice
              ? participant_vote(t, NX_VOTE_ABORT, &attempt->t0)
              : 0;
  return r < 0 ? r : participant_leave(t, false, "the coordinator brought the attempt no further");
}
