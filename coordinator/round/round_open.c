/* M9..M11: released shares, unmasking, the result and its seals. */
#include <stdio.h>

#include "coordinator/round/round_internal.h"
#include "crypto/shares.h"

/* --- M9 ----------------------------------------------------------------------------- */

int round_begin_releases(struct turn *t) {
  struct nx_round *round = t->round;
  round_enter(t, STATE_RELEASES, round->cfg.phase_seconds);
  round->released = nx_secret_alloc((size_t)NX_ID_END * round->threshold);
  round->opening = nx_secret_alloc_bytes(NX_MEMBERS_MAX * sizeof *round->opening);
  if (!round->released || !round->opening)
    return nx_fail(t->err, NX_E_NOMEM, "no guarded memory for released shares");
  return 0;
}

static const struct nx_share_commitment *commitment_of(const struct nx_round *round,
                                                       uint32_t dealer, uint32_t holder) {
  const struct round_peer *peer = &round->peers[dealer];
  for (size_t i = 0; i < peer->n_commitments; i++)
    if (peer->commitments[i].to == holder)
      return &peer->commitments[i];
  return NULL;
}

/* One share of every dealer in the set, and each the one that the dealer committed to. */
static int check_list(const struct nx_round *round, uint32_t holder, const struct nx_released *list,
                      size_t n, bool of_b, struct nx_error *err) {
  size_t wanted = 0;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    wanted += round->u2[id] && round->u3[id] == of_b;
  if (n != wanted)
    return nx_fail(err, NX_E_PROTOCOL, "M9 with %zu shares instead of %zu", n, wanted);
  for (size_t i = 0; i < n; i++) {
    uint32_t dealer = list[i].id;
    if (!round->u2[dealer] || round->u3[dealer] != of_b)
      return nx_fail(err, NX_E_PROTOCOL, "M9 with a share of member %u that nobody asked for",
                     dealer);
    const struct nx_share_commitment *commitment = commitment_of(round, dealer, holder);
    struct nx_hash hash = of_b ? nx_commit_b_share(&round->t1, dealer, holder, &list[i].secret)
                               : nx_commit_s_share(&round->t1, dealer, holder, &list[i].secret);
    if (!commitment || !nx_hash_equal(&hash, of_b ? &commitment->b_share : &commitment->s_share))
      return nx_fail(err, NX_E_CRYPTO, "M9: the share of member %u is not what it dealt", dealer);
  }
  return 0;
}

#define OTHER_ATTEMPT 1 /* of the same member: it stood still while its attempt ended */

static int check_release(struct turn *t, struct nx_release *release, struct nx_error *why) {
  struct nx_round *round = t->round;
  uint32_t id = t->event->member;
  int r = nx_release_decode(t->message.body, round->scratch, release, why);
  if (r < 0 ||
      (r = nx_signed_message_verify(&t->message, &round_member(t, id)->signing_key, why)) < 0)
    return r;
  if (release->id != id)
    return nx_fail(why, NX_E_PROTOCOL, "M9 of another member");
  if (!nx_hash_equal(&release->t3, &round->t3))
    return OTHER_ATTEMPT;
  if (!round->u2[id])
    return nx_fail(why, NX_E_PROTOCOL, "M9 of a member that gave no shares");
  if ((r = check_list(round, id, release->b_shares, release->n_b, true, why)) < 0)
    return r;
  return check_list(round, id, release->s_shares, release->n_s, false, why);
}

static void keep_release(struct nx_round *round, uint32_t holder,
                         const struct nx_release *release) {
  size_t row = round->n_releases++, t = round->threshold;
  round->holders[row] = (uint8_t)holder;
  for (size_t i = 0; i < release->n_b; i++)
    round->released[release->b_shares[i].id * t + row] = release->b_shares[i].secret;
  for (size_t i = 0; i < release->n_s; i++)
    round->released[release->s_shares[i].id * t + row] = release->s_shares[i].secret;
}

int round_on_release(struct turn *t) {
  struct nx_round *round = t->round;
  uint32_t id = t->event->member;
  struct round_peer *peer = &round->peers[id];
  struct nx_error why = {0};
  struct nx_release release;
  if (peer->has_release)
    return 0;
  int r = check_release(t, &release, &why);
  if (r == OTHER_ATTEMPT)
    return round_note(t, "late", id, "a release of another attempt: ignored");
  if (r < 0) {
    /* The message holds secrets of others: its hash is evidence enough. */
    struct nx_hash hash = nx_sha256(t->raw.data, t->raw.size);
    peer->has_release = round->u2[id];
    return round_evidence(t, "bad-release", id, why.text, nx_bytes(hash.bytes, sizeof hash.bytes),
                          nx_bytes("", 0));
  }
  peer->has_release = true;
  if (round->n_releases < round->threshold)
    keep_release(round, id, &release);
  return round_note(t, "release", id, "");
}

