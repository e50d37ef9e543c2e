#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim_disk.h"

#define ROUNDS_OF_A_FEDERATION 6
#define VILLAINS_ATTEMPTS 4
#define QUIET_AFTER (600 * NX_SECOND)    /* then a round is left alone … */
#define GIVE_UP_AFTER (7200 * NX_SECOND) /* … and must have ended by now (I10) */

void sim_fail(struct sim *sim, const char *format, ...) {
  char text[sizeof sim->totals.violation];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (!sim->settings.silent)
    fprintf(stderr, "VIOLATION (seed %llu, federation %llu, round %llu attempt %u, t=%.3f s): %s\n",
            (unsigned long long)sim->settings.seed, (unsigned long long)sim->totals.federations,
            (unsigned long long)sim->coordinator.round, sim->coordinator.attempt,
            (double)sim->now / 1e9, text);
  if (!sim->totals.violations++) {
    memcpy(sim->totals.violation, text, sizeof text);
    sim->totals.failed_nodes = sim->n;
  }
  sim->failed = true;
}

void sim_log(struct sim *sim, const char *format, ...) {
  va_list arguments;
  if (!sim->settings.verbose)
    return;
  va_start(arguments, format);
  printf("%10.3f ", (double)sim->now / 1e9);
  vprintf(format, arguments);
  putchar('\n');
  va_end(arguments);
}

void sim_report(struct sim *sim, const char *kind, uint32_t by, uint32_t accused,
                const char *reason) {
  struct sim_totals *totals = &sim->totals;
  totals->evidence++;
  sim_log(sim, "evidence of member %u: %s, member %u: %s", by, kind, accused, reason);
  bool expected = sim_is_hostile(sim) || sim_is_corrupt(sim, by) || sim_is_corrupt(sim, accused);
  if (!expected)
    sim_fail(sim, "member %u reports %s of honest member %u: %s", by, kind, accused, reason);
  if (totals->n_reports == SIM_REPORTS_MAX)
    return;
  struct sim_report *report = &totals->reports[totals->n_reports++];
  snprintf(report->kind, sizeof report->kind, "%s", kind);
  report->by = by;
  report->accused = accused;
}

bool sim_is_hostile(const struct sim *sim) {
  return sim->settings.villain || sim->untrusted;
}

bool sim_is_corrupt(struct sim *sim, uint32_t id) {
  const struct sim_node *node = id ? sim_node_of(sim, id) : NULL;
  return node && (node->byzantine || sim_disk_has_lied((uint32_t)(node - sim->nodes) + 1));
}

bool sim_dies(struct sim *sim, enum sim_fault fault, double chance) {
  sim->totals.steps++;
  return ++sim->totals.actions == sim->settings.kill_at || sim_strikes(sim, fault, chance);
}

int64_t sim_delay(struct sim *sim, int64_t most) {
  return most > 0 ? (int64_t)nx_rng_below(&sim->rng, (uint64_t)most) : 0;
}

struct sim_blob sim_copy(struct nx_bytes bytes) {
  struct sim_blob blob = {malloc(bytes.size + 1), bytes.size};
  if (!blob.data)
    abort();
  if (bytes.size)
    memcpy(blob.data, bytes.data, bytes.size);
  return blob;
}

void sim_blob_free(struct sim_blob *blob) {
  free(blob->data);
  *blob = (struct sim_blob){0};
}

struct nx_bytes sim_view(const struct sim_blob *blob) {
  return nx_bytes(blob->data, blob->size);
}

struct nx_hash sim_next_model(const struct nx_hash *model, struct nx_bytes sum) {
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "sim/model");
  nx_sha256_hash(&sha, model);
  nx_sha256_bytes(&sha, sum);
  return nx_sha256_final(&sha);
}

/* --- the queue: a binary heap by (time, order) ----------------------------------------- */

