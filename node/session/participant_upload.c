/* M4 and M5: opening one's shares, complaints, masking, the upload. */
#include "node/session/participant_internal.h"

/* --- M4 ----------------------------------------------------------------------------- */

static const struct nx_share_commitment *commitment_to(const struct nx_shares *shares,
                                                       uint32_t id) {
  for (size_t i = 0; i < shares->n; i++)
    if (shares->commitments[i].to == id)
      return &shares->commitments[i];
  return NULL;
}

static const struct nx_share_box *box_of(const struct nx_bundle *bundle, uint32_t dealer) {
  for (size_t i = 0; i < bundle->n_boxes; i++)
    if (bundle->boxes[i].id == dealer)
      return &bundle->boxes[i];
  return NULL;
}

/* The bodies of U2, each into shares[id]. */
static int check_bundle(struct turn *t, const struct nx_bundle *bundle, struct nx_shares *shares,
                        struct nx_error *why) {
  struct nx_participant *p = t->p;
  struct attempt *attempt = p->attempt;
  memset(attempt->u2, 0, sizeof attempt->u2);
  if (bundle->n < attempt->threshold)
    return nx_fail(why, NX_E_PROTOCOL, "M4 of %zu members; at least %u are needed", bundle->n,
                   attempt->threshold);
  for (size_t i = 0; i < bundle->n; i++) {
    const struct nx_signed_body *entry = &bundle->shares[i];
    if (!attempt->u1[entry->id])
      return nx_fail(why, NX_E_PROTOCOL, "M4: member %u is not in the roster", entry->id);
    int r = nx_check_shares(nx_check_member(p->members, p->cfg.n_members, entry->id), &attempt->t1,
                            attempt->u1, entry, p->scratch, &shares[entry->id], why);
    if (r < 0)
      return nx_error_prefix(why, r, "M4");
    attempt->u2[entry->id] = true;
  }
  return nx_check_t2(&attempt->t1, bundle->shares, bundle->n, &attempt->t2, why);
}

static int check_own_shares(struct turn *t, const struct nx_bundle *bundle, struct nx_error *why) {
  struct nx_signed_message mine;
  int r = nx_signed_message_decode(t->p->attempt->shares, t->p->scratch, &mine, why);
  for (size_t i = 0; i < bundle->n && r >= 0; i++) {
    const struct nx_signed_body *entry = &bundle->shares[i];
    if (entry->id == t->p->cfg.id && (entry->body.size != mine.body.size ||
                                      memcmp(entry->body.data, mine.body.data, mine.body.size)))
      r = nx_fail(why, NX_E_PROTOCOL, "M4: an M3 of mine that I did not send");
  }
  return r;
}

/* Reveals the one directional key, so that everybody can open that one box. */
static int complain(struct turn *t, uint32_t dealer, const struct nx_secret *key, int verdict) {
  struct attempt *attempt = t->p->attempt;
  _cleanup_(nx_buffer_wipe) struct nx_buffer body = {0}, message = {0};
  struct nx_complaint complaint = {attempt->t1, dealer, *key};
  int r = nx_complaint_encode(&complaint, &body, t->err);
  nx_secret_wipe(&complaint.share_key);
  if (r < 0 || (r = participant_sign(t, NX_MESSAGE_COMPLAINT, nx_buffer_view(&body),
                                     nx_bytes("", 0), &message)) < 0)
    return r;
  r = participant_evidence(t, "bad-share", dealer,
                           verdict == NX_CHECK_BOX_SHUT
                               ? "a sealed share that its key does not open"
                               : "a share that is not the one committed to",
                           nx_buffer_view(&message), t->raw);
  return r < 0 ? r : participant_send(t, nx_buffer_view(&message));
}

#define BOX_REFUSED 1 /* told to whom it concerns; nothing may be uploaded */