/* --- unmasking ---------------------------------------------------------------------- */

static void accuse(struct nx_round *round, uint32_t id) {
  round->peers[id].accused = true;
}

static bool is_as_advertised(const struct nx_round *round, uint32_t id, bool of_b,
                             const struct nx_secret *secret) {
  if (of_b) {
    struct nx_hash hash = nx_commit_self_seed(&round->t0, id, secret);
    return nx_hash_equal(&hash, &round->adverts[id].self_commitment);
  }
  struct nx_point point;
  return nx_agreement_public(secret, &point, NULL) == 0 &&
         !memcmp(&point, &round->adverts[id].s, sizeof point);
}

#define BAD_DEALING 1 /* a dealer's shares do not lead to what it advertised */

/* Members of u3 (of_b) or of u2 \ u3: their seeds or keys, from the first t releases. */
static int recover(struct turn *t, const struct nx_share_weights *weights, bool of_b,
                   size_t *n_out) {
  struct nx_round *round = t->round;
  bool bad = false;
  for (uint32_t id = 1; id < NX_ID_END; id++) {
    if (!round->u2[id] || round->u3[id] != of_b)
      continue;
    struct nx_released *entry = &round->opening[round->n_b + round->n_s];
    entry->id = id;
    nx_shares_combine_weighted(weights, &round->released[(size_t)id * round->threshold],
                               &entry->secret);
    ++*n_out;
    if (is_as_advertised(round, id, of_b, &entry->secret))
      continue;
    bad = true;
    accuse(round, id);
    int r = round_evidence(t, "bad-dealing", id,
                           "its shares are those it committed to, but lead to another secret than "
                           "it advertised",
                           round->peers[id].advert.body, round->peers[id].shares.body);
    if (r < 0)
      return r;
  }
  return bad ? BAD_DEALING : 0;
}

static int ask_to_unmask(struct turn *t) {
  struct nx_round *round = t->round;
  struct nx_round_upload uploads[NX_MEMBERS_MAX];
  struct nx_bytes kept;
  size_t n = 0;
  struct nx_mask *mask = NULL;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    if (round->u3[id])
      uploads[n++] = (struct nx_round_upload){id, round->peers[id].root};
  int r = round_copy(t, nx_bytes(uploads, n * sizeof *uploads), &kept);
  if (r < 0 || (r = nx_check_opening(&round->invite.parameters, &round->t0, &round->t2,
                                     round->adverts, round->u2, round->u3, round->opening,
                                     round->n_b, round->opening + round->n_b, round->n_s,
                                     round->cfg.pool, &mask, t->err)) < 0)
    return r;
  struct nx_round_action *action = round_act(t, NX_ROUND_UNMASK);
  if (!action) {
    nx_mask_destroy(mask);
    return NX_E_NOMEM;
  }
  action->mask = mask;
  action->t2 = round->t2;
  action->t3 = round->t3;
  action->uploads = (const struct nx_round_upload *)(const void *)kept.data;
  action->n_uploads = n;
  round_enter(t, STATE_UNMASK, 0);
  return 0;
}

int round_close_releases(struct turn *t) {
  struct nx_round *round = t->round;
  struct nx_share_weights weights;
  if (round->n_releases < round->threshold) {
    char reason[NX_REASON_SIZE];
    snprintf(reason, sizeof reason, "%zu members released shares; %u are needed", round->n_releases,
             round->threshold);
    return round_finish(t, NX_ROUND_LOST_ATTEMPT, reason);
  }
  int r = nx_share_weights_init(&weights, round->holders, round->threshold, t->err);
  if (r < 0)
    return r;
  int seeds = recover(t, &weights, true, &round->n_b);
  int keys = seeds < 0 ? seeds : recover(t, &weights, false, &round->n_s);
  nx_secret_free(round->released);
  round->released = NULL;
  if (keys < 0)
    return keys;
  if (seeds || keys)
    return round_finish(t, NX_ROUND_LOST_ATTEMPT, "a member dealt shares of a false secret");
  return ask_to_unmask(t);
}

/* --- M10 ---------------------------------------------------------------------------- */

