#include "coordinator/round/round.h"

#include <stdio.h>

#include "coordinator/round/cohort.h"
#include "coordinator/round/round_internal.h"

#define SCRATCH_CAP ((size_t)256 << 20)
#define DEFAULT_RESEND (5 * NX_SECOND)
#define DEFAULT_GRACE (5 * NX_SECOND)

static int check_config(const struct nx_round_config *cfg, struct nx_error *err) {
  if (cfg->n_members < NX_MEMBERS_MIN || cfg->n_members > NX_MEMBERS_MAX)
    return nx_fail(err, NX_E_LIMIT, "a federation of %zu members; secure sums need %u to %u",
                   cfg->n_members, NX_MEMBERS_MIN, NX_MEMBERS_MAX);
  if (cfg->n_cohort < nx_cohort_floor((uint32_t)cfg->n_members, cfg->minimum_members))
    return nx_fail(err, NX_E_LIMIT, "a cohort of %zu is below the floor of %u", cfg->n_cohort,
                   nx_cohort_floor((uint32_t)cfg->n_members, cfg->minimum_members));
  for (size_t i = 0; i < cfg->n_members; i++)
    if (cfg->members[i].id < 1 || cfg->members[i].id > 255 ||
        (i && cfg->members[i].id <= cfg->members[i - 1].id))
      return nx_fail(err, NX_E_INVALID, "members are not sorted by id, or an id is not 1..255");
  return 0;
}

static void copy_config(struct nx_round *round, const struct nx_round_config *cfg) {
  round->cfg = *cfg;
  for (size_t i = 0; i < cfg->n_members; i++) {
    round->named[i] = cfg->members[i];
    round->members[i] = (struct nx_transcript_member){cfg->members[i].id, cfg->members[i].spki,
                                                      cfg->members[i].key};
  }
  round->cfg.members = round->named;
  memcpy(round->cohort, cfg->cohort, cfg->n_cohort * sizeof *cfg->cohort);
  round->cfg.cohort = round->cohort;
  if (!cfg->resend)
    round->cfg.resend = DEFAULT_RESEND;
  if (!cfg->lost_grace)
    round->cfg.lost_grace = DEFAULT_GRACE;
  round->context = (struct nx_check_context){round->members, cfg->n_members, cfg->coordinator_spki};
  round->threshold = nx_threshold_quorum((uint32_t)cfg->n_cohort);
  round->phase_ends = round->next_resend = round->announced = NX_NEVER;
}

int nx_round_create(const struct nx_round_config *cfg, struct nx_round **round_out,
                    struct nx_error *err) {
  int r = check_config(cfg, err);
  if (r < 0 || (r = nx_crypto_init(err)) < 0)
    return r;
  _cleanup_(nx_round_destroyp) struct nx_round *round = calloc(1, sizeof *round);
  if (!round)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a round");
  copy_config(round, cfg);
  if ((r = nx_buffer_append(&round->previous_certificate, cfg->previous_certificate.data,
                            cfg->previous_certificate.size, err)) < 0 ||
      (r = nx_arena_create(0, &round->arena, err)) < 0 ||
      (r = nx_arena_create(SCRATCH_CAP, &round->scratch, err)) < 0)
    return r;
  struct turn t = {.round = round, .err = err};
  if ((r = round_set_invite(&t)) < 0)
    return r;
  *round_out = nx_steal(&round);
  return 0;
}

/* All that grows with the members. */
static void let_go(struct nx_round *round) {
  if (round->scratch)
    nx_arena_wipe(round->scratch);
  nx_arena_destroy(nx_steal(&round->scratch));
  nx_arena_destroy(nx_steal(&round->arena));
  nx_shared_unref(nx_steal(&round->bundled));
}

void nx_round_destroy(struct nx_round *round) {
  if (!round)
    return;
  nx_secret_free(round->released);
  nx_secret_free(round->opening);
  let_go(round);
  nx_buffer_finish(&round->previous_certificate);
  free(round);
}

void nx_round_retire(struct nx_round *round) {
  let_go(round);
  memset(round->peers, 0, sizeof round->peers);
  round->m0 = round->m2 = round->m6 = round->m8 = round->m10 = round->abort_request =
      nx_bytes("", 0);
}

