/* libFuzzer, stateful: the input is what a liar does in a whole conversation. A simulated
 * federation of four runs a round with the real coordinator, its store and spool; for every
 * message on its way the input says whether it is dropped, sent again, cut, or has bits turned
 * over, before it is signed or after. No invariant may break, and nothing may crash. */
#include <stdlib.h>

#include "tests/sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct script {
  const uint8_t *at, *end;
  struct nx_buffer kept;
};

static uint32_t next(struct script *script) {
  return script->at < script->end ? *script->at++ : 0;
}

static void flip(struct script *script, uint8_t *bytes, size_t size) {
  uint32_t where = next(script) | next(script) << 8, bit = next(script);
  if (size)
    bytes[where % size] ^= (uint8_t)(1u << bit % 8);
}

static void sign_again(struct sim *sim, struct script *script, struct nx_buffer *message) {
  struct nx_signed_message decoded;
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  if (nx_arena_create(0, &arena, NULL) < 0)
    abort();
  if (nx_signed_message_decode(nx_buffer_view(message), arena, &decoded, NULL) < 0)
    return;
  const struct sim_node *node = decoded.signer ? sim_node_of(sim, decoded.signer) : NULL;
  struct sim_blob body = sim_copy(decoded.body);
  struct nx_buffer out = {0};
  flip(script, body.data, body.size);
  if (next(script) % 8 == 0 && body.size)
    body.size = next(script) % body.size;
  if (nx_signed_message_make(node ? node->identity : sim->coordinator.identity, decoded.signer,
                             decoded.type, sim_view(&body), decoded.detached, &out, NULL) < 0)
    abort();
  nx_buffer_finish(message);
  *message = out;
  sim_blob_free(&body);
}

static bool lie(struct sim *sim, struct sim_node *node, bool to_node, struct nx_buffer *message,
                void *context) {
  struct script *script = context;
  uint32_t order = next(script);
  (void)node, (void)to_node;
  switch (order % 16) {
  case 1:
    return false;
  case 2:
    sign_again(sim, script, message);
    return true;
  case 3:
    flip(script, message->data, message->size);
    return true;
  case 4:
    message->size = message->size ? next(script) % message->size : 0;
    return true;
  case 5: /* keep this one … */
    script->kept.size = 0;
    nx_buffer_append(&script->kept, message->data, message->size, NULL);
    return true;
  case 6: /* … and say it now */
    message->size = 0;
    nx_buffer_append(message, script->kept.data, script->kept.size, NULL);
    return true;
  default:
    return true;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct script script = {.at = data, .end = data + size};
  const struct sim_villain villain = {.message = lie, .context = &script};
  struct sim_settings settings = {
      .seed = 3, .rounds = 1, .n_nodes = 4, .n_lanes = 8, .calm = true, .villain = &villain};
  struct sim_totals totals;
  sim_run(&settings, &totals);
  nx_buffer_finish(&script.kept);
  if (totals.violations)
    abort();
  return 0;
}
