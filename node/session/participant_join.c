/* M0..M3: considering an invitation, adverts, the roster, dealing shares. */
#include "crypto/shares.h"
#include "node/session/participant_internal.h"

/* --- M0 ----------------------------------------------------------------------------- */

/* A refusal by a check of ours, told to the coordinator in that check's words. */
static int refuse_with(struct turn *t, const struct nx_invite *invite, const struct nx_error *why) {
  return participant_refuse(t, invite, NX_REFUSAL_INVITE, why->text, NULL);
}

static int on_sealed_round(struct turn *t, const struct nx_invite *invite) {
  const struct durable *durable = &t->p->durable;
  if (invite->round < durable->last_sealed || !durable->seal.size)
    return participant_note(t, "old-round", "an invitation to a round that is sealed: ignored");
  return participant_send(t, nx_buffer_view(&durable->seal));
}

/* The same (round, attempt) again: a repeat wants its answer, anything else is evidence. */
static int on_second_invite(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  bool same;
  if (!participant_heard(t, &same) || same)
    return attempt->secrets && t->p->state == STATE_ROSTER
               ? participant_send(t, nx_buffer_view(&t->p->durable.advert))
               : 0;
  return participant_evidence(t, "two-invites", NX_COORDINATOR,
                              "the coordinator signed two invitations for one attempt",
                              attempt->heard[0], t->raw);
}

/* After a restart the attempt is followed as a witness: the secrets are gone. */
static int follow_again(struct turn *t, const struct nx_invite *invite, const struct nx_hash *t0) {
  struct durable *durable = &t->p->durable;
  if (!nx_hash_equal(t0, &durable->t0))
    return participant_evidence(t, "two-invites", NX_COORDINATOR,
                                "another invitation for the attempt that was joined before",
                                nx_buffer_view(&durable->advert), t->raw);
  int r = participant_begin(t, invite, t0);
  if (r < 0)
    return r;
  t->p->attempt->joined = true;
  participant_expect(t, invite->phase_seconds);
  if ((r = participant_accept(t, STATE_ROSTER)) < 0 || durable->header.size)
    return r; /* an upload that was begun may be finished */
  return participant_refuse(t, invite, NX_REFUSAL_UPDATE,
                            "this node was started again: the keys of this attempt are gone",
                            &t->p->attempt->no_update);
}

/* The journal was lost whole: the first attempt that is offered may be the one that was joined. */
static bool is_doubted(const struct durable *durable, const struct nx_invite *invite) {
  return durable->doubtful &&
         (!durable->doubted_round ||
          (durable->doubted_round == invite->round && durable->doubted_attempt == invite->attempt));
}

static int follow_in_doubt(struct turn *t, const struct nx_invite *invite,
                           const struct nx_hash *t0) {
  int r = participant_begin(t, invite, t0);
  if (r < 0)
    return r;
  t->p->durable.doubted_round = invite->round;
  t->p->durable.doubted_attempt = invite->attempt;
  participant_expect(t, invite->phase_seconds);
  if ((r = participant_accept(t, STATE_ROSTER)) < 0)
    return r;
  return participant_refuse(t, invite, NX_REFUSAL_UPDATE,
                            "this node's journal is lost: it may have joined this attempt "
                            "before, and only looks on",
                            &t->p->attempt->no_update);
}

static int consider(struct turn *t, const struct nx_invite *invite, const struct nx_hash *t0) {
  struct nx_participant *p = t->p;
  struct nx_error why = {0};
  int r = nx_threshold_check_cohort((uint32_t)p->cfg.n_members, (uint32_t)invite->n_members,
                                    p->cfg.minimum_members, &why);
  if (r < 0)
    return refuse_with(t, invite, &why);
  if ((r = participant_begin(t, invite, t0)) < 0)
    return r;
  participant_expect(t, invite->phase_seconds);
  if (!p->attempt->u0[p->cfg.id])
    return participant_accept(t, STATE_ROSTER); /* not invited: a witness */
  if ((r = participant_accept(t, STATE_CONSIDERING)) < 0)
    return r;
  struct nx_participant_action *action = participant_act(t, NX_PARTICIPANT_CONSIDER);
  if (!action)
    return NX_E_NOMEM;
  action->invite = &p->attempt->invite;
  return 0;
}

static int check_new_invite(struct turn *t, const struct nx_invite *invite, struct nx_hash *t0,
                            struct nx_error *why) {
  const struct nx_participant *p = t->p;
  if (memcmp(invite->federation, p->cfg.federation, sizeof invite->federation))
    return nx_fail(why, NX_E_DENIED, "an invitation of another federation");
  if (!nx_hash_equal(&invite->manifest, &p->cfg.manifest))
    return nx_fail(why, NX_E_DENIED,
                   "an invitation under another manifest than the one pinned here");
  int r = nx_check_invite(&p->context, invite, t0, why);
  if (r < 0)
    return r;
  if (!nx_hash_equal(&invite->model, &p->durable.model))
    return nx_fail(why, NX_E_STATE,
                   "the round starts from another model than this node holds; it must catch up");
  return 0;
}