void nx_round_actions_reset(struct nx_round_actions *actions) {
  for (size_t i = 0; i < actions->n; i++)
    nx_mask_destroy(actions->items[i].mask);
  actions->n = 0;
  if (actions->arena)
    nx_arena_reset(actions->arena);
}

void nx_round_actions_finish(struct nx_round_actions *actions) {
  nx_round_actions_reset(actions);
  nx_arena_destroy(actions->arena);
  free(actions->items);
  *actions = (struct nx_round_actions){0};
}

/* --- actions ------------------------------------------------------------------------ */

struct nx_round_action *round_act(struct turn *t, enum nx_round_action_type type) {
  struct nx_round_actions *out = t->out;
  if (out->n == out->allocated) {
    size_t grown = out->allocated ? out->allocated * 2 : 32;
    void *items = reallocarray(out->items, grown, sizeof *out->items);
    if (!items) {
      nx_fail(t->err, NX_E_NOMEM, "out of memory for actions");
      return NULL;
    }
    out->items = items;
    out->allocated = grown;
  }
  struct nx_round_action *action = &out->items[out->n++];
  *action = (struct nx_round_action){.type = type, .kind = "", .reason = ""};
  return action;
}

static int copy_bytes(struct nx_arena *arena, struct nx_bytes bytes, struct nx_bytes *out,
                      struct nx_error *err) {
  uint8_t *copy = nx_arena_alloc(arena, bytes.size + 1, 1); /* + 1: a string stays one */
  if (!copy)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a message of %zu bytes", bytes.size);
  if (bytes.size)
    memcpy(copy, bytes.data, bytes.size);
  *out = nx_bytes(copy, bytes.size);
  return 0;
}

int round_copy(struct turn *t, struct nx_bytes bytes, struct nx_bytes *out) {
  int r = t->out->arena ? 0 : nx_arena_create(0, &t->out->arena, t->err);
  return r < 0 ? r : copy_bytes(t->out->arena, bytes, out, t->err);
}

int round_keep(struct turn *t, struct nx_bytes bytes, struct nx_bytes *kept) {
  return copy_bytes(t->round->arena, bytes, kept, t->err);
}

int round_note(struct turn *t, const char *kind, uint32_t member, const char *reason) {
  struct nx_bytes text;
  int r = round_copy(t, nx_bytes(reason, strlen(reason)), &text);
  struct nx_round_action *action = r < 0 ? NULL : round_act(t, NX_ROUND_NOTE);
  if (!action)
    return NX_E_NOMEM;
  action->kind = kind;
  action->member = member;
  action->reason = (const char *)text.data;
  return 0;
}

int round_evidence(struct turn *t, const char *kind, uint32_t member, const char *reason,
                   struct nx_bytes first, struct nx_bytes second) {
  struct nx_bytes text, a, b;
  int r = round_copy(t, nx_bytes(reason, strlen(reason)), &text);
  if (r < 0 || (r = round_copy(t, first, &a)) < 0 || (r = round_copy(t, second, &b)) < 0)
    return r;
  struct nx_round_action *action = round_act(t, NX_ROUND_EVIDENCE);
  if (!action)
    return NX_E_NOMEM;
  action->kind = kind;
  action->member = member;
  action->reason = (const char *)text.data;
  action->first = a;
  action->second = b;
  return 0;
}

int round_persist(struct turn *t, enum round_record kind, struct nx_bytes record) {
  struct nx_bytes copy;
  int r = round_copy(t, record, &copy);
  struct nx_round_action *action = r < 0 ? NULL : round_act(t, NX_ROUND_PERSIST);
  if (!action)
    return NX_E_NOMEM;
  action->record_kind = kind;
  action->record = copy;
  return 0;
}

/* Signs as the coordinator; kept for as long as the round lives. */
int round_make(struct turn *t, uint32_t type, const struct nx_buffer *body, struct nx_bytes *out) {
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  int r = nx_signed_message_make(t->round->cfg.identity, NX_COORDINATOR, type, nx_buffer_view(body),
                                 nx_bytes("", 0), &message, t->err);
  return r < 0 ? r : round_keep(t, nx_buffer_view(&message), out);
}

