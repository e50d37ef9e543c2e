/* The coordinator of the simulator: the shell around the real round, its run store and its
 * upload spool, with the records that the real shell keeps (coordinator/training_run*.c). */
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/training_run_internal.h"
#include "crypto/upload.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_disk.h"

#define STORE SIM_DISK_PREFIX "0/store.db"
#define UPLOADS SIM_DISK_PREFIX "0/uploads"

static void make_store(struct sim *sim);

void sim_coordinator_make(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  *coordinator = (struct sim_coordinator){.round = 1, .model = sim->first_model};
  if (nx_identity_create(&sim->entropy, &coordinator->identity, NULL) < 0)
    abort();
  sim_draw_clock(sim, &coordinator->clock);
  bool quiet = sim->quiet;
  sim->quiet = true; /* whoever sets a federation up tries until it works */
  make_store(sim);
  sim->quiet = quiet;
}

static void seals_clear(struct sim_coordinator *coordinator) {
  for (size_t i = 0; i < coordinator->n_seals; i++)
    sim_blob_free(&coordinator->seals[i]);
  coordinator->n_seals = 0;
}

static void forget_memory(struct sim_coordinator *coordinator) {
  nx_run_store_destroy(nx_steal(&coordinator->store));
  nx_round_destroy(coordinator->core);
  coordinator->core = NULL;
  nx_mask_destroy(coordinator->mask);
  coordinator->mask = NULL;
  nx_round_actions_finish(&coordinator->actions);
}

void sim_coordinator_free(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  forget_memory(coordinator);
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
  sim_disk_crash(0, false);
  nx_run_store_destroy(nx_steal(&coordinator->store));
  if (nx_rng_below(&sim->disk_rng, 2))
    sim_disk_crash(0, true);
  for (uint32_t i = 0; i < sim->n; i++)
    sim_disconnect(sim, &sim->nodes[i]);
  sim_post(sim, (struct sim_event){.type = SIM_RESTART_COORDINATOR, .life = coordinator->life},
           NX_SECOND + sim_delay(sim, 30 * NX_SECOND));
}

/* --- attempts ------------------------------------------------------------------------------ */

/* As a plan would: the same for a round, whoever asks and when. */
static void plan_parameters(const struct sim *sim, struct nx_transcript_parameters *parameters) {
  static const uint32_t widths[] = {32, 24, 16, 12}, values[] = {24, 16, 8, 4};
  struct nx_rng rng;
  nx_rng_init(&rng, nx_load_le64(sim->federation), sim->coordinator.round);
  size_t i = nx_rng_below(&rng, 4);
  uint32_t kind = 1 + (uint32_t)nx_rng_below(&rng, 3);
  /* Mostly a few lanes; now and then several tiles. */
  uint64_t lanes = nx_rng_below(&rng, 16) ? nx_rng_below(&rng, 64) : 20000;
  if (sim->settings.n_lanes)
    lanes = sim->settings.n_lanes;
  const bool narrow = widths[i] <= 16 && sim->coordinator.round % 2;
  *parameters = (struct nx_transcript_parameters){.kind = kind,
                                                  .n_lanes = lanes,
                                                  .n_aux = 1 + nx_rng_below(&rng, 20),
                                                  .ring_bits = widths[i],
                                                  .value_bits = values[i],
                                                  .narrow_keystream = narrow,
                                                  .mask_cipher = sim->coordinator.round / 2 % 2,
                                                  .value_range = 1,
                                                  .clip_norm = 1};
}

static int make_core(struct sim *sim, struct nx_error *err) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_upload_layout layout = nx_check_layout(&coordinator->parameters);
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
                                .stillness = sim->faults.stillness,
                                .previous_certificate = sim_view(&coordinator->certificate)};
  memcpy(cfg.federation, sim->federation, sizeof cfg.federation);
  int r = nx_upload_spool_init(&coordinator->spool, UPLOADS, coordinator->round,
                               coordinator->attempt, &layout, err);
  coordinator->spool.spares = &coordinator->spares;
  return r < 0 ? r : nx_round_create(&cfg, &coordinator->core, err);
}

static int write_record(struct sim *sim, uint32_t kind, struct nx_bytes body,
                        struct nx_error *err) {
  const struct sim_coordinator *coordinator = &sim->coordinator;
  const struct nx_store_record record = {
      .round = coordinator->round, .attempt = coordinator->attempt, .kind = kind, .body = body};
  return nx_run_store_append_record(coordinator->store, &record, err);
}

