/* M0..M4: inviting, gathering adverts, dealing out sealed shares. */
#include <stdio.h>

#include "coordinator/round/round_internal.h"

/* --- M0 ----------------------------------------------------------------------------- */

int round_set_invite(struct turn *t) {
  struct nx_round *round = t->round;
  const struct nx_round_config *cfg = &round->cfg;
  round->invite = (struct nx_invite){.manifest = cfg->manifest,
                                     .plan = cfg->plan,
                                     .model = cfg->model,
                                     .round = cfg->round,
                                     .attempt = cfg->attempt,
                                     .members = round->cohort,
                                     .n_members = cfg->n_cohort,
                                     .parameters = cfg->parameters,
                                     .phase_seconds = cfg->phase_seconds,
                                     .training_seconds = cfg->training_seconds};
  memcpy(round->invite.federation, cfg->federation, sizeof cfg->federation);
  for (size_t i = 0; i < cfg->n_cohort; i++)
    round->peers[round->cohort[i] % NX_ID_END].u0 = true;
  return nx_check_invite(&round->context, &round->invite, &round->t0, t->err);
}

int round_on_begin(struct turn *t) {
  struct nx_round *round = t->round;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  int r = nx_invite_encode(&round->invite, &body, t->err);
  if (r < 0 || (r = round_make(t, NX_M0_INVITE, &body, &round->m0)) < 0 ||
      (r = round_persist(t, RECORD_INVITE, round->m0)) < 0)
    return r;
  round_enter(t, STATE_ADVERTS, round->cfg.phase_seconds);
  for (uint32_t id = 1; id < NX_ID_END; id++) {
    round->peers[id].awaited_until = t->now + round->cfg.lost_grace;
    if ((r = round_tell_all(t, id)) < 0)
      return r;
  }
  return 0;
}

/* --- M1 and M2 ---------------------------------------------------------------------- */

static int keep_body(struct turn *t, const struct nx_signed_message *message,
                     struct nx_signed_body *out) {
  *out = (struct nx_signed_body){.id = message->signer, .signature = message->signature};
  return round_keep(t, message->body, &out->body);
}

static int check_distinct(const struct nx_round *round, const struct nx_advert *advert,
                          struct nx_error *err) {
  bool twice = !memcmp(&advert->c, &advert->s, sizeof advert->c);
  for (uint32_t id = 1; id < NX_ID_END && !twice; id++) {
    const struct nx_advert *other = &round->adverts[id];
    twice = round->peers[id].has_advert && (!memcmp(&advert->c, &other->c, sizeof advert->c) ||
                                            !memcmp(&advert->c, &other->s, sizeof advert->c) ||
                                            !memcmp(&advert->s, &other->c, sizeof advert->c) ||
                                            !memcmp(&advert->s, &other->s, sizeof advert->c));
  }
  return twice ? nx_fail(err, NX_E_PROTOCOL, "M1: a key that is in use already") : 0;
}

static int check_advert(struct turn *t, const struct nx_signed_body *entry,
                        struct nx_advert *advert, struct nx_error *why) {
  int r = nx_check_advert(round_member(t, entry->id), &t->round->t0, entry, t->round->scratch,
                          advert, why);
  if (r < 0 || (r = nx_check_point(&advert->c, why)) < 0 ||
      (r = nx_check_point(&advert->s, why)) < 0)
    return r;
  return check_distinct(t->round, advert, why);
}

int round_on_advert(struct turn *t) {
  struct nx_round *round = t->round;
  uint32_t id = t->event->member;
  struct round_peer *peer = &round->peers[id];
  struct nx_error why = {0};
  struct nx_advert advert;
  struct nx_signed_body entry = {id, t->message.body, t->message.signature};
  if (!peer->u0)
    return round_note(t, "uninvited", id, "an advert of a member that was not invited");
  if (peer->has_advert) {
    bool same = peer->advert.body.size == entry.body.size &&
                !memcmp(peer->advert.body.data, entry.body.data, entry.body.size);
    return same ? 0 : round_note(t, "second-advert", id, "the first one counts");
  }
  if (check_advert(t, &entry, &advert, &why) < 0)
    return round_note(t, "bad-advert", id, why.text);
  int r = keep_body(t, &t->message, &peer->advert);
  if (r < 0)
    return r;
  round->adverts[id] = advert;
  peer->has_advert = true;
  return round_note(t, "advert", id, "");
}

static size_t list_adverts(const struct nx_round *round, struct nx_signed_body *list) {
  size_t n = 0;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    if (round->peers[id].has_advert)
      list[n++] = round->peers[id].advert;
  return n;
}