int participant_on_invite(struct turn *t) {
  struct nx_participant *p = t->p;
  struct durable *durable = &p->durable;
  struct nx_error why = {0};
  struct nx_invite invite;
  struct nx_hash t0;
  int r = nx_invite_decode(t->message.body, p->scratch, &invite, &why);
  if (r < 0)
    return participant_note(t, "bad-message", why.text);
  if (invite.round <= durable->last_sealed)
    return on_sealed_round(t, &invite);
  if (p->attempt && invite.round == p->attempt->invite.round &&
      invite.attempt == p->attempt->invite.attempt)
    return on_second_invite(t);
  if (invite.round < durable->round ||
      (invite.round == durable->round && invite.attempt < durable->attempt))
    return participant_note(t, "old-attempt", "a later attempt was joined: this one is closed");
  if ((r = check_new_invite(t, &invite, &t0, &why)) < 0)
    return refuse_with(t, &invite, &why);
  if (p->attempt) {
    if (invite.round < p->attempt->invite.round ||
        (invite.round == p->attempt->invite.round && invite.attempt < p->attempt->invite.attempt))
      return participant_note(t, "old-attempt", "a later attempt goes on here");
    if ((r = participant_leave(t, false, "the coordinator began another attempt")) < 0)
      return r;
  }
  if (is_doubted(durable, &invite))
    return follow_in_doubt(t, &invite, &t0);
  if (invite.round == durable->round && invite.attempt == durable->attempt)
    return follow_again(t, &invite, &t0);
  return consider(t, &invite, &t0);
}

/* --- M1 ----------------------------------------------------------------------------- */

static int draw_secrets(struct turn *t, struct nx_advert *advert) {
  struct attempt *attempt = t->p->attempt;
  struct participant_secrets *secrets = nx_secret_alloc_bytes(sizeof *secrets);
  if (!secrets)
    return nx_fail(t->err, NX_E_NOMEM, "no guarded memory for the keys of a round");
  attempt->secrets = secrets;
  const struct nx_entropy *entropy = t->p->cfg.entropy;
  int r = nx_agreement_create(entropy, &secrets->c, &advert->c, t->err);
  if (r < 0 || (r = nx_agreement_create(entropy, &secrets->s, &advert->s, t->err)) < 0 ||
      (r = nx_secret_random(entropy, &secrets->b, t->err)) < 0)
    return r;
  advert->t0 = attempt->t0;
  advert->id = t->p->cfg.id;
  advert->self_commitment = nx_commit_self_seed(&attempt->t0, advert->id, &secrets->b);
  return 0;
}

/* Joining closes what came before. An update that may have been opened is never masked
 * again: the next one is another variant. */
static int next_variant(struct turn *t, uint32_t *variant) {
  const struct durable *durable = &t->p->durable;
  bool same_round = durable->round == t->p->attempt->invite.round;
  if (durable->doubtful) { /* every attempt adds one at most: this many were never reached */
    *variant = t->p->attempt->invite.attempt;
    return participant_note(t, "treated-as-opened",
                            "what this node gave before is not known any more: the update is "
                            "made anew");
  }
  *variant = same_round ? durable->variant : 0;
  if (!same_round || !durable->exposed)
    return 0;
  ++*variant;
  return participant_note(t, "treated-as-opened",
                          "the attempt before may have been opened: its privacy charge is kept "
                          "and the update is made anew");
}

static int join(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, message = {0};
  struct nx_advert advert;
  uint32_t variant;
  int r = next_variant(t, &variant);
  if (r < 0 || (r = draw_secrets(t, &advert)) < 0 ||
      (r = nx_advert_encode(&advert, &body, t->err)) < 0 ||
      (r = participant_sign(t, NX_M1_ADVERT, nx_buffer_view(&body), nx_bytes("", 0), &message)) <
          0 ||
      (r = participant_persist_join(t, variant, nx_buffer_view(&message))) < 0 ||
      (r = participant_send(t, nx_buffer_view(&message))) < 0)
    return r;
  attempt->joined = attempt->working = true;
  t->p->state = STATE_ROSTER;
  participant_expect(t, attempt->invite.phase_seconds);
  struct nx_participant_action *action = participant_act(t, NX_PARTICIPANT_START_WORK);
  if (!action)
    return NX_E_NOMEM;
  action->invite = &attempt->invite;
  action->variant = variant;
  return 0;
}

