/* A restarted coordinator goes on where its records end. What it said is said again, byte
 * for byte; what nodes said and was not recorded (M1 before M2, M7, M9, M11) they say again
 * when they hear that. */
#include "coordinator/round/round_internal.h"

static int keep_own(struct turn *t, struct nx_bytes record, struct nx_bytes *kept) {
  return round_keep(t, record, kept);
}

static int restore_invite(struct turn *t, struct nx_bytes record,
                          const struct nx_signed_message *message) {
  struct nx_round *round = t->round;
  struct nx_check_context *context = &round->context;
  struct nx_invite invite;
  struct nx_hash t0;
  int r = nx_invite_decode(message->body, round->scratch, &invite, t->err);
  if (r < 0 || (r = nx_check_invite(context, &invite, &t0, t->err)) < 0)
    return r;
  if (!nx_hash_equal(&t0, &round->t0))
    return nx_fail(t->err, NX_E_FORMAT, "the recorded invitation is not the configured one");
  round->state = STATE_ADVERTS;
  return keep_own(t, record, &round->m0);
}

static int restore_roster(struct turn *t, struct nx_bytes record,
                          const struct nx_signed_message *message) {
  struct nx_round *round = t->round;
  struct nx_roster roster;
  int r = nx_roster_decode(message->body, round->scratch, &roster, t->err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < roster.n; i++) {
    uint32_t id = roster.adverts[i].id;
    struct round_peer *peer = &round->peers[id];
    peer->advert = roster.adverts[i];
    if ((r = round_keep(t, roster.adverts[i].body, &peer->advert.body)) < 0 ||
        (r = nx_advert_decode(peer->advert.body, round->scratch, &round->adverts[id], t->err)) < 0)
      return r;
    peer->has_advert = true;
  }
  round->state = STATE_SHARES;
  if ((r = round_set_roster(t, &roster, t->err)) < 0)
    return r;
  return keep_own(t, record, &round->m2);
}

static int restore_bundle(struct turn *t, struct nx_bytes record,
                          const struct nx_signed_message *message) {
  struct nx_round *round = t->round;
  _cleanup_(nx_buffer_finish) struct nx_buffer ours = {0};
  struct nx_bundle bundle;
  int r = nx_bundle_decode(message->body, round->scratch, &bundle, t->err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < bundle.n; i++) {
    uint32_t id = bundle.shares[i].id;
    if (!round->peers[id].has_shares)
      return nx_fail(t->err, NX_E_FORMAT, "the shares of member %u are not recorded", id);
    round->u2[id] = true;
  }
  if ((r = round_set_bundles(t, &ours)) < 0)
    return r;
  if (ours.size != record.size || memcmp(ours.data, record.data, record.size))
    return nx_fail(t->err, NX_E_FORMAT, "the recorded bundle does not follow from the shares");
  round->state = STATE_UPLOADS;
  return 0;
}

static int restore_commit(struct turn *t, struct nx_bytes record,
                          const struct nx_signed_message *message) {
  struct nx_round *round = t->round;
  struct nx_commit_request request;
  int r = nx_commit_request_decode(message->body, round->scratch, &request, t->err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < request.n; i++) {
    uint32_t id = request.uploads[i].id;
    if (!round->peers[id].has_upload)
      return nx_fail(t->err, NX_E_FORMAT, "the upload of member %u is not recorded", id);
    round->u3[id] = true;
  }
  round->state = STATE_VOTES;
  if ((r = round_set_commit(t)) < 0)
    return r;
  return keep_own(t, record, &round->m6);
}

