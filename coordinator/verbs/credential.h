/* Credential: what a person with a role holds, one folder that can be carried away:
 *
 *   credential.yaml   whose it is, and where the coordinator answers
 *   ca.pem            whom to believe
 *   certificate.pem   key.pem
 *
 * The operator's verbs take it as --home, on any machine. */
#pragma once

#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "coordinator/admin/federation.h"
#include "coordinator/admin/roles.h"

#define NX_CREDENTIAL_FILE "credential.yaml"

struct nx_credential {
  uint32_t neurox_credential; /* 1 */
  char *federation, *role, *name;
  char *address; /* HOST:PORT of the coordinator */
};

int nx_credential_load(const char *folder, struct nx_credential **credential_out,
                       struct nx_error *err);
void nx_credential_destroy(struct nx_credential *credential); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_credential *, nx_credential_destroy)

/* Makes a key and a certificate valid for `days`, notes the grant in the store, and writes
 * the folder: whole, or not at all and no grant either. */
int nx_credential_grant(struct nx_federation *federation, enum nx_role role, const char *name,
                        uint32_t days, const char *folder, struct nx_store_grant *grant_out,
                        struct nx_error *err);
