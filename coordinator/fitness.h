/* Fitness: what sites answered to "do your data meet what this plan requires?" (codec_site.h), and
 * which of them withdrew somebody whose recordings are in a model version. Answers live in memory:
 * a site that connects is asked anew. Round thread. */
#pragma once

#include "coordinator/coordinator_internal.h"

#define NX_FITNESS_PLANS 16 /* whose answers are kept; the oldest go */

struct nx_fitness_answer {
  enum nx_fit_verdict verdict; /* 0: none yet */
  uint32_t unmet;
  bool counted;
  uint32_t subjects, recordings;
};
struct nx_fitness_plan {
  struct nx_hash plan;
  char name[NX_STORE_NAME_SIZE];
  uint64_t used; /* the larger the newer */
  struct nx_fitness_answer answers[256];
};
struct nx_fitness {
  struct nx_fitness_plan plans[NX_FITNESS_PLANS];
  uint64_t uses;
};

/* Asks one member (or all that are here: stream NULL), if its software answers. */
void nx_fitness_ask(struct nx_coordinator *c, struct nx_stream *stream, const struct nx_hash *plan,
                    const char *name);
/* A member has come: asked about the run under way, else about the plan submitted last. */
void nx_fitness_greet(struct nx_coordinator *c, struct nx_stream *stream);
/* True: the message was one of site.proto. */
bool nx_fitness_hear(struct nx_coordinator *c, uint32_t member, struct nx_bytes message);

/* The plan that a status is about: of the run, else submitted last; zero: none. */
struct nx_hash nx_fitness_present(struct nx_coordinator *c, char name_out[NX_STORE_NAME_SIZE]);
/* NULL: nobody was asked about this plan since the coordinator started. */
const struct nx_fitness_plan *nx_fitness_of(const struct nx_coordinator *c,
                                            const struct nx_hash *plan);
/* NX_E_DENIED: so many sites answered no that too few are left; names them and their reasons. */
int nx_fitness_check(struct nx_coordinator *c, const struct nx_hash *plan, uint32_t minimum,
                     struct nx_error *err);