static int restore_certificate(struct turn *t, struct nx_bytes record,
                               const struct nx_signed_message *message) {
  struct nx_round *round = t->round;
  struct nx_vote_certificate certificate;
  struct nx_vote vote;
  int r = nx_vote_certificate_decode(message->body, round->scratch, &certificate, t->err);
  if (r < 0 || (r = nx_vote_decode(certificate.vote, round->scratch, &vote, t->err)) < 0 ||
      (r = keep_own(t, record, &round->m8)) < 0)
    return r;
  for (size_t i = 0; i < certificate.n; i++) {
    round->peers[certificate.voters[i].id].vote = vote.choice;
    round->peers[certificate.voters[i].id].vote_signature = certificate.voters[i].signature;
  }
  if (vote.choice == NX_VOTE_ABORT) {
    round->state = STATE_FINISHED; /* told again, and finished, below */
    return 0;
  }
  round->abort_request = nx_bytes("", 0);
  return round_begin_releases(t);
}

static int restore_result(struct turn *t, struct nx_bytes record,
                          const struct nx_signed_message *message) {
  struct nx_round *round = t->round;
  struct nx_result result;
  int r = nx_result_decode(message->body, round->scratch, &result, t->err);
  if (r < 0)
    return r;
  round->sum = result.sum;
  round->model = result.model;
  round->state = STATE_SEALS;
  return keep_own(t, record, &round->m10);
}

static int restore_abort(struct turn *t, struct nx_bytes record,
                         const struct nx_signed_message *message) {
  struct nx_round *round = t->round;
  struct nx_abort_request request;
  int r = nx_abort_request_decode(message->body, round->scratch, &request, t->err);
  if (r < 0)
    return r;
  memcpy(round->reason, request.reason, sizeof round->reason);
  round->state = STATE_ABORTING;
  return keep_own(t, record, &round->abort_request);
}

static int restore_record(struct turn *t, struct nx_bytes record) {
  struct nx_signed_message message;
  int r = nx_signed_message_decode(record, t->round->scratch, &message, t->err);
  if (r < 0)
    return r;
  switch (message.type) {
  case NX_M0_INVITE:
    return restore_invite(t, record, &message);
  case NX_M2_ROSTER:
    return restore_roster(t, record, &message);
  case NX_M3_SHARES:
    return round_take_shares(t, message.signer, &message, t->err);
  case NX_M4_BUNDLE:
    return restore_bundle(t, record, &message);
  case NX_M5_UPLOAD:
    return round_take_upload(t, message.signer, &message, t->err);
  case NX_M6_COMMIT_REQUEST:
    return restore_commit(t, record, &message);
  case NX_M8_CERTIFICATE:
    return restore_certificate(t, record, &message);
  case NX_M10_RESULT:
    return restore_result(t, record, &message);
  case NX_MESSAGE_ABORT_REQUEST:
    return restore_abort(t, record, &message);
  default:
    return nx_fail(t->err, NX_E_FORMAT, "a record that is no record: %s",
                   nx_message_name(message.type));
  }
}

/* What the shell must have open in this state, and how long the phase may still take. */
static int resume(struct turn *t) {
  struct nx_round *round = t->round;
  uint64_t phase = round->cfg.phase_seconds, training = round->cfg.training_seconds;
  bool long_phase = round->state == STATE_UPLOADS || round->state == STATE_SEALS;
  if (round->state == STATE_FINISHED)
    return round_finish(t, NX_ROUND_ABORTED, round->reason);
  round_enter(t, round->state, phase + (long_phase ? training : 0));
  for (uint32_t id = 1; id < NX_ID_END; id++)
    round->peers[id].awaited_until = round->phase_ends; /* they find back on their own */
  if (round->state == STATE_UPLOADS)
    return round_open_uploads(t);
  return round->m6.size ? round_close_spool(t) : 0;
}

int round_on_restore(struct turn *t) {
  for (size_t i = 0; i < t->event->n_records; i++) {
    int r = restore_record(t, t->event->records[i]);
    if (r < 0)
      return nx_error_prefix(t->err, r, "record %zu of the round", i);
  }
  if (t->round->state == STATE_IDLE)
    return 0; /* nothing was said: BEGIN may follow */
  int r = resume(t);
  for (uint32_t id = 1; id < NX_ID_END && r >= 0; id++)
    r = round_tell_all(t, id);
  return r < 0 ? r
               : round_note(t, "restored", NX_COORDINATOR, "the round goes on from its records");
}
