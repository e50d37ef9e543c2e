/* What goes wrong: drawn for each federation, struck one by one, counted by name. */
#include <stdio.h>

#include "crypto/threshold.h"
#include "tests/sim/sim.h"

static const char *const names[SIM_FAULTS] = {
    [SIM_FAULT_LOSS] = "loss",
    [SIM_FAULT_DUPLICATE] = "duplicate",
    [SIM_FAULT_DISCONNECT] = "disconnect",
    [SIM_FAULT_PARTITION] = "partition",
    [SIM_FAULT_HALF_OPEN] = "half-open",
    [SIM_FAULT_SLOW] = "slow-link",
    [SIM_FAULT_KILL_NODE] = "kill-node",
    [SIM_FAULT_KILL_COORDINATOR] = "kill-coordinator",
    [SIM_FAULT_JUMP] = "clock-jump",
    [SIM_FAULT_TEAR] = "torn-write",
    [SIM_FAULT_FULL] = "disk-full",
    [SIM_FAULT_EIO] = "disk-error",
    [SIM_FAULT_LIE] = "lost-sync",
    [SIM_FAULT_ROT] = "bit-rot",
    [SIM_FAULT_DAMAGE] = "damaged-upload",
    [SIM_FAULT_FAIL_WORK] = "failed-training",
    [SIM_FAULT_REFUSE] = "refusal",
    [SIM_FAULT_BYZANTINE] = "byzantine-member",
    [SIM_FAULT_HOSTILE] = "hostile-coordinator",
    [SIM_FAULT_HANG] = "hung-node",
};

const char *sim_fault_name(enum sim_fault fault) {
  return names[fault];
}

bool sim_fault_strikes(struct sim *sim, enum sim_fault fault, double p, struct nx_rng *rng) {
  if (p <= 0 || sim->quiet || nx_rng_uniform(rng) >= p || sim->settings.without & 1u << fault)
    return false;
  if (sim->settings.most_faults && sim->n_struck >= sim->settings.most_faults)
    return false;
  sim->n_struck++;
  sim->totals.struck[fault]++;
  return true;
}

bool sim_strikes(struct sim *sim, enum sim_fault fault, double p) {
  return sim_fault_strikes(sim, fault, p, &sim->rng);
}

static double pick(struct sim *sim, const double choices[4]) {
  return choices[nx_rng_below(&sim->rng, 4)];
}

static struct sim_disk_faults draw_disk(struct sim *sim) {
  static const double often[4] = {0, 0, 0.002, 0.01}, seldom[4] = {0, 0, 0, 0.003};
  struct sim_disk_faults disk = {.tear = pick(sim, often)};
  disk.full = pick(sim, seldom);
  disk.error = pick(sim, seldom);
  return disk;
}

/* What breaks a promise that no protocol can keep: members that lie, or whose disks do, up to
 * the n_C of them that a round bears; and a coordinator that does. One kind in a federation. */
static void draw_traitors(struct sim *sim) {
  struct sim_faults *faults = &sim->faults;
  uint32_t corrupt = nx_threshold_corrupt(sim->n);
  switch (nx_rng_below(&sim->rng, 12)) {
  case 0:
    faults->hostile = 0.05;
    break;
  case 1:
    faults->coordinator_disk.lie = 0.05;
    break;
  case 2:
    faults->node_disk.lie = corrupt ? 0.05 : 0; /* of the first node alone: sim_disk.c */
    break;
  case 3:
  case 4:
    faults->byzantine = corrupt ? 0.2 : 0;
    break;
  default:
    break;
  }
  sim->untrusted =
      (faults->hostile > 0 && !(sim->settings.without & 1u << SIM_FAULT_HOSTILE)) ||
      (faults->coordinator_disk.lie > 0 && !(sim->settings.without & 1u << SIM_FAULT_LIE));
}

void sim_draw_faults(struct sim *sim) {
  static const double rare[4] = {0, 0, 0.002, 0.01}, often[4] = {0, 0, 0.02, 0.1};
  static const double seldom[4] = {0, 0, 0.0005, 0.002}, sometimes[4] = {0, 0, 0.1, 0.3};
  static const int64_t delays[] = {20 * NX_MILLISECOND, 500 * NX_MILLISECOND, 8 * NX_SECOND};
  struct sim_faults *faults = &sim->faults;
  *faults = (struct sim_faults){.delay = delays[0], .streams = true};
  if (sim->settings.calm)
    return;
  faults->delay = delays[nx_rng_below(&sim->rng, NX_ARRAY_LENGTH(delays))];
  faults->streams = nx_rng_below(&sim->rng, 2);
  faults->loss = faults->streams ? 0 : pick(sim, often);
  faults->duplicate = faults->streams ? 0 : pick(sim, often);
  faults->disconnect = pick(sim, rare);
  faults->partition = pick(sim, seldom);
  faults->half_open = pick(sim, seldom);
  faults->slow = pick(sim, sometimes);
  faults->kill_node = pick(sim, rare);
  faults->kill_coordinator = pick(sim, rare);
  faults->jump = pick(sim, seldom);
  faults->damage = pick(sim, often);
  faults->fail_work = pick(sim, rare);
  faults->refuse = pick(sim, rare);
  faults->rot = pick(sim, sometimes);
  faults->node_disk = draw_disk(sim);
  faults->coordinator_disk = draw_disk(sim);
  draw_traitors(sim);
  /* Of their own randomness: what seeds did before there were these, they still do. */
  static const double hangs[4] = {0, 0, 0.002, 0.005};
  faults->hang = hangs[nx_rng_below(&sim->hang_rng, 4)];
  faults->stillness = nx_rng_below(&sim->hang_rng, 2) ? 30 * NX_SECOND : 0;
}

void sim_print_faults(const struct sim_totals *totals) {
  printf("faults:");
  for (int i = 0; i < SIM_FAULTS; i++)
    printf(" %s %llu%s", names[i], (unsigned long long)totals->struck[i],
           i + 1 < SIM_FAULTS ? "," : "\n");
}

/* --- clocks ------------------------------------------------------------------------------- */

int64_t sim_local_time(const struct sim *sim, const struct sim_clock *clock) {
  return clock->offset + (int64_t)((double)sim->now * clock->rate);
}

int64_t sim_until(const struct sim *sim, const struct sim_clock *clock, int64_t local) {
  int64_t left = local - sim_local_time(sim, clock);
  return left <= 0 ? 0 : (int64_t)((double)left / clock->rate) + 1;
}

/* Off by up to 5 %, a thousand times what a bad quartz is. */
void sim_draw_clock(struct sim *sim, struct sim_clock *clock) {
  bool calm = sim->settings.calm;
  *clock = (struct sim_clock){.rate = 1};
  if (calm)
    return;
  clock->offset = sim_delay(sim, 100000 * NX_SECOND);
  clock->rate = 0.95 + 0.1 * nx_rng_uniform(&sim->rng);
}
