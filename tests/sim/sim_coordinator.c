/* The coordinator of the simulator: the shell around the real round, with a disk. */
#include <stdlib.h>

#include "crypto/upload.h"
#include "tests/sim/sim.h"

void sim_coordinator_make(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  uint64_t life = coordinator->life + 1;
  *coordinator = (struct sim_coordinator){.life = life, .round = 1, .model = sim->first_model};
  if (nx_identity_create(&sim->entropy, &coordinator->identity, NULL) < 0)
    abort();
}

static void records_clear(struct sim_coordinator *coordinator) {
  for (size_t i = 0; i < coordinator->n_records; i++)
    sim_blob_free(&coordinator->records[i]);
  coordinator->n_records = 0;
}

static void uploads_clear(struct sim_coordinator *coordinator) {
  for (uint32_t id = 0; id < NX_ID_END; id++)
    sim_blob_free(&coordinator->uploads[id].bytes);
}

static void seals_clear(struct sim_coordinator *coordinator) {
  for (size_t i = 0; i < coordinator->n_seals; i++)
    sim_blob_free(&coordinator->seals[i]);
  coordinator->n_seals = 0;
}

static void forget_memory(struct sim_coordinator *coordinator) {
  nx_round_destroy(coordinator->core);
  coordinator->core = NULL;
  nx_mask_destroy(coordinator->mask);
  coordinator->mask = NULL;
  nx_round_actions_finish(&coordinator->actions);
}

void sim_coordinator_free(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  forget_memory(coordinator);
  records_clear(coordinator);
  free(coordinator->records);
  coordinator->records = NULL;
  uploads_clear(coordinator);
  seals_clear(coordinator);
  sim_blob_free(&coordinator->sum);
  sim_blob_free(&coordinator->certificate);
  nx_identity_destroy(coordinator->identity);
}

void sim_coordinator_kill(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  sim_log(sim, "coordinator: killed");
  sim->totals.kills++;
  coordinator->up = false;
  coordinator->life++;
  for (uint32_t i = 0; i < sim->n; i++)
    sim_disconnect(sim, &sim->nodes[i]);
  sim_post(sim, (struct sim_event){.type = SIM_RESTART_COORDINATOR, .life = coordinator->life},
           NX_SECOND + sim_delay(sim, 30 * NX_SECOND));
}

/* --- attempts ------------------------------------------------------------------------------ */

static void draw_parameters(struct sim *sim, struct nx_transcript_parameters *parameters) {
  static const uint32_t widths[] = {32, 24, 16, 12}, values[] = {24, 16, 8, 4};
  size_t i = nx_rng_below(&sim->rng, 4);
  uint32_t kind = 1 + (uint32_t)nx_rng_below(&sim->rng, 3);
  /* Mostly a few lanes; now and then several tiles. */
  uint64_t lanes = nx_rng_below(&sim->rng, 16) ? nx_rng_below(&sim->rng, 64) : 20000;
  if (sim->settings.n_lanes)
    lanes = sim->settings.n_lanes;
  *parameters = (struct nx_transcript_parameters){.kind = kind,
                                                  .n_lanes = lanes,
                                                  .n_aux = 1 + nx_rng_below(&sim->rng, 20),
                                                  .ring_bits = widths[i],
                                                  .value_bits = values[i],
                                                  .value_range = 1,
                                                  .clip_norm = 1};
}

static int make_core(struct sim *sim, struct nx_error *err) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_round_config cfg = {.manifest = sim->manifest,
                                .plan = sim->plan,
                                .model = coordinator->model,
                                .coordinator_spki = sim->coordinator_spki,
                                .identity = coordinator->identity,
                                .members = sim->members,
                                .n_members = sim->n,
                                .cohort = coordinator->cohort,
                                .n_cohort = coordinator->n_cohort,
                                .round = coordinator->round,
                                .attempt = coordinator->attempt,
                                .parameters = coordinator->parameters,
                                .minimum_members = 3,
                                .phase_seconds = 30,
                                .training_seconds = 60,
                                .resend = 2 * NX_SECOND,
                                .previous_certificate = sim_view(&coordinator->certificate)};
  memcpy(cfg.federation, sim->federation, sizeof cfg.federation);
  return nx_round_create(&cfg, &coordinator->core, err);
}