/* A coordinator that cannot write down what it is about to say ends, as the real one does. */
static void end_over(struct sim *sim, const struct nx_error *err) {
  sim_log(sim, "coordinator: %s", err->text);
  sim_coordinator_kill(sim);
}

static void tell_who_is_there(struct sim *sim) {
  for (uint32_t i = 0; i < sim->n && sim->coordinator.up; i++) {
    struct nx_round_event event = {.type = NX_ROUND_CONNECTED, .member = sim->nodes[i].id};
    event.still = sim->coordinator.still[event.member];
    if (sim->nodes[i].connected)
      sim_coordinator_step(sim, &event);
  }
}

/* As the real shell: what moved is told before the core judges. */
static void tell_moves(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  for (uint32_t i = 0; i < sim->n && coordinator->up && sim->faults.stillness; i++) {
    int64_t at = sim_last_heartbeat(sim, &sim->nodes[i]),
            now = sim_local_time(sim, &coordinator->clock);
    struct nx_round_event event = {.type = NX_ROUND_MOVED, .member = sim->nodes[i].id};
    event.at = now - (int64_t)((double)(sim->now - at) * coordinator->clock.rate);
    if (at && coordinator->core)
      sim_coordinator_step(sim, &event);
    if (at && sim->now - at < sim->faults.stillness)
      coordinator->still[event.member] = false;
  }
}

static int choose_cohort(struct sim *sim, struct nx_error *err) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_cohort_candidate candidates[NX_MEMBERS_MAX];
  tell_moves(sim);
  for (uint32_t i = 0; i < sim->n; i++) {
    uint32_t id = sim->nodes[i].id;
    candidates[i] = (struct nx_cohort_candidate){
        id, sim->nodes[i].connected && !coordinator->still[id], coordinator->accused[id]};
  }
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
  plan_parameters(sim, &coordinator->parameters);
  coordinator->attempt++;
  if (write_record(sim, NX_RECORD_ATTEMPT_BEGUN,
                   nx_bytes(coordinator->cohort, coordinator->n_cohort * sizeof(uint32_t)),
                   &err) < 0)
    return end_over(sim, &err);
  coordinator->begun = true;
  sim->totals.attempts++;
  sim_log(sim, "coordinator: round %llu attempt %u, %zu of %u",
          (unsigned long long)coordinator->round, coordinator->attempt, coordinator->n_cohort,
          sim->n);
  int r = make_core(sim, &err);
  if (r == NX_E_IO)
    return end_over(sim, &err);
  if (r < 0)
    return sim_fail(sim, "no round: %s", err.text);
  tell_who_is_there(sim);
  if (coordinator->up)
    sim_coordinator_step(sim, &(struct nx_round_event){.type = NX_ROUND_BEGIN});
}

/* --- what is on disk ------------------------------------------------------------------------- */

static struct nx_store_member member_of(const struct sim_node *node, struct nx_hash spki) {
  struct nx_store_member member = {
      .id = node->id, .identity = *nx_identity_public(node->identity), .spki = spki};
  snprintf(member.name, sizeof member.name, "site-%u", node->id);
  return member;
}

static void enrol(struct sim *sim, uint32_t index) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_store_member member = member_of(&sim->nodes[index], sim->members[index].spki), enrolled;
  struct nx_store_invitation invitation = {.token_hash = member.spki, .expires = INT64_MAX};
  _cleanup_(nx_buffer_finish) struct nx_buffer certificate = {0};
  struct nx_error err = {0};
  memcpy(invitation.name, member.name, sizeof invitation.name);
  if (nx_run_store_invite(coordinator->store, &invitation, &err) < 0 ||
      nx_run_store_enrol(coordinator->store, &invitation.token_hash, 1, &member.identity,
                         &member.spki, nx_bytes("-", 1), INT64_MAX, &enrolled, &certificate,
                         &err) < 0)
    sim_fail(sim, "the store: enrol: %s", err.text);
}