static int act_send(struct turn *t, uint32_t member, struct nx_bytes message) {
  struct nx_round_action *action = round_act(t, NX_ROUND_SEND);
  if (!action)
    return NX_E_NOMEM;
  action->member = member;
  action->message = message;
  action->again = t->again;
  return 0;
}

/* Messages live as long as the round; but FINISHED may come in the same list, and the shell
 * may then destroy the round: so they are copied. */
int round_send(struct turn *t, uint32_t member, struct nx_bytes message) {
  struct nx_bytes copy;
  if (!message.size || !t->round->peers[member].connected)
    return 0;
  int r = round_copy(t, message, &copy);
  return r < 0 ? r : act_send(t, member, copy);
}

int round_broadcast(struct turn *t, struct nx_bytes message) {
  struct nx_bytes copy; /* one for all */
  int r = round_copy(t, message, &copy);
  for (uint32_t id = 1; id < NX_ID_END && r >= 0 && message.size; id++)
    if (t->round->peers[id].connected)
      r = act_send(t, id, copy);
  return r;
}

int round_send_bundle(struct turn *t, uint32_t member) {
  if (!t->round->bundled || !t->round->peers[member].connected)
    return 0;
  struct nx_round_action *action = round_act(t, NX_ROUND_SEND_BUNDLE);
  if (!action)
    return NX_E_NOMEM;
  action->member = member;
  action->common = t->round->bundled;
  action->again = t->again;
  return 0;
}

int round_tell_all(struct turn *t, uint32_t member) {
  struct nx_round *round = t->round;
  const struct nx_bytes before[] = {nx_buffer_view(&round->previous_certificate), round->m0,
                                    round->m2};
  const struct nx_bytes behind[] = {round->m6, round->m8, round->m10, round->abort_request};
  int r = 0;
  if (round->state == STATE_IDLE)
    return 0;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(before) && r >= 0; i++)
    r = round_send(t, member, before[i]);
  if (r >= 0)
    r = round_send_bundle(t, member);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(behind) && r >= 0; i++)
    r = round_send(t, member, behind[i]);
  return r;
}

const struct nx_transcript_member *round_member(const struct turn *t, uint32_t id) {
  return nx_check_member(t->round->members, t->round->cfg.n_members, id);
}

size_t round_count(const bool set[NX_ID_END]) {
  size_t n = 0;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    n += set[id];
  return n;
}

void round_enter(struct turn *t, enum round_state state, uint64_t seconds) {
  struct nx_round *round = t->round;
  round->state = state;
  round->phase_began = t->now;
  round->phase_ends = seconds ? t->now + (int64_t)seconds * NX_SECOND : NX_NEVER;
  round->resend = round->cfg.resend;
  round->next_resend = seconds ? t->now + round->resend : NX_NEVER;
}

/* --- waiting ------------------------------------------------------------------------ */

bool round_owes_answer(const struct nx_round *round, uint32_t id) {
  const struct round_peer *peer = &round->peers[id];
  switch (round->state) {
  case STATE_ADVERTS:
    return peer->u0 && !peer->has_advert && !peer->refused && !peer->no_update;
  case STATE_SHARES:
    return round->u1[id] && !peer->has_shares && !peer->no_update;
  case STATE_UPLOADS:
    return round->u2[id] && !peer->has_upload && !peer->no_update && !peer->vote;
  case STATE_VOTES:
    return round->u2[id] && !peer->vote;
  case STATE_RELEASES:
    return round->u2[id] && peer->vote != NX_VOTE_ABORT && !peer->has_release;
  case STATE_SEALS:
    return !peer->has_seal && !peer->refused_result && !peer->refused &&
           nx_check_member(round->members, round->cfg.n_members, id);
  case STATE_ABORTING:
    return peer->u0 && peer->has_advert && !peer->vote;
  default:
    return false;
  }
}

