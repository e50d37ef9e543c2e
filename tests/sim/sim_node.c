/* A node of the simulator: the shell around the real participant and its journal. */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/merkle.h"
#include "crypto/upload.h"
#include "node/session/spot_check.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_disk.h"

static uint32_t machine_of(const struct sim *sim, const struct sim_node *node) {
  return (uint32_t)(node - sim->nodes) + 1;
}

static void path_of_journal(const struct sim *sim, const struct sim_node *node, char out[64]) {
  snprintf(out, 64, SIM_DISK_PREFIX "%u/journal", machine_of(sim, node));
}

void sim_node_make(struct sim *sim, uint32_t index) {
  struct sim_node *node = &sim->nodes[index];
  /* ids need not be dense */
  *node = (struct sim_node){.id = index + 1 + (index >= 2 && sim->n <= NX_MEMBERS_MAX - 3 ? 3 : 0),
                            .model = sim->first_model};
  if (nx_identity_create(&sim->entropy, &node->identity, NULL) < 0)
    abort();
  char folder[64];
  snprintf(folder, sizeof folder, SIM_DISK_PREFIX "%u", index + 1);
  sim_disk_wipe(index + 1);
  sim_disk_make_folder((int)index + 1, folder);
  sim_draw_clock(sim, &node->clock);
  node->byzantine = sim->faults.byzantine > 0 && index < nx_threshold_corrupt(sim->n);
  if (sim_strikes(sim, SIM_FAULT_SLOW, sim->faults.slow))
    node->slowness = NX_SECOND + sim_delay(sim, 15 * NX_SECOND);
  struct nx_hash spki = nx_sha256(&node->id, sizeof node->id);
  sim->members[index] = (struct nx_round_member){.id = node->id, .name = "site", .spki = spki};
  sim->members[index].key = *nx_identity_public(node->identity);
  sim->pinned[index] =
      (struct nx_participant_member){node->id, *nx_identity_public(node->identity), spki};
}

static struct nx_participant_config config_of(struct sim *sim, const struct sim_node *node) {
  struct nx_participant_config cfg = {.id = node->id,
                                      .manifest = sim->manifest,
                                      .members = sim->pinned,
                                      .n_members = sim->n,
                                      .coordinator_key =
                                          *nx_identity_public(sim->coordinator.identity),
                                      .coordinator_spki = sim->coordinator_spki,
                                      .identity = node->identity,
                                      .entropy = &sim->entropy,
                                      .spot_checks = 2,
                                      .model = sim->first_model};
  memcpy(cfg.federation, sim->federation, sizeof cfg.federation);
  return cfg;
}

struct records {
  struct sim_blob *items;
  size_t n;
};

static int keep_record(void *context, struct nx_bytes body, struct nx_error *err) {
  struct records *records = context;
  (void)err;
  records->items = reallocarray(records->items, records->n + 1, sizeof *records->items);
  if (!records->items)
    abort();
  records->items[records->n++] = sim_copy(body);
  return 0;
}

static void restore(struct sim *sim, struct sim_node *node, const struct records *records,
                    bool torn) {
  struct nx_bytes *views = calloc(records->n + 1, sizeof *views);
  if (!views)
    abort();
  for (size_t i = 0; i < records->n; i++)
    views[i] = sim_view(&records->items[i]);
  sim->totals.torn_journals += torn;
  sim_node_step(
      sim, node,
      &(struct nx_participant_event){
          .type = NX_PARTICIPANT_RESTORE, .records = views, .n_records = records->n, .torn = torn});
  free(views);
}

/* Its journal, as far as the disk has it. */
static int read_journal(struct sim *sim, struct sim_node *node, struct records *records) {
  char path[64];
  struct nx_error err = {0};
  path_of_journal(sim, node, path);
  int r = nx_journal_open(path, keep_record, records, &node->journal, &err);
  if (r == NX_E_FORMAT)
    sim_fail(sim, "node %u cannot read its journal: %s", node->id, err.text);
  return r;
}

