/* M10 and M11: what opened the sum, spot checks, the seal; and catching up. */
#include "node/session/participant_internal.h"
#include "node/session/spot_draw.h"

/* --- M10 ---------------------------------------------------------------------------- */

/* The result is not what it should be: said to the coordinator, kept as evidence. */
static int refuse_result(struct turn *t, const char *kind, struct nx_bytes result,
                         const char *reason) {
  struct attempt *attempt = t->p->attempt;
  int r = participant_evidence(t, kind, NX_COORDINATOR, reason, result, nx_bytes("", 0));
  if (r < 0 || (r = participant_refuse(t, &attempt->invite, NX_REFUSAL_RESULT, reason, NULL)) < 0)
    return r;
  return participant_leave(t, false, reason);
}

static int check_result(struct turn *t, const struct nx_result *result) {
  struct attempt *attempt = t->p->attempt;
  struct nx_upload_layout layout = nx_check_layout(&attempt->invite.parameters);
  size_t n_tiles = nx_upload_tiles(&layout);
  size_t k = NX_MIN(n_tiles,
                    NX_MIN(NX_MAX((size_t)t->p->cfg.spot_checks, (size_t)1), (size_t)NX_TILES_MAX));
  struct nx_mask *mask = NULL;
  struct nx_error why = {0};
  uint64_t *tiles = nx_arena_alloc(attempt->arena, k, sizeof *tiles);
  if (!tiles)
    return nx_fail(t->err, NX_E_NOMEM, "out of memory for spot checks");
  int r = nx_spot_draw(t->p->cfg.entropy, n_tiles, k, tiles, t->err);
  if (r < 0)
    return r;
  r = nx_check_opening(&attempt->invite.parameters, &attempt->t0, &attempt->t2, attempt->adverts,
                       attempt->u2, attempt->u3, result->b_seeds, result->n_b, result->s_keys,
                       result->n_s, NULL, &mask, &why);
  if (r == NX_E_NOMEM)
    return nx_fail(t->err, r, "%s", why.text);
  if (r < 0)
    return participant_evidence(t, "bad-result", NX_COORDINATOR, why.text, t->raw, nx_bytes("", 0));
  struct nx_participant_action *action = participant_act(t, NX_PARTICIPANT_CHECK_RESULT);
  if (!action) {
    nx_mask_destroy(mask);
    return NX_E_NOMEM;
  }
  action->invite = &attempt->invite;
  action->parameters = attempt->invite.parameters;
  action->mask = mask;
  action->t2 = attempt->t2;
  action->t3 = attempt->t3;
  action->sum = result->sum;
  action->model = result->model;
  action->bytes = result->sum_bytes;
  action->uploads = attempt->uploads;
  action->n_uploads = attempt->n_uploads;
  action->tiles = tiles;
  action->n_tiles = k;
  attempt->result = *result;
  attempt->result.b_seeds = attempt->result.s_keys = NULL;
  participant_become_witness(t); /* the sum is open: shares have served */
  t->p->deadline = NX_NEVER;
  return participant_accept(t, STATE_CHECKING);
}

int participant_on_result(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  const struct nx_transcript_parameters *parameters = &attempt->invite.parameters;
  struct nx_error why = {0};
  struct nx_result result;
  bool same;
  int r = nx_result_decode(t->message.body, t->p->scratch, &result, &why);
  if (r < 0)
    return participant_note(t, "bad-message", why.text);
  if (!nx_hash_equal(&result.t3, &attempt->t3))
    return participant_note(t, "other-attempt", "a result of another transcript: ignored");
  if (participant_heard(t, &same))
    return same ? 0
                : participant_evidence(t, "two-results", NX_COORDINATOR,
                                       "the coordinator signed two results for one transcript",
                                       attempt->heard[NX_M10_RESULT - NX_M0_INVITE], t->raw);
  if (result.round != attempt->invite.round || result.attempt != attempt->invite.attempt ||
      result.sum_bytes != parameters->n_lanes * 4 + parameters->n_aux * 8)
    return refuse_result(t, "bad-result", t->raw,
                         "a result of another round, or a sum of another size");
  return check_result(t, &result);
}

/* --- M11 ---------------------------------------------------------------------------- */