int round_on_unmasked(struct turn *t) {
  struct nx_round *round = t->round;
  _cleanup_(nx_buffer_wipe) struct nx_buffer body = {0};
  struct nx_result result = {.t3 = round->t3,
                             .round = round->cfg.round,
                             .attempt = round->cfg.attempt,
                             .sum = t->event->sum,
                             .sum_bytes = t->event->bytes,
                             .model = t->event->model,
                             .b_seeds = round->opening,
                             .n_b = round->n_b,
                             .s_keys = round->opening + round->n_b,
                             .n_s = round->n_s};
  int r = nx_result_encode(&result, &body, t->err);
  if (r < 0 || (r = round_make(t, NX_M10_RESULT, &body, &round->m10)) < 0 ||
      (r = round_persist(t, RECORD_RESULT, round->m10)) < 0)
    return r;
  nx_secret_free(round->opening);
  round->opening = NULL;
  round->sum = t->event->sum;
  round->model = t->event->model;
  round_enter(t, STATE_SEALS, (uint64_t)round->cfg.phase_seconds + round->cfg.training_seconds);
  return round_broadcast(t, round->m10);
}

int round_on_unmask_failed(struct turn *t) {
  return round_finish(t, NX_ROUND_LOST_ATTEMPT,
                      t->event->reason ? t->event->reason : "the sum could not be opened");
}

/* --- M11 ---------------------------------------------------------------------------- */

#define OTHER_MODEL 1 /* signed well, but for something else than we computed */

int round_take_seal(struct nx_round *round, struct nx_bytes raw, struct nx_arena *arena,
                    uint32_t *member_out, struct nx_error *why) {
  struct nx_signed_message message;
  struct nx_sealed sealed;
  int r = nx_signed_message_decode(raw, arena, &message, why);
  if (r < 0)
    return r;
  const struct nx_transcript_member *member =
      nx_check_member(round->members, round->cfg.n_members, message.signer);
  if (!member || message.type != NX_M11_SEALED)
    return nx_fail(why, NX_E_PROTOCOL, "not an M11 of a member");
  if ((r = nx_sealed_decode(message.body, arena, &sealed, why)) < 0 ||
      (r = nx_signed_message_verify(&message, &member->signing_key, why)) < 0)
    return r;
  if (sealed.round != round->cfg.round || sealed.attempt != round->cfg.attempt)
    return nx_fail(why, NX_E_PROTOCOL, "M11 of another round or attempt");
  *member_out = message.signer;
  return nx_hash_equal(&sealed.t3, &round->t3) && nx_hash_equal(&sealed.model, &round->model)
             ? 0
             : OTHER_MODEL;
}

int nx_round_check_seal(const struct nx_round *round, struct nx_bytes message, uint32_t *member_out,
                        struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  int r = nx_arena_create((size_t)1 << 20, &arena, err);
  if (r < 0)
    return r;
  r = round_take_seal((struct nx_round *)(uintptr_t)round, message, arena, member_out, err);
  return r == OTHER_MODEL ? nx_fail(err, NX_E_PROTOCOL, "M11 for another model") : r;
}

int round_on_seal(struct turn *t) {
  struct nx_round *round = t->round;
  uint32_t id = t->event->member;
  struct round_peer *peer = &round->peers[id];
  struct nx_error why = {0};
  if (peer->has_seal)
    return 0;
  int r = round_take_seal(round, t->raw, round->scratch, &id, &why);
  if (r < 0)
    return round_note(t, "bad-seal", t->event->member, why.text);
  if (r == OTHER_MODEL) {
    peer->refused_result = true;
    return round_evidence(t, "other-model", id, "sealed another model than the coordinator did",
                          t->raw, round->m10);
  }
  if ((r = round_keep(t, t->raw, &peer->seal)) < 0)
    return r;
  peer->has_seal = true;
  return round_note(t, "seal", id, "");
}

/* A sum that is open stays open: nodes that are away may still come back and seal it. Only
 * when too many refuse is the round given up. */
int round_close_seals(struct turn *t) {
  struct nx_round *round = t->round;
  uint32_t n = 0, refused = 0, needed = nx_threshold_catch_up((uint32_t)round->cfg.n_members);
  char reason[NX_REASON_SIZE];
  for (uint32_t id = 1; id < NX_ID_END; id++) {
    n += round->peers[id].has_seal;
    refused += round->peers[id].refused_result;
  }
  if (n >= needed)
    return round_finish(t, NX_ROUND_SEALED, "");
  snprintf(reason, sizeof reason, "%u members sealed the result, %u refused; %u seals are needed",
           n, refused, needed);
  if (round->cfg.n_members < refused + needed)
    return round_finish(t, NX_ROUND_UNSEALED, reason);
  if (t->now < round->phase_ends)
    return 0;
  round_enter(t, STATE_SEALS, (uint64_t)round->cfg.phase_seconds + round->cfg.training_seconds);
  return round_note(t, "waiting", NX_COORDINATOR, reason);
}