void sim_node_start(struct sim *sim, struct sim_node *node) {
  struct nx_participant_config cfg = config_of(sim, node);
  struct records records = {0};
  struct nx_error err = {0};
  node->up = true;
  node->life++;
  node->hung_until = 0;
  sim_disk_boot(machine_of(sim, node));
  int r = read_journal(sim, node, &records);
  if (r >= 0 && nx_participant_create(&cfg, &node->core, &err) < 0)
    sim_fail(sim, "node %u does not start: %s", node->id, err.text);
  if (r >= 0 && node->core)
    restore(sim, node, &records, r == NX_JOURNAL_TORN);
  else
    sim_node_kill(sim, node);
  for (size_t i = 0; i < records.n; i++)
    sim_blob_free(&records.items[i]);
  free(records.items);
  if (!node->core || sim->failed)
    return;
  struct nx_participant_progress progress; /* it may have sealed more than was adopted */
  nx_participant_progress(node->core, &progress);
  node->sealed = progress.last_sealed;
  node->model = progress.model;
  sim_watch_restarted_node(sim, node);
  sim_post(sim,
           (struct sim_event){
               .type = SIM_CONNECT, .node = (uint32_t)(node - sim->nodes), .life = node->life},
           sim_delay(sim, NX_SECOND));
}

static void update_free(struct sim_update *update) {
  free(update->lanes);
  free(update->aux);
  *update = (struct sim_update){0};
}

static void forget_memory(struct sim_node *node) {
  nx_journal_close(node->journal);
  node->journal = NULL;
  nx_participant_destroy(node->core);
  node->core = NULL;
  nx_participant_actions_finish(&node->actions);
  update_free(&node->update);
  nx_mask_destroy(node->check.mask);
  node->check = (struct sim_check){0};
  node->uploading = false;
}

void sim_node_kill(struct sim *sim, struct sim_node *node) {
  char path[64];
  path_of_journal(sim, node, path);
  sim_log(sim, "node %u: killed", node->id);
  sim->totals.kills++;
  node->up = false;
  node->life++;
  sim_disk_crash(machine_of(sim, node), nx_rng_below(&sim->disk_rng, 2));
  if (sim_strikes(sim, SIM_FAULT_ROT, sim->faults.rot) &&
      sim_disk_rot(machine_of(sim, node), path, 8)) {
    node->rotted = true;
    sim_log(sim, "node %u: a bit of its journal rots", node->id);
  }
  sim_disconnect(sim, node);
  sim_post(sim,
           (struct sim_event){
               .type = SIM_RESTART_NODE, .node = (uint32_t)(node - sim->nodes), .life = node->life},
           NX_SECOND + sim_delay(sim, 60 * NX_SECOND));
}

void sim_node_free(struct sim_node *node) {
  forget_memory(node);
  sim_blob_free(&node->spool);
  sim_blob_free(&node->kept);
  nx_buffer_finish(&node->header);
  nx_identity_destroy(node->identity);
}

/* --- updates ------------------------------------------------------------------------------ */

void sim_update_fill(struct sim *sim, uint32_t id, uint64_t round, uint32_t variant,
                     const struct nx_transcript_parameters *parameters, uint32_t *lanes,
                     uint64_t *aux) {
  struct nx_rng rng;
  uint32_t limit = (1u << (parameters->value_bits - 1)) - 1; /* Q */
  nx_rng_init(&rng, sim->settings.seed ^ round << 20, (uint64_t)variant << 8 | id);
  for (uint64_t i = 0; i < parameters->n_lanes; i++)
    lanes[i] = (uint32_t)nx_rng_below(&rng, 2ull * limit + 1) - limit;
  for (uint64_t i = 0; i < parameters->n_aux; i++)
    aux[i] = nx_rng_u64(&rng);
}