static void tell_who_is_there(struct sim *sim) {
  for (uint32_t i = 0; i < sim->n && sim->coordinator.up; i++)
    if (sim->nodes[i].connected)
      sim_coordinator_step(
          sim, &(struct nx_round_event){.type = NX_ROUND_CONNECTED, .member = sim->nodes[i].id});
}

static int choose_cohort(struct sim *sim, struct nx_error *err) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_cohort_candidate candidates[NX_MEMBERS_MAX];
  for (uint32_t i = 0; i < sim->n; i++)
    candidates[i] = (struct nx_cohort_candidate){sim->nodes[i].id, sim->nodes[i].connected,
                                                 coordinator->accused[sim->nodes[i].id]};
  return nx_cohort_choose(candidates, sim->n, 3, coordinator->cohort, &coordinator->n_cohort, err);
}

static void next_attempt_in(struct sim *sim, int64_t delay) {
  sim_post(sim, (struct sim_event){.type = SIM_NEXT_ATTEMPT, .life = sim->coordinator.life}, delay);
}

static void begin_attempt(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_error err = {0};
  if (choose_cohort(sim, &err) < 0)
    return next_attempt_in(sim, NX_SECOND);
  if (!coordinator->attempt)
    draw_parameters(sim, &coordinator->parameters);
  coordinator->attempt++;
  coordinator->begun = true;
  sim->totals.attempts++;
  records_clear(coordinator);
  uploads_clear(coordinator);
  sim_log(sim, "coordinator: round %llu attempt %u, %zu of %u",
          (unsigned long long)coordinator->round, coordinator->attempt, coordinator->n_cohort,
          sim->n);
  if (make_core(sim, &err) < 0)
    return sim_fail(sim, "no round: %s", err.text);
  tell_who_is_there(sim);
  if (coordinator->up)
    sim_coordinator_step(sim, &(struct nx_round_event){.type = NX_ROUND_BEGIN});
}

static void resume_attempt(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_error err = {0};
  struct nx_bytes *records = calloc(coordinator->n_records + 1, sizeof *records);
  if (!records)
    abort();
  for (size_t i = 0; i < coordinator->n_records; i++)
    records[i] = sim_view(&coordinator->records[i]);
  if (make_core(sim, &err) < 0)
    return sim_fail(sim, "no round after a restart: %s", err.text);
  sim_coordinator_step(sim, &(struct nx_round_event){.type = NX_ROUND_RESTORE,
                                                     .records = records,
                                                     .n_records = coordinator->n_records});
  if (coordinator->up && coordinator->begun && !coordinator->n_records)
    sim_coordinator_step(sim, &(struct nx_round_event){.type = NX_ROUND_BEGIN});
  free(records);
}

void sim_coordinator_start(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  coordinator->up = true;
  coordinator->life++;
  if (coordinator->begun)
    resume_attempt(sim);
  else
    next_attempt_in(sim, 3 * NX_SECOND);
}

/* --- the end of an attempt ------------------------------------------------------------------ */

static void move_on(struct sim *sim, const struct nx_round_action *finished) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  seals_clear(coordinator);
  for (size_t i = 0; i < finished->n_seals; i++)
    coordinator->seals[coordinator->n_seals++] = sim_copy(finished->seals[i]);
  coordinator->model = finished->model;
  coordinator->sealed = coordinator->round++;
  coordinator->attempt = 0;
  sim_blob_free(&coordinator->certificate);
  memset(coordinator->accused, 0, sizeof coordinator->accused);
  sim->totals.rounds++;
  sim->totals.recovered += finished->n_dropped;
}

static void finish(struct sim *sim, const struct nx_round_action *finished) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  sim_log(sim, "coordinator: finished with outcome %d: %s", (int)finished->outcome,
          finished->reason);
  coordinator->begun = false;
  sim->totals.aborted += finished->outcome == NX_ROUND_ABORTED;
  sim->totals.lost += finished->outcome == NX_ROUND_LOST_ATTEMPT;
  sim->totals.outcomes[finished->outcome]++;
  if (finished->outcome == NX_ROUND_UNSEALED && sim->settings.villain)
    return;
  if (finished->outcome == NX_ROUND_UNSEALED)
    return sim_fail(sim, "an honest sum was refused: %s", finished->reason);
  for (size_t i = 0; i < finished->n_accused; i++) {
    coordinator->accused[finished->accused[i]] = true;
    sim->totals.accused[finished->accused[i]] = true;
    if (!sim->settings.villain)
      sim_fail(sim, "honest member %u is accused", finished->accused[i]);
  }
  if (finished->outcome == NX_ROUND_SEALED)
    move_on(sim, finished);
  else {
    sim_blob_free(&coordinator->certificate);
    if (finished->certificate.size)
      coordinator->certificate = sim_copy(finished->certificate);
  }
  nx_round_destroy(coordinator->core);
  coordinator->core = NULL;
  next_attempt_in(sim, NX_SECOND);
}

