/* Step memory: what training of a plan takes at this site, found before any of it: tables of the
 * plan's model, and one training step over nothing (models/outline.h, backend/hollow.c). What is
 * said is what a step takes at most; recordings and the program itself come on top. */
#pragma once

#include <stdio.h>

#include "common/plan.h"
#include "node/dataset/dataset.h"

struct nx_step_memory {
  size_t model;             /* of the round, with what its adapters lie over */
  size_t copy;              /* that trains, what adapters are merged into, and the update */
  size_t gradients;         /* and a thread's own, where a step has more than one slice */
  size_t moments;           /* of the optimiser */
  size_t activations;       /* of all threads */
  size_t windows;           /* of a step, as the network reads them */
  size_t workspace;         /* of the arithmetic */
  size_t total;             /* of all that */
  size_t threads, channels; /* that it was asked for; channels: the most */
};

/* For recordings of the plan's modality with that many channels, or those of an open data set.
 * threads: 0 is one for each processor. */
int nx_step_memory_of_channels(const struct nx_plan *plan, size_t channels, size_t threads,
                               struct nx_step_memory *out, struct nx_error *err);
int nx_step_memory_of_data(const struct nx_plan *plan, const struct nx_dataset *dataset,
                           size_t threads, struct nx_step_memory *out, struct nx_error *err);

/* A table for people. */
void nx_step_memory_tell(const struct nx_step_memory *memory, FILE *out);

/* NX_E_DENIED when it does not fit beside what this process has already, with how much is needed,
 * how much there is and what to do. limit: bytes that the node may have, 0: what the machine has
 * (common/memory.h). has_model: the round's model is among what the process has. dataset may be
 * NULL: channels of memory->channels then. */
struct nx_step_site {
  const struct nx_plan *plan;
  const struct nx_dataset *dataset;
  size_t limit;
  bool has_model;
};
int nx_step_memory_check(const struct nx_step_site *site, const struct nx_step_memory *memory,
                         struct nx_error *err);