static void make_update(struct sim *sim, struct sim_node *node,
                        const struct nx_participant_action *action) {
  struct sim_update *update = &node->update;
  const struct nx_transcript_parameters *parameters = &action->invite->parameters;
  bool other = memcmp(&update->parameters, parameters, sizeof *parameters) != 0;
  if (!update->any || other || update->round != action->round ||
      update->variant != action->variant) {
    update_free(update);
    *update = (struct sim_update){true, action->round, action->variant, *parameters, NULL, NULL};
    update->lanes = calloc(parameters->n_lanes + 1, sizeof *update->lanes);
    update->aux = calloc(parameters->n_aux + 1, sizeof *update->aux);
    if (!update->lanes || !update->aux)
      abort();
    sim_update_fill(sim, node->id, update->round, update->variant, parameters, update->lanes,
                    update->aux);
  }
  sim_post(sim,
           (struct sim_event){.type = SIM_WORK_DONE,
                              .node = (uint32_t)(node - sim->nodes),
                              .life = node->life,
                              .round = action->round,
                              .attempt = action->attempt},
           NX_SECOND + sim_delay(sim, 20 * NX_SECOND));
}

static void mask_update(struct sim *sim, struct sim_node *node,
                        const struct nx_participant_action *action) {
  const struct sim_update *update = &node->update;
  struct nx_upload_layout layout = nx_check_layout(&action->parameters);
  size_t n = layout.n_lanes, n_aux = layout.n_aux;
  uint32_t *lanes = malloc((n + 1) * sizeof *lanes);
  uint64_t *aux = malloc((n_aux + 1) * sizeof *aux);
  struct sim_blob y = {malloc(nx_upload_bytes(&layout) + 1), nx_upload_bytes(&layout)};
  struct nx_hash root;
  if (!lanes || !aux || !y.data || update->round != action->round)
    abort();
  memcpy(lanes, update->lanes, n * sizeof *lanes);
  memcpy(aux, update->aux, n_aux * sizeof *aux);
  if (nx_mask_apply_u32(action->mask, lanes, 0, n, NULL, NULL) < 0 ||
      nx_mask_apply_u64(action->mask, aux, 0, n_aux, NULL, NULL) < 0)
    abort();
  nx_upload_pack(&layout, lanes, aux, y.data, NULL);
  if (nx_upload_root(&layout, y.data, NULL, &root, NULL) < 0)
    abort();
  free(lanes);
  free(aux);
  sim_blob_free(&node->spool);
  node->spool = y;
  node->spool_variant = update->variant;
  sim_post(sim,
           (struct sim_event){.type = SIM_MASKED,
                              .node = (uint32_t)(node - sim->nodes),
                              .life = node->life,
                              .round = action->round,
                              .attempt = action->attempt,
                              .hash = root},
           sim_delay(sim, NX_SECOND));
}

static void begin_upload(struct sim *sim, struct sim_node *node,
                         const struct nx_participant_action *action) {
  node->header.size = 0;
  nx_buffer_append(&node->header, action->message.data, action->message.size, NULL);
  node->uploading = true;
  if ((node->charged_round != action->round || node->charged_attempt != action->attempt) &&
      !sim_is_corrupt(sim, node->id))
    sim_fail(sim, "I12: node %u uploads before the charge is durable", node->id);
  sim_watch_upload(sim, node, action->message, action->round, action->attempt, node->spool_variant);
  sim_post(sim,
           (struct sim_event){.type = SIM_UPLOAD,
                              .node = (uint32_t)(node - sim->nodes),
                              .life = node->life,
                              .round = action->round,
                              .attempt = action->attempt},
           0);
}

/* --- spot checks -------------------------------------------------------------------------- */

