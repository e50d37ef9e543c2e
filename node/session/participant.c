#include "node/session/participant.h"

#include <stdio.h>

#include "node/session/participant_internal.h"

#define SCRATCH_CAP ((size_t)256 << 20)

int nx_participant_create(const struct nx_participant_config *cfg,
                          struct nx_participant **participant_out, struct nx_error *err) {
  if (cfg->n_members < NX_MEMBERS_MIN || cfg->n_members > NX_MEMBERS_MAX)
    return nx_fail(err, NX_E_LIMIT, "a federation of %zu members; secure sums need %u to %u",
                   cfg->n_members, NX_MEMBERS_MIN, NX_MEMBERS_MAX);
  _cleanup_(nx_participant_destroyp) struct nx_participant *p = calloc(1, sizeof *p);
  if (!p)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the participant");
  int r = nx_crypto_init(err);
  if (r < 0 || (r = nx_arena_create(SCRATCH_CAP, &p->scratch, err)) < 0)
    return r;
  p->cfg = *cfg;
  p->cfg.members = NULL; /* copied below */
  for (size_t i = 0; i < cfg->n_members; i++) {
    if (cfg->members[i].id < 1 || cfg->members[i].id > 255 ||
        (i && cfg->members[i].id <= cfg->members[i - 1].id))
      return nx_fail(err, NX_E_INVALID, "members are not sorted by id, or an id is not 1..255");
    p->members[i] = (struct nx_transcript_member){cfg->members[i].id, cfg->members[i].spki,
                                                  cfg->members[i].key};
  }
  p->context = (struct nx_check_context){p->members, cfg->n_members, cfg->coordinator_spki};
  p->me = nx_check_member(p->members, cfg->n_members, cfg->id);
  if (!p->me)
    return nx_fail(err, NX_E_INVALID, "member %u is not in the manifest", cfg->id);
  p->durable.model = cfg->model;
  p->deadline = p->announced = NX_NEVER;
  *participant_out = nx_steal(&p);
  return 0;
}

void nx_participant_destroy(struct nx_participant *p) {
  if (!p)
    return;
  struct turn t = {.p = p};
  participant_forget(&t);
  durable_finish(&p->durable);
  nx_arena_destroy(p->scratch);
  free(p);
}

void nx_participant_set_spot_checks(struct nx_participant *p, uint32_t n) {
  p->cfg.spot_checks = NX_MAX(n, 1u);
}

void nx_participant_actions_reset(struct nx_participant_actions *actions) {
  for (size_t i = 0; i < actions->n; i++)
    nx_mask_destroy(actions->items[i].mask);
  actions->n = 0;
  if (actions->arena)
    nx_arena_wipe(actions->arena); /* an M9 may have been in it */
}

void nx_participant_actions_finish(struct nx_participant_actions *actions) {
  nx_participant_actions_reset(actions);
  nx_arena_destroy(actions->arena);
  free(actions->items);
  *actions = (struct nx_participant_actions){0};
}

/* --- actions ------------------------------------------------------------------------ */

struct nx_participant_action *participant_act(struct turn *t,
                                              enum nx_participant_action_type type) {
  struct nx_participant_actions *out = t->out;
  if (out->n == out->allocated) {
    size_t grown = out->allocated ? out->allocated * 2 : 16;
    void *items = reallocarray(out->items, grown, sizeof *out->items);
    if (!items) {
      nx_fail(t->err, NX_E_NOMEM, "out of memory for actions");
      return NULL;
    }
    out->items = items;
    out->allocated = grown;
  }
  struct nx_participant_action *action = &out->items[out->n++];
  *action = (struct nx_participant_action){.type = type, .kind = "", .reason = ""};
  if (t->p->attempt) {
    action->round = t->p->attempt->invite.round;
    action->attempt = t->p->attempt->invite.attempt;
  }
  return action;
}