static void make_store(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_store_run run = {.plan_hash = sim->plan,
                             .state = NX_RUN_RUNNING,
                             .first_round = 1,
                             .n_rounds = 1000,
                             .model_hash = sim->first_model,
                             .started = 1};
  struct nx_error err = {0};
  sim_disk_wipe(0);
  sim_disk_make_folder(0, SIM_DISK_PREFIX "0");
  sim_disk_make_folder(0, UPLOADS);
  if (nx_run_store_create(STORE, &coordinator->store, &err) < 0)
    return sim_fail(sim, "the store: %s", err.text);
  for (uint32_t i = 0; i < sim->n; i++)
    enrol(sim, i);
  if (nx_run_store_put_plan(coordinator->store, &sim->plan, "plan", nx_bytes("plan", 4), 1, &err) <
          0 ||
      nx_run_store_start_run(coordinator->store, &run, &err) < 0)
    return sim_fail(sim, "the store: %s", err.text);
  coordinator->run = run.id;
}

/* The records of the newest attempt of the present round. */
struct recalled {
  struct sim_coordinator *coordinator;
  struct sim_blob *records;
  size_t n;
};

static void recalled_clear(struct recalled *recalled) {
  for (size_t i = 0; i < recalled->n; i++)
    sim_blob_free(&recalled->records[i]);
  recalled->n = 0;
}

static int recall(void *context, const struct nx_store_record *record, struct nx_error *err) {
  struct recalled *recalled = context;
  struct sim_coordinator *coordinator = recalled->coordinator;
  (void)err;
  if (record->round != coordinator->round)
    return 0;
  if (record->kind == NX_RECORD_ATTEMPT_BEGUN) {
    recalled_clear(recalled);
    coordinator->attempt = record->attempt;
    coordinator->begun = true;
    coordinator->n_cohort = record->body.size / sizeof(uint32_t);
    memcpy(coordinator->cohort, record->body.data, record->body.size);
    return 0;
  }
  if (record->kind == NX_RECORD_ATTEMPT_ENDED) {
    coordinator->begun = false;
    memset(coordinator->accused, 0, sizeof coordinator->accused);
    for (size_t i = 0; i < record->body.size; i++)
      coordinator->accused[record->body.data[i]] = true;
    return 0;
  }
  recalled->records = reallocarray(recalled->records, recalled->n + 1, sizeof *recalled->records);
  if (!recalled->records)
    abort();
  recalled->records[recalled->n++] = sim_copy(record->body);
  return 0;
}

static int recall_seal(void *context, uint32_t member, struct nx_bytes message,
                       struct nx_error *err) {
  struct sim_coordinator *coordinator = context;
  (void)member, (void)err;
  coordinator->seals[coordinator->n_seals++] = sim_copy(message);
  return 0;
}

static int read_store(struct sim *sim, struct recalled *recalled, struct nx_error *err) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_store_sealed sealed;
  coordinator->round = 1;
  coordinator->attempt = 0;
  coordinator->begun = false;
  coordinator->sealed = 0;
  coordinator->model = sim->first_model;
  memset(coordinator->accused, 0, sizeof coordinator->accused);
  memset(coordinator->still, 0, sizeof coordinator->still);
  seals_clear(coordinator);
  sim_blob_free(&coordinator->certificate);
  if (!coordinator->store) {
    int r = nx_run_store_open(STORE, &coordinator->store, err);
    if (r < 0)
      return r;
  }
  int r = nx_run_store_last_sealed(coordinator->store, &sealed, err);
  if (r < 0 && r != NX_E_NOT_FOUND)
    return r;
  if (r == 0) {
    coordinator->sealed = sealed.round;
    if (sealed.round > coordinator->promised && !sim->untrusted) { /* it died right behind it */
      coordinator->promised = sealed.round;
      coordinator->promised_model = sealed.model_hash;
      sim->totals.rounds++;
    }
    coordinator->round = sealed.round + 1;
    coordinator->model = sealed.model_hash;
    r = nx_run_store_visit_signatures(coordinator->store, sealed.round, recall_seal, coordinator,
                                      err);
    if (r < 0)
      return r;
  }
  return nx_run_store_visit_records(coordinator->store, coordinator->round, recall, recalled, err);
}