static void begin_check(struct sim *sim, struct sim_node *node,
                        struct nx_participant_action *action) {
  struct sim_check *check = &node->check;
  nx_mask_destroy(check->mask);
  *check = (struct sim_check){.round = action->round,
                              .attempt = action->attempt,
                              .mask = nx_steal(&action->mask),
                              .parameters = action->parameters,
                              .n_uploads = action->n_uploads,
                              .n_tiles = action->n_tiles,
                              .sum = action->sum,
                              .bytes = action->bytes,
                              .model_before = action->invite->model};
  memcpy(check->uploads, action->uploads, action->n_uploads * sizeof *action->uploads);
  memcpy(check->tiles, action->tiles, action->n_tiles * sizeof *action->tiles);
  sim_post(sim,
           (struct sim_event){.type = SIM_CHECKED,
                              .node = (uint32_t)(node - sim->nodes),
                              .life = node->life,
                              .round = action->round,
                              .attempt = action->attempt},
           sim_delay(sim, 2 * NX_SECOND));
}

static int fetch_tile(struct sim *sim, const struct nx_upload_layout *layout, uint32_t id,
                      uint64_t index, struct nx_spot_check *spot, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer tile = {0};
  struct nx_merkle_path path;
  (void)layout;
  int r = nx_upload_spool_tile(&sim->coordinator.spool, id, index, &tile, &path, err);
  return r < 0 ? r : nx_spot_check_add(spot, id, index, nx_buffer_view(&tile), &path, err);
}

static int spot_check(struct sim *sim, struct sim_node *node, struct nx_error *err) {
  struct sim_check *check = &node->check;
  struct nx_upload_layout layout = nx_check_layout(&check->parameters);
  struct nx_bytes sum = sim_view(&sim->coordinator.sum);
  struct nx_spot_member members[NX_MEMBERS_MAX];
  _cleanup_(nx_spot_check_destroyp) struct nx_spot_check *spot = NULL;
  struct nx_hash hash = nx_sha256(sum.data, sum.size);
  if (sum.size != check->bytes || !nx_hash_equal(&hash, &check->sum))
    return nx_fail(err, NX_E_CRYPTO, "the fetched sum is not the announced one");
  for (size_t i = 0; i < check->n_uploads; i++)
    members[i] = (struct nx_spot_member){check->uploads[i].id, check->uploads[i].root};
  int r = nx_spot_check_create(&layout, members, check->n_uploads, check->tiles, check->n_tiles,
                               &spot, err);
  for (size_t i = 0; i < check->n_uploads && r >= 0; i++)
    for (size_t k = 0; k < check->n_tiles && r >= 0; k++)
      r = fetch_tile(sim, &layout, check->uploads[i].id, check->tiles[k], spot, err);
  return r < 0 ? r : nx_spot_check_compare(spot, check->mask, sum, err);
}

static void end_check(struct sim *sim, struct sim_node *node, const struct sim_event *event) {
  struct nx_participant_event answer = {
      .type = NX_PARTICIPANT_RESULT_CHECKED, .round = event->round, .attempt = event->attempt};
  struct nx_error err = {0};
  if (node->check.round != event->round || node->check.attempt != event->attempt)
    return;
  if (!sim->coordinator.up || sim->coordinator.round != event->round) {
    /* Not to be had now. The coordinator keeps the uploads until the round is sealed. */
    if (sim->coordinator.round > event->round)
      return sim_node_catch_up(sim, node);
    return sim_post(sim,
                    (struct sim_event){.type = SIM_CHECKED,
                                       .node = event->node,
                                       .life = node->life,
                                       .round = event->round,
                                       .attempt = event->attempt},
                    NX_SECOND);
  }
  int r = spot_check(sim, node, &err);
  if (r == NX_E_IO && !sim_is_hostile(sim)) /* the coordinator's disk: asked again */
    return sim_post(sim,
                    (struct sim_event){.type = SIM_CHECKED,
                                       .node = event->node,
                                       .life = node->life,
                                       .round = event->round,
                                       .attempt = event->attempt},
                    NX_SECOND);
  answer.accepted = r == 0;
  answer.reason = err.text;
  answer.model = sim_next_model(&node->check.model_before, sim_view(&sim->coordinator.sum));
  if (!answer.accepted && !sim_is_hostile(sim))
    sim_fail(sim, "I8: node %u refuses an honest sum: %s", node->id, err.text);
  sim_node_step(sim, node, &answer);
}