int participant_simple(struct turn *t, enum nx_participant_action_type type) {
  return participant_act(t, type) ? 0 : NX_E_NOMEM;
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

int participant_copy(struct turn *t, struct nx_bytes bytes, struct nx_bytes *out) {
  int r = t->out->arena ? 0 : nx_arena_create(0, &t->out->arena, t->err);
  return r < 0 ? r : copy_bytes(t->out->arena, bytes, out, t->err);
}

int participant_keep(struct turn *t, struct nx_bytes bytes, struct nx_bytes *kept) {
  return copy_bytes(t->p->attempt->arena, bytes, kept, t->err);
}

int participant_send(struct turn *t, struct nx_bytes message) {
  struct nx_bytes copy;
  int r = participant_copy(t, message, &copy);
  struct nx_participant_action *action = r < 0 ? NULL : participant_act(t, NX_PARTICIPANT_SEND);
  if (!action)
    return NX_E_NOMEM;
  action->message = copy;
  return 0;
}

static int copy_reason(struct turn *t, const char *reason, const char **out) {
  struct nx_bytes copy;
  int r = participant_copy(t, nx_bytes(reason, strlen(reason)), &copy);
  *out = r < 0 ? "" : (const char *)copy.data;
  return r;
}

int participant_note(struct turn *t, const char *kind, const char *reason) {
  const char *copy;
  int r = copy_reason(t, reason, &copy);
  struct nx_participant_action *action = r < 0 ? NULL : participant_act(t, NX_PARTICIPANT_NOTE);
  if (!action)
    return NX_E_NOMEM;
  action->kind = kind;
  action->reason = copy;
  return 0;
}

int participant_evidence(struct turn *t, const char *kind, uint32_t member, const char *reason,
                         struct nx_bytes first, struct nx_bytes second) {
  const char *text;
  struct nx_bytes a, b;
  int r = copy_reason(t, reason, &text);
  if (r < 0 || (r = participant_copy(t, first, &a)) < 0 ||
      (r = participant_copy(t, second, &b)) < 0)
    return r;
  struct nx_participant_action *action = participant_act(t, NX_PARTICIPANT_EVIDENCE);
  if (!action)
    return NX_E_NOMEM;
  action->kind = kind;
  action->member = member;
  action->reason = text;
  action->first = a;
  action->second = b;
  return 0;
}

int participant_sign(struct turn *t, uint32_t type, struct nx_bytes body, struct nx_bytes detached,
                     struct nx_buffer *keep) {
  keep->size = 0;
  return nx_signed_message_make(t->p->cfg.identity, t->p->cfg.id, type, body, detached, keep,
                                t->err);
}

int participant_refuse(struct turn *t, const struct nx_invite *invite, uint32_t code,
                       const char *reason, struct nx_bytes *sent_out) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, message = {0};
  struct nx_refusal refusal = {.round = invite->round, .attempt = invite->attempt, .code = code};
  snprintf(refusal.reason, sizeof refusal.reason, "%s", reason);
  int r = nx_refusal_encode(&refusal, &body, t->err);
  if (r < 0 ||
      (r = participant_sign(t, NX_MESSAGE_REFUSAL, nx_buffer_view(&body), nx_bytes("", 0),
                            &message)) < 0 ||
      (r = participant_send(t, nx_buffer_view(&message))) < 0 ||
      (sent_out && (r = participant_keep(t, nx_buffer_view(&message), sent_out)) < 0))
    return r;
  return participant_note(t, "refused", refusal.reason);
}

int participant_heard(struct turn *t, bool *same_out) {
  struct nx_bytes before = t->p->attempt->heard[t->message.type - NX_M0_INVITE];
  *same_out = before.size == t->raw.size && !memcmp(before.data, t->raw.data, before.size);
  return before.size != 0;
}

int participant_accept(struct turn *t, enum participant_state next) {
  int r = participant_keep(t, t->raw, &t->p->attempt->heard[t->message.type - NX_M0_INVITE]);
  if (r >= 0)
    t->p->state = next;
  return r;
}

/* --- events ------------------------------------------------------------------------- */

static int on_nothing(struct turn *t) {
  (void)t;
  return 0;
}

/* Answers of the shell to an attempt that was left meanwhile. */
static int on_stale(struct turn *t) {
  return participant_note(t, "stale", "an answer to an attempt that was left: ignored");
}

static int on_unexpected_message(struct turn *t) {
  char reason[96];
  snprintf(reason, sizeof reason, "%s came when it was not awaited: ignored",
           nx_message_name(t->message.type));
  return participant_note(t, "unexpected", reason);
}

static int on_unlisted(struct turn *t) {
  return nx_fail(t->err, NX_E_STATE, "event %d in state %d of the participant: a bug in the shell",
                 (int)t->event->type, (int)t->p->state);
}

