/* What must never be seen, whatever happens (I1..I12 of the protocol, docs/rounds.md).
 *
 * The watch knows every message as it is sent, whether it arrives or not, and forgets
 * nothing within a federation's life. I8, I10 and I12 are checked where they arise. */
#include <stdlib.h>

#include "crypto/upload.h"
#include "node/session/participant_internal.h"
#include "tests/sim/sim.h"

/* Facts of one attempt. */
struct seen_attempt {
  uint64_t round;
  uint32_t attempt;
  struct nx_hash vote[NX_ID_END]; /* hash of the vote each member sent */
  uint32_t choice[NX_ID_END];
  struct nx_hash t3[NX_ID_END];     /* of COMMIT votes */
  struct nx_hash upload[NX_ID_END]; /* hash of the header each member uploaded under */
  uint32_t variant[NX_ID_END];
  bool voted[NX_ID_END], uploaded[NX_ID_END];
  uint32_t certificate; /* choice of the M8 that was sent */
  struct nx_hash certified;
  /* shares given away, by dealer and holder: 1 b, 2 s */
  uint8_t released[NX_ID_END][NX_ID_END];
  bool releaser[NX_ID_END];
  bool opened; /* or could be, by a coordinator that lies */
  bool u3[NX_ID_END];
};

struct sim_watch {
  struct seen_attempt *attempts;
  size_t n, allocated;
  struct nx_arena *arena;
};

int sim_watch_create(struct sim_watch **watch_out) {
  struct sim_watch *watch = calloc(1, sizeof *watch);
  if (!watch || nx_arena_create(0, &watch->arena, NULL) < 0)
    return -1;
  *watch_out = watch;
  return 0;
}

void sim_watch_destroy(struct sim_watch *watch) {
  if (!watch)
    return;
  nx_arena_destroy(watch->arena);
  free(watch->attempts);
  free(watch);
}

static struct seen_attempt *find(struct sim *sim, uint64_t round, uint32_t attempt) {
  struct sim_watch *watch = sim->watch;
  for (size_t i = watch->n; i-- > 0;)
    if (watch->attempts[i].round == round && watch->attempts[i].attempt == attempt)
      return &watch->attempts[i];
  if (watch->n == watch->allocated) {
    watch->allocated = watch->allocated ? 2 * watch->allocated : 8;
    watch->attempts = reallocarray(watch->attempts, watch->allocated, sizeof *watch->attempts);
    if (!watch->attempts)
      abort();
  }
  struct seen_attempt *seen = &watch->attempts[watch->n++];
  memset(seen, 0, sizeof *seen);
  seen->round = round;
  seen->attempt = attempt;
  return seen;
}

/* --- messages of nodes -------------------------------------------------------------------- */

static void watch_vote(struct sim *sim, uint32_t id, struct nx_bytes body) {
  struct nx_vote vote;
  if (nx_vote_decode(body, sim->watch->arena, &vote, NULL) < 0)
    return sim_fail(sim, "node %u sends a vote that is none", id);
  struct seen_attempt *seen = find(sim, vote.round, vote.attempt);
  struct nx_hash hash = nx_sha256(body.data, body.size);
  if (seen->voted[id] && !nx_hash_equal(&seen->vote[id], &hash) && !sim_is_corrupt(sim, id))
    return sim_fail(sim, "I2: node %u voted twice", id);
  seen->voted[id] = true;
  seen->vote[id] = hash;
  seen->choice[id] = vote.choice;
  seen->t3[id] = vote.subject;
}

/* I1, also when n_C more members would add what they hold. */
static void check_shares(struct sim *sim, struct seen_attempt *seen, uint32_t dealer, uint32_t n) {
  uint32_t b = 0, s = 0, t = nx_threshold_quorum(n), corrupt = nx_threshold_corrupt(n);
  for (uint32_t holder = 0; holder < NX_ID_END; holder++) {
    b += (seen->released[dealer][holder] & 1) != 0;
    s += (seen->released[dealer][holder] & 2) != 0;
  }
  if (b + corrupt >= t && s + corrupt >= t)
    sim_fail(sim, "I1: %u b-shares and %u s-shares of member %u are out", b, s, dealer);
}

static void check_differences(struct sim *sim, const struct seen_attempt *seen);

/* With this many releases out, a coordinator that has n_C members on its side can open the
 * sum, whatever the honest one does with them. */
static void check_openable(struct sim *sim, struct seen_attempt *seen, uint32_t holder,
                           const struct nx_release *release) {
  uint32_t n = (uint32_t)sim->coordinator.n_cohort, releases = 0;
  seen->releaser[holder] = true;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    releases += seen->releaser[id];
  if (seen->opened || releases + nx_threshold_corrupt(n) < nx_threshold_quorum(n))
    return;
  for (size_t i = 0; i < release->n_b; i++)
    seen->u3[release->b_shares[i].id] = true;
  seen->opened = true;
  check_differences(sim, seen);
}