int round_close_adverts(struct turn *t) {
  struct nx_round *round = t->round;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  struct nx_signed_body list[NX_MEMBERS_MAX];
  struct nx_roster roster = {round->t0, list, list_adverts(round, list)};
  if (roster.n < round->threshold) {
    char reason[NX_REASON_SIZE];
    snprintf(reason, sizeof reason, "%zu of %zu members sent keys; %u are needed", roster.n,
             round->cfg.n_cohort, round->threshold);
    return round_finish(t, NX_ROUND_NOT_UPLOADED, reason);
  }
  int r = nx_roster_encode(&roster, &body, t->err);
  if (r < 0 || (r = round_make(t, NX_M2_ROSTER, &body, &round->m2)) < 0 ||
      (r = round_set_roster(t, &roster, t->err)) < 0 ||
      (r = round_persist(t, RECORD_ROSTER, round->m2)) < 0)
    return r;
  round_enter(t, STATE_SHARES, round->cfg.phase_seconds);
  return round_broadcast(t, round->m2);
}

/* U1 and T1, of a roster made now or restored. */
int round_set_roster(struct turn *t, const struct nx_roster *roster, struct nx_error *why) {
  struct nx_round *round = t->round;
  memset(round->u1, 0, sizeof round->u1);
  for (size_t i = 0; i < roster->n; i++)
    round->u1[roster->adverts[i].id] = true;
  return nx_check_t1(&round->t0, roster->adverts, roster->n, &round->t1, why);
}

/* --- M3 and M4 ---------------------------------------------------------------------- */

/* The boxes are not signed: here they are held against the hashes that are. */
static int check_boxes(const struct nx_shares *shares, const struct nx_share_box *boxes, size_t n,
                       struct nx_error *err) {
  size_t k = 0;
  for (size_t i = 0; i < shares->n; i++) {
    const struct nx_share_commitment *commitment = &shares->commitments[i];
    if (commitment->to == shares->id)
      continue;
    if (k == n || boxes[k].id != commitment->to)
      return nx_fail(err, NX_E_PROTOCOL, "M3 of member %u: no box for member %u", shares->id,
                     commitment->to);
    struct nx_hash hash = nx_sha256(boxes[k].bytes, sizeof boxes[k].bytes);
    if (!nx_hash_equal(&hash, &commitment->box))
      return nx_fail(err, NX_E_PROTOCOL, "M3 of member %u: the box for member %u is another one",
                     shares->id, commitment->to);
    k++;
  }
  return k == n ? 0 : nx_fail(err, NX_E_PROTOCOL, "M3 of member %u: too many boxes", shares->id);
}

static int keep_list(struct turn *t, const void *list, size_t n, size_t size, void *out) {
  struct nx_bytes kept;
  int r = round_keep(t, nx_bytes(list, n * size), &kept);
  *(const void **)out = kept.data;
  return r;
}

int round_take_shares(struct turn *t, uint32_t id, const struct nx_signed_message *message,
                      struct nx_error *why) {
  struct nx_round *round = t->round;
  struct round_peer *peer = &round->peers[id];
  struct nx_signed_body entry = {id, message->body, message->signature};
  const struct nx_share_box *boxes;
  struct nx_shares shares;
  size_t n_boxes;
  int r = nx_check_shares(round_member(t, id), &round->t1, round->u1, &entry, round->scratch,
                          &shares, why);
  if (r < 0 ||
      (r = nx_share_boxes_decode(message->detached, round->scratch, &boxes, &n_boxes, why)) < 0 ||
      (r = check_boxes(&shares, boxes, n_boxes, why)) < 0 ||
      (r = keep_body(t, message, &peer->shares)) < 0 ||
      (r = keep_list(t, boxes, n_boxes, sizeof *boxes, &peer->boxes)) < 0 ||
      (r = keep_list(t, shares.commitments, shares.n, sizeof *shares.commitments,
                     &peer->commitments)) < 0)
    return r;
  peer->n_boxes = n_boxes;
  peer->n_commitments = shares.n;
  peer->has_shares = true;
  return 0;
}

int round_on_shares(struct turn *t) {
  uint32_t id = t->event->member;
  struct nx_error why = {0};
  if (!t->round->u1[id])
    return round_note(t, "uninvited", id, "shares of a member that is not in the roster");
  if (t->round->peers[id].has_shares)
    return 0; /* the first ones count */
  int r = round_take_shares(t, id, &t->message, &why);
  if (r == NX_E_NOMEM)
    return nx_fail(t->err, r, "%s", why.text);
  if (r < 0)
    return round_note(t, "bad-shares", id, why.text);
  if ((r = round_persist(t, RECORD_SHARES, t->raw)) < 0)
    return r;
  return round_note(t, "shares", id, "");
}

static size_t list_shares(const struct nx_round *round, struct nx_signed_body *list) {
  size_t n = 0;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    if (round->u2[id])
      list[n++] = round->peers[id].shares;
  return n;
}