static int seal(struct turn *t) {
  struct attempt *attempt = t->p->attempt;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, message = {0};
  struct nx_sealed sealed = {attempt->invite.round, attempt->invite.attempt, attempt->t3,
                             attempt->result.model};
  int r = nx_sealed_encode(&sealed, &body, t->err);
  if (r < 0 ||
      (r = participant_sign(t, NX_M11_SEALED, nx_buffer_view(&body), nx_bytes("", 0), &message)) <
          0 ||
      (r = participant_persist_sealed(t, sealed.round, &sealed.model, nx_buffer_view(&message))) <
          0)
    return r;
  struct nx_participant_action *action = participant_act(t, NX_PARTICIPANT_SEALED);
  if (!action)
    return NX_E_NOMEM;
  action->t3 = sealed.t3;
  action->sum = attempt->result.sum;
  action->model = sealed.model;
  action->n_uploads = attempt->n_uploads;
  if ((r = participant_send(t, nx_buffer_view(&message))) < 0)
    return r;
  participant_forget(t);
  return 0;
}

int participant_on_result_checked(struct turn *t) {
  const struct attempt *attempt = t->p->attempt;
  struct nx_bytes result = attempt->heard[NX_M10_RESULT - NX_M0_INVITE];
  if (!t->event->accepted)
    return refuse_result(t, "result-refused", result,
                         t->event->reason ? t->event->reason : "the sum is not the sum");
  if (!nx_hash_equal(&t->event->model, &attempt->result.model))
    return refuse_result(t, "result-refused", result,
                         "the next model that was announced does not follow from the sum");
  return seal(t);
}

/* --- catching up -------------------------------------------------------------------- */

int participant_on_caught_up(struct turn *t) {
  struct nx_participant *p = t->p;
  bool new_plan = t->event->round == p->durable.last_sealed &&
                  !nx_hash_equal(&t->event->model, &p->durable.model);
  if (t->event->round <= p->durable.last_sealed && !new_plan)
    return 0;
  int r = 0;
  if (p->attempt && p->attempt->invite.round <= t->event->round)
    r = participant_leave(t, false, "the round was sealed without this node");
  else if (p->attempt && new_plan)
    r = participant_leave(t, false, "another plan begins");
  else if (p->attempt)
    return participant_note(t, "stale", "caught up below the round that goes on: ignored");
  return r < 0 ? r
               : participant_persist_sealed(t, t->event->round, &t->event->model, nx_bytes("", 0));
}

int nx_seals_check(const struct nx_participant_config *cfg, uint64_t round,
                   const struct nx_hash *model, const struct nx_bytes *seals, size_t n_seals,
                   struct nx_error *err) {
  bool seen[NX_ID_END] = {false};
  uint32_t count = 0, needed = nx_threshold_catch_up((uint32_t)cfg->n_members);
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  int r = nx_arena_create((size_t)1 << 20, &arena, err);
  for (size_t i = 0; i < n_seals && r >= 0; i++) {
    struct nx_signed_message message;
    struct nx_sealed sealed;
    const struct nx_participant_member *member = NULL;
    nx_arena_reset(arena);
    if ((r = nx_signed_message_decode(seals[i], arena, &message, err)) < 0)
      break;
    for (size_t k = 0; k < cfg->n_members; k++)
      if (cfg->members[k].id == message.signer)
        member = &cfg->members[k];
    if (!member || message.type != NX_M11_SEALED || seen[message.signer])
      return nx_fail(err, NX_E_PROTOCOL, "seal %zu: no M11 of a further member of the manifest", i);
    if ((r = nx_signed_message_verify(&message, &member->key, err)) < 0 ||
        (r = nx_sealed_decode(message.body, arena, &sealed, err)) < 0)
      break;
    seen[message.signer] = true;
    count += sealed.round == round && nx_hash_equal(&sealed.model, model);
  }
  if (r < 0)
    return nx_error_prefix(err, r, "seals of round %llu", (unsigned long long)round);
  if (!needed || count < needed)
    return nx_fail(err, NX_E_CRYPTO, "round %llu: %u signatures vouch for this model, %u needed",
                   (unsigned long long)round, count, needed);
  return 0;
}
