/* Compare: the arms a federation is printed beside, which only a demonstration with all
 * recordings on one machine can compute: local-only (each site alone), centralised (pooled),
 * linear band power (pooled). Site = number of the subject mod n_sites; fold h holds out the
 * subjects with number div n_sites = h. */
#pragma once

#include <stdio.h>

#include "node/train/trainer.h"

enum nx_arm {
  NX_ARM_LOCAL,
  NX_ARM_FEDERATED, /* scores of a model file */
  NX_ARM_CENTRALISED,
  NX_ARM_LINEAR
};
#define NX_ARMS 4

struct nx_compare_options {
  const char *folder;
  const char *plan_name;
  const struct nx_plan *plan;
  size_t n_sites, fold;
  unsigned arms;               /* bit 1 << arm */
  const char *federated_model; /* safetensors path for NX_ARM_FEDERATED, else NULL */
  FILE *scores;                /* rows "fold arm subject recording window label score", or NULL */
  struct nx_pool *pool;
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

int nx_compare(const struct nx_compare_options *options, struct nx_compare_result *result_out,
               struct nx_error *err);
const char *nx_arm_name(enum nx_arm arm);