/* --- actions ------------------------------------------------------------------------------- */

/* As the real shell: a node that cannot write down what it is about to say ends. */
static void persist(struct sim *sim, struct sim_node *node,
                    const struct nx_participant_action *action) {
  struct nx_error err = {0};
  int r = action->replace ? nx_journal_restart(node->journal, action->record, &err)
                          : nx_journal_append(node->journal, action->record, &err);
  if (r == 0)
    return;
  sim_log(sim, "node %u: %s", node->id, err.text);
  sim_node_kill(sim, node);
}

static void decide_later(struct sim *sim, struct sim_node *node,
                         const struct nx_participant_action *action) {
  if (!nx_hash_equal(&action->invite->model, &node->model) && !sim_is_hostile(sim))
    sim_fail(sim, "I11: node %u considers a round from another model", node->id);
  sim_post(sim,
           (struct sim_event){.type = SIM_DECIDE,
                              .node = (uint32_t)(node - sim->nodes),
                              .life = node->life,
                              .round = action->round,
                              .attempt = action->attempt},
           sim_delay(sim, 100 * NX_MILLISECOND));
}

static void set_timer(struct sim *sim, struct sim_node *node, int64_t at) {
  node->timer++;
  node->deadline = at;
  if (at != NX_NEVER)
    sim_post(sim,
             (struct sim_event){.type = SIM_NODE_TIMER,
                                .node = (uint32_t)(node - sim->nodes),
                                .life = node->life,
                                .session = node->timer},
             sim_until(sim, &node->clock, at));
}

/* The machine slept: every deadline is nearer, or past. */
static void jump(struct sim *sim, struct sim_node *node) {
  node->clock.offset += sim_delay(sim, 7200 * NX_SECOND);
  sim_log(sim, "node %u: its clock jumps", node->id);
  set_timer(sim, node, node->deadline);
}

static void carry_out(struct sim *sim, struct sim_node *node,
                      struct nx_participant_action *action) {
  switch (action->type) {
  case NX_PARTICIPANT_PERSIST:
    return persist(sim, node, action);
  case NX_PARTICIPANT_SEND:
    sim_watch_node_sends(sim, node, action->message);
    return sim_send_to_coordinator(sim, node, action->message);
  case NX_PARTICIPANT_SET_DEADLINE:
    return set_timer(sim, node, action->at);
  case NX_PARTICIPANT_CONSIDER:
    return decide_later(sim, node, action);
  case NX_PARTICIPANT_START_WORK:
    return make_update(sim, node, action);
  case NX_PARTICIPANT_MASK:
    return mask_update(sim, node, action);
  case NX_PARTICIPANT_CHARGE:
    node->charged_round = action->round;
    node->charged_attempt = action->attempt;
    return;
  case NX_PARTICIPANT_UPLOAD:
    return begin_upload(sim, node, action);
  case NX_PARTICIPANT_STOP_UPLOAD:
    node->uploading = false;
    return sim_blob_free(&node->spool);
  case NX_PARTICIPANT_CHECK_RESULT:
    return begin_check(sim, node, action);
  case NX_PARTICIPANT_SEALED:
    node->sealed = action->round;
    node->model = action->model;
    node->promised = action->round;
    sim->totals.acknowledged++;
    sim->totals.node_seals++;
    sim_log(sim, "node %u: sealed round %llu", node->id, (unsigned long long)action->round);
    return sim_watch_sealed(sim, node, action->round, &action->model);
  case NX_PARTICIPANT_EVIDENCE:
    return sim_report(sim, action->kind, node->id, action->member, action->reason);
  case NX_PARTICIPANT_ABORTED:
    return sim_log(sim, "node %u: left attempt %u of round %llu: %s", node->id, action->attempt,
                   (unsigned long long)action->round, action->reason);
  case NX_PARTICIPANT_NOTE:
    return sim_log(sim, "node %u: %s %s", node->id, action->kind, action->reason);
  case NX_PARTICIPANT_REFUND:
  case NX_PARTICIPANT_STOP_WORK:
    return;
  }
}

