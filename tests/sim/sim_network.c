/* The network: connections that break, and messages that are late, lost, doubled or
 * overtaken, unless the federation was dealt streams. */
#include "tests/sim/sim.h"

struct sim_node *sim_node_of(struct sim *sim, uint32_t id) {
  for (uint32_t i = 0; i < sim->n; i++)
    if (sim->nodes[i].id == id)
      return &sim->nodes[i];
  return NULL;
}

int64_t sim_slowness(const struct sim *sim, const struct sim_node *node) {
  return sim->quiet ? 0 : node->slowness;
}

#define HEARTBEAT_EVERY (20 * NX_SECOND)

static void break_links(struct sim *sim, struct sim_node *node);

static void carry(struct sim *sim, struct sim_node *node, enum sim_event_type type,
                  struct nx_bytes sent) {
  const struct sim_villain *villain = sim->settings.villain;
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  bool to_node = type == SIM_TO_NODE;
  if (!node->connected || node->half_open == (to_node ? 2 : 1) ||
      sim_strikes(sim, SIM_FAULT_LOSS, sim->faults.loss))
    return;
  nx_buffer_append(&message, sent.data, sent.size, NULL);
  if (villain && villain->message &&
      !villain->message(sim, node, to_node, &message, villain->context))
    return;
  if (!sim_bend(sim, node, to_node, &message))
    return;
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "sim/trace");
  nx_sha256_hash(&sha, &sim->totals.trace);
  nx_sha256_u64(&sha, (uint64_t)sim->now);
  nx_sha256_bytes(&sha, nx_buffer_view(&message));
  sim->totals.trace = nx_sha256_final(&sha);
  int copies = sim_strikes(sim, SIM_FAULT_DUPLICATE, sim->faults.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; i++) {
    struct sim_event event = {.type = type,
                              .node = (uint32_t)(node - sim->nodes),
                              .session = node->session,
                              .bytes = sim_copy(nx_buffer_view(&message))};
    /* A stream keeps its order: the same delay for all of this connection. */
    int64_t delay = sim->faults.streams ? NX_MILLISECOND * (1 + (int64_t)(node->session % 40))
                                        : NX_MILLISECOND + sim_delay(sim, sim->faults.delay);
    sim_post(sim, event, delay + sim_slowness(sim, node));
  }
  break_links(sim, node);
}

bool sim_is_hung(const struct sim *sim, const struct sim_node *node) {
  return !sim->quiet && sim->now < node->hung_until;
}

/* Nodes say every 20 s that they live, for as long as they do and it gets through. */
int64_t sim_last_heartbeat(const struct sim *sim, const struct sim_node *node) {
  bool mute = node->half_open == 1 || sim_is_hung(sim, node);
  int64_t until = (mute ? node->mute_since : sim->now) - sim_slowness(sim, node);
  int64_t n = (until - node->connected_at) / HEARTBEAT_EVERY;
  return node->connected && n > 0
             ? node->connected_at + n * HEARTBEAT_EVERY + sim_slowness(sim, node)
             : 0;
}

/* Its process stands still: what comes waits, and nothing leaves. The transport finds out late. */
static void hang(struct sim *sim, struct sim_node *node) {
  if (!node->up || sim_is_hung(sim, node) || node->half_open)
    return;
  node->mute_since = sim->now;
  node->hung_until = sim->now + (int64_t)nx_rng_below(&sim->hang_rng, 200 * NX_SECOND);
  sim_log(sim, "node %u: hangs", node->id);
  sim_post(sim,
           (struct sim_event){.type = SIM_KEEPALIVE,
                              .node = (uint32_t)(node - sim->nodes),
                              .session = node->session},
           80 * NX_SECOND);
}

static void half_open(struct sim *sim, struct sim_node *node) {
  node->mute_since = sim->now;
  node->half_open = 1 + (int)nx_rng_below(&sim->rng, 2);
  sim_log(sim, "node %u: half open", node->id);
  sim_post(sim,
           (struct sim_event){
               .type = SIM_NOTICE, .node = (uint32_t)(node - sim->nodes), .session = node->session},
           10 * NX_SECOND + sim_delay(sim, 50 * NX_SECOND));
}

void sim_notice(struct sim *sim, struct sim_node *node) {
  sim_disconnect(sim, node);
}

/* Some cannot reach the coordinator for a while. */
static void partition(struct sim *sim) {
  int64_t until = sim->now + sim_delay(sim, 120 * NX_SECOND);
  for (uint32_t i = 0; i < sim->n; i++)
    if (nx_rng_below(&sim->rng, 2)) {
      sim->nodes[i].cut_until = until;
      sim_disconnect(sim, &sim->nodes[i]);
    }
}

static void break_links(struct sim *sim, struct sim_node *node) {
  if (sim_strikes(sim, SIM_FAULT_PARTITION, sim->faults.partition))
    partition(sim);
  if (node->connected && !node->half_open &&
      sim_strikes(sim, SIM_FAULT_HALF_OPEN, sim->faults.half_open))
    half_open(sim, node);
  if (node->connected && sim_fault_strikes(sim, SIM_FAULT_HANG, sim->faults.hang, &sim->hang_rng))
    hang(sim, node);
  if (!sim_strikes(sim, SIM_FAULT_DISCONNECT, sim->faults.disconnect))
    return;
  sim_disconnect(sim, node);
  if (nx_rng_below(&sim->rng, 4) == 0) /* a link that several of them share */
    for (uint32_t i = 0; i < sim->n; i++)
      if (nx_rng_below(&sim->rng, 2))
        sim_disconnect(sim, &sim->nodes[i]);
}

void sim_send_to_node(struct sim *sim, uint32_t id, struct nx_bytes message) {
  carry(sim, sim_node_of(sim, id), SIM_TO_NODE, message);
}

void sim_send_to_coordinator(struct sim *sim, struct sim_node *node, struct nx_bytes message) {
  carry(sim, node, SIM_TO_COORDINATOR, message);
}

/* The event of the loss comes through the queue: a core is never entered from within. */
void sim_disconnect(struct sim *sim, struct sim_node *node) {
  if (!node->connected)
    return;
  node->connected = false;
  node->half_open = 0;
  node->session++;
  sim_log(sim, "node %u: connection lost", node->id);
  struct sim_event event = {.type = SIM_CONNECT, .node = (uint32_t)(node - sim->nodes)};
  sim_post(
      sim,
      (struct sim_event){.type = SIM_TO_COORDINATOR, .node = event.node, .session = node->session},
      0);
  event.life = node->life;
  sim_post(sim, event, NX_SECOND + sim_delay(sim, 20 * NX_SECOND));
}

void sim_connect(struct sim *sim, struct sim_node *node) {
  if (!node->up || node->connected || !sim->coordinator.up || sim->now < node->cut_until)
    return;
  node->connected = true;
  node->connected_at = sim->now;
  sim->coordinator.still[node->id] = false;
  node->session++;
  sim_log(sim, "node %u: connected", node->id);
  sim_node_step(sim, node, &(struct nx_participant_event){.type = NX_PARTICIPANT_CONNECTED});
  if (!node->up)
    return;
  sim_node_catch_up(sim, node);
  if (sim->coordinator.up && sim->coordinator.core && node->connected)
    sim_coordinator_step(sim,
                         &(struct nx_round_event){.type = NX_ROUND_CONNECTED, .member = node->id});
}
