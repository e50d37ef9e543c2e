/* Parties that lie. They hold their own keys, so that what they bend is signed as it must be:
 * what lies behind the signatures is tried as well. */
#include <stdlib.h>

#include "proto/codec/round_checks.h"
#include "tests/sim/sim.h"

static void replace(struct nx_buffer *message, struct nx_bytes bytes) {
  message->size = 0;
  if (nx_buffer_append(message, bytes.data, bytes.size, NULL) < 0)
    abort();
}

/* One bit of the body, or its end, and a fresh signature. */
static void bend_body(struct sim *sim, struct sim_node *node, bool to_node,
                      struct nx_buffer *message) {
  struct nx_signed_message decoded;
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  const struct nx_identity *identity = to_node ? sim->coordinator.identity : node->identity;
  if (nx_arena_create(0, &arena, NULL) < 0)
    abort();
  if (nx_signed_message_decode(nx_buffer_view(message), arena, &decoded, NULL) < 0 ||
      !decoded.body.size)
    return;
  struct sim_blob body = sim_copy(decoded.body);
  if (nx_rng_below(&sim->rng, 8))
    body.data[nx_rng_below(&sim->rng, body.size)] ^= (uint8_t)(1u << nx_rng_below(&sim->rng, 8));
  else
    body.size = nx_rng_below(&sim->rng, body.size);
  struct nx_buffer out = {0};
  if (nx_signed_message_make(identity, to_node ? NX_COORDINATOR : node->id, decoded.type,
                             sim_view(&body), decoded.detached, &out, NULL) < 0)
    abort();
  nx_buffer_finish(message);
  *message = out;
  sim_blob_free(&body);
}

bool sim_bend(struct sim *sim, struct sim_node *node, bool to_node, struct nx_buffer *message) {
  enum sim_fault fault = to_node ? SIM_FAULT_HOSTILE : SIM_FAULT_BYZANTINE;
  double p = to_node ? sim->faults.hostile : node->byzantine ? sim->faults.byzantine : 0;
  if (!sim_strikes(sim, fault, p))
    return true;
  switch (nx_rng_below(&sim->rng, 5)) {
  case 0:
    return false;
  case 1: /* what was said before, now */
    if (node->kept.data)
      replace(message, sim_view(&node->kept));
    return true;
  case 2: /* on the way: the signature no longer fits */
    if (message->size)
      message->data[nx_rng_below(&sim->rng, message->size)] ^= 1;
    return true;
  default:
    sim_blob_free(&node->kept);
    node->kept = sim_copy(nx_buffer_view(message));
    bend_body(sim, node, to_node, message);
    return true;
  }
}