static int open_box(struct turn *t, const struct nx_bundle *bundle, const struct nx_shares *shares,
                    uint32_t dealer) {
  struct attempt *attempt = t->p->attempt;
  uint32_t me = t->p->cfg.id;
  _cleanup_(nx_secret_wipe) struct nx_secret key;
  const struct nx_share_commitment *commitment = commitment_to(shares, me);
  const struct nx_share_box *box = box_of(bundle, dealer);
  struct nx_hash hash = box ? nx_sha256(box->bytes, sizeof box->bytes) : (struct nx_hash){{0}};
  if (!box || !nx_hash_equal(&hash, &commitment->box)) {
    int r = participant_evidence(t, "box-not-dealt", NX_COORDINATOR,
                                 "the coordinator passed on a box that its dealer did not sign",
                                 t->raw, nx_bytes("", 0));
    return r < 0 ? r : BOX_REFUSED;
  }
  int r = nx_share_key(&attempt->secrets->shared[dealer], &attempt->t1, dealer, me, &key, t->err);
  if (r < 0 || (r = nx_check_box(&key, &attempt->t1, dealer, me, commitment, box->bytes,
                                 &attempt->secrets->b_shares[dealer],
                                 &attempt->secrets->s_shares[dealer], t->err)) < 0)
    return r;
  if (r == 0)
    return 0;
  r = complain(t, dealer, &key, r);
  return r < 0 ? r : BOX_REFUSED;
}

static int open_boxes(struct turn *t, const struct nx_bundle *bundle,
                      const struct nx_shares *shares) {
  struct attempt *attempt = t->p->attempt;
  for (uint32_t dealer = 1; dealer < NX_ID_END; dealer++) {
    if (!attempt->u2[dealer] || dealer == t->p->cfg.id)
      continue;
    int r = open_box(t, bundle, &shares[dealer], dealer);
    if (r)
      return r;
  }
  return 0;
}

static int start_masking(struct turn *t);

/* An upload may go out now, or one that a crash interrupted may go on. */
static int after_bundle(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  struct durable *durable = &t->p->durable;
  if (attempt->secrets)
    return start_masking(t);
  if (!attempt->joined || !durable->header.size || durable->vote_choice)
    return 0;
  struct nx_participant_action *action;
  struct nx_upload_layout layout = nx_check_layout(&attempt->invite.parameters);
  struct nx_bytes header;
  int r = participant_copy(t, nx_buffer_view(&durable->header), &header);
  if (r < 0 || !(action = participant_act(t, NX_PARTICIPANT_UPLOAD)))
    return NX_E_NOMEM;
  action->message = header;
  action->bytes = nx_upload_bytes(&layout);
  action->t2 = attempt->t2;
  attempt->uploading = true;
  return 0;
}

static int become_holder(struct turn *t, const struct nx_bundle *bundle,
                         const struct nx_shares *shares) {
  struct attempt *attempt = t->p->attempt;
  if (!attempt->u2[t->p->cfg.id]) {
    participant_become_witness(t);
    return participant_note(t, "left-out", "my shares are not in the bundle: I only watch");
  }
  int r = open_boxes(t, bundle, shares);
  return r == BOX_REFUSED ? participant_vote(t, NX_VOTE_ABORT, &attempt->t0) : r;
}

int participant_on_bundle(struct turn *t) {
  struct nx_participant *p = t->p;
  struct attempt *attempt = p->attempt;
  struct nx_error why = {0};
  struct nx_bundle bundle;
  bool same;
  int r = nx_bundle_decode(t->message.body, p->scratch, &bundle, &why);
  if (r < 0)
    return participant_note(t, "bad-message", why.text);
  if (!nx_hash_equal(&bundle.t1, &attempt->t1))
    return participant_note(t, "other-attempt", "a bundle under another roster: ignored");
  if (participant_heard(t, &same) && same)
    return p->state == STATE_COMMIT && attempt->no_update.size
               ? participant_send(t, attempt->no_update)
               : 0;
  if (participant_heard(t, &same))
    return participant_evidence(t, "two-bundles", NX_COORDINATOR,
                                "the coordinator signed two bundles for one roster",
                                attempt->heard[NX_M4_BUNDLE - NX_M0_INVITE], t->raw);
  struct nx_shares *shares = nx_arena_alloc(p->scratch, NX_ID_END, sizeof *shares);
  if (!shares)
    return nx_fail(t->err, NX_E_NOMEM, "out of memory for a bundle");
  r = check_bundle(t, &bundle, shares, &why);
  if (r >= 0 && attempt->secrets)
    r = check_own_shares(t, &bundle, &why);
  if (r < 0)
    return participant_evidence(t, "bad-bundle", NX_COORDINATOR, why.text, t->raw, nx_bytes("", 0));
  if (attempt->secrets && (r = become_holder(t, &bundle, shares)) < 0)
    return r;
  participant_expect(t, (uint64_t)attempt->invite.phase_seconds + attempt->invite.training_seconds);
  if ((r = participant_accept(t, STATE_COMMIT)) < 0)
    return r;
  return after_bundle(t);
}

/* --- masking and M5 ----------------------------------------------------------------- */