static void watch_release(struct sim *sim, uint32_t id, struct nx_bytes body) {
  struct nx_release release;
  const struct sim_coordinator *coordinator = &sim->coordinator;
  struct seen_attempt *seen = find(sim, coordinator->round, coordinator->attempt);
  sim->totals.releases++;
  if (nx_release_decode(body, sim->watch->arena, &release, NULL) < 0)
    return sim_fail(sim, "node %u sends a release that is none", id);
  /* The attempt is the one in which it voted for this T3. */
  for (size_t i = 0; i < sim->watch->n; i++)
    if (sim->watch->attempts[i].choice[id] == NX_VOTE_COMMIT &&
        nx_hash_equal(&sim->watch->attempts[i].t3[id], &release.t3))
      seen = &sim->watch->attempts[i];
  if (seen->choice[id] != NX_VOTE_COMMIT || !nx_hash_equal(&seen->t3[id], &release.t3))
    return sim_fail(sim, "I4: node %u releases what it did not vote for", id);
  if (!sim_is_hostile(sim) &&
      (seen->certificate != NX_VOTE_COMMIT || !nx_hash_equal(&seen->certified, &release.t3)))
    return sim_fail(sim, "I4: node %u releases without a certificate", id);
  for (size_t i = 0; i < release.n_b + release.n_s; i++) {
    bool is_b = i < release.n_b;
    uint32_t dealer = is_b ? release.b_shares[i].id : release.s_shares[i - release.n_b].id;
    seen->released[dealer][id] |= is_b ? 1 : 2;
    if (seen->released[dealer][id] == 3)
      sim_fail(sim, "I1: node %u released both shares of member %u", id, dealer);
    check_shares(sim, seen, dealer, (uint32_t)coordinator->n_cohort);
  }
  check_openable(sim, seen, id, &release);
}

void sim_watch_node_sends(struct sim *sim, const struct sim_node *node, struct nx_bytes raw) {
  struct nx_signed_message message;
  nx_arena_reset(sim->watch->arena);
  if (nx_signed_message_decode(raw, sim->watch->arena, &message, NULL) < 0)
    return sim_fail(sim, "node %u sends bytes that are no message", node->id);
  if (message.type == NX_M7_VOTE)
    watch_vote(sim, node->id, message.body);
  else if (message.type == NX_M9_RELEASE)
    watch_release(sim, node->id, message.body);
}

/* --- messages of the coordinator ------------------------------------------------------------ */

void sim_watch_coordinator_sends(struct sim *sim, struct nx_bytes raw) {
  struct nx_signed_message message;
  struct nx_vote_certificate certificate;
  struct nx_vote vote;
  nx_arena_reset(sim->watch->arena);
  if (nx_signed_message_decode(raw, sim->watch->arena, &message, NULL) < 0)
    return sim_fail(sim, "the coordinator sends bytes that are no message");
  if (message.type != NX_M8_CERTIFICATE)
    return;
  if (nx_vote_certificate_decode(message.body, sim->watch->arena, &certificate, NULL) < 0 ||
      nx_vote_decode(certificate.vote, sim->watch->arena, &vote, NULL) < 0)
    return sim_fail(sim, "the coordinator sends a certificate that is none");
  struct seen_attempt *seen = find(sim, vote.round, vote.attempt);
  if (seen->certificate &&
      (seen->certificate != vote.choice || !nx_hash_equal(&seen->certified, &vote.subject)))
    return sim_fail(sim, "I3: two certificates in one attempt");
  seen->certificate = vote.choice;
  seen->certified = vote.subject;
}

/* --- uploads and sums ----------------------------------------------------------------------- */

void sim_watch_upload(struct sim *sim, const struct sim_node *node, struct nx_bytes header,
                      uint64_t round, uint32_t attempt, uint32_t variant) {
  struct seen_attempt *seen = find(sim, round, attempt);
  struct nx_hash hash = nx_sha256(header.data, header.size);
  sim->totals.uploads++;
  if (seen->uploaded[node->id] && !nx_hash_equal(&seen->upload[node->id], &hash) &&
      !sim_is_corrupt(sim, node->id))
    return sim_fail(sim, "I7: node %u has two uploads in one attempt", node->id);
  if (!seen->uploaded[node->id])
    seen->variant[node->id] = variant;
  seen->uploaded[node->id] = true;
  seen->upload[node->id] = hash;
}

/* The same x in two opened sums over different sets would give their difference away. */
static void check_differences(struct sim *sim, const struct seen_attempt *seen) {
  for (size_t i = 0; i < sim->watch->n; i++) {
    const struct seen_attempt *other = &sim->watch->attempts[i];
    if (other == seen || !other->opened || other->round != seen->round ||
        !memcmp(other->u3, seen->u3, sizeof seen->u3))
      continue;
    for (uint32_t id = 1; id < NX_ID_END; id++)
      if (seen->u3[id] && other->u3[id] && seen->variant[id] == other->variant[id])
        sim_fail(sim, "I6: the update of member %u is in two opened sums", id);
  }
}

