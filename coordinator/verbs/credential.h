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
  char *passphrase_file; /* of a protected key.pem, from this folder, or NULL */
};

int nx_credential_load(const char *folder, struct nx_credential **credential_out,
                       struct nx_error *err);
void nx_credential_destroy(struct nx_credential *credential); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_credential *, nx_credential_destroy)

#define NX_CREDENTIAL_KEY "key.pem"
/* Where the passphrase of its key is, if credential.yaml says so; nothing where there is none. */
int nx_credential_passphrase(const char *folder, struct nx_unlock *unlock, struct nx_error *err);

/* Makes a key and a certificate valid for `days`, notes the grant in the store, and writes
 * the folder: whole, or not at all and no grant either. */
int nx_credential_grant(struct nx_federation *federation, enum nx_role role, const char *name,
                        uint32_t days, const char *folder, struct nx_store_grant *grant_out,
                        struct nx_error *err);