enum { SLOT_M0, SLOT_M2, SLOT_M4, SLOT_M6, SLOT_M8, SLOT_M10, SLOT_ABORT, N_SLOTS };

static int message_slot(uint32_t type) {
  switch (type) {
  case NX_M0_INVITE:
    return SLOT_M0;
  case NX_M2_ROSTER:
    return SLOT_M2;
  case NX_M4_BUNDLE:
    return SLOT_M4;
  case NX_M6_COMMIT_REQUEST:
    return SLOT_M6;
  case NX_M8_CERTIFICATE:
    return SLOT_M8;
  case NX_M10_RESULT:
    return SLOT_M10;
  case NX_MESSAGE_ABORT_REQUEST:
    return SLOT_ABORT;
  default:
    return -1; /* nothing that a coordinator sends */
  }
}

/* Messages, by state. Those that come too late are handled as well: they may be repeats
 * that want an answer again, or contradict what was said before. */
static turn_handler *const on_message[N_STATES][N_SLOTS] = {
    [STATE_IDLE] = {[SLOT_M0] = participant_on_invite, [SLOT_M8] = participant_on_certificate},
    [STATE_CONSIDERING] = {[SLOT_M0] = participant_on_invite},
    [STATE_ROSTER] = {[SLOT_M0] = participant_on_invite,
                      [SLOT_M2] = participant_on_roster,
                      [SLOT_M8] = participant_on_certificate,
                      [SLOT_ABORT] = participant_on_abort_request},
    [STATE_BUNDLE] = {[SLOT_M0] = participant_on_invite,
                      [SLOT_M2] = participant_on_roster,
                      [SLOT_M4] = participant_on_bundle,
                      [SLOT_M8] = participant_on_certificate,
                      [SLOT_ABORT] = participant_on_abort_request},
    [STATE_COMMIT] = {[SLOT_M0] = participant_on_invite,
                      [SLOT_M2] = participant_on_roster,
                      [SLOT_M4] = participant_on_bundle,
                      [SLOT_M6] = participant_on_commit_request,
                      [SLOT_M8] = participant_on_certificate,
                      [SLOT_ABORT] = participant_on_abort_request},
    [STATE_CERTIFICATE] = {[SLOT_M0] = participant_on_invite,
                           [SLOT_M2] = participant_on_roster,
                           [SLOT_M4] = participant_on_bundle,
                           [SLOT_M6] = participant_on_commit_request,
                           [SLOT_M8] = participant_on_certificate,
                           [SLOT_ABORT] = participant_on_abort_request},
    [STATE_RESULT] = {[SLOT_M0] = participant_on_invite,
                      [SLOT_M2] = participant_on_roster,
                      [SLOT_M4] = participant_on_bundle,
                      [SLOT_M6] = participant_on_commit_request,
                      [SLOT_M8] = participant_on_certificate,
                      [SLOT_M10] = participant_on_result,
                      [SLOT_ABORT] = participant_on_abort_request},
    [STATE_CHECKING] = {[SLOT_M0] = participant_on_invite,
                        [SLOT_M2] = participant_on_roster,
                        [SLOT_M4] = participant_on_bundle,
                        [SLOT_M6] = participant_on_commit_request,
                        [SLOT_M8] = participant_on_certificate,
                        [SLOT_M10] = participant_on_result},
};

#define N_EVENTS (NX_PARTICIPANT_DEADLINE + 1)
static turn_handler *const on_event[N_STATES][N_EVENTS] = {
#define EVERYWHERE                                                                                 \
  [NX_PARTICIPANT_CONNECTED] = on_nothing, [NX_PARTICIPANT_DISCONNECTED] = on_nothing,             \
  [NX_PARTICIPANT_CAUGHT_UP] = participant_on_caught_up,                                           \
  [NX_PARTICIPANT_DEADLINE] = participant_on_deadline
#define WORKING                                                                                    \
  EVERYWHERE, [NX_PARTICIPANT_UPDATE_READY] = participant_on_update_ready,                         \
              [NX_PARTICIPANT_UPDATE_FAILED] = participant_on_update_failed
    [STATE_IDLE] = {EVERYWHERE, [NX_PARTICIPANT_RESTORE] = participant_restore},
    [STATE_CONSIDERING] = {EVERYWHERE, [NX_PARTICIPANT_DECIDED] = participant_on_decided},
    [STATE_ROSTER] = {WORKING},
    [STATE_BUNDLE] = {WORKING},
    [STATE_COMMIT] = {WORKING, [NX_PARTICIPANT_MASKED] = participant_on_masked,
                      [NX_PARTICIPANT_UPLOADED] = participant_on_uploaded},
    [STATE_CERTIFICATE] = {EVERYWHERE},
    [STATE_RESULT] = {EVERYWHERE},
    [STATE_CHECKING] = {EVERYWHERE, [NX_PARTICIPANT_RESULT_CHECKED] =
                                        participant_on_result_checked},
#undef WORKING
#undef EVERYWHERE
};

