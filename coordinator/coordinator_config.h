/* Coordinator config: what the operator decides, in coordinator.yaml. Parsed once, then
 * const. An unknown, missing or out-of-range key is an error with its line.
 * neurox-coordinator init writes a commented one; configs/coordinator.yaml is an example. */
#pragma once

#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"

#define NX_COORDINATOR_CONFIG_VERSION 1

/* How long masked uploads stay on disk: what an auditor can replay, and what an attacker
 * with the keys of a later decade could open. */
enum nx_keep_uploads {
  NX_KEEP_ROUND, /* gone when their round is sealed */
  NX_KEEP_RUN    /* gone when the next run starts, so a finished run can be replayed */
};

struct nx_coordinator_config {
  uint32_t neurox_coordinator; /* NX_COORDINATOR_CONFIG_VERSION */
  char *name;                  /* of the federation, as its members see it */
  char *address;               /* HOST:PORT where members reach the main service */
  char *listen;                /* HOST:PORT it is bound to here */
  char *enrol_address;         /* the same for enrolment, open only while someone is invited */
  char *enrol_listen;
  uint32_t invitation_hours; /* how long an invitation can be used */
  uint32_t certificate_days; /* how long a member's certificate and our own are valid */
  uint32_t threads;          /* for sums and masks; 0: one per processor */
  uint32_t attempts;         /* of one round, before the run stops and says why */
  enum nx_keep_uploads keep_uploads;
  uint32_t *keep_uploads_days;  /* masked uploads go at the latest after these; 0: keep_uploads;
                                 * NULL: not said, 14 */
  uint32_t keep_models_days;    /* models and sums of past rounds; 0: for ever */
  uint32_t *stillness_seconds;  /* how long nothing of a member that is waited for may move; 0: for
                                 * ever. NULL: not said, 300 */
  char *passphrase_file;        /* of a protected identity.key, from the home folder, or NULL */
  uint32_t certificate_seconds; /* instead of certificate_days, when not 0: for drills */
};

/* keep_uploads_days, or what holds when it is not said. */
uint32_t nx_coordinator_config_upload_days(const struct nx_coordinator_config *config);
/* stillness_seconds, or what holds when it is not said. */
uint32_t nx_coordinator_config_stillness(const struct nx_coordinator_config *config);

/* NX_E_FORMAT names the file, the line and the key; NX_E_INVALID the key out of range. */
int nx_coordinator_config_load(const char *path, struct nx_coordinator_config **config_out,
                               struct nx_error *err);
/* Writes a commented file (0600) that loads as `config`; NX_E_EXISTS when there is one. */
int nx_coordinator_config_write(const char *path, const struct nx_coordinator_config *config,
                                struct nx_error *err);
void nx_coordinator_config_destroy(struct nx_coordinator_config *config); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_coordinator_config *, nx_coordinator_config_destroy)