bool round_awaits(const struct nx_round *round, uint32_t id, int64_t now) {
  const struct round_peer *peer = &round->peers[id];
  /* A certificate that nothing opens spares everybody a training: worth the whole phase. */
  bool patient = round->state == STATE_ABORTING;
  bool here = peer->connected ? !peer->still : now < peer->awaited_until;
  return round_owes_answer(round, id) && (here || patient);
}

static bool is_waiting(const struct nx_round *round, int64_t now) {
  for (uint32_t id = 1; id < NX_ID_END; id++)
    if (round_awaits(round, id, now))
      return true;
  return false;
}

/* Does the phase end now, because of votes and shares that suffice? */
static bool suffices(const struct nx_round *round) {
  size_t commits = round_votes(round, NX_VOTE_COMMIT), aborts = round_votes(round, NX_VOTE_ABORT);
  size_t n_u2 = round_count(round->u2);
  switch (round->state) {
  case STATE_UPLOADS:
    return n_u2 < aborts + round->threshold;
  case STATE_VOTES:
    return commits >= round->threshold || n_u2 < aborts + round->threshold;
  case STATE_RELEASES:
    return round->n_releases >= round->threshold;
  case STATE_ABORTING:
    return aborts >= round->threshold || (round->m6.size && commits >= round->threshold);
  default:
    return false;
  }
}

static turn_handler *const close_phase[N_STATES] = {
    [STATE_ADVERTS] = round_close_adverts,   [STATE_SHARES] = round_close_shares,
    [STATE_UPLOADS] = round_close_uploads,   [STATE_VOTES] = round_close_votes,
    [STATE_RELEASES] = round_close_releases, [STATE_SEALS] = round_close_seals,
    [STATE_ABORTING] = round_close_abort,
};

/* One event may end several phases. */
static int advance(struct turn *t) {
  struct nx_round *round = t->round;
  for (;;) {
    enum round_state before = round->state;
    if (!close_phase[before] ||
        (!suffices(round) && is_waiting(round, t->now) && t->now < round->phase_ends))
      return 0;
    int r = close_phase[before](t);
    if (r < 0 || round->state == before)
      return r;
  }
}

static int resend(struct turn *t) {
  struct nx_round *round = t->round;
  int r = 0;
  if (t->now < round->next_resend)
    return 0;
  t->again = true;
  for (uint32_t id = 1; id < NX_ID_END && r >= 0; id++)
    if (round_awaits(round, id, t->now))
      r = round_tell_all(t, id);
  round->resend = round->resend < INT64_MAX / 4 ? round->resend * 2 : round->resend;
  round->next_resend = t->now + round->resend;
  t->again = false;
  return r;
}

static int announce_deadline(struct turn *t) {
  struct nx_round *round = t->round;
  int64_t at = round->phase_ends;
  if (close_phase[round->state]) {
    at = NX_MIN(at, round->next_resend);
    for (uint32_t id = 1; id < NX_ID_END; id++) {
      const struct round_peer *peer = &round->peers[id];
      if (!peer->connected && peer->awaited_until > t->now && round_owes_answer(round, id))
        at = NX_MIN(at, peer->awaited_until);
      at = NX_MIN(at, round_still_at(round, id));
    }
  }
  if (at == round->announced)
    return 0;
  struct nx_round_action *action = round_act(t, NX_ROUND_SET_DEADLINE);
  if (!action)
    return NX_E_NOMEM;
  action->at = round->announced = at;
  return 0;
}

/* --- events ------------------------------------------------------------------------- */

static int on_connected(struct turn *t) {
  struct round_peer *peer = &t->round->peers[t->event->member];
  peer->connected = true;
  peer->still = t->event->still;
  peer->moved = t->now;
  return round_tell_all(t, t->event->member);
}

static int on_lost(struct turn *t) {
  struct round_peer *peer = &t->round->peers[t->event->member];
  peer->connected = peer->still = false;
  peer->awaited_until = t->now + t->round->cfg.lost_grace;
  return 0;
}

static int on_deadline(struct turn *t) {
  t->round->announced = NX_NEVER; /* it is spent: say it again */
  return 0;                       /* advance() and resend() look at the clock */
}