static int build_mask(struct turn *t, struct nx_mask **mask_out, uint32_t *bad_peer) {
  struct attempt *attempt = t->p->attempt;
  struct participant_secrets *secrets = attempt->secrets;
  uint32_t me = t->p->cfg.id;
  size_t n = 0;
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    n += attempt->u2[id];
  int r =
      nx_mask_create(n, nx_parameters_mask_form(&attempt->invite.parameters), &mask, t->err);
  if (r < 0 || (r = nx_mask_add_self(mask, &attempt->t2, me, &secrets->b, t->err)) < 0)
    return r;
  for (uint32_t id = 1; id < NX_ID_END; id++) {
    if (!attempt->u2[id] || id == me)
      continue;
    r = nx_mask_add_pair(mask, &attempt->t2, me, &secrets->s, id, &attempt->adverts[id].s, t->err);
    if (r < 0) {
      *bad_peer = id;
      return r;
    }
  }
  *mask_out = nx_steal(&mask);
  return 0;
}

/* When both the bundle and the update are there. */
static int start_masking(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  if (t->p->state != STATE_COMMIT || !attempt->secrets || !attempt->x_ready || attempt->masking)
    return 0;
  struct nx_mask *mask = NULL;
  uint32_t bad_peer = 0;
  int r = build_mask(t, &mask, &bad_peer);
  if (r == NX_E_CRYPTO) {
    r = participant_evidence(t, "bad-point", bad_peer, "a mask key of low order",
                             attempt->heard[NX_M2_ROSTER - NX_M0_INVITE], nx_bytes("", 0));
    return r < 0 ? r : participant_vote(t, NX_VOTE_ABORT, &attempt->t0);
  }
  if (r < 0)
    return r;
  struct nx_participant_action *action = participant_act(t, NX_PARTICIPANT_MASK);
  if (!action) {
    nx_mask_destroy(mask);
    return NX_E_NOMEM;
  }
  struct nx_upload_layout layout = nx_check_layout(&attempt->invite.parameters);
  action->mask = mask;
  action->t2 = attempt->t2;
  action->parameters = attempt->invite.parameters;
  action->bytes = nx_upload_bytes(&layout);
  attempt->masking = true;
  return 0;
}

int participant_on_update_ready(struct turn *t) {
  if (!t->p->attempt->working)
    return 0;
  t->p->attempt->x_ready = true;
  return start_masking(t);
}

/* Without an update the node still holds shares and votes: it is a dropout, no obstacle. */
int participant_on_update_failed(struct turn *t) {
  t->p->attempt->working = false;
  return participant_refuse(t, &t->p->attempt->invite, NX_REFUSAL_UPDATE,
                            t->event->reason ? t->event->reason : "the update failed",
                            &t->p->attempt->no_update);
}

int participant_on_masked(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  struct nx_upload_layout layout = nx_check_layout(&attempt->invite.parameters);
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, message = {0};
  struct nx_participant_action *action;
  if (!attempt->masking || attempt->uploading || t->p->durable.header.size)
    return 0; /* voted ABORT meanwhile, or answered twice */
  if (t->event->bytes != nx_upload_bytes(&layout))
    return nx_fail(t->err, NX_E_STATE, "masked %llu bytes instead of %zu",
                   (unsigned long long)t->event->bytes, nx_upload_bytes(&layout));
  struct nx_upload_header header = {.t2 = attempt->t2,
                                    .round = attempt->invite.round,
                                    .attempt = attempt->invite.attempt,
                                    .id = t->p->cfg.id,
                                    .bytes = t->event->bytes,
                                    .root = t->event->root};
  int r = nx_upload_header_encode(&header, &body, t->err);
  if (r < 0 ||
      (r = participant_sign(t, NX_M5_UPLOAD, nx_buffer_view(&body), nx_bytes("", 0), &message)) <
          0 ||
      (r = participant_simple(t, NX_PARTICIPANT_CHARGE)) < 0 ||
      (r = participant_persist_upload(t, nx_buffer_view(&message))) < 0)
    return r;
  struct nx_bytes copy;
  if ((r = participant_copy(t, nx_buffer_view(&message), &copy)) < 0)
    return r;
  if (!(action = participant_act(t, NX_PARTICIPANT_UPLOAD)))
    return NX_E_NOMEM;
  action->message = copy;
  action->bytes = header.bytes;
  action->t2 = attempt->t2;
  attempt->uploading = true;
  return 0;
}

int participant_on_uploaded(struct turn *t) {
  return participant_note(t, "uploaded", "the coordinator holds the masked update");
}
