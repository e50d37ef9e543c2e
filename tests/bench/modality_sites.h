/* Modality sites: the shared recordings as the sites of a federation would hold them, read through
 * the node's own path (node/dataset/dataset.h) for the plan configs/plan-general.yaml, and split into
 * what a network may train on and what it is judged by. For benches: errors end the program. */
#pragma once

#include "common/plan.h"
#include "node/dataset/dataset.h"
#include "node/dataset/signal.h"

enum modality_split {
  SPLIT_SUBJECTS, /* every third person is held out */
  SPLIT_TIME      /* of each recording the first 60 %, a gap of one window, the rest */
};

struct modality_site {
  const char *name, *species, *modality;
  enum modality_split split;
  uint32_t patches;       /* of a window */
  uint32_t patch_samples; /* of the modality's (first) tokeniser; 0: the plan's */
  double rate_hz;         /* 0: the plan's */
  size_t steps, batch;    /* of training in bench-modalities */
  bool behaviour;         /* its recordings can be cut into stretches of still and moving */
  void (*fill)(const char *folder);
};

extern const struct modality_site modality_sites[];
extern const size_t n_modality_sites;

/* The plan of a site: configs/plan-general.yaml with the site's window, and this objective. */
struct nx_plan *modality_site_plan(const struct modality_site *site, enum nx_plan_objective objective);
/* Opened as a node would; the files are gone from the temporary folder afterwards. With a plan of
 * objective classification: stretches of still and moving. */
struct nx_dataset *modality_site_open(const struct modality_site *site, const struct nx_plan *plan);

/* The same recordings, split. Channels of SPLIT_TIME are scaled and described (statistics) anew by
 * their first part alone; those that never change in it are left out. sets[k].signals are owned. */
struct modality_split_sets {
  size_t n_sets;
  struct nx_signals sets[2];
  struct nx_signal *signals[2];
  size_t n_memory;
  void **memory;
};

void modality_site_split(const struct modality_site *site, const struct nx_plan *plan,
                         const struct nx_dataset *dataset, struct modality_split_sets *out);
void modality_split_finish(struct modality_split_sets *sets);