static void resume_attempt(struct sim *sim, const struct recalled *recalled) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_error err = {0};
  struct nx_bytes *records = calloc(recalled->n + 1, sizeof *records);
  if (!records)
    abort();
  for (size_t i = 0; i < recalled->n; i++)
    records[i] = sim_view(&recalled->records[i]);
  plan_parameters(sim, &coordinator->parameters);
  int r = make_core(sim, &err);
  if (r == NX_E_IO)
    end_over(sim, &err);
  else if (r < 0)
    sim_fail(sim, "no round after a restart: %s", err.text);
  else
    sim_watch_restarted_coordinator(sim);
  if (r == 0 && recalled->n)
    sim_coordinator_step(sim, &(struct nx_round_event){.type = NX_ROUND_RESTORE,
                                                       .records = records,
                                                       .n_records = recalled->n});
  else if (r == 0)
    sim_coordinator_step(sim, &(struct nx_round_event){.type = NX_ROUND_BEGIN});
  free(records);
}

void sim_coordinator_start(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct recalled recalled = {.coordinator = coordinator};
  struct nx_error err = {0};
  coordinator->up = true;
  coordinator->life++;
  sim_disk_boot(0);
  int r = read_store(sim, &recalled, &err);
  sim->over |= r < 0 && r != NX_E_IO && sim->untrusted;
  if (r < 0 && r != NX_E_IO && !sim->untrusted)
    sim_fail(sim, "the store does not open again: %s", err.text);
  if (r < 0)
    end_over(sim, &err);
  else if (coordinator->begun)
    resume_attempt(sim, &recalled);
  else {
    sim_watch_restarted_coordinator(sim);
    next_attempt_in(sim, 3 * NX_SECOND);
  }
  recalled_clear(&recalled);
  free(recalled.records);
}

/* --- the end of an attempt ------------------------------------------------------------------ */

/* The store numbers its members from 1, the simulator leaves gaps. */
static uint32_t row_of(struct sim *sim, uint32_t id) {
  return (uint32_t)(sim_node_of(sim, id) - sim->nodes) + 1;
}

/* Signatures first: once the round is sealed its records, the core's copy, are gone. */
static int store_sealed(struct sim *sim, const struct nx_round_action *finished,
                        struct nx_error *err) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  uint8_t survivors[NX_MEMBERS_MAX];
  struct nx_store_sealed sealed = {.round = coordinator->round,
                                   .attempt = coordinator->attempt,
                                   .kind = coordinator->parameters.kind,
                                   .run = coordinator->run,
                                   .model_hash = finished->model,
                                   .sum_hash = finished->sum,
                                   .n_cohort = (uint32_t)coordinator->n_cohort,
                                   .n_survivors = (uint32_t)coordinator->n_opened,
                                   .n_recovered = (uint32_t)finished->n_dropped,
                                   .opened = 1,
                                   .sealed = 1};
  uint32_t member;
  int r = 0;
  for (size_t i = 0; i < coordinator->n_opened; i++)
    survivors[i] = (uint8_t)coordinator->opened[i].id;
  for (size_t i = 0; i < finished->n_seals && r == 0; i++)
    if ((r = nx_round_check_seal(coordinator->core, finished->seals[i], &member, err)) == 0)
      r = nx_run_store_put_signature(coordinator->store, coordinator->round, row_of(sim, member),
                                     finished->seals[i], err);
  return r < 0 ? r
               : nx_run_store_seal_round(coordinator->store, &sealed, nx_bytes("", 0), survivors,
                                         err);
}

static int move_on(struct sim *sim, const struct nx_round_action *finished, struct nx_error *err) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  int r = store_sealed(sim, finished, err);
  if (r < 0)
    return r;
  seals_clear(coordinator);
  for (size_t i = 0; i < finished->n_seals; i++)
    coordinator->seals[coordinator->n_seals++] = sim_copy(finished->seals[i]);
  nx_upload_spool_remove(UPLOADS, coordinator->round, coordinator->attempt, &coordinator->spares,
                         NULL);
  coordinator->model = finished->model;
  coordinator->promised = coordinator->sealed = coordinator->round++;
  coordinator->promised_model = finished->model;
  coordinator->attempt = 0;
  sim_blob_free(&coordinator->certificate);
  memset(coordinator->accused, 0, sizeof coordinator->accused);
  sim->totals.rounds++;
  sim->totals.acknowledged++;
  sim->totals.recovered += finished->n_dropped;
  return 0;
}