void sim_node_step(struct sim *sim, struct sim_node *node,
                   const struct nx_participant_event *event) {
  struct nx_error err = {0};
  nx_participant_actions_reset(&node->actions);
  sim->totals.steps++;
  sim_seen_node(sim, node, event);
  if (node->deadline && sim_strikes(sim, SIM_FAULT_JUMP, sim->faults.jump))
    jump(sim, node);
  int64_t now = sim_local_time(sim, &node->clock);
  if (nx_participant_step(node->core, event, now, &node->actions, &err) < 0)
    return sim_fail(sim, "node %u, event %d: %s", node->id, (int)event->type, err.text);
  for (size_t i = 0; i < node->actions.n && !sim->failed; i++) {
    carry_out(sim, node, &node->actions.items[i]);
    if (!node->up)
      return;
    if (sim_dies(sim, SIM_FAULT_KILL_NODE, sim->faults.kill_node / 4))
      return sim_node_kill(sim, node);
  }
  sim_watch_idle(sim, node);
}

/* --- events -------------------------------------------------------------------------------- */

void sim_node_catch_up(struct sim *sim, struct sim_node *node) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_participant_config cfg = config_of(sim, node);
  struct nx_bytes seals[NX_MEMBERS_MAX];
  struct nx_error err = {0};
  if (node->sealed >= coordinator->sealed)
    return;
  for (size_t i = 0; i < coordinator->n_seals; i++)
    seals[i] = sim_view(&coordinator->seals[i]);
  if (nx_seals_check(&cfg, coordinator->sealed, &coordinator->model, seals, coordinator->n_seals,
                     &err) < 0)
    return sim_is_hostile(sim) ? (void)0
                               : sim_fail(sim, "node %u cannot catch up: %s", node->id, err.text);
  node->sealed = coordinator->sealed;
  node->model = coordinator->model;
  sim_node_step(sim, node,
                &(struct nx_participant_event){
                    .type = NX_PARTICIPANT_CAUGHT_UP, .round = node->sealed, .model = node->model});
}

static void try_upload(struct sim *sim, struct sim_node *node, const struct sim_event *event) {
  if (!node->uploading || !node->spool.data)
    return;
  if (node->connected) {
    struct sim_event arrived = {.type = SIM_ARRIVED,
                                .node = event->node,
                                .session = node->session,
                                .bytes = sim_copy(sim_view(&node->spool)),
                                .more = sim_copy(nx_buffer_view(&node->header))};
    if (sim_strikes(sim, SIM_FAULT_DAMAGE, sim->faults.damage))
      arrived.bytes.data[nx_rng_below(&sim->rng, arrived.bytes.size)] ^= 0x10;
    int64_t delay =
        10 * NX_MILLISECOND + sim_delay(sim, 3 * NX_SECOND) + 4 * sim_slowness(sim, node);
    if (node->half_open != 1)
      sim_post(sim, arrived, delay);
    else {
      sim_blob_free(&arrived.bytes);
      sim_blob_free(&arrived.more);
    }
  }
  sim_post(sim,
           (struct sim_event){.type = SIM_UPLOAD,
                              .node = event->node,
                              .life = node->life,
                              .round = event->round,
                              .attempt = event->attempt},
           5 * NX_SECOND);
}