int participant_on_decided(struct turn *t) {
  if (t->event->accepted)
    return join(t);
  struct nx_invite invite = t->p->attempt->invite;
  int r = participant_refuse(t, &invite, NX_REFUSAL_INVITE,
                             t->event->reason ? t->event->reason : "this site's policy", NULL);
  participant_forget(t);
  return r;
}

/* --- M2 ----------------------------------------------------------------------------- */

static int check_distinct(const struct attempt *attempt, const struct nx_roster *roster,
                          struct nx_error *err) {
  for (size_t i = 0; i < roster->n; i++) {
    const struct nx_advert *a = &attempt->adverts[roster->adverts[i].id];
    if (!memcmp(&a->c, &a->s, sizeof a->c))
      return nx_fail(err, NX_E_PROTOCOL, "M2: member %u has one key for two purposes", a->id);
    for (size_t k = 0; k < i; k++) {
      const struct nx_advert *b = &attempt->adverts[roster->adverts[k].id];
      if (!memcmp(&a->c, &b->c, sizeof a->c) || !memcmp(&a->s, &b->s, sizeof a->s) ||
          !memcmp(&a->c, &b->s, sizeof a->c) || !memcmp(&a->s, &b->c, sizeof a->s))
        return nx_fail(err, NX_E_PROTOCOL, "M2: members %u and %u have the same key", a->id, b->id);
    }
  }
  return 0;
}

/* Mine must be what I sent, if it is there. */
static int check_own_advert(struct turn *t, const struct nx_signed_body *entry,
                            struct nx_error *why) {
  struct nx_signed_message mine;
  int r =
      nx_signed_message_decode(nx_buffer_view(&t->p->durable.advert), t->p->scratch, &mine, why);
  if (r < 0)
    return r;
  if (mine.body.size != entry->body.size ||
      memcmp(mine.body.data, entry->body.data, mine.body.size))
    return nx_fail(why, NX_E_PROTOCOL, "M2: an advert of mine that I did not send");
  return 0;
}

static int check_roster(struct turn *t, const struct nx_roster *roster, struct nx_error *why) {
  struct nx_participant *p = t->p;
  struct attempt *attempt = p->attempt;
  memset(attempt->u1, 0, sizeof attempt->u1);
  if (roster->n < attempt->threshold)
    return nx_fail(why, NX_E_PROTOCOL, "M2 of %zu members; at least %u are needed", roster->n,
                   attempt->threshold);
  for (size_t i = 0; i < roster->n; i++) {
    const struct nx_signed_body *entry = &roster->adverts[i];
    if (!attempt->u0[entry->id])
      return nx_fail(why, NX_E_PROTOCOL, "M2: member %u was not invited", entry->id);
    int r = nx_check_advert(nx_check_member(p->members, p->cfg.n_members, entry->id), &attempt->t0,
                            entry, p->scratch, &attempt->adverts[entry->id], why);
    if (r >= 0 && entry->id == p->cfg.id && attempt->joined)
      r = check_own_advert(t, entry, why);
    if (r < 0)
      return nx_error_prefix(why, r, "M2");
    attempt->u1[entry->id] = true;
  }
  int r = check_distinct(attempt, roster, why);
  return r < 0 ? r : nx_check_t1(&attempt->t0, roster->adverts, roster->n, &attempt->t1, why);
}

/* --- M3 ----------------------------------------------------------------------------- */

struct deal {
  struct nx_share_commitment commitments[NX_MEMBERS_MAX];
  struct nx_share_box boxes[NX_MEMBERS_MAX];
  uint8_t xs[NX_MEMBERS_MAX];
  size_t n, n_boxes;
};

static int seal_box(struct turn *t, struct deal *deal, uint32_t to, const struct nx_secret *b,
                    const struct nx_secret *s, struct nx_hash *hash_out, struct nx_error *why) {
  struct attempt *attempt = t->p->attempt;
  struct nx_secret *shared = &attempt->secrets->shared[to];
  _cleanup_(nx_secret_wipe) struct nx_secret key;
  struct nx_secret plain[2] = {*b, *s};
  struct nx_share_box *box = &deal->boxes[deal->n_boxes++];
  box->id = to;
  int r = nx_agreement_shared(&attempt->secrets->c, &attempt->adverts[to].c, shared, why);
  if (r >= 0)
    r = nx_share_key(shared, &attempt->t1, t->p->cfg.id, to, &key, why);
  if (r >= 0)
    r = nx_sealed_box_seal(&key, &attempt->t1, t->p->cfg.id, to, nx_bytes(plain, sizeof plain),
                           box->bytes, why);
  nx_secret_wipe(&plain[0]);
  nx_secret_wipe(&plain[1]);
  *hash_out = nx_sha256(box->bytes, sizeof box->bytes);
  return r < 0 ? nx_error_prefix(why, r, "seal shares to member %u", to) : 0;
}