/* Another attempt. */
static int note_failure(struct sim *sim, const struct nx_round_action *finished,
                        struct nx_error *err) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  uint8_t accused[NX_MEMBERS_MAX];
  for (size_t i = 0; i < finished->n_accused; i++)
    accused[i] = (uint8_t)finished->accused[i];
  int r = write_record(sim, NX_RECORD_ATTEMPT_ENDED, nx_bytes(accused, finished->n_accused), err);
  if (r < 0)
    return r;
  nx_upload_spool_remove(UPLOADS, coordinator->round, coordinator->attempt, &coordinator->spares,
                         NULL);
  sim_blob_free(&coordinator->certificate);
  if (finished->certificate.size)
    coordinator->certificate = sim_copy(finished->certificate);
  return 0;
}

/* A member may be accused when it lies, or when one that lies disputes what it dealt. */
static void note_accused(struct sim *sim, const struct nx_round_action *finished) {
  bool liar = sim_is_hostile(sim);
  for (size_t i = 0; i < finished->n_accused; i++)
    liar |= sim_is_corrupt(sim, finished->accused[i]);
  for (size_t i = 0; i < finished->n_accused; i++) {
    sim->coordinator.accused[finished->accused[i]] = true;
    sim->totals.accused[finished->accused[i]] = true;
    if (!liar)
      sim_fail(sim, "honest member %u is accused", finished->accused[i]);
  }
}

static void finish(struct sim *sim, const struct nx_round_action *finished) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_error err = {0};
  sim_log(sim, "coordinator: finished with outcome %d: %s", (int)finished->outcome,
          finished->reason);
  sim->totals.aborted += finished->outcome == NX_ROUND_ABORTED;
  sim->totals.lost += finished->outcome == NX_ROUND_LOST_ATTEMPT;
  sim->totals.outcomes[finished->outcome]++;
  coordinator->begun = false;
  if (finished->outcome == NX_ROUND_UNSEALED && sim_is_hostile(sim))
    return;
  if (finished->outcome == NX_ROUND_UNSEALED)
    return sim_fail(sim, "an honest sum was refused: %s", finished->reason);
  note_accused(sim, finished);
  int r = finished->outcome == NX_ROUND_SEALED ? move_on(sim, finished, &err)
                                               : note_failure(sim, finished, &err);
  if (r < 0 && r != NX_E_IO && sim->untrusted) { /* its disk lost what it had said */
    sim->over = true;
    return;
  }
  if (r < 0 && r != NX_E_IO)
    sim_fail(sim, "the end of an attempt is not taken: %s", err.text);
  if (r < 0)
    return end_over(sim, &err);
  nx_round_destroy(coordinator->core);
  coordinator->core = NULL;
  next_attempt_in(sim, NX_SECOND);
}

/* --- the sum -------------------------------------------------------------------------------- */

/* False: an upload cannot be read. */
static bool open_sum(struct sim *sim, struct sim_blob *sum_out) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_upload_layout layout = nx_check_layout(&coordinator->parameters);
  size_t n = layout.n_lanes, n_aux = layout.n_aux;
  uint32_t *lanes = calloc(n + 1, sizeof *lanes);
  uint64_t *aux = calloc(n_aux + 1, sizeof *aux);
  struct sim_blob sum = {malloc(4 * n + 8 * n_aux + 1), 4 * n + 8 * n_aux};
  if (!lanes || !aux || !sum.data)
    abort();
  bool whole = true;
  for (size_t i = 0; i < coordinator->n_opened && whole; i++) {
    const uint8_t *bytes = NULL;
    whole = nx_upload_spool_map(&coordinator->spool, coordinator->opened[i].id, &bytes, NULL) == 0;
    if (!whole)
      break;
    nx_upload_add(&layout, bytes, lanes, aux, NULL);
    nx_upload_unmap(&coordinator->spool, bytes);
  }
  if (nx_mask_apply_u32(coordinator->mask, lanes, 0, n, NULL, NULL) < 0 ||
      nx_mask_apply_u64(coordinator->mask, aux, 0, n_aux, NULL, NULL) < 0)
    abort();
  for (size_t i = 0; i < n; i++)
    nx_store_le32(sum.data + 4 * i, lanes[i] & (uint32_t)((UINT64_C(1) << layout.ring_bits) - 1));
  for (size_t i = 0; i < n_aux; i++)
    nx_store_le64(sum.data + 4 * n + 8 * i, aux[i]);
  free(lanes);
  free(aux);
  *sum_out = sum;
  return whole;
}

