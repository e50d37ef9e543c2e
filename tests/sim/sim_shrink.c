/* The smallest run that still fails: of the federation in which it did, with fewer kinds of
 * faults, fewer faults, fewer rounds and fewer nodes. Each is tried and kept when a violation
 * is left; which one it is may change, as long as there is one. */
#include <stdio.h>

#include "tests/sim/sim.h"

#define TRIES 120

struct shrinking {
  struct sim_settings best;
  struct sim_totals totals; /* of the best */
  unsigned tries;
};

static bool try(struct shrinking *shrinking, const struct sim_settings *settings) {
  struct sim_totals totals;
  if (shrinking->tries >= TRIES)
    return false;
  shrinking->tries++;
  sim_run(settings, &totals);
  if (!totals.violations)
    return false;
  shrinking->best = *settings;
  shrinking->totals = totals;
  return true;
}

static uint64_t struck(const struct sim_totals *totals) {
  uint64_t n = 0;
  for (int i = 0; i < SIM_FAULTS; i++)
    n += totals->struck[i];
  return n;
}

static void fewer_kinds(struct shrinking *shrinking) {
  for (int i = 0; i < SIM_FAULTS; i++) {
    struct sim_settings settings = shrinking->best;
    settings.without |= 1u << i;
    if (settings.without != shrinking->best.without)
      try(shrinking, &settings);
  }
}

/* The first k faults, k halved as long as it fails, then one less at a time. */
static void fewer_faults(struct shrinking *shrinking) {
  uint64_t n = struck(&shrinking->totals);
  for (uint64_t step = n / 2; step;) {
    struct sim_settings settings = shrinking->best;
    if (n <= step) {
      step /= 2;
      continue;
    }
    settings.most_faults = n - step;
    if (try(shrinking, &settings))
      n -= step;
    else
      step /= 2;
  }
}

static void fewer_nodes(struct shrinking *shrinking) {
  for (uint32_t n = 3; n < shrinking->totals.failed_nodes; n++) {
    struct sim_settings settings = shrinking->best;
    settings.n_nodes = n;
    if (try(shrinking, &settings))
      return;
  }
}

static void fewer_rounds(struct shrinking *shrinking) {
  for (uint64_t n = 1; n < shrinking->best.rounds; n++) {
    struct sim_settings settings = shrinking->best;
    settings.rounds = n;
    if (try(shrinking, &settings))
      return;
  }
}

static void print_command(const struct sim_settings *settings) {
  fprintf(stderr, "./run sim --seed %llu --federation %llu --rounds %llu",
          (unsigned long long)settings->seed, (unsigned long long)settings->federation,
          (unsigned long long)settings->rounds);
  if (settings->n_nodes)
    fprintf(stderr, " --nodes %u", settings->n_nodes);
  if (settings->most_faults)
    fprintf(stderr, " --faults %llu", (unsigned long long)settings->most_faults);
  const char *between = " --without ";
  for (int i = 0; i < SIM_FAULTS; i++)
    if (settings->without & 1u << i) {
      fprintf(stderr, "%s%s", between, sim_fault_name((enum sim_fault)i));
      between = ",";
    }
  fprintf(stderr, "%s --verbose\n", settings->calm ? " --calm" : "");
}

void sim_shrink(struct sim_settings settings, const struct sim_totals *totals) {
  struct shrinking shrinking = {.tries = 0};
  settings.silent = true;
  settings.verbose = settings.progress = false;
  settings.federation = totals->federations;
  settings.rounds = 6;
  shrinking.best = settings;
  if (!try(&shrinking, &settings)) {
    fprintf(stderr, "its federation alone does not fail: run the whole seed again\n");
    return;
  }
  fprintf(stderr, "shrinking …\n");
  fewer_rounds(&shrinking);
  fewer_kinds(&shrinking);
  fewer_nodes(&shrinking);
  fewer_faults(&shrinking);
  fewer_kinds(&shrinking);
  fprintf(stderr, "smallest of %u runs, %u nodes, %llu faults: %s\n", shrinking.tries,
          shrinking.totals.failed_nodes, (unsigned long long)struck(&shrinking.totals),
          shrinking.totals.violation);
  print_command(&shrinking.best);
}