/* --- the sum -------------------------------------------------------------------------------- */

static struct sim_blob open_sum(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_upload_layout layout = nx_check_layout(&coordinator->parameters);
  size_t n = layout.n_lanes, n_aux = layout.n_aux;
  uint32_t *lanes = calloc(n + 1, sizeof *lanes);
  uint64_t *aux = calloc(n_aux + 1, sizeof *aux);
  struct sim_blob sum = {malloc(4 * n + 8 * n_aux + 1), 4 * n + 8 * n_aux};
  if (!lanes || !aux || !sum.data)
    abort();
  for (size_t i = 0; i < coordinator->n_opened; i++)
    nx_upload_add(&layout, coordinator->uploads[coordinator->opened[i].id].bytes.data, lanes, aux,
                  NULL);
  if (nx_mask_apply_u32(coordinator->mask, lanes, 0, n, NULL, NULL) < 0 ||
      nx_mask_apply_u64(coordinator->mask, aux, 0, n_aux, NULL, NULL) < 0)
    abort();
  for (size_t i = 0; i < n; i++)
    nx_store_le32(sum.data + 4 * i, lanes[i] & (uint32_t)((UINT64_C(1) << layout.ring_bits) - 1));
  for (size_t i = 0; i < n_aux; i++)
    nx_store_le64(sum.data + 4 * n + 8 * i, aux[i]);
  free(lanes);
  free(aux);
  return sum;
}

static void unmask(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  if (!coordinator->mask)
    return;
  sim_blob_free(&coordinator->sum);
  coordinator->sum = open_sum(sim);
  sim->totals.opened++;
  nx_mask_destroy(nx_steal(&coordinator->mask));
  struct nx_bytes sum = sim_view(&coordinator->sum);
  sim_watch_open(sim, sum);
  if (sim->settings.villain && sim->settings.villain->sum)
    sim->settings.villain->sum(sim, &coordinator->sum, sim->settings.villain->context);
  sim_coordinator_step(sim,
                       &(struct nx_round_event){.type = NX_ROUND_UNMASKED,
                                                .sum = nx_sha256(sum.data, sum.size),
                                                .bytes = sum.size,
                                                .model = sim_next_model(&coordinator->model, sum)});
}

/* --- actions ---------------------------------------------------------------------------------- */

static void persist(struct sim_coordinator *coordinator, struct nx_bytes record) {
  size_t n = coordinator->n_records;
  coordinator->records = reallocarray(coordinator->records, n + 1, sizeof *coordinator->records);
  if (!coordinator->records)
    abort();
  coordinator->records[coordinator->n_records++] = sim_copy(record);
}

static void begin_unmasking(struct sim *sim, struct nx_round_action *action) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  nx_mask_destroy(coordinator->mask);
  coordinator->mask = nx_steal(&action->mask);
  coordinator->n_opened = action->n_uploads;
  memcpy(coordinator->opened, action->uploads, action->n_uploads * sizeof *action->uploads);
  sim_post(sim, (struct sim_event){.type = SIM_UNMASKED, .life = coordinator->life},
           sim_delay(sim, NX_SECOND));
}

static void set_timer(struct sim *sim, int64_t at) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  coordinator->timer++;
  if (at != NX_NEVER)
    sim_post(sim,
             (struct sim_event){.type = SIM_COORDINATOR_TIMER,
                                .life = coordinator->life,
                                .session = coordinator->timer},
             NX_MAX(at - sim->now, (int64_t)0));
}