static void check_exact(struct sim *sim, const struct seen_attempt *seen, struct nx_bytes sum) {
  const struct nx_transcript_parameters *parameters = &sim->coordinator.parameters;
  size_t n = parameters->n_lanes, n_aux = parameters->n_aux;
  uint32_t *lanes = calloc(n + 1, sizeof *lanes), *total = calloc(n + 1, sizeof *total);
  uint64_t *aux = calloc(n_aux + 1, sizeof *aux), *aux_total = calloc(n_aux + 1, sizeof *aux);
  uint32_t mask = (uint32_t)((UINT64_C(1) << parameters->ring_bits) - 1);
  bool exact = sum.size == 4 * n + 8 * n_aux;
  if (!lanes || !total || !aux || !aux_total)
    abort();
  for (uint32_t id = 1; id < NX_ID_END; id++) {
    if (!seen->u3[id])
      continue;
    sim_update_fill(sim, id, seen->round, seen->variant[id], parameters, lanes, aux);
    for (size_t i = 0; i < n; i++)
      total[i] += lanes[i];
    for (size_t i = 0; i < n_aux; i++)
      aux_total[i] += aux[i];
  }
  for (size_t i = 0; i < n && exact; i++)
    exact = nx_load_le32(sum.data + 4 * i) == (total[i] & mask);
  for (size_t i = 0; i < n_aux && exact; i++)
    exact = nx_load_le64(sum.data + 4 * n + 8 * i) == aux_total[i];
  if (!exact)
    sim_fail(sim, "I8: the opened sum is not the sum");
  free(lanes);
  free(total);
  free(aux);
  free(aux_total);
}

void sim_watch_open(struct sim *sim, struct nx_bytes sum) {
  const struct sim_coordinator *coordinator = &sim->coordinator;
  struct seen_attempt *seen = find(sim, coordinator->round, coordinator->attempt);
  uint32_t n = (uint32_t)coordinator->n_cohort;
  uint32_t least = nx_threshold_quorum(n) - nx_threshold_corrupt(n);
  if (coordinator->n_opened < least || coordinator->n_opened < NX_SUM_MIN)
    return sim_fail(sim, "I5: a sum over %zu members was opened", coordinator->n_opened);
  memset(seen->u3, 0, sizeof seen->u3);
  for (size_t i = 0; i < coordinator->n_opened; i++)
    seen->u3[coordinator->opened[i].id] = true;
  seen->opened = true;
  check_differences(sim, seen);
  check_exact(sim, seen, sum);
}

/* --- seals ---------------------------------------------------------------------------------- */

void sim_watch_sealed(struct sim *sim, const struct sim_node *node, uint64_t round,
                      const struct nx_hash *model) {
  struct nx_hash expected =
      sim_next_model(&sim->coordinator.model, sim_view(&sim->coordinator.sum));
  bool current = sim->coordinator.round == round;
  if (!sim_is_hostile(sim) && !nx_hash_equal(model, current ? &expected : &sim->coordinator.model))
    sim_fail(sim, "I11: node %u sealed another model than the federation", node->id);
}

/* I9: an idle node holds no secrets of a round. */
void sim_watch_idle(struct sim *sim, const struct sim_node *node) {
  const struct nx_participant *core = node->core;
  if (core && core->state == STATE_IDLE && core->attempt)
    sim_fail(sim, "I9: node %u is idle and keeps an attempt", node->id);
  if (core && core->attempt && core->attempt->secrets && core->state == STATE_CHECKING)
    sim_fail(sim, "I9: node %u keeps its keys although the sum is open", node->id);
}

/* --- promises ------------------------------------------------------------------------------- */

static void lost(struct sim *sim, const char *what, uint32_t whose, uint64_t round) {
  sim->totals.lost_acknowledged++;
  sim_fail(sim, "an acknowledged thing is lost: %s of %u, round %llu", what, whose,
           (unsigned long long)round);
}

/* What it said it sealed it still knows, unless its disk lied to it, or rotted and said so. */
void sim_watch_restarted_node(struct sim *sim, const struct sim_node *node) {
  sim->totals.restored_nodes++;
  if (node->sealed < node->promised && !node->rotted && !sim_is_corrupt(sim, node->id))
    lost(sim, "a seal", node->id, node->promised);
}

void sim_watch_restarted_coordinator(struct sim *sim) {
  struct sim_coordinator *coordinator = &sim->coordinator;
  struct nx_hash root;
  sim->totals.restored_coordinators++;
  if (sim->untrusted)
    return;
  if (coordinator->sealed < coordinator->promised)
    return lost(sim, "a sealed round", NX_COORDINATOR, coordinator->promised);
  if (coordinator->sealed == coordinator->promised && coordinator->promised &&
      !nx_hash_equal(&coordinator->model, &coordinator->promised_model))
    return lost(sim, "a sealed model", NX_COORDINATOR, coordinator->promised);
  if (!coordinator->begun || coordinator->taken_round != coordinator->round ||
      coordinator->taken_attempt != coordinator->attempt)
    return;
  for (uint32_t id = 1; id < NX_ID_END; id++)
    if (coordinator->has_taken[id] &&
        (nx_upload_spool_root(&coordinator->spool, id, &root, NULL) < 0 ||
         !nx_hash_equal(&root, &coordinator->taken[id])))
      return lost(sim, "an upload", id, coordinator->round);
}