static bool is_before(const struct sim_event *a, const struct sim_event *b) {
  return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_post(struct sim *sim, struct sim_event event, int64_t delay) {
  if (sim->n_queue == sim->queue_allocated) {
    sim->queue_allocated = sim->queue_allocated ? 2 * sim->queue_allocated : 256;
    sim->queue = reallocarray(sim->queue, sim->queue_allocated, sizeof *sim->queue);
    if (!sim->queue)
      abort();
  }
  event.at = delay > INT64_MAX - sim->now ? INT64_MAX : sim->now + delay;
  event.order = sim->order++;
  size_t i = sim->n_queue++;
  for (; i && is_before(&event, &sim->queue[(i - 1) / 2]); i = (i - 1) / 2)
    sim->queue[i] = sim->queue[(i - 1) / 2];
  sim->queue[i] = event;
}

static struct sim_event take_next(struct sim *sim) {
  struct sim_event first = sim->queue[0], last = sim->queue[--sim->n_queue];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= sim->n_queue)
      break;
    if (child + 1 < sim->n_queue && is_before(&sim->queue[child + 1], &sim->queue[child]))
      child++;
    if (is_before(&last, &sim->queue[child]))
      break;
    sim->queue[i] = sim->queue[child];
    i = child;
  }
  sim->queue[i] = last;
  return first;
}

static void free_event(struct sim_event *event) {
  sim_blob_free(&event->bytes);
  sim_blob_free(&event->more);
}

/* --- a federation ----------------------------------------------------------------------- */

static int fill_entropy(void *context, void *out, size_t size, struct nx_error *err) {
  struct nx_rng *rng = context;
  (void)err;
  for (uint8_t *p = out; size;) {
    uint64_t x = nx_rng_u64(rng);
    size_t n = NX_MIN(size, sizeof x);
    memcpy(p, &x, n);
    p += n;
    size -= n;
  }
  return 0;
}

static void make_federation(struct sim *sim) {
  static const uint32_t sizes[] = {3, 3, 4, 5, 6, 6, 7, 7};
  sim->n = sim->settings.n_nodes ? sim->settings.n_nodes
                                 : sizes[nx_rng_below(&sim->rng, NX_ARRAY_LENGTH(sizes))];
  fill_entropy(&sim->rng, sim->federation, sizeof sim->federation, NULL);
  sim->manifest = nx_sha256("manifest", 8);
  sim->plan = nx_sha256("plan", 4);
  sim->coordinator_spki = nx_sha256("coordinator", 11);
  sim->first_model = nx_sha256("model 0", 7);
  sim_draw_faults(sim);
  for (uint32_t i = 0; i < sim->n; i++)
    sim_node_make(sim, i);
  sim_coordinator_make(sim);
  sim_coordinator_start(sim);
  for (uint32_t i = 0; i < sim->n; i++)
    sim_node_start(sim, &sim->nodes[i]);
  sim->round_began = sim->now;
  sim_log(sim, "federation of %u: loss %.3f duplicate %.3f delay %.2f s kill %.3f/%.3f cut %.3f",
          sim->n, sim->faults.loss, sim->faults.duplicate, (double)sim->faults.delay / 1e9,
          sim->faults.kill_node, sim->faults.kill_coordinator, sim->faults.disconnect);
}

static void end_federation(struct sim *sim) {
  for (uint32_t i = 0; i < sim->n; i++)
    sim_node_free(&sim->nodes[i]);
  sim_coordinator_free(sim);
  sim_disk_world(sim);
  for (size_t i = 0; i < sim->n_queue; i++)
    free_event(&sim->queue[i]);
  sim->n_queue = 0;
  sim_watch_destroy(sim->watch);
  sim->watch = NULL;
}

static void handle(struct sim *sim, struct sim_event *event) {
  switch (event->type) {
  case SIM_TO_COORDINATOR:
  case SIM_COORDINATOR_TIMER:
  case SIM_RESTART_COORDINATOR:
  case SIM_ARRIVED:
  case SIM_UNMASKED:
  case SIM_NEXT_ATTEMPT:
    sim_coordinator_event(sim, event);
    break;
  case SIM_NOTICE:
    if (event->session == sim->nodes[event->node].session)
      sim_notice(sim, &sim->nodes[event->node]);
    break;
  case SIM_KEEPALIVE:
    if (event->session == sim->nodes[event->node].session &&
        sim_is_hung(sim, &sim->nodes[event->node]))
      sim_notice(sim, &sim->nodes[event->node]);
    break;
  default:
    sim_node_event(sim, &sim->nodes[event->node], event);
  }
}

