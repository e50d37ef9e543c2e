/* Node config: what one institution decides about its node, in node.yaml. Parsed once,
 * then const. An unknown, missing or out-of-range key is an error with its line.
 * configs/node.yaml is a commented example; neurox-node init writes one like it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"

#define NX_NODE_CONFIG_VERSION 1

/* Who says yes to a plan that is not on the list. */
enum nx_approval {
  NX_APPROVAL_AUTO, /* any plan within the policy runs */
  NX_APPROVAL_ASK   /* a plan waits until `neurox-node approve` has put it on the list */
};

struct nx_node_config_data {
  char *folder;            /* recordings; opened only while a round runs */
  char **held_out;         /* subjects that only ever score a model, or NULL */
  uint32_t n_held_out;     /* either these names … */
  uint32_t *held_out_fold; /* … or the fold-th subject in order of name; NULL: neither */
  char **withdrawn;        /* subjects that are not even read, or NULL */
  uint32_t n_withdrawn;
};

struct nx_node_config_policy {
  uint32_t minimum_members; /* smallest cohort this node takes part in, 3..255 */
  enum nx_approval approval;
  char **plans; /* SHA-256 of plans approved here, 64 hex digits each, or NULL */
  uint32_t n_plans;
};

struct nx_node_config {
  uint32_t neurox_node;     /* NX_NODE_CONFIG_VERSION */
  char *name;               /* this member, as the other stewards see it */
  char *coordinator;        /* host:port of the main service */
  uint32_t upload_kb_per_s; /* 0: as fast as it goes */
  uint32_t threads;         /* for training; 0: one per processor */
  struct nx_node_config_data data;
  struct nx_node_config_policy policy;
};

/* NX_E_FORMAT names the file, the line and the key; NX_E_INVALID the key out of range. */
int nx_node_config_load(const char *path, struct nx_node_config **config_out, struct nx_error *err);
/* Writes a commented node.yaml (0600) that loads as `config`; NX_E_EXISTS when there is one. */
int nx_node_config_write(const char *path, const struct nx_node_config *config,
                         struct nx_error *err);
void nx_node_config_destroy(struct nx_node_config *config); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_node_config *, nx_node_config_destroy)
