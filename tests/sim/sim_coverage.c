/* Which inputs came to the cores in which states: a run that never tried something has shown
 * nothing about it. */
#include <stdio.h>

#include "tests/sim/sim.h"

#define FIRST_MESSAGE 32

static const char *const round_states[] = {"idle",     "adverts", "shares", "uploads",  "votes",
                                           "releases", "unmask",  "seals",  "aborting", "finished"};
static const char *const node_states[] = {"idle",   "considering", "roster", "bundle",
                                          "commit", "certificate", "result", "checking"};
static const char *const round_events[] = {"begin",    "restore",  "connected", "lost",
                                           "message",  "uploaded", "unmasked",  "failed",
                                           "deadline", "abort"};
static const char *const node_events[] = {"restore",  "connected", "disconnected", "message",
                                          "decided",  "ready",     "failed",       "masked",
                                          "uploaded", "checked",   "caught-up",    "deadline"};

static uint32_t index_of(const char *name, const char *const *names, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    if (!strcmp(name, names[i]))
      return i;
  return 0;
}

static uint32_t input_of(uint32_t event, bool is_message, struct nx_bytes message) {
  /* A SignedMessage begins with its type: tag 0x08, one byte. */
  bool typed = is_message && message.size > 1 && message.data[0] == 8 && message.data[1] >= 100;
  uint32_t type = typed ? message.data[1] - 100u : 0;
  return typed && FIRST_MESSAGE + type < SIM_INPUTS ? FIRST_MESSAGE + type : event;
}

void sim_seen_round(struct sim *sim, const struct nx_round_event *event) {
  struct nx_round_progress progress;
  nx_round_progress(sim->coordinator.core, &progress);
  uint32_t state = index_of(progress.phase, round_states, NX_ARRAY_LENGTH(round_states));
  sim->totals
      .round_seen[state][input_of(event->type, event->type == NX_ROUND_MESSAGE, event->message)]++;
}

void sim_seen_node(struct sim *sim, const struct sim_node *node,
                   const struct nx_participant_event *event) {
  struct nx_participant_progress progress;
  nx_participant_progress(node->core, &progress);
  uint32_t state = index_of(progress.phase, node_states, NX_ARRAY_LENGTH(node_states));
  sim->totals.node_seen[state][input_of(event->type, event->type == NX_PARTICIPANT_MESSAGE,
                                        event->message)]++;
}

static const char *input_name(uint32_t input, const char *const *events, uint32_t n_events) {
  if (input >= FIRST_MESSAGE)
    return nx_message_name(100 + input - FIRST_MESSAGE);
  return input < n_events ? events[input] : NULL;
}

static void print_table(const char *who, const char *const *states, uint32_t n_states,
                        const char *const *events, uint32_t n_events,
                        const uint64_t seen[SIM_STATES][SIM_INPUTS], bool all) {
  uint32_t tried = 0, inputs = 0;
  for (uint32_t s = 0; s < n_states; s++) {
    if (all)
      printf("%-12s %-12s", s ? "" : who, states[s]);
    for (uint32_t i = 0; i < SIM_INPUTS; i++) {
      const char *name = input_name(i, events, n_events);
      if (!seen[s][i] || !name)
        continue;
      tried++;
      if (all)
        printf(" %s:%llu", name, (unsigned long long)seen[s][i]);
    }
    if (all)
      putchar('\n');
  }
  for (uint32_t i = 0; i < SIM_INPUTS; i++)
    for (uint32_t s = 0; s < n_states; s++)
      if (seen[s][i] && input_name(i, events, n_events)) {
        inputs++;
        break;
      }
  printf("coverage: %s: %u states x %u kinds of input, %u pairs came\n", who, n_states, inputs,
         tried);
}

void sim_print_coverage(const struct sim_totals *totals, bool all) {
  print_table("coordinator", round_states, NX_ARRAY_LENGTH(round_states), round_events,
              NX_ARRAY_LENGTH(round_events), totals->round_seen, all);
  print_table("node", node_states, NX_ARRAY_LENGTH(node_states), node_events,
              NX_ARRAY_LENGTH(node_events), totals->node_seen, all);
}