static int on_late(struct turn *t) {
  return t->event->type == NX_ROUND_MESSAGE
             ? round_note(t, "late", t->event->member, "a message after its phase: ignored")
             : round_note(t, "late", t->event->member, "after its phase: ignored");
}

/* A second root is evidence whenever it comes; a first one comes too late. */
static int on_late_upload(struct turn *t) {
  uint32_t id = t->event->member;
  bool second = t->round->u2[id] && t->round->peers[id].has_upload;
  return second ? round_on_uploaded(t) : on_late(t);
}

static int on_nothing(struct turn *t) {
  (void)t;
  return 0;
}

static int on_unlisted(struct turn *t) {
  return nx_fail(t->err, NX_E_STATE, "event %d in state %d of the round: a bug in the shell",
                 (int)t->event->type, (int)t->round->state);
}

#define N_EVENTS (NX_ROUND_MOVED + 1)
static turn_handler *const on_event[N_STATES][N_EVENTS] = {
#define EVERYWHERE                                                                                 \
  [NX_ROUND_CONNECTED] = on_connected, [NX_ROUND_LOST] = on_lost,                                  \
  [NX_ROUND_DEADLINE] = on_deadline, [NX_ROUND_MOVED] = round_on_moved
#define RUNNING EVERYWHERE, [NX_ROUND_UPLOADED] = on_late_upload, [NX_ROUND_ABORT] = round_on_abort
    [STATE_IDLE] =
        {EVERYWHERE, [NX_ROUND_BEGIN] = round_on_begin, [NX_ROUND_RESTORE] = round_on_restore},
    [STATE_ADVERTS] = {RUNNING},
    [STATE_SHARES] = {RUNNING},
    [STATE_UPLOADS] =
        {EVERYWHERE, [NX_ROUND_UPLOADED] = round_on_uploaded, [NX_ROUND_ABORT] = round_on_abort},
    [STATE_VOTES] = {RUNNING},
    [STATE_RELEASES] = {RUNNING},
    [STATE_UNMASK] = {RUNNING, [NX_ROUND_UNMASKED] = round_on_unmasked,
                      [NX_ROUND_UNMASK_FAILED] = round_on_unmask_failed},
    [STATE_SEALS] = {RUNNING},
    [STATE_ABORTING] = {RUNNING},
    [STATE_FINISHED] = {[NX_ROUND_CONNECTED] = on_nothing,
                        [NX_ROUND_LOST] = on_nothing,
                        [NX_ROUND_DEADLINE] = on_nothing,
                        [NX_ROUND_UPLOADED] = on_late,
                        [NX_ROUND_ABORT] = on_nothing,
                        [NX_ROUND_MOVED] = on_nothing},
#undef RUNNING
#undef EVERYWHERE
};

enum { SLOT_M1, SLOT_M3, SLOT_M7, SLOT_M9, SLOT_M11, SLOT_COMPLAINT, SLOT_REFUSAL, N_SLOTS };

static int message_slot(uint32_t type) {
  switch (type) {
  case NX_M1_ADVERT:
    return SLOT_M1;
  case NX_M3_SHARES:
    return SLOT_M3;
  case NX_M7_VOTE:
    return SLOT_M7;
  case NX_M9_RELEASE:
    return SLOT_M9;
  case NX_M11_SEALED:
    return SLOT_M11;
  case NX_MESSAGE_COMPLAINT:
    return SLOT_COMPLAINT;
  case NX_MESSAGE_REFUSAL:
    return SLOT_REFUSAL;
  default:
    return -1; /* nothing that a node sends here */
  }
}

#define ALWAYS                                                                                     \
  [SLOT_M7] = round_on_vote, [SLOT_COMPLAINT] = round_on_complaint,                                \
  [SLOT_REFUSAL] = round_on_refusal