/* A message counts only with the coordinator's signature; one that was accepted before,
 * byte for byte, needs no second verification. */
static int check_sender(struct turn *t) {
  struct nx_participant *p = t->p;
  bool same = false;
  if (t->message.signer != NX_COORDINATOR)
    return nx_fail(t->err, NX_E_PROTOCOL, "signed by member %u, not by the coordinator",
                   t->message.signer);
  if (p->attempt && t->message.type <= NX_M11_SEALED && participant_heard(t, &same) && same)
    return 0;
  return nx_signed_message_verify(&t->message, &p->cfg.coordinator_key, t->err);
}

static int on_message_event(struct turn *t) {
  struct nx_error *report = t->err, mine = {0};
  t->raw = t->event->message;
  t->err = &mine;
  int r = nx_signed_message_decode(t->raw, t->p->scratch, &t->message, t->err);
  if (r >= 0 && message_slot(t->message.type) < 0)
    r = nx_fail(t->err, NX_E_PROTOCOL, "%s is not a message of the coordinator",
                nx_message_name(t->message.type));
  if (r >= 0)
    r = check_sender(t);
  t->err = report;
  if (r == NX_E_NOMEM)
    return nx_fail(report, r, "%s", mine.text);
  if (r < 0)
    return participant_note(t, "bad-message", mine.text);
  turn_handler *handler = on_message[t->p->state][message_slot(t->message.type)];
  return handler ? handler(t) : on_unexpected_message(t);
}

static bool is_answer(const struct turn *t) {
  return t->event->type >= NX_PARTICIPANT_DECIDED &&
         t->event->type <= NX_PARTICIPANT_RESULT_CHECKED;
}

static bool is_of_this_attempt(const struct turn *t) {
  const struct attempt *attempt = t->p->attempt;
  return attempt && attempt->invite.round == t->event->round &&
         attempt->invite.attempt == t->event->attempt;
}

static int dispatch(struct turn *t) {
  if (t->event->type == NX_PARTICIPANT_MESSAGE)
    return on_message_event(t);
  if ((unsigned)t->event->type >= N_EVENTS)
    return on_unlisted(t);
  turn_handler *handler = on_event[t->p->state][t->event->type];
  if (is_answer(t) && (!handler || !is_of_this_attempt(t)))
    return on_stale(t);
  return handler ? handler(t) : on_unlisted(t);
}

int nx_participant_step(struct nx_participant *p, const struct nx_participant_event *event,
                        int64_t now, struct nx_participant_actions *actions, struct nx_error *err) {
  struct turn t = {.p = p, .event = event, .now = now, .out = actions, .err = err};
  int r = dispatch(&t);
  nx_arena_wipe(p->scratch);
  if (r < 0 || p->deadline == p->announced)
    return r < 0 ? r : 0;
  struct nx_participant_action *action = participant_act(&t, NX_PARTICIPANT_SET_DEADLINE);
  if (!action)
    return NX_E_NOMEM;
  action->at = p->announced = p->deadline;
  return 0;
}

static const char *const state_names[N_STATES] = {"idle",   "considering", "roster", "bundle",
                                                  "commit", "certificate", "result", "checking"};

void nx_participant_progress(const struct nx_participant *p, struct nx_participant_progress *out) {
  *out = (struct nx_participant_progress){.phase = state_names[p->state],
                                          .last_sealed = p->durable.last_sealed,
                                          .model = p->durable.model};
  if (!p->attempt)
    return;
  out->round = p->attempt->invite.round;
  out->attempt = p->attempt->invite.attempt;
  out->kind = p->attempt->invite.parameters.kind;
  out->witness = p->state > STATE_CONSIDERING && !p->attempt->secrets;
}