static int deal_shares(struct turn *t, struct deal *deal, struct nx_error *why) {
  struct attempt *attempt = t->p->attempt;
  const struct nx_entropy *entropy = t->p->cfg.entropy;
  uint32_t me = t->p->cfg.id;
  _cleanup_(nx_secret_freep) struct nx_secret *shares = nx_secret_alloc(2 * NX_MEMBERS_MAX);
  struct nx_secret *b = shares, *s = shares + NX_MEMBERS_MAX;
  if (!shares)
    return nx_fail(why, NX_E_NOMEM, "no guarded memory for shares");
  for (uint32_t id = 1; id < NX_ID_END; id++)
    if (attempt->u1[id])
      deal->xs[deal->n++] = (uint8_t)id;
  int r =
      nx_shares_split(&attempt->secrets->b, attempt->threshold, deal->xs, deal->n, entropy, b, why);
  if (r < 0 || (r = nx_shares_split(&attempt->secrets->s, attempt->threshold, deal->xs, deal->n,
                                    entropy, s, why)) < 0)
    return r;
  for (size_t i = 0; i < deal->n; i++) {
    struct nx_share_commitment *commitment = &deal->commitments[i];
    commitment->to = deal->xs[i];
    commitment->b_share = nx_commit_b_share(&attempt->t1, me, commitment->to, &b[i]);
    commitment->s_share = nx_commit_s_share(&attempt->t1, me, commitment->to, &s[i]);
    if (commitment->to == me) {
      attempt->secrets->b_shares[me] = b[i];
      attempt->secrets->s_shares[me] = s[i];
    } else if ((r = seal_box(t, deal, commitment->to, &b[i], &s[i], &commitment->box, why)) < 0)
      return r;
  }
  return 0;
}

static int send_shares(struct turn *t, struct nx_error *why) {
  struct attempt *attempt = t->p->attempt;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, boxes = {0}, message = {0};
  _cleanup_free_ struct deal *deal = calloc(1, sizeof *deal);
  if (!deal)
    return nx_fail(why, NX_E_NOMEM, "out of memory for shares");
  int r = deal_shares(t, deal, why);
  if (r < 0)
    return r;
  struct nx_shares shares = {attempt->t1, t->p->cfg.id, deal->commitments, deal->n};
  if ((r = nx_shares_encode(&shares, &body, t->err)) < 0 ||
      (r = nx_share_boxes_encode(deal->boxes, deal->n_boxes, &boxes, t->err)) < 0 ||
      (r = participant_sign(t, NX_M3_SHARES, nx_buffer_view(&body), nx_buffer_view(&boxes),
                            &message)) < 0 ||
      (r = participant_keep(t, nx_buffer_view(&message), &attempt->shares)) < 0)
    return r;
  return participant_send(t, attempt->shares);
}

static int on_second_roster(struct turn *t, bool same) {
  struct attempt *attempt = t->p->attempt;
  if (same)
    return attempt->secrets && t->p->state == STATE_BUNDLE ? participant_send(t, attempt->shares)
                                                           : 0;
  return participant_evidence(t, "two-rosters", NX_COORDINATOR,
                              "the coordinator signed two rosters for one attempt",
                              attempt->heard[NX_M2_ROSTER - NX_M0_INVITE], t->raw);
}

int participant_on_roster(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  struct nx_error why = {0};
  struct nx_roster roster;
  bool same;
  int r = nx_roster_decode(t->message.body, t->p->scratch, &roster, &why);
  if (r < 0)
    return participant_note(t, "bad-message", why.text);
  if (!nx_hash_equal(&roster.t0, &attempt->t0))
    return participant_note(t, "other-attempt", "a roster of another attempt: ignored");
  if (participant_heard(t, &same))
    return on_second_roster(t, same);
  if ((r = check_roster(t, &roster, &why)) < 0)
    return participant_evidence(t, "bad-roster", NX_COORDINATOR, why.text, t->raw, nx_bytes("", 0));
  if (attempt->secrets && !attempt->u1[t->p->cfg.id]) {
    participant_become_witness(t);
    r = participant_note(t, "left-out",
                         "my advert is not in the roster: I only watch this attempt");
  } else if (attempt->secrets)
    r = send_shares(t, &why);
  if (r == NX_E_CRYPTO) /* a point of low order */
    return participant_evidence(t, "bad-roster", NX_COORDINATOR, why.text, t->raw, nx_bytes("", 0));
  if (r < 0)
    return why.code ? nx_fail(t->err, r, "%s", why.text) : r;
  participant_expect(t, attempt->invite.phase_seconds);
  return participant_accept(t, STATE_BUNDLE);
}