static turn_handler *const on_message[N_STATES][N_SLOTS] = {
    [STATE_ADVERTS] =
        {[SLOT_M1] = round_on_advert, [SLOT_REFUSAL] = round_on_refusal, [SLOT_M7] = round_on_vote},
    [STATE_SHARES] = {[SLOT_M3] = round_on_shares, ALWAYS},
    [STATE_UPLOADS] = {ALWAYS},
    [STATE_VOTES] = {ALWAYS},
    [STATE_RELEASES] = {[SLOT_M9] = round_on_release, ALWAYS},
    [STATE_UNMASK] = {ALWAYS},
    [STATE_SEALS] = {[SLOT_M11] = round_on_seal, ALWAYS},
    [STATE_ABORTING] = {ALWAYS},
};
#undef ALWAYS

static int on_message_event(struct turn *t) {
  struct nx_error why = {0};
  t->raw = t->event->message;
  int r = nx_signed_message_decode(t->raw, t->round->scratch, &t->message, &why);
  if (r >= 0 && message_slot(t->message.type) < 0)
    r = nx_fail(&why, NX_E_PROTOCOL, "%s is not a message of a member",
                nx_message_name(t->message.type));
  if (r >= 0 && t->message.signer != t->event->member)
    r = nx_fail(&why, NX_E_PROTOCOL, "signed by member %u on the session of member %u",
                t->message.signer, t->event->member);
  if (r < 0)
    return round_note(t, "bad-message", t->event->member, why.text);
  turn_handler *handler = on_message[t->round->state][message_slot(t->message.type)];
  return handler ? handler(t) : on_late(t);
}

static int dispatch(struct turn *t) {
  const struct nx_round_event *event = t->event;
  bool says = event->type == NX_ROUND_MESSAGE || event->type == NX_ROUND_UPLOADED;
  bool of_member = says || event->type == NX_ROUND_CONNECTED || event->type == NX_ROUND_LOST ||
                   event->type == NX_ROUND_MOVED;
  if (of_member && !round_member(t, event->member))
    return nx_fail(t->err, NX_E_STATE, "member %u is not in the manifest", event->member);
  int r = says ? round_moves(t, event->member, t->now) : 0;
  if (r < 0)
    return r;
  if (event->type == NX_ROUND_MESSAGE)
    return on_message_event(t);
  turn_handler *handler =
      (unsigned)event->type < N_EVENTS ? on_event[t->round->state][event->type] : NULL;
  return handler ? handler(t) : on_unlisted(t);
}

int nx_round_step(struct nx_round *round, const struct nx_round_event *event, int64_t now,
                  struct nx_round_actions *actions, struct nx_error *err) {
  struct turn t = {.round = round, .event = event, .now = now, .out = actions, .err = err};
  round_forgive(&t);
  int r = dispatch(&t);
  if (r >= 0 && event->type == NX_ROUND_DEADLINE) /* by then the shell has told what moved */
    r = round_judge(&t);
  if (r >= 0)
    r = advance(&t);
  if (r >= 0)
    r = resend(&t);
  nx_arena_wipe(round->scratch);
  if (r < 0 || round->state == STATE_FINISHED)
    return r < 0 ? r : 0;
  return announce_deadline(&t);
}

static const char *const state_names[N_STATES] = {"idle",     "adverts",  "shares", "uploads",
                                                  "votes",    "releases", "unmask", "seals",
                                                  "aborting", "finished"};

const char *round_state_name(const struct nx_round *round) {
  return state_names[round->state];
}

void nx_round_progress(const struct nx_round *round, struct nx_round_progress *out) {
  *out = (struct nx_round_progress){.round = round->cfg.round,
                                    .attempt = round->cfg.attempt,
                                    .kind = round->cfg.parameters.kind,
                                    .phase = state_names[round->state],
                                    .n_cohort = (uint32_t)round->cfg.n_cohort,
                                    .n_releases = (uint32_t)round->n_releases,
                                    .threshold = round->threshold,
                                    .phase_ends = round->phase_ends};
  for (uint32_t id = 1; id < NX_ID_END; id++) {
    const struct round_peer *peer = &round->peers[id];
    out->n_connected += peer->connected;
    out->n_still += peer->still;
    out->n_adverts += peer->has_advert;
    out->n_shares += peer->has_shares;
    out->n_uploads += peer->has_upload;
    out->n_votes += peer->vote == NX_VOTE_COMMIT;
    out->n_seals += peer->has_seal;
  }
}