static void unmask(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  if (!coordinator->mask)
    return;
  sim_blob_free(&coordinator->sum);
  if (!open_sum(sim, &coordinator->sum)) {
    if (!sim->untrusted)
      sim_fail(sim, "an upload of the certified set is gone");
    return sim_coordinator_kill(sim);
  }
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

static void persist(struct sim *sim, const struct nx_round_action *action) {
  struct nx_error err = {0};
  if (write_record(sim, action->record_kind, action->record, &err) < 0)
    end_over(sim, &err);
}

/* What nobody wants any more goes, as in the real shell. */
static void close_uploads(struct sim *sim, const struct nx_round_action *action) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  uint8_t members[NX_MEMBERS_MAX];
  bool wanted[NX_ID_END] = {false};
  struct nx_error err = {0};
  for (size_t i = 0; i < action->n_members; i++) {
    members[i] = (uint8_t)action->members[i];
    wanted[members[i]] = true;
  }
  for (uint32_t id = 0; id < NX_ID_END; id++)
    coordinator->has_taken[id] &= wanted[id];
  if (nx_upload_spool_keep_only(&coordinator->spool, members, action->n_members, &err) < 0)
    end_over(sim, &err);
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
  coordinator->deadline = at;
  if (at != NX_NEVER)
    sim_post(sim,
             (struct sim_event){.type = SIM_COORDINATOR_TIMER,
                                .life = coordinator->life,
                                .session = coordinator->timer},
             sim_until(sim, &coordinator->clock, at));
}

static void jump(struct sim *sim) {
  sim->coordinator.clock.offset += sim_delay(sim, 600 * NX_SECOND);
  sim_log(sim, "coordinator: its clock jumps");
  set_timer(sim, sim->coordinator.deadline);
}

static void send_bundle(struct sim *sim, uint32_t member) {
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  struct nx_error err = {0};
  if (nx_round_bundle(sim->coordinator.core, member, &message, &err) < 0)
    return sim_fail(sim, "coordinator, M4 of member %u: %s", member, err.text);
  sim_watch_coordinator_sends(sim, nx_buffer_view(&message));
  sim_send_to_node(sim, member, nx_buffer_view(&message));
}

static void note(struct sim *sim, const struct nx_round_action *action) {
  bool *still = &sim->coordinator.still[action->member];
  *still = !strcmp(action->kind, "still") || (*still && strcmp(action->kind, "moves"));
  sim_log(sim, "coordinator: %s %u %s", action->kind, action->member, action->reason);
}