static size_t list_boxes(const struct nx_round *round, uint32_t to, struct nx_share_box *list) {
  size_t n = 0;
  for (uint32_t dealer = 1; dealer < NX_ID_END; dealer++) {
    const struct round_peer *peer = &round->peers[dealer];
    for (size_t i = 0; round->u2[dealer] && dealer != to && i < peer->n_boxes; i++)
      if (peer->boxes[i].id == to) {
        list[n] = peer->boxes[i];
        list[n++].id = dealer;
      }
  }
  return n;
}

static int encode_bundle(const struct nx_round *round, uint32_t member, struct nx_buffer *body,
                         struct nx_error *err) {
  struct nx_signed_body list[NX_MEMBERS_MAX];
  struct nx_share_box boxes[NX_MEMBERS_MAX];
  struct nx_bundle bundle = {
      .t1 = round->t1, .shares = list, .n = list_shares(round, list), .boxes = boxes};
  if (round->u2[member])
    bundle.n_boxes = list_boxes(round, member, boxes);
  return nx_bundle_encode(&bundle, body, err);
}

/* A signature is kept; with it an M4 said again is a matter of copying. */
int nx_round_bundle(struct nx_round *round, uint32_t member, struct nx_buffer *out,
                    struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  struct round_peer *peer = &round->peers[member];
  struct nx_signed_message message = {.type = NX_M4_BUNDLE, .signer = NX_COORDINATOR};
  int r = encode_bundle(round, member, &body, err);
  message.body = nx_buffer_view(&body);
  if (r >= 0 && !peer->signed_bundle)
    r = nx_sign(round->cfg.identity, nx_message_name(NX_M4_BUNDLE), message.body,
                &peer->bundle_signature, err);
  if (r < 0)
    return r;
  peer->signed_bundle = true;
  message.signature = peer->bundle_signature;
  return nx_signed_message_encode(&message, out, err);
}

/* The same shares give the same bytes. An M4 without boxes is the beginning of all others: boxes
 * are the last field of a bundle. */
int round_set_bundles(struct turn *t, struct nx_buffer *record_out) {
  struct nx_round *round = t->round;
  struct nx_signed_body list[NX_MEMBERS_MAX];
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  int r = nx_check_t2(&round->t1, list, list_shares(round, list), &round->t2, t->err);
  if (r < 0 || (r = encode_bundle(round, NX_COORDINATOR, &body, t->err)) < 0 ||
      (r = nx_signed_message_make(round->cfg.identity, NX_COORDINATOR, NX_M4_BUNDLE,
                                  nx_buffer_view(&body), nx_bytes("", 0), record_out, t->err)) < 0)
    return r;
  return nx_shared_create(&body, &round->bundled, t->err);
}

int round_open_uploads(struct turn *t) {
  struct nx_round *round = t->round;
  struct nx_upload_layout layout = nx_check_layout(&round->invite.parameters);
  uint32_t ids[NX_MEMBERS_MAX];
  struct nx_bytes kept;
  size_t n = 0;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    if (round->u2[id])
      ids[n++] = id;
  int r = round_copy(t, nx_bytes(ids, n * sizeof *ids), &kept);
  struct nx_round_action *action = r < 0 ? NULL : round_act(t, NX_ROUND_OPEN_UPLOADS);
  if (!action)
    return NX_E_NOMEM;
  action->t2 = round->t2;
  action->bytes = nx_upload_bytes(&layout);
  action->members = (const uint32_t *)(const void *)kept.data;
  action->n_members = n;
  return 0;
}

int round_close_shares(struct turn *t) {
  struct nx_round *round = t->round;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    round->u2[id] = round->u1[id] && round->peers[id].has_shares && !round->peers[id].vote;
  size_t n = round_count(round->u2);
  if (n < round->threshold) {
    char reason[NX_REASON_SIZE];
    snprintf(reason, sizeof reason, "%zu of %zu members sent shares; %u are needed", n,
             round->cfg.n_cohort, round->threshold);
    return round_finish(t, NX_ROUND_NOT_UPLOADED, reason);
  }
  _cleanup_(nx_buffer_finish) struct nx_buffer record = {0};
  int r = round_set_bundles(t, &record);
  if (r < 0 || (r = round_persist(t, RECORD_BUNDLE, nx_buffer_view(&record))) < 0 ||
      (r = round_open_uploads(t)) < 0)
    return r;
  round_enter(t, STATE_UPLOADS, (uint64_t)round->cfg.phase_seconds + round->cfg.training_seconds);
  for (uint32_t id = 1; id < NX_ID_END && r >= 0; id++)
    r = round_send_bundle(t, id);
  return r;
}
