/* neurox-sim: the protocol under faults drawn from a seed. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/sim.h"

static const struct option options[] = {
    {"seed", required_argument, NULL, 's'},    {"rounds", required_argument, NULL, 'r'},
    {"nodes", required_argument, NULL, 'n'},   {"json", required_argument, NULL, 'j'},
    {"calm", no_argument, NULL, 'c'},          {"verbose", no_argument, NULL, 'v'},
    {"long", no_argument, NULL, 'l'},          {"coverage", no_argument, NULL, 'o'},
    {"help", no_argument, NULL, 'h'},          {"federation", required_argument, NULL, 'f'},
    {"without", required_argument, NULL, 'w'}, {"faults", required_argument, NULL, 'k'},
    {"no-shrink", no_argument, NULL, 'S'},     {NULL, 0, NULL, 0}};

static int usage(FILE *stream, int status) {
  fputs("usage: neurox-sim [--seed S] [--rounds N | --long] [--nodes N] [--json FILE]\n"
        "                  [--calm] [--coverage] [--verbose] [--no-shrink]\n"
        "                  [--federation F] [--without FAULT,…] [--faults N]\n\n"
        "  Drives coordinator and nodes through N rounds (300) with faults drawn from S (1), and\n"
        "  checks after every step that the invariants of the protocol hold (docs/rounds.md).\n"
        "  The same seed gives the same run, to the last byte. A run that fails is shrunk to the\n"
        "  smallest that still does, and the command that repeats it is printed.\n\n"
        "  --nodes N       in every federation, 3 to 252; else 3 to 7, by lot\n"
        "  --long          100,000 rounds\n"
        "  --calm          no faults\n"
        "  --coverage      which inputs came in which states, each with its number\n"
        "  --verbose       what happens, line by line\n"
        "  --federation F  only the F-th federation of the seed (at most 6 rounds)\n"
        "  --without …     no faults of these kinds\n"
        "  --faults N      only the first N faults of a federation\n\n"
        "  faults:",
        stream);
  for (int i = 0; i < SIM_FAULTS; i++)
    fprintf(stream, "%s %s", i == 8 || i == 15 ? "\n         " : "",
            sim_fault_name((enum sim_fault)i));
  fputc('\n', stream);
  return status;
}

/* False: there is no such fault. */
static bool parse_without(char *list, uint32_t *without) {
  for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
    int i = 0;
    while (i < SIM_FAULTS && strcmp(name, sim_fault_name((enum sim_fault)i)))
      i++;
    if (i == SIM_FAULTS) {
      fprintf(stderr, "neurox-sim: --without: there is no fault '%s'; --help lists them\n", name);
      return false;
    }
    *without |= 1u << i;
  }
  return true;
}

/* CPU time: a machine that is busy otherwise does not change it. */
static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int write_json(const char *path, const struct sim_settings *settings,
                      const struct sim_totals *totals, double seconds) {
  FILE *file = fopen(path, "w");
  if (!file) {
    fprintf(stderr, "neurox-sim: cannot write %s\n", path);
    return 1;
  }
  fprintf(file,
          "{\"seed\": %llu, \"rounds\": %llu, \"steps_per_s\": %.0f, \"violations\": %llu, "
          "\"steps\": %llu, \"cpu_seconds\": %.2f, \"attempts\": %llu, \"recovered\": %llu, "
          "\"kills\": %llu, \"acknowledged\": %llu, \"lost_acknowledged\": %llu}\n",
          (unsigned long long)settings->seed, (unsigned long long)totals->rounds,
          (double)totals->steps / seconds, (unsigned long long)totals->violations,
          (unsigned long long)totals->steps, seconds, (unsigned long long)totals->attempts,
          (unsigned long long)totals->recovered, (unsigned long long)totals->kills,
          (unsigned long long)totals->acknowledged, (unsigned long long)totals->lost_acknowledged);
  return fclose(file) ? 1 : 0;
}

static void print_totals(const struct sim_settings *settings, const struct sim_totals *totals,
                         double seconds) {
  printf("seed %llu: %llu rounds in %llu federations, %llu attempts (%llu aborted with a "
         "certificate, %llu lost),\n  %llu dropouts recovered, %llu kills, %llu restarts of nodes "
         "(%llu with a torn journal), %llu of the coordinator,\n  %llu things acknowledged, %llu "
         "lost, %llu steps, %.0f steps per second of CPU, %llu violations\n",
         (unsigned long long)settings->seed, (unsigned long long)totals->rounds,
         (unsigned long long)totals->federations, (unsigned long long)totals->attempts,
         (unsigned long long)totals->aborted, (unsigned long long)totals->lost,
         (unsigned long long)totals->recovered, (unsigned long long)totals->kills,
         (unsigned long long)totals->restored_nodes, (unsigned long long)totals->torn_journals,
         (unsigned long long)totals->restored_coordinators,
         (unsigned long long)totals->acknowledged, (unsigned long long)totals->lost_acknowledged,
         (unsigned long long)totals->steps, (double)totals->steps / seconds,
         (unsigned long long)totals->violations);
}

struct request {
  struct sim_settings settings;
  const char *json;
  bool coverage, shrink;
};

static uint64_t number(const char *text) {
  char *end;
  uint64_t value = strtoull(text, &end, 0);
  if (*end || !*text) {
    fprintf(stderr, "neurox-sim: '%s' is not a number\n", text);
    exit(2);
  }
  return value;
}

/* Negative: go on; otherwise the exit status. */
static int parse(int argc, char **argv, struct request *request) {
  struct sim_settings *settings = &request->settings;
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (c) {
    case 's':
      settings->seed = number(optarg);
      break;
    case 'r':
      settings->rounds = number(optarg);
      break;
    case 'n':
      settings->n_nodes = (uint32_t)number(optarg);
      break;
    case 'j':
      request->json = optarg;
      break;
    case 'c':
      settings->calm = true;
      break;
    case 'v':
      settings->verbose = true;
      break;
    case 'l':
      settings->rounds = 100000;
      break;
    case 'o':
      request->coverage = true;
      break;
    case 'f':
      settings->federation = number(optarg);
      break;
    case 'k':
      settings->most_faults = number(optarg);
      break;
    case 'w':
      if (!parse_without(optarg, &settings->without))
        return 2;
      break;
    case 'S':
      request->shrink = false;
      break;
    case 'h':
      return usage(stdout, 0);
    default:
      return usage(stderr, 2);
    }
  }
  if (optind < argc || !settings->rounds || (settings->n_nodes && settings->n_nodes < 3) ||
      settings->n_nodes > NX_MEMBERS_MAX)
    return usage(stderr, 2);
  return -1;
}

int main(int argc, char **argv) {
  struct request request = {.settings = {.seed = 1, .rounds = 300, .progress = true},
                            .shrink = true};
  struct sim_totals totals;
  int status = parse(argc, argv, &request);
  if (status >= 0)
    return status;
  double began = cpu_seconds();
  int r = sim_run(&request.settings, &totals);
  double seconds = cpu_seconds() - began;
  print_totals(&request.settings, &totals, seconds);
  sim_print_faults(&totals);
  sim_print_coverage(&totals, request.coverage);
  if (request.json && write_json(request.json, &request.settings, &totals, seconds))
    return 1;
  if (r && request.shrink)
    sim_shrink(request.settings, &totals);
  return r;
}
