/* An attempt's life at a node: how it begins, loses its secrets, and is left. */
#include "node/session/participant_internal.h"

int participant_begin(struct turn *t, const struct nx_invite *invite, const struct nx_hash *t0) {
  struct attempt *attempt = calloc(1, sizeof *attempt);
  if (!attempt)
    return nx_fail(t->err, NX_E_NOMEM, "out of memory for an attempt");
  int r = nx_arena_create(0, &attempt->arena, t->err);
  if (r < 0) {
    free(attempt);
    return r;
  }
  t->p->attempt = attempt;
  attempt->t0 = *t0;
  attempt->threshold = nx_threshold_quorum((uint32_t)invite->n_members);
  attempt->invite = *invite;
  for (size_t i = 0; i < invite->n_members; i++)
    attempt->u0[invite->members[i]] = true;
  struct nx_bytes members;
  r = participant_keep(t, nx_bytes(invite->members, invite->n_members * sizeof *invite->members),
                       &members);
  if (r >= 0)
    attempt->invite.members = (const uint32_t *)(const void *)members.data;
  return r;
}

void participant_become_witness(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  nx_secret_free(attempt->secrets);
  attempt->secrets = NULL;
}

void participant_forget(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  t->p->state = STATE_IDLE;
  t->p->deadline = NX_NEVER;
  if (!attempt)
    return;
  participant_become_witness(t);
  nx_arena_wipe(attempt->arena);
  nx_arena_destroy(attempt->arena);
  free(attempt);
  t->p->attempt = NULL;
}

/* The masked vector is of no use any more. */
int participant_stop_upload(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  bool any = attempt->uploading || attempt->masking;
  attempt->uploading = attempt->masking = false;
  return any ? participant_simple(t, NX_PARTICIPANT_STOP_UPLOAD) : 0;
}

/* The update goes on being made: another attempt of the round may want it. */
int participant_leave(struct turn *t, bool certified, const char *reason) {
  struct nx_bytes text;
  int r = participant_stop_upload(t);
  if (r < 0 || (r = participant_copy(t, nx_bytes(reason, strlen(reason)), &text)) < 0)
    return r;
  struct nx_participant_action *action = participant_act(t, NX_PARTICIPANT_ABORTED);
  if (!action)
    return NX_E_NOMEM;
  action->certified = certified;
  action->reason = (const char *)text.data;
  participant_forget(t);
  return 0;
}

/* Three times what the coordinator allows itself, unless patience was configured: the
 * coordinator decides first, this is for the day it never does. */
void participant_expect(struct turn *t, uint64_t seconds) {
  int64_t wait = t->p->cfg.patience;
  if (!wait)
    wait = (int64_t)(3 * seconds + 30) * NX_SECOND;
  t->p->deadline = t->now + wait;
}