static void live(struct sim *sim, uint64_t rounds) {
  uint64_t round = sim->coordinator.promised, attempts = sim->totals.attempts;
  sim->quiet = false;
  while (!sim->failed && sim->coordinator.promised < rounds && sim->n_queue) {
    struct sim_event event = take_next(sim);
    if (event.at == INT64_MAX) {
      free_event(&event);
      break;
    }
    sim->now = event.at;
    handle(sim, &event);
    free_event(&event);
    if (sim->coordinator.promised != round) {
      round = sim->coordinator.promised;
      sim->round_began = sim->now;
      sim->quiet = false;
    }
    if (sim->now - sim->round_began > QUIET_AFTER)
      sim->quiet = true;
    if (sim->over)
      return;
    if (sim_is_hostile(sim) && (sim->totals.attempts - attempts > VILLAINS_ATTEMPTS ||
                                sim->now - sim->round_began > GIVE_UP_AFTER))
      return;
    if (sim->now - sim->round_began > GIVE_UP_AFTER)
      sim_fail(sim, "I10: the round does not end although nothing disturbs it any more");
  }
  if (!sim->failed && sim->coordinator.promised < rounds && !sim_is_hostile(sim))
    sim_fail(sim, "I10: nothing is left that could happen, and the round is not sealed");
}

/* Each federation has randomness of its own, so that it can be looked at alone. */
static void seed(struct sim *sim) {
  uint64_t stream = 4 * sim->totals.federations;
  nx_rng_init(&sim->hang_rng, sim->settings.seed, stream);
  nx_rng_init(&sim->rng, sim->settings.seed, stream + 1);
  nx_rng_init(&sim->secret_rng, sim->settings.seed, stream + 2);
  nx_rng_init(&sim->disk_rng, sim->settings.seed, stream + 3);
  sim->n_struck = 0;
  sim->quiet = sim->untrusted = sim->over = false;
  sim->now = 0;
  sim->order = 0;
}

static void tell_progress(const struct sim *sim) {
  static int64_t last;
  int64_t now = nx_clock_monotonic();
  if (!sim->settings.progress || now - last < 10 * NX_SECOND)
    return;
  if (last)
    fprintf(stderr, "%llu of %llu rounds, %llu steps, %llu violations\n",
            (unsigned long long)sim->totals.rounds, (unsigned long long)sim->settings.rounds,
            (unsigned long long)sim->totals.steps, (unsigned long long)sim->totals.violations);
  last = now;
}

int sim_run(const struct sim_settings *settings, struct sim_totals *totals_out) {
  struct sim *sim = calloc(1, sizeof *sim);
  if (!sim)
    return -1;
  sim->settings = *settings;
  sim_disk_register_sqlite();
  sim_disk_world(sim);
  sim->entropy = (struct nx_entropy){fill_entropy, &sim->secret_rng};
  while (!sim->failed && sim->totals.rounds < settings->rounds) {
    uint64_t left = settings->rounds - sim->totals.rounds;
    sim->totals.federations =
        settings->federation ? settings->federation : sim->totals.federations + 1;
    seed(sim);
    if (sim_watch_create(&sim->watch) < 0)
      abort();
    make_federation(sim);
    live(sim, NX_MIN(left, settings->most_rounds ? settings->most_rounds
                                                 : (uint64_t)ROUNDS_OF_A_FEDERATION));
    end_federation(sim);
    tell_progress(sim);
    if (settings->villain || settings->federation)
      break; /* one federation, however far it came */
  }
  sim_disk_world(NULL);
  *totals_out = sim->totals;
  free(sim->queue);
  free(sim);
  return totals_out->violations ? 1 : 0;
}
