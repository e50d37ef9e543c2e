/* neurox-sim: the protocol under faults drawn from a seed. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

static const struct option options[] = {
    {"seed", required_argument, NULL, 's'},  {"rounds", required_argument, NULL, 'r'},
    {"nodes", required_argument, NULL, 'n'}, {"json", required_argument, NULL, 'j'},
    {"calm", no_argument, NULL, 'c'},        {"verbose", no_argument, NULL, 'v'},
    {"long", no_argument, NULL, 'l'},        {"coverage", no_argument, NULL, 'o'},
    {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};

static int usage(FILE *stream, int status) {
  fputs("usage: neurox-sim [--seed S] [--rounds N | --long] [--nodes N] [--json FILE]\n"
        "                  [--calm] [--coverage] [--verbose]\n"
        "  Drives coordinator and nodes through N rounds with faults drawn from S, and checks\n"
        "  that the invariants of the protocol hold. The same seed gives the same run.\n",
        stream);
  return status;
}

static int write_json(const char *path, const struct sim_settings *settings,
                      const struct sim_totals *totals, double seconds) {
  FILE *file = fopen(path, "w");
  if (!file) {
    fprintf(stderr, "neurox-sim: cannot write %s\n", path);
    return 1;
  }
  fprintf(file,
          "{\"seed\": %llu, \"rounds\": %llu, \"steps\": %llu, \"steps_per_s\": %.0f, "
          "\"attempts\": %llu, \"recovered\": %llu, \"kills\": %llu, \"violations\": %llu}\n",
          (unsigned long long)settings->seed, (unsigned long long)totals->rounds,
          (unsigned long long)totals->steps, (double)totals->steps / seconds,
          (unsigned long long)totals->attempts, (unsigned long long)totals->recovered,
          (unsigned long long)totals->kills, (unsigned long long)totals->violations);
  return fclose(file) ? 1 : 0;
}

static void print_totals(const struct sim_settings *settings, const struct sim_totals *totals,
                         double seconds) {
  printf("seed %llu: %llu rounds in %llu federations, %llu attempts (%llu aborted with a "
         "certificate, %llu lost),\n  %llu dropouts recovered, %llu kills, %llu steps, %.0f "
         "steps/s, %llu violations\n",
         (unsigned long long)settings->seed, (unsigned long long)totals->rounds,
         (unsigned long long)totals->federations, (unsigned long long)totals->attempts,
         (unsigned long long)totals->aborted, (unsigned long long)totals->lost,
         (unsigned long long)totals->recovered, (unsigned long long)totals->kills,
         (unsigned long long)totals->steps, (double)totals->steps / seconds,
         (unsigned long long)totals->violations);
}

int main(int argc, char **argv) {
  struct sim_settings settings = {.seed = 1, .rounds = 300};
  struct sim_totals totals;
  const char *json = NULL;
  bool coverage = false;
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (c) {
    case 's':
      settings.seed = strtoull(optarg, NULL, 0);
      break;
    case 'r':
      settings.rounds = strtoull(optarg, NULL, 0);
      break;
    case 'n':
      settings.n_nodes = (uint32_t)strtoul(optarg, NULL, 0);
      break;
    case 'j':
      json = optarg;
      break;
    case 'c':
      settings.calm = true;
      break;
    case 'v':
      settings.verbose = true;
      break;
    case 'l':
      settings.rounds = 100000;
      break;
    case 'o':
      coverage = true;
      break;
    case 'h':
      return usage(stdout, 0);
    default:
      return usage(stderr, 2);
    }
  }
  if (optind < argc || !settings.rounds || (settings.n_nodes && settings.n_nodes < 3) ||
      settings.n_nodes > 252)
    return usage(stderr, 2);
  int64_t began = nx_clock_monotonic();
  int r = sim_run(&settings, &totals);
  double seconds = (double)(nx_clock_monotonic() - began) / 1e9;
  print_totals(&settings, &totals, seconds);
  if (coverage)
    sim_print_coverage(&totals);
  if (r)
    fprintf(stderr, "again with: neurox-sim --seed %llu --rounds %llu --verbose\n",
            (unsigned long long)settings.seed, (unsigned long long)settings.rounds);
  if (json && write_json(json, &settings, &totals, seconds))
    return 1;
  return r;
}