static void carry_out(struct sim *sim, struct nx_round_action *action) {
  switch (action->type) {
  case NX_ROUND_PERSIST:
    return persist(&sim->coordinator, action->record);
  case NX_ROUND_SEND:
    sim_watch_coordinator_sends(sim, action->message);
    return sim_send_to_node(sim, action->member, action->message);
  case NX_ROUND_SET_DEADLINE:
    return set_timer(sim, action->at);
  case NX_ROUND_UNMASK:
    return begin_unmasking(sim, action);
  case NX_ROUND_EVIDENCE:
    return sim_report(sim, action->kind, NX_COORDINATOR, action->member, action->reason);
  case NX_ROUND_NOTE:
    return sim_log(sim, "coordinator: %s %u %s", action->kind, action->member, action->reason);
  case NX_ROUND_FINISHED:
    return finish(sim, action);
  case NX_ROUND_OPEN_UPLOADS:
  case NX_ROUND_CLOSE_UPLOADS:
    return;
  }
}

void sim_coordinator_step(struct sim *sim, const struct nx_round_event *event) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_error err = {0};
  if (!coordinator->core)
    return;
  nx_round_actions_reset(&coordinator->actions);
  sim->totals.steps++;
  sim_seen_round(sim, event);
  if (nx_round_step(coordinator->core, event, sim->now, &coordinator->actions, &err) < 0)
    return sim_fail(sim, "coordinator, event %d: %s", (int)event->type, err.text);
  for (size_t i = 0; i < coordinator->actions.n && !sim->failed; i++) {
    carry_out(sim, &coordinator->actions.items[i]);
    if (sim_dies(sim, sim->faults.kill_coordinator / 8))
      return sim_coordinator_kill(sim);
  }
}

/* --- events ----------------------------------------------------------------------------------- */

static void take_upload(struct sim *sim, struct sim_event *event) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct sim_node *node = &sim->nodes[event->node];
  struct nx_upload_layout layout = nx_check_layout(&coordinator->parameters);
  struct nx_bytes header = sim_view(&event->more);
  struct nx_upload_header announced;
  struct nx_hash root;
  if (!coordinator->core)
    return;
  int r = nx_round_check_upload(coordinator->core, node->id, header, &announced, NULL);
  if (r < 0)
    return;
  if (r == 0) {
    if (event->bytes.size != announced.bytes ||
        nx_upload_root(&layout, event->bytes.data, NULL, &root, NULL) < 0 ||
        !nx_hash_equal(&root, &announced.root))
      return; /* damaged on the way: the node tries again */
    struct sim_upload *upload = &coordinator->uploads[node->id];
    sim_blob_free(&upload->bytes);
    upload->bytes = event->bytes;
    event->bytes = (struct sim_blob){0};
    sim_coordinator_step(sim, &(struct nx_round_event){.type = NX_ROUND_UPLOADED,
                                                       .member = node->id,
                                                       .message = header,
                                                       .bytes = announced.bytes,
                                                       .root = root});
  }
  if (coordinator->up)
    sim_post(sim,
             (struct sim_event){.type = SIM_ACKNOWLEDGED,
                                .node = event->node,
                                .session = node->session,
                                .round = announced.round,
                                .attempt = announced.attempt},
             sim_delay(sim, NX_SECOND));
}

static void restart(struct sim *sim) {
  forget_memory(&sim->coordinator);
  sim_log(sim, "coordinator: started again");
  sim_coordinator_start(sim);
}

void sim_coordinator_event(struct sim *sim, struct sim_event *event) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct sim_node *node = &sim->nodes[event->node];
  bool of_session = event->type == SIM_TO_COORDINATOR || event->type == SIM_ARRIVED;
  if (of_session ? event->session != node->session : event->life != coordinator->life)
    return;
  if (event->type == SIM_RESTART_COORDINATOR)
    return restart(sim);
  if (!coordinator->up)
    return;
  switch (event->type) {
  case SIM_TO_COORDINATOR:
    return sim_coordinator_step(
        sim, &(struct nx_round_event){.type = event->bytes.size ? NX_ROUND_MESSAGE : NX_ROUND_LOST,
                                      .member = node->id,
                                      .message = sim_view(&event->bytes)});
  case SIM_COORDINATOR_TIMER:
    if (event->session == coordinator->timer)
      sim_coordinator_step(sim, &(struct nx_round_event){.type = NX_ROUND_DEADLINE});
    return;
  case SIM_ARRIVED:
    return take_upload(sim, event);
  case SIM_UNMASKED:
    return unmask(sim);
  case SIM_NEXT_ATTEMPT:
    if (!coordinator->begun)
      begin_attempt(sim);
    return;
  default:
    return;
  }
}