static void work_done(struct sim *sim, struct sim_node *node, const struct sim_event *event) {
  bool fails = sim_strikes(sim, SIM_FAULT_FAIL_WORK, sim->faults.fail_work);
  sim_node_step(sim, node,
                &(struct nx_participant_event){.type = fails ? NX_PARTICIPANT_UPDATE_FAILED
                                                             : NX_PARTICIPANT_UPDATE_READY,
                                               .round = event->round,
                                               .attempt = event->attempt,
                                               .reason = "a NaN"});
}

static void acknowledged(struct sim *sim, struct sim_node *node, const struct sim_event *event) {
  if (!node->uploading || event->session != node->session || node->half_open == 2)
    return;
  node->uploading = false;
  sim_node_step(sim, node,
                &(struct nx_participant_event){.type = NX_PARTICIPANT_UPLOADED,
                                               .round = event->round,
                                               .attempt = event->attempt});
}

/* An invitation to a round behind one that it has not sealed: it catches up first, as the real
 * node does. */
static bool is_behind(const struct sim_node *node, struct nx_bytes bytes) {
  struct nx_signed_message message;
  struct nx_invite invite;
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  if (bytes.size < 2 || bytes.data[0] != 8 || bytes.data[1] != NX_M0_INVITE)
    return false;
  if (nx_arena_create(0, &arena, NULL) < 0)
    abort();
  return nx_signed_message_decode(bytes, arena, &message, NULL) == 0 &&
         nx_invite_decode(message.body, arena, &invite, NULL) == 0 &&
         invite.round > node->sealed + 1;
}

void sim_node_event(struct sim *sim, struct sim_node *node, struct sim_event *event) {
  if (node->up && sim_is_hung(sim, node)) { /* in order, when it goes on */
    sim_post(sim, *event, node->hung_until - sim->now);
    event->bytes = event->more = (struct sim_blob){0};
    return;
  }
  if (event->type == SIM_RESTART_NODE && event->life == node->life) {
    forget_memory(node);
    return sim_node_start(sim, node);
  }
  bool of_session = event->type == SIM_TO_NODE || event->type == SIM_ACKNOWLEDGED;
  if (!node->up || (of_session ? event->session != node->session : event->life != node->life))
    return;
  switch (event->type) {
  case SIM_TO_NODE:
    if (is_behind(node, sim_view(&event->bytes)))
      sim_node_catch_up(sim, node);
    if (!node->up)
      return;
    return sim_node_step(sim, node,
                         &(struct nx_participant_event){.type = NX_PARTICIPANT_MESSAGE,
                                                        .message = sim_view(&event->bytes)});
  case SIM_NODE_TIMER:
    if (event->session == node->timer)
      sim_node_step(sim, node, &(struct nx_participant_event){.type = NX_PARTICIPANT_DEADLINE});
    return;
  case SIM_CONNECT:
    sim_connect(sim, node);
    if (!node->connected && node->up)
      sim_post(sim,
               (struct sim_event){.type = SIM_CONNECT, .node = event->node, .life = node->life},
               2 * NX_SECOND);
    return;
  case SIM_DECIDE:
    return sim_node_step(sim, node,
                         &(struct nx_participant_event){
                             .type = NX_PARTICIPANT_DECIDED,
                             .round = event->round,
                             .attempt = event->attempt,
                             .accepted = !sim_strikes(sim, SIM_FAULT_REFUSE, sim->faults.refuse)});
  case SIM_WORK_DONE:
    return work_done(sim, node, event);
  case SIM_MASKED:
    return sim_node_step(sim, node,
                         &(struct nx_participant_event){.type = NX_PARTICIPANT_MASKED,
                                                        .round = event->round,
                                                        .attempt = event->attempt,
                                                        .bytes = node->spool.size,
                                                        .root = event->hash});
  case SIM_UPLOAD:
    return try_upload(sim, node, event);
  case SIM_ACKNOWLEDGED:
    return acknowledged(sim, node, event);
  case SIM_CHECKED:
    return end_check(sim, node, event);
  default:
    return;
  }
}
