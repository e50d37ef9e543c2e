/* Node config: what one institution decides about its node, in node.yaml. Parsed once,
 * then const. An unknown, missing or out-of-range key is an error with its line.
 * configs/node.yaml is a commented example; neurox-node init writes one like it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"

#define NX_NODE_CONFIG_VERSION 1
#define NX_CACHE_MB 2048 /* where node.yaml does not say */

/* What becomes of a run when a recording cannot be read. */
enum nx_broken_files {
  NX_BROKEN_STOP, /* this site takes no part until it is mended */
  NX_BROKEN_SKIP  /* goes on without it; the log names it */
};

struct nx_node_config_data {
  char *name;                     /* of this data set, for plans that name theirs; or NULL */
  char *folder;                   /* recordings; opened only while a round runs */
  char **held_out;                /* subjects that only ever score a model, or NULL */
  uint32_t n_held_out;            /* either these names … */
  uint32_t *held_out_fold;        /* … or the fold-th subject in order of name; NULL: neither */
  bool allow_identifying_headers; /* train from files whose header may say who somebody is */
  char **withdrawn;               /* subjects that are not even read, or NULL */
  uint32_t n_withdrawn;
  char *modality, *species; /* of these recordings, for plans that take any; NULL: not said */
  char *behaviour;          /* vocabulary of behaviour (configs/behaviour.yaml) or NULL */
  enum nx_broken_files broken_files;
  uint32_t *cache_mb; /* of preprocessed recordings in HOME/cache; 0: off; NULL: NX_CACHE_MB */
};

/* How many days things lie in the node's folder (site_retention.h); 0: no limit, NULL: not said. */
struct nx_node_config_keep {
  uint32_t *uploads_days, *models_days, *answers_days, *receipts_days;
};

struct nx_node_config {
  uint32_t neurox_node;     /* NX_NODE_CONFIG_VERSION */
  char *name;               /* this member, as the other stewards see it */
  char *coordinator;        /* host:port of the main service */
  uint32_t upload_kb_per_s; /* 0: as fast as it goes */
  uint32_t download_kb_per_s;
  uint32_t threads;         /* for training; 0: one per processor */
  uint32_t memory_mb;       /* MiB that this node may come to have; 0: what the machine has left */
  char *passphrase_file;    /* what protected keys are opened with, from the node's folder, or NULL */
  struct nx_node_config_data data;
  struct nx_node_config_keep keep;
  char *policy; /* file with the site's policy, from the node's folder; see site_policy.h */
};

/* NX_E_FORMAT names the file, the line and the key; NX_E_INVALID the key out of range. */
int nx_node_config_load(const char *path, struct nx_node_config **config_out, struct nx_error *err);
/* Writes a commented node.yaml (0600) that loads as `config`; NX_E_EXISTS when there is one. */
int nx_node_config_write(const char *path, const struct nx_node_config *config,
                         struct nx_error *err);
/* keep:, and what holds where it says nothing. */
struct nx_node_days {
  uint32_t uploads, models, answers, receipts; /* 0: no limit */
};
struct nx_node_days nx_node_config_days(const struct nx_node_config *config);
void nx_node_config_destroy(struct nx_node_config *config); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_node_config *, nx_node_config_destroy)
