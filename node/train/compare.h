/* Compare: the arms a federation is printed beside, which only a demonstration with all
 * recordings on one machine can compute: local-only (each site alone), centralised (pooled),
 * linear band power (pooled). Site = number of the subject mod n_sites; fold h holds out the
 * subjects with number div n_sites = h. */
#pragma once

#include <stdio.h>

#include "node/train/trainer.h"

enum nx_arm {
  NX_ARM_LOCAL,
  NX_ARM_FEDERATED, /* scores of a given model */
  NX_ARM_CENTRALISED,
  NX_ARM_LINEAR
};
#define NX_ARMS 4

struct nx_compare_options {
  const char *folder; /* all recordings; subject ids end in a number */
  const struct nx_plan *plan;
  size_t n_sites, fold;
  unsigned arms;                          /* bit 1 << arm */
  uint64_t seed;                          /* batches and dropout of the arms trained here */
  const struct nx_model *federated_model; /* for NX_ARM_FEDERATED, else NULL */
  /* Rows "fold arm subject recording window label score", tabs between; local arms are
   * named "local-SITE". No header. NULL: none. */
  FILE *scores;
  const char *reader;   /* of the sandbox, see nx_dataset_options; NULL: none */
  struct nx_pool *pool; /* reads recordings side by side; NULL: this thread alone */
  void (*progress)(void *context, const char *arm, size_t done, size_t total); /* or NULL */
  void *context;
};

struct nx_arm_result {
  double auroc, balanced_accuracy; /* window level; LOCAL: mean over sites */
  double auroc_recording;          /* mean logit of a recording */
  double seconds;
};

struct nx_compare_result {
  struct nx_arm_result arms[NX_ARMS];
  size_t n_windows, n_recordings; /* held out */
  bool synthetic;
};

/* Trains and scores the arms asked for. NX_E_INVALID: subjects without numbers, a fold that
 * holds nobody out, a site that is left with nobody. */
int nx_compare(const struct nx_compare_options *options, struct nx_compare_result *result_out,
               struct nx_error *err);
const char *nx_arm_name(enum nx_arm arm);