static void carry_out(struct sim *sim, struct nx_round_action *action) {
  switch (action->type) {
  case NX_ROUND_PERSIST:
    return persist(sim, action);
  case NX_ROUND_SEND:
    sim_watch_coordinator_sends(sim, action->message);
    return sim_send_to_node(sim, action->member, action->message);
  case NX_ROUND_SEND_BUNDLE:
    return send_bundle(sim, action->member);
  case NX_ROUND_SET_DEADLINE:
    return set_timer(sim, action->at);
  case NX_ROUND_UNMASK:
    return begin_unmasking(sim, action);
  case NX_ROUND_EVIDENCE:
    return sim_report(sim, action->kind, NX_COORDINATOR, action->member, action->reason);
  case NX_ROUND_NOTE:
    return note(sim, action);
  case NX_ROUND_FINISHED:
    return finish(sim, action);
  case NX_ROUND_CLOSE_UPLOADS:
    return close_uploads(sim, action);
  case NX_ROUND_OPEN_UPLOADS:
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
  if (coordinator->deadline && sim_strikes(sim, SIM_FAULT_JUMP, sim->faults.jump))
    jump(sim);
  int64_t now = sim_local_time(sim, &coordinator->clock);
  int r = nx_round_step(coordinator->core, event, now, &coordinator->actions, &err);
  if (r < 0 && sim->untrusted) { /* its disk lost what it had said: an operator's case */
    sim->over = true;
    return;
  }
  if (r < 0)
    return sim_fail(sim, "coordinator, event %d: %s", (int)event->type, err.text);
  for (size_t i = 0; i < coordinator->actions.n && !sim->failed; i++) {
    carry_out(sim, &coordinator->actions.items[i]);
    if (!coordinator->up)
      return;
    if (sim_dies(sim, SIM_FAULT_KILL_COORDINATOR, sim->faults.kill_coordinator / 8))
      return sim_coordinator_kill(sim);
  }
}

/* --- events ----------------------------------------------------------------------------------- */

/* Behind what an earlier stream brought, if the node has the same bytes there. */
static size_t go_on_at(struct nx_upload_writer *writer, struct nx_bytes bytes) {
  uint64_t held;
  struct nx_hash hash;
  if (nx_upload_writer_take_up(writer, &held, &hash, NULL) < 0 || held > bytes.size)
    return 0;
  struct nx_hash ours = nx_sha256(bytes.data, held);
  return nx_hash_equal(&ours, &hash) ? (size_t)held : 0;
}

/* Into the spool, in pieces, as it comes. NX_E_CRYPTO: damaged, the node tries again. */
static int spool_upload(struct sim *sim, const struct sim_node *node, struct nx_bytes bytes,
                        const struct nx_hash *root) {
  _cleanup_(nx_upload_writer_destroyp) struct nx_upload_writer *writer = NULL;
  int r = nx_upload_writer_create(&sim->coordinator.spool, node->id, NULL, &writer, NULL);
  if (r == NX_E_EXISTS)
    return 0; /* a life before took it */
  size_t offset = r == 0 ? go_on_at(writer, bytes) : 0;
  while (r == 0 && offset < bytes.size) {
    size_t n = NX_MIN(bytes.size - offset, (size_t)32768);
    r = nx_upload_writer_write(writer, offset, nx_bytes(bytes.data + offset, n), NULL);
    offset += n;
  }
  return r < 0 ? r : nx_upload_writer_commit(writer, root, NULL);
}

static void acknowledge(struct sim *sim, struct sim_node *node,
                        const struct nx_upload_header *announced) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  if (coordinator->taken_round != coordinator->round ||
      coordinator->taken_attempt != coordinator->attempt)
    memset(coordinator->has_taken, 0, sizeof coordinator->has_taken);
  coordinator->taken_round = coordinator->round;
  coordinator->taken_attempt = coordinator->attempt;
  coordinator->has_taken[node->id] = true;
  coordinator->taken[node->id] = announced->root;
  sim->totals.acknowledged++;
  sim_post(sim,
           (struct sim_event){.type = SIM_ACKNOWLEDGED,
                              .node = (uint32_t)(node - sim->nodes),
                              .session = node->session,
                              .round = announced->round,
                              .attempt = announced->attempt},
           sim_delay(sim, NX_SECOND) + sim_slowness(sim, node));
}

static void take_upload(struct sim *sim, struct sim_event *event) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct sim_node *node = &sim->nodes[event->node];
  struct nx_bytes header = sim_view(&event->more);
  struct nx_upload_header announced;
  if (!coordinator->core)
    return;
  int r = nx_round_check_upload(coordinator->core, node->id, header, &announced, NULL);
  if (r == NX_ROUND_UPLOAD_OTHER)
    sim_coordinator_step(sim, &(struct nx_round_event){.type = NX_ROUND_UPLOADED,
                                                       .member = node->id,
                                                       .message = header,
                                                       .bytes = announced.bytes,
                                                       .root = announced.root});
  bool fresh = r == 0;
  if (r < 0 || r == NX_ROUND_UPLOAD_OTHER || (fresh && event->bytes.size != announced.bytes))
    return;
  if (fresh && spool_upload(sim, node, sim_view(&event->bytes), &announced.root) < 0)
    return sim_disk_is_dead(0) ? sim_coordinator_kill(sim) : (void)0;
  if (fresh)
    sim_coordinator_step(sim, &(struct nx_round_event){.type = NX_ROUND_UPLOADED,
                                                       .member = node->id,
                                                       .message = header,
                                                       .bytes = announced.bytes,
                                                       .root = announced.root});
  if (coordinator->up)
    acknowledge(sim, node, &announced);
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
    coordinator->still[node->id] = false; /* it moves, or it is gone */
    return sim_coordinator_step(
        sim, &(struct nx_round_event){.type = event->bytes.size ? NX_ROUND_MESSAGE : NX_ROUND_LOST,
                                      .member = node->id,
                                      .message = sim_view(&event->bytes)});
  case SIM_COORDINATOR_TIMER:
    if (event->session != coordinator->timer)
      return;
    tell_moves(sim);
    if (coordinator->up)
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
