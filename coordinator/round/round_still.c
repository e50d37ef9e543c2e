/* Stillness: a member whose line is up and of which nothing moves, while the round waits for it. It
 * counts as gone, by name, until something of it moves again. One that is slow and moves is waited
 * for to the end of the phase. */
#include <stdio.h>

#include "coordinator/round/round_internal.h"

int64_t round_still_at(const struct nx_round *round, uint32_t id) {
  const struct round_peer *peer = &round->peers[id];
  if (!round->cfg.stillness || !peer->connected || peer->still || !round_owes_answer(round, id))
    return NX_NEVER;
  return NX_MAX(peer->moved, round->phase_began) + round->cfg.stillness;
}

int round_moves(struct turn *t, uint32_t id, int64_t at) {
  struct round_peer *peer = &t->round->peers[id];
  peer->moved = NX_MAX(peer->moved, at);
  if (!peer->still || t->now >= peer->moved + t->round->cfg.stillness)
    return 0;
  peer->still = false;
  return round_note(t, "moves", id, "it moves again");
}

int round_on_moved(struct turn *t) {
  return round_moves(t, t->event->member, NX_MIN(t->event->at, t->now));
}

/* We were held up ourselves (a machine that slept, a process that was stopped): what came meanwhile
 * still waits to be read. */
void round_forgive(struct turn *t) {
  struct nx_round *round = t->round;
  if (round->announced == NX_NEVER || t->now < round->announced + round->cfg.lost_grace)
    return;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    round->peers[id].moved = t->now;
}

int round_judge(struct turn *t) {
  struct nx_round *round = t->round;
  char reason[NX_REASON_SIZE];
  int r = 0;
  for (uint32_t id = 1; id < NX_ID_END && r >= 0; id++) {
    if (t->now < round_still_at(round, id))
      continue;
    round->peers[id].still = true;
    snprintf(reason, sizeof reason,
             "nothing of it moved for %lld s while the round waited for it (%s): it counts as gone "
             "until it moves",
             (long long)(round->cfg.stillness / NX_SECOND), round_state_name(round));
    r = round_note(t, "still", id, reason);
  }
  return r;
}
